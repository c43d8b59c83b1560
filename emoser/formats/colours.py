"""One colour an emotion, for pages, plots and subtitles. Words or letters always stand beside it."""

from __future__ import annotations

from collections.abc import Sequence

# After the palette of Okabe and Ito (2008, "Color Universal Design"), which people with any colour vision tell apart.
COLOURS = {
    "neutral": "#999999",
    "calm": "#56b4e9",
    "happy": "#e69f00",
    "angry": "#d55e00",
    "sad": "#0072b2",
    "fear": "#cc79a7",
    "disgust": "#009e73",
    "surprise": "#f0e442",
    "silence": "#e8e8e8",
}
OTHER = "#777777"


def letters(labels: Sequence[str]) -> dict[str, str]:
    """A letter of its own for each label, one that it begins with where that is free.

    >>> letters(["neutral", "sad", "surprise"])
    {'neutral': 'n', 'sad': 's', 'surprise': 'u'}
    """
    found: dict[str, str] = {}
    for label in labels:
        free = [letter for letter in (*label, *"abcdefghijklmnopqrstuvwxyz") if letter not in found.values()]
        found[label] = free[0]
    return found
