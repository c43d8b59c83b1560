"""Metrics of emotions over time: EDER, its parts, and what it does not show.

EDER, the emotion diarization error rate (Wang, Ravanelli, Yacoubi, "Speech Emotion Diarization", ASRU 2023, section 3.2), is the share of a
file's time whose emotion is wrong. A time line is a list of segments (start, end, label) in seconds, in order and without overlap; what a
reference does not cover is neutral.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from emoser.errors import UsageError
from emoser.metrics.confusion import Counts
from emoser.metrics.recall import recalls

Segment = tuple[float, float, str]
NEUTRAL = "neutral"
TOLERANCE = 1e-6  # s: segments may overlap by what rounding makes of their times


@dataclass(frozen=True)
class DiarizationErrors:
    """Seconds of one file: `false_alarm` an emotion where there is none, `missed` neutral where there is one, `confusion` another emotion,
    `uncovered` what no predicted segment covers, an error whatever the reference says there."""

    duration: float
    false_alarm: float
    missed: float
    confusion: float
    uncovered: float

    @property
    def rate(self) -> float:
        """EDER, 0 to 1."""
        return (self.false_alarm + self.missed + self.confusion + self.uncovered) / self.duration


def segments_of_frames(labels: Sequence[str], hop: float, window: float | None = None, duration: float | None = None) -> list[Segment]:
    """Frames -> segments: frame i covers [i hop, i hop + window] (s), neighbours of one label are one segment.

    window: hop if not given; where it is longer, segments of different labels that overlap are cut in the middle of the overlap.
    duration: extends (or cuts) the last segment to the end of the file, which the frames of most encoders do not quite reach.

    >>> segments_of_frames(["neutral", "angry", "angry"], 0.5)
    [(0.0, 0.5, 'neutral'), (0.5, 1.5, 'angry')]
    """
    window = hop if window is None else window
    if window < hop or hop <= 0:
        raise UsageError(f"frames of {window} s every {hop} s leave gaps; the window must be as long as the hop at least")
    runs = [(label, len(list(group))) for label, group in groupby(labels)]
    segments: list[Segment] = []
    first = 0
    for label, count in runs:
        start = segments[-1][1] if segments else 0.0
        last = first + count == len(labels)
        end = (first + count - 1) * hop + window if last else (first + count) * hop + (window - hop) / 2
        segments.append((start, end, label))
        first += count
    if segments and duration is not None:
        segments = [segment for segment in segments if segment[0] < duration]
        segments[-1] = (segments[-1][0], duration, segments[-1][2])
    return segments


def covering(segments: Iterable[Segment], duration: float, neutral: str = NEUTRAL) -> list[Segment]:
    """A reference with its gaps filled by neutral, from 0 to `duration`; what lies outside of that is cut off.

    >>> covering([(0.5, 1.0, "sad")], 1.5)
    [(0.0, 0.5, 'neutral'), (0.5, 1.0, 'sad'), (1.0, 1.5, 'neutral')]
    """
    filled: list[Segment] = []
    end = 0.0
    for start, stop, label in _checked(segments):
        start, stop = max(start, 0.0), min(stop, duration)
        if start >= stop:
            continue
        if start > end + TOLERANCE:
            filled.append((end, start, neutral))
        filled.append((start, stop, label))
        end = stop
    if end < duration - TOLERANCE:
        filled.append((end, duration, neutral))
    return [segment for segment in filled if segment[1] > segment[0]]


def eder(
    predicted: Iterable[Segment],
    reference: Iterable[Segment],
    duration: float,
    *,
    neutral: str = NEUTRAL,
    as_neutral: Sequence[str] = ("silence",),
) -> DiarizationErrors:
    """The errors of one file. `as_neutral`: further labels that count as neutral on both sides. What lies beyond `duration` is ignored.

    >>> eder([(0.0, 1.0, "neutral"), (1.0, 2.0, "sad")], [(0.5, 2.0, "sad")], 2.0).rate
    0.25
    """
    if not duration > 0:
        raise UsageError(f"duration is {duration} s; a file lasts longer than 0 s")
    named = dict.fromkeys(as_neutral, neutral)
    truth = [(start, end, named.get(label, label)) for start, end, label in covering(reference, duration, neutral)]
    guess = [(start, end, named.get(label, label)) for start, end, label in _checked(predicted)]
    seconds = {"correct": 0.0, "false_alarm": 0.0, "missed": 0.0, "confusion": 0.0}

    def kind(label: str, wanted: str) -> str:
        if label == wanted:
            return "correct"
        if label == neutral:
            return "missed"
        return "false_alarm" if wanted == neutral else "confusion"

    for start, end, label in guess:
        for first, last, wanted in truth:
            seconds[kind(label, wanted)] += max(0.0, min(end, last) - max(start, first))
    covered = sum(seconds.values())
    return DiarizationErrors(duration, seconds["false_alarm"], seconds["missed"], seconds["confusion"], max(0.0, duration - covered))


def mean_eder(errors: Iterable[DiarizationErrors]) -> float:
    """The figure of a corpus: the mean over files, each counting alike however long it is."""
    rates = [item.rate for item in errors]
    if not rates:
        raise UsageError("there are no files to take a mean over")
    return float(np.mean(rates))


# what EDER does not show


def labels_at(segments: Iterable[Segment], times: Sequence[float] | NDArray[np.floating], neutral: str = NEUTRAL) -> list[str]:
    """The label at each time (s); neutral where there is no segment.

    >>> labels_at([(0.5, 1.0, "sad")], [0.2, 0.5, 1.0])
    ['neutral', 'sad', 'neutral']
    """
    ordered = _checked(segments)
    starts = np.array([segment[0] for segment in ordered])
    places = np.searchsorted(starts, np.asarray(times, np.float64), side="right") - 1
    return [ordered[place][2] if place >= 0 and time < ordered[place][1] else neutral for place, time in zip(places, times, strict=True)]


def frame_confusion(
    files: Iterable[tuple[Iterable[Segment], Iterable[Segment], float]], labels: Sequence[str], hop: float = 0.01, neutral: str = NEUTRAL
) -> Counts:
    """Counts (labels, labels), row = reference, of the time lines read every `hop` seconds; files are (predicted, reference, duration)."""
    index = {label: place for place, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for predicted, reference, duration in files:
        times = (np.arange(round(duration / hop)) + 0.5) * hop
        found = [labels_at(side, times, neutral) for side in (reference, predicted)]
        unknown = sorted({label for side in found for label in side} - set(labels))
        if unknown:
            raise UsageError(f"labels {', '.join(unknown)} are not among {', '.join(labels)}")
        rows, columns = (np.array([index[label] for label in side], np.int64) for side in found)
        np.add.at(counts, (rows, columns), 1)
    return counts


def frame_uar(
    files: Iterable[tuple[Iterable[Segment], Iterable[Segment], float]], labels: Sequence[str], hop: float = 0.01, neutral: str = NEUTRAL
) -> float:
    """Mean recall, over the labels that occur in the references, of all files' time read every `hop` seconds."""
    counts = frame_confusion(files, labels, hop, neutral)
    truth, guess = np.nonzero(counts)
    if not len(truth):
        raise UsageError("there are no files to score")
    repeats = counts[truth, guess]
    return float(np.nanmean(recalls(np.repeat(truth, repeats), np.repeat(guess, repeats), len(labels))))


