"""Subtitles: SubRip and WebVTT. With a transcript its text and the emotion of each cue, without one the emotion of each segment."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from emoser.formats.colours import COLOURS, OTHER
from emoser.formats.timed import OneRecording, Result, caption, clock, spoken
from emoser.results import SILENCE


class Cue(NamedTuple):
    """Seconds; what is shown, and the label whose colour it has."""

    start: float
    end: float
    text: str
    label: str


def cues(results: list[Result]) -> list[Cue]:
    """By time; cues of the same time, of which a transcript may have some, stay in the order of what is said."""
    return sorted((cue for result in results for cue in _of(result)), key=lambda cue: (cue.start, cue.end))


def _of(result: Result) -> Iterator[Cue]:
    channel = "" if result["channel"] is None else f"{result['channel']}: "
    if result["transcript"] is None:
        for segment in spoken(result):
            yield Cue(segment["start"], segment["end"], f"{channel}[{caption(segment)}]", segment["label"])
    else:
        for word in result["transcript"]["words"]:
            emotion = "" if word["label"] == SILENCE else f"[{word['label']}] "
            yield Cue(word["start"], word["end"], channel + emotion + word["word"], word["label"])


class Srt(OneRecording):
    """Numbered cues; the emotion stands in brackets before the text."""

    extension = ".srt"

    def document(self, results: list[Result]) -> str:
        return "\n".join(
            f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{cue.text}\n"
            for number, cue in enumerate(cues(results), start=1)
        )


class Vtt(OneRecording):
    """Cues in a class of the emotion's name, with a colour for it."""

    extension = ".vtt"

    def document(self, results: list[Result]) -> str:
        found = cues(results)
        labels = sorted({cue.label for cue in found})
        styles = "".join(f"::cue(.{label}) {{ color: {COLOURS.get(label, OTHER)}; }}\n" for label in labels)
        parts = ["WEBVTT\n", f"STYLE\n{styles}" if styles else ""]
        for cue in found:
            text = f"<c.{cue.label}>{escape(cue.text, quote=False)}</c>"
            parts.append(f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n")
        return "\n".join(part for part in parts if part)
