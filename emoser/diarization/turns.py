"""The caller's own speaker turns (RTTM) on the segments of a diarization."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from emoser.diarization.segments import make_segment
from emoser.errors import UsageError
from emoser.results import Diarization, Frames, Segment
from emoser.settings import DiarizationSettings


@dataclass(frozen=True)
class Turn:
    """Seconds; `channel` counted from 0."""

    start: float
    end: float
    speaker: str
    channel: int


def read_turns(path: Path) -> dict[str, list[Turn]]:
    """The SPEAKER lines of an RTTM file (NIST, RT-09 evaluation plan, appendix A), by recording, in order of time.

    Raises UsageError for a file that cannot be read, or a line that is none of RTTM.
    """
    turns: dict[str, list[Turn]] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read the speaker turns: {getattr(error, 'strerror', None) or error}") from None
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";") or fields[0] != "SPEAKER":
            continue
        try:
            start, duration, channel = float(fields[3]), float(fields[4]), int(fields[2])
            if not (0 <= start < math.inf and 0 <= duration < math.inf):
                raise ValueError
            turn = Turn(start, start + duration, fields[7], max(0, channel - 1))
        except (IndexError, ValueError):
            raise UsageError(
                f"{path}, line {number}: {line!r} is no RTTM; a turn is: SPEAKER recording 1 start duration <NA> <NA> name <NA> <NA>"
            ) from None
        turns.setdefault(fields[1], []).append(turn)
    if not turns:
        raise UsageError(f"{path}: it holds no SPEAKER line, so no speaker turns")
    return {name: sorted(found, key=lambda turn: (turn.start, turn.end)) for name, found in turns.items()}


def turns_of(turns: dict[str, list[Turn]], file: str | None, channel: int | None, *, alone: bool = True) -> list[Turn]:
    """Those of a recording: by its name without folder, with or without suffix; blanks may stand as underscores, for they separate the
    fields of RTTM. alone: no other recording is asked about, so that all turns are its own where the RTTM tells of one recording only.
    With a channel, the turns of that channel, where the RTTM tells channels apart."""
    names = [Path(file).stem, Path(file).name] if file else []
    names += ["_".join(name.split()) for name in names]
    found = next((turns[name] for name in names if name in turns), None)
    if found is None:
        found = next(iter(turns.values())) if alone and len(turns) == 1 else []
    apart = len({turn.channel for turn in found}) > 1
    return [turn for turn in found if channel is None or not apart or turn.channel == channel]


def with_speakers(result: Diarization, turns: list[Turn], settings: DiarizationSettings) -> Diarization:
    """Segments of speech are cut where turns begin and end, and each gets the speaker who has most of it, if any; where that makes pieces
    shorter than `shortest_speech`, they stay whole."""
    edges = sorted({edge for turn in turns for edge in (turn.start, turn.end)})
    segments: list[Segment] = []
    for segment in result.segments:
        for piece in _cut(segment, edges, result.frames, settings) if segment.speech else [segment]:
            named = replace(piece, speaker=_speaker(piece, turns) if piece.speech else None)
            last = segments[-1] if segments else None
            if last is not None and last.speech and (last.label, last.speaker) == (named.label, named.speaker):
                whole = _piece(last.start, named.end, result.frames, settings) or replace(last, end=named.end)
                segments[-1] = replace(whole, speaker=named.speaker)
            else:
                segments.append(named)
    return replace(result, segments=tuple(segments))


def _cut(segment: Segment, edges: list[float], frames: Frames, settings: DiarizationSettings) -> list[Segment]:
    least = max(settings.shortest_speech, frames.hop)
    cuts = [segment.start]
    for edge in edges:
        if cuts[-1] + least <= edge <= segment.end - least:
            cuts.append(edge)
    cuts.append(segment.end)
    if len(cuts) == 2:
        return [segment]
    return [_piece(start, end, frames, settings) or segment for start, end in pairwise(cuts)]


def _piece(start: float, end: float, frames: Frames, settings: DiarizationSettings) -> Segment | None:
    """A segment of the frames whose middle lies within; None where none does."""
    first, stop = (round(edge / frames.hop) for edge in (start, end))
    scores, speech = frames.scores[first:stop], frames.speech[first:stop]
    if len(scores) == 0:
        return None
    sums = [float(total) for total in scores.sum(axis=0, dtype=float)]
    return make_segment(frames.labels, start, end, sums, float(speech.sum()), len(scores), settings, silent=False)


def _speaker(segment: Segment, turns: list[Turn]) -> str | None:
    shares: dict[str, float] = {}
    for turn in turns:
        overlap = min(segment.end, turn.end) - max(segment.start, turn.start)
        if overlap > 0:
            shares[turn.speaker] = shares.get(turn.speaker, 0.0) + overlap
    return max(shares, key=shares.__getitem__) if shares else None