@dataclass(frozen=True)
class SegmentMatches:
    """How many segments were found: sums over files add up."""

    hits: int
    predicted: int
    reference: int

    def __add__(self, other: SegmentMatches) -> SegmentMatches:
        return SegmentMatches(self.hits + other.hits, self.predicted + other.predicted, self.reference + other.reference)

    @property
    def f1(self) -> float:
        """1 where there was nothing to find and nothing was found."""
        total = self.predicted + self.reference
        return 2 * self.hits / total if total else 1.0


def segment_matches(
    predicted: Iterable[Segment], reference: Iterable[Segment], *, overlap: float = 0.5, ignored: Sequence[str] = (NEUTRAL, "silence")
) -> SegmentMatches:
    """A segment is found where one of the same label shares more than `overlap` of their union with it: so at most one does, from 0.5 up.

    `ignored` labels are neither looked for nor counted.
    """
    if not 0.5 <= overlap < 1:
        raise UsageError(f"overlap={overlap} must lie in [0.5, 1): below, a segment could be found twice")
    guess = [segment for segment in _checked(predicted) if segment[2] not in ignored]
    truth = [segment for segment in _checked(reference) if segment[2] not in ignored]

    def alike(a: Segment, b: Segment) -> bool:
        shared = min(a[1], b[1]) - max(a[0], b[0])
        return a[2] == b[2] and shared > overlap * (a[1] - a[0] + b[1] - b[0] - shared)

    hits = sum(any(alike(a, b) for a in guess) for b in truth)
    return SegmentMatches(hits, len(guess), len(truth))


def boundary_errors(predicted: Iterable[Segment], reference: Iterable[Segment], duration: float, neutral: str = NEUTRAL) -> list[float]:
    """Seconds from each change of label in the reference to the nearest one of the prediction; `duration` where it has none."""
    changes = [_changes(covering(side, duration, neutral)) for side in (reference, predicted)]
    return [min((abs(time - other) for other in changes[1]), default=duration) for time in changes[0]]


def published_frame_labels(segments: Iterable[Segment], duration: float, hop: float = 0.02, neutral: str = NEUTRAL) -> list[str]:
    """Frame labels as the authors' code makes them of a reference, rounding of its floating-point numbers included.

    A window takes the label of the first segment that covers at least half of it, else that of the window before; the last window is moved
    back to end with the file. It makes up to two labels more than an encoder has frames.
    """
    truth = covering(segments, duration, neutral)
    labels: list[str] = []
    for index in range(int(duration / hop) + 1):
        start, end = hop * index, hop * index + hop
        last = end >= duration
        if last:
            start, end = duration - hop, duration
        label = labels[-1] if labels else truth[0][2]
        for first, stop, name in truth:
            if min(end, stop) - max(start, first) >= hop / 2:
                label = name
                break
        labels.append(label)
        if last:
            break
    return labels


def _changes(segments: Sequence[Segment]) -> list[float]:
    """Where a label ends and another one begins."""
    return [b[0] for a, b in pairwise(segments) if a[2] != b[2]]


def _checked(segments: Iterable[Segment]) -> list[Segment]:
    ordered = [(float(start), float(end), str(label)) for start, end, label in segments]
    end = -math.inf
    for start, stop, label in ordered:
        if not start <= stop or start < end - TOLERANCE:
            raise UsageError(f"segments must follow each other without overlap; ({start}, {stop}, {label!r}) begins before {end}")
        end = stop
    return ordered
