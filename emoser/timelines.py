"""Recordings whose emotions over time are known and what checkpoints said of them -> scores with intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emoser.errors import UsageError
from emoser.evaluation import Figure
from emoser.metrics import Difference, boundary_errors, covering, eder, frame_confusion, segment_matches
from emoser.metrics.bootstrap import drawn, interval_of
from emoser.metrics.confusion import divided
from emoser.metrics.diarization import NEUTRAL, TOLERANCE, Segment
from emoser.metrics.recall import uar_of
from emoser.results import SILENCE

PARTS = ("false_alarm", "missed", "confusion", "uncovered")
METRICS = ("eder", "frame_uar", "segment_f1", "boundary_error")
SHARES = METRICS[:3]  # of one; the other is in seconds
HOP = 0.01  # s between the times at which frames are read
CONFIDENCE = 0.95

Floats = NDArray[np.float64]
Unit = Literal["speakers", "recordings"]


@dataclass(frozen=True)
class Recording:
    """Who speaks, for how long (s), and which emotion from when to when; `speaker` is empty where not known."""

    file: str
    duration: float
    segments: tuple[Segment, ...]
    speaker: str = ""


@dataclass(frozen=True)
class Counted:
    """What recordings add up to: one row each, so that any of them are scored by a sum over rows.

    rates (n,): EDER of each. parts (n, 4): shares of its time, as `PARTS`. matches (n, 3): hits, predicted, reference. boundaries (n, 2):
    seconds, and how many. confusion (n, labels, labels): frames, row = reference.
    """

    labels: tuple[str, ...]
    rates: Floats
    parts: Floats
    matches: Floats
    boundaries: Floats
    confusion: Floats

    @classmethod
    def of(cls, recordings: Sequence[Recording], predicted: Sequence[Sequence[Segment]], labels: Sequence[str]) -> Counted:
        """labels: all that occur on either side, but silence, which counts as neutral."""
        rows = [_row(recording, found, labels) for recording, found in zip(recordings, predicted, strict=True)]
        rates, parts, matches, boundaries, confusion = (np.array(column, np.float64) for column in zip(*rows, strict=True))
        return cls(tuple(labels), rates, parts, matches, boundaries, confusion)

    def figures(self, weights: Floats) -> dict[str, Floats]:
        """Each metric (draws,) with recordings as often as `weights` (draws, n) say; NaN where there is nothing to measure."""
        matches, boundaries = weights @ self.matches, weights @ self.boundaries
        confusion = np.einsum("dn,nij->dij", weights, self.confusion, optimize=True)
        counted = matches[:, 1] + matches[:, 2]
        return {
            "eder": divided(weights @ self.rates, weights.sum(axis=1)),
            "frame_uar": uar_of(confusion),
            "segment_f1": np.where(counted > 0, divided(2 * matches[:, 0], counted), 1.0),
            "boundary_error": divided(boundaries[:, 0], boundaries[:, 1]),
        }


@dataclass(frozen=True, eq=False)
class TimelineScores:
    """The figures of one system: `metrics` by name, of which boundary_error is in seconds and None where no reference changes; `parts` of
    EDER by name; `frames` (labels, labels), row = reference, read every 10 ms. `groups` counts what intervals are drawn over."""

    labels: tuple[str, ...]
    metrics: Mapping[str, Figure | None]
    parts: Mapping[str, float]
    frames: NDArray[np.int64]
    recordings: int
    groups: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {
            **{name: None if figure is None else figure.to_dict() for name, figure in self.metrics.items()},
            "parts": dict(self.parts),
            "labels": list(self.labels),
            "frames": self.frames.tolist(),
            "recordings": self.recordings,
            "groups": self.groups,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class TimelineComparison:
    """`metric` of `second` less that of `first`, on the same recordings; of EDER and of the boundary error, less is better."""

    first: str
    second: str
    metric: str
    found: Difference

    def to_dict(self) -> dict[str, Any]:
        names = {"first": self.first, "second": self.second, "metric": self.metric}
        return {**names, "difference": self.found.difference, "interval": list(self.found.interval), "p_value": self.found.p_value}


@dataclass(frozen=True, eq=False)
class TimelineEvaluation:
    """Several systems on the same recordings, `scores` by name; the first is compared with each of the others."""

    unit: Unit
    scores: Mapping[str, TimelineScores]
    comparisons: tuple[TimelineComparison, ...]
    left_out: Mapping[str, int]  # recordings by label that not every checkpoint knows

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "left_out": dict(self.left_out),
            "checkpoints": [{"name": name, **scores.to_dict()} for name, scores in self.scores.items()],
            "comparisons": [item.to_dict() for item in self.comparisons],
        }


def folded(segments: Sequence[Segment]) -> list[Segment]:
    """Silence as neutral, and neighbours of one label as one segment.

    >>> folded([(0.0, 1.0, "neutral"), (1.0, 2.0, "silence"), (2.0, 3.0, "sad")])
    [(0.0, 2.0, 'neutral'), (2.0, 3.0, 'sad')]
    """
    found: list[Segment] = []
    for start, end, label in segments:
        label = NEUTRAL if label == SILENCE else label
        if found and found[-1][2] == label and start <= found[-1][1] + TOLERANCE:
            found[-1] = (found[-1][0], end, label)
        else:
            found.append((start, end, label))
    return found


def groups_of(recordings: Sequence[Recording]) -> tuple[list[str], Unit]:
    """The speaker of each recording; where none is known each stands for itself. Raises UsageError where some are known only."""
    unknown = sum(not each.speaker for each in recordings)
    if unknown == len(recordings):
        return [str(index) for index in range(len(recordings))], "recordings"
    if unknown:
        raise UsageError(f"{unknown} of {len(recordings)} recordings have no speaker: name the speaker of every one, or of none")
    return [each.speaker for each in recordings], "speakers"


def evaluate(
    recordings: Sequence[Recording],
    predicted: Mapping[str, Sequence[Sequence[Segment]]],
    left_out: Mapping[str, int] | None = None,
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> TimelineEvaluation:
    """Scores the time lines of each system, in the order of `recordings`, and compares the first system with each of the others.

    EDER is the mean over recordings; frame UAR, segment F1 (more than half of the union shared) and the boundary error (mean distance from
    a change of the reference to the nearest one predicted) are of all recordings together. Silence counts as neutral. Intervals are drawn
    over speakers where the recordings name them, else over recordings.
    """
    groups, unit = groups_of(recordings)
    labels = labels_of(recordings, predicted.values())
    counted = {name: Counted.of(recordings, found, labels) for name, found in predicted.items()}
    draws = drawn_weights(groups, repeats, seed) if len(set(groups)) > 1 else None
    drawn_figures = {} if draws is None else {name: each.figures(draws) for name, each in counted.items()}
    seconds = sum(each.duration for each in recordings)
    scores = {name: scores_of(each, drawn_figures.get(name), groups=len(set(groups)), seconds=seconds) for name, each in counted.items()}
    first, *others = predicted
    comparisons = [
        TimelineComparison(first, other, metric, compared(scores[first], scores[other], metric, drawn_figures[first], drawn_figures[other]))
        for other in others
        for metric in METRICS
        if draws is not None and scores[first].metrics[metric] is not None
    ]
    return TimelineEvaluation(unit, scores, tuple(comparisons), dict(left_out or {}))


def labels_of(recordings: Sequence[Recording], predicted: Iterable[Sequence[Sequence[Segment]]]) -> list[str]:
    """All labels of both sides: neutral first, then by name."""
    of_references = {label for each in recordings for _, _, label in each.segments}
    of_systems = {label for found in predicted for segments in found for _, _, label in segments}
    return [NEUTRAL, *sorted((of_references | of_systems) - {NEUTRAL, SILENCE})]


def drawn_weights(groups: Sequence[str], repeats: int, seed: int | Sequence[int]) -> Floats:
    """How often each recording is in each draw of whole groups, (draws, recordings)."""
    group, draws = drawn(groups, repeats, seed)
    return draws[:, group].astype(np.float64)


def scores_of(counted: Counted, draws: Mapping[str, Floats] | None, *, groups: int, seconds: float) -> TimelineScores:
    """draws: the figures of the draws, if there are any."""
    values = counted.figures(np.ones((1, len(counted.rates))))
    metrics: dict[str, Figure | None] = {}
    for name, (value,) in values.items():
        interval = None if draws is None else interval_of(_known(draws[name]), CONFIDENCE) if len(_known(draws[name])) else None
        metrics[name] = None if np.isnan(value) else Figure(float(value), interval)
    parts = dict(zip(PARTS, counted.parts.mean(axis=0).tolist(), strict=True))
    return TimelineScores(
        counted.labels, metrics, parts, counted.confusion.sum(axis=0).round().astype(np.int64), len(counted.rates), groups, seconds
    )


def compared(
    first: TimelineScores, second: TimelineScores, metric: str, draws: Mapping[str, Floats], other: Mapping[str, Floats]
) -> Difference:
    """The second less the first; the p-value is two-sided, as in `emoser.metrics.paired_bootstrap`."""
    a, b = first.metrics[metric], second.metrics[metric]
    assert a is not None and b is not None, "there are changes in the references or there are none, whatever the system"
    values = _known(other[metric] - draws[metric])
    extreme = 1 + min(int(np.sum(values <= 0)), int(np.sum(values >= 0)))
    return Difference(b.value - a.value, interval_of(values, CONFIDENCE), min(1.0, 2.0 * extreme / (len(values) + 1)))


def _row(recording: Recording, predicted: Sequence[Segment], labels: Sequence[str]) -> tuple[Any, ...]:
    duration = recording.duration
    truth = folded(covering([segment for segment in recording.segments if segment[0] < duration], duration))
    guess = folded(predicted)
    errors = eder(guess, truth, duration)
    matches = segment_matches(guess, truth)
    distances = boundary_errors(guess, truth, duration)
    frames = frame_confusion([(guess, truth, duration)], labels, HOP)
    shares = [getattr(errors, part) / duration for part in PARTS]
    return errors.rate, shares, (matches.hits, matches.predicted, matches.reference), (sum(distances), len(distances)), frames


def _known(values: Floats) -> Floats:
    return values[~np.isnan(values)]
