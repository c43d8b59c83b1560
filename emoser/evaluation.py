"""Labelled clips and what checkpoints said of them -> scores with intervals over speakers, and paired differences between checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoser.errors import UsageError
from emoser.metrics import (
    Reliability,
    bootstrap_interval,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    paired_bootstrap,
    recalls,
    reliability,
    unweighted_average_recall,
    weighted_accuracy,
)

METRICS = {"uar": unweighted_average_recall, "wa": weighted_accuracy, "macro_f1": macro_f1}
POOLED = "pooled"

Unit = Literal["speakers", "clips"]


@dataclass(frozen=True)
class Labelled:
    """A file and what is in it. `speaker` and `corpus` are empty where they are not known."""

    file: str
    label: str
    speaker: str = ""
    corpus: str = ""


@dataclass(frozen=True)
class Figure:
    """A metric as a share of one, and its 95 % interval; None where there is but one speaker."""

    value: float
    interval: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "interval": None if self.interval is None else list(self.interval)}


@dataclass(frozen=True, eq=False)
class Scores:
    """The figures of one set of clips. `groups` counts what intervals are drawn over: speakers or, where none is known, clips."""

    uar: Figure
    wa: Figure
    macro_f1: Figure
    ece: float
    recalls: tuple[float | None, ...]  # None for a class without clips
    confusion: NDArray[np.int64]  # (classes, classes): row = label, column = prediction
    clips: int
    groups: int
    reliability: Reliability

    @classmethod
    def of(cls, labels: ArrayLike, probabilities: ArrayLike, groups: ArrayLike, repeats: int = 1000) -> Scores:
        """Scores index vectors `labels` (n,) against `probabilities` (n, classes); `groups` (n,) names the speaker of each clip.

        >>> Scores.of([0, 0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]], ["anna", "ben", "anna", "ben"]).uar
        Figure(value=0.75, interval=(0.5, 1.0))
        """
        truth, scores = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
        guess, classes = scores.argmax(axis=1), scores.shape[1]
        count = len(np.unique(np.asarray(groups)))

        def figure(name: str) -> Figure:
            interval = bootstrap_interval(METRICS[name], truth, guess, groups, repeats=repeats) if count > 1 else None
            return Figure(METRICS[name](truth, guess), interval)

        return cls(
            **{name: figure(name) for name in METRICS},
            ece=expected_calibration_error(scores, truth),
            recalls=tuple(None if math.isnan(value) else float(value) for value in recalls(truth, guess, classes)),
            confusion=confusion_matrix(truth, guess, classes),
            clips=len(truth),
            groups=count,
            reliability=reliability(scores, truth),
        )

    def figures(self) -> dict[str, Figure]:
        return {name: getattr(self, name) for name in METRICS}

    def to_dict(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            **{name: figure.to_dict() for name, figure in self.figures().items()},
            "ece": self.ece,
            "recalls": dict(zip(labels, self.recalls, strict=True)),
            "confusion": self.confusion.tolist(),
            "clips": self.clips,
            "groups": self.groups,
        }


@dataclass(frozen=True)
class Comparison:
    """`metric` of `second` minus that of `first`, on the same clips."""

    first: str
    second: str
    corpus: str
    metric: str
    difference: float
    interval: tuple[float, float]
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "interval": list(self.interval)}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Several checkpoints on the same clips. `scores` by checkpoint, then by corpus, the last being all clips together (`pooled`)."""

    labels: Mapping[str, tuple[str, ...]]  # by checkpoint
    unit: Unit  # what intervals are drawn over
    scores: Mapping[str, Mapping[str, Scores]]
    comparisons: tuple[Comparison, ...]
    left_out: Mapping[str, int]  # clips by label that not every checkpoint knows

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "left_out": dict(self.left_out),
            "checkpoints": [
                {
                    "name": name,
                    "labels": list(self.labels[name]),
                    "scores": {corpus: found.to_dict(self.labels[name]) for corpus, found in scores.items()},
                }
                for name, scores in self.scores.items()
            ],
            "comparisons": [item.to_dict() for item in self.comparisons],
        }


