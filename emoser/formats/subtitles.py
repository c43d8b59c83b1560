"""Subtitles: SubRip and WebVTT. With a transcript its text and the emotion of each cue, without one the emotion of each segment."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from emoser.formats.colours import COLOURS, OTHER
from emoser.formats.timed import OneRecording, Result, caption, clock, spoken


class Cue(NamedTuple):
    """Seconds; `text` is None where there is no transcript."""

    start: float
    end: float
    caption: str
    label: str
    text: str | None


def cues(results: list[Result]) -> list[Cue]:
    return sorted(cue for result in results for cue in _of(result))


def _of(result: Result) -> Iterator[Cue]:
    channel = "" if result["channel"] is None else f"[{result['channel']}] "
    if result["transcript"] is None:
        for segment in spoken(result):
            yield Cue(segment["start"], segment["end"], channel + caption(segment), segment["label"], None)
    else:
        for word in result["transcript"]["words"]:
            yield Cue(word["start"], word["end"], channel + word["label"], word["label"], word["word"])


class Srt(OneRecording):
    """Numbered cues; the emotion stands in brackets before the text."""

    extension = ".srt"

    def document(self, results: list[Result]) -> str:
        return "\n".join(
            f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n[{cue.caption}]{'' if cue.text is None else ' ' + cue.text}\n"
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
            said = f"[{cue.caption}]{'' if cue.text is None else ' ' + cue.text}"
            text = f"<c.{cue.label}>{escape(said, quote=False)}</c>"
            parts.append(f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n")
        return "\n".join(part for part in parts if part)
