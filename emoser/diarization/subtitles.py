"""A transcript that the caller has (SRT or WebVTT) -> the emotion of each of its cues."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path

import numpy as np

from emoser.errors import UsageError
from emoser.results import SILENCE, Diarization, Transcript, Word

TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
TIMES = re.compile(rf"^\s*{TIME}\s*-->\s*{TIME}")
MARKUP = re.compile(r"<[^>\n]*>|\{\\[^}\n]*\}")  # <i>, <v Anna>, and the {\an8} of SubStation


@dataclass(frozen=True)
class Cue:
    """Seconds."""

    start: float
    end: float
    text: str


def read_cues(path: Path) -> list[Cue]:
    """The cues of an .srt or .vtt file, in order of time, markup taken off. In WebVTT `&amp;` stands for `&`, as in HTML; SubRip knows no
    such thing. Raises UsageError for a file that holds none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read the subtitles: {getattr(error, 'strerror', None) or error}") from None
    web = path.suffix.lower() == ".vtt" or text.startswith("WEBVTT")
    cues: list[Cue] = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.split("\n")
        at = next((number for number, line in enumerate(lines) if TIMES.match(line)), None)
        if at is None:  # the WEBVTT line, a NOTE or a STYLE
            continue
        found = TIMES.match(lines[at])
        assert found is not None
        plain = MARKUP.sub("", " ".join(lines[at + 1 :]))
        words = " ".join((unescape(plain) if web else plain).split())
        if words:
            cues.append(Cue(_seconds(found.groups()[:4]), _seconds(found.groups()[4:]), words))
    if not cues:
        raise UsageError(f"{path}: it holds no cue; one is a line such as 00:00:01,000 --> 00:00:02,500 and a line of text")
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def with_cues(result: Diarization, cues: list[Cue]) -> Diarization:
    """The cues as `transcript`: each gets the best label over the frames of its time with speech, `silence` if there are none."""
    words = tuple(Word(cue.text, cue.start, cue.end, _label(result, cue)) for cue in cues)
    return replace(result, transcript=Transcript(" ".join(cue.text for cue in cues), words))


def _label(result: Diarization, cue: Cue) -> str:
    frames = result.frames
    sums = np.zeros(len(frames.labels))
    for segment in result.segments:
        first, stop = (round(edge / frames.hop) for edge in (max(segment.start, cue.start), min(segment.end, cue.end)))
        if segment.speech and first < stop:
            sums += frames.scores[first:stop].sum(axis=0, dtype=np.float64)
    return frames.labels[int(sums.argmax())] if sums.any() else SILENCE


def _seconds(parts: tuple[str | None, ...]) -> float:
    """
    >>> _seconds(("1", "02", "03", "5")), _seconds((None, "00", "01", "250"))
    (3723.5, 1.25)
    """
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")