def known_to_all(clips: Sequence[Labelled], labels: Mapping[str, tuple[str, ...]]) -> tuple[list[Labelled], dict[str, int]]:
    """The clips whose label every checkpoint knows, and how many of each other label there are. Raises UsageError where none is left."""
    common = set.intersection(*map(set, labels.values()))
    kept = [clip for clip in clips if clip.label in common]
    left_out: dict[str, int] = {}
    for clip in clips:
        if clip.label not in common:
            left_out[clip.label] = left_out.get(clip.label, 0) + 1
    if not kept:
        raise UsageError(f"no clip has a label that can be told: there are {', '.join(left_out) or 'no clips'}; known: {_words(labels)}")
    return kept, left_out


def groups_of(clips: Sequence[Labelled]) -> tuple[list[str], Unit]:
    """The name of each clip's speaker, apart from those of other corpora; where no speaker is known each clip stands for itself.

    Raises UsageError where speakers are known of some clips only, or a corpus is called as all corpora together are.
    """
    if any(clip.corpus == POOLED for clip in clips):
        raise UsageError(f'a corpus is called "{POOLED}", as is what all corpora have together; give it another name')
    unknown = sum(not clip.speaker for clip in clips)
    if unknown == len(clips):
        return [str(index) for index in range(len(clips))], "clips"
    if unknown:
        raise UsageError(f"{unknown} of {len(clips)} clips have no speaker: name the speaker of every clip, or of none")
    return [f"{clip.corpus}/{clip.speaker}" for clip in clips], "speakers"


def evaluate(
    clips: Sequence[Labelled],
    probabilities: Mapping[str, ArrayLike],
    labels: Mapping[str, tuple[str, ...]],
    left_out: Mapping[str, int] | None = None,
    repeats: int = 1000,
) -> Evaluation:
    """Scores each checkpoint's `probabilities` (clips, its labels) and compares the first checkpoint with each of the others.

    Every clip's label must be one of each checkpoint's (`known_to_all`).
    """
    groups, unit = groups_of(clips)
    corpora = np.array([clip.corpus for clip in clips])
    parts = {str(name): corpora == name for name in np.unique(corpora) if name} if len(np.unique(corpora)) > 1 else {}
    parts[POOLED] = np.ones(len(clips), dtype=bool)
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in probabilities.items()}
    group = np.array(groups)
    scores = {}
    for name, values in arrays.items():
        truth = np.array([labels[name].index(clip.label) for clip in clips])
        scores[name] = {part: Scores.of(truth[chosen], values[chosen], group[chosen], repeats) for part, chosen in parts.items()}
    words = sorted({word for known in labels.values() for word in known})  # one numbering for all
    truth = np.array([words.index(clip.label) for clip in clips])
    guesses = {name: np.array([words.index(labels[name][best]) for best in values.argmax(axis=1)]) for name, values in arrays.items()}
    first, *others = arrays
    comparisons = [
        _compared(first, other, part, metric, truth[chosen], guesses[first][chosen], guesses[other][chosen], group[chosen], repeats)
        for other in others
        for part, chosen in parts.items()
        if len(np.unique(group[chosen])) > 1
        for metric in METRICS
    ]
    return Evaluation(dict(labels), unit, scores, tuple(comparisons), dict(left_out or {}))


def _compared(
    first: str,
    second: str,
    part: str,
    metric: str,
    truth: NDArray[np.int64],
    guess: NDArray[np.int64],
    other: NDArray[np.int64],
    groups: NDArray[np.str_],
    repeats: int,
) -> Comparison:
    found = paired_bootstrap(METRICS[metric], truth, guess, other, groups, repeats=repeats)
    return Comparison(first, second, part, metric, found.difference, found.interval, found.p_value)


def _words(labels: Mapping[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{name}: {', '.join(words)}" for name, words in labels.items())
