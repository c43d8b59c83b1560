"""Confidence intervals by resampling speakers.

Clips of one speaker rise and fall together, so drawing clips would give intervals that are far too narrow; whole speakers are drawn
with replacement instead (the cluster bootstrap; percentile interval). UAR, WA and macro F1 are functions of the confusion matrix, and
that of a draw is the sum of its speakers' matrices: one matrix product scores all draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoser.errors import UsageError
from emoser.metrics.accuracy import wa_of, weighted_accuracy
from emoser.metrics.confusion import Counts, Floats, checked, matrix_by_group
from emoser.metrics.f1 import macro_f1, macro_f1_of
from emoser.metrics.recall import uar_of, unweighted_average_recall

Metric = Callable[[Any, Any], float]

# Metrics that follow from the confusion matrix, and how: these are scored for all draws at once.
OF_MATRICES: dict[Any, Callable[[NDArray[Any]], Floats]] = {
    unweighted_average_recall: uar_of,
    weighted_accuracy: wa_of,
    macro_f1: macro_f1_of,
}


@dataclass(frozen=True)
class Difference:
    """How much better the second system is than the first, on the same clips."""

    difference: float
    interval: tuple[float, float]
    p_value: float


def bootstrap_interval(
    metric: Metric,
    labels: ArrayLike,
    predictions: ArrayLike,
    groups: ArrayLike,
    *,
    repeats: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval (low, high) of `metric(labels, predictions)` over draws of whole groups (speakers).

    `metric` is one of this package's label metrics (fast), or any function of two index vectors. At least two groups are needed: with
    one there is nothing to say about other speakers.

    >>> bootstrap_interval(weighted_accuracy, [0, 0, 1, 1], [0, 1, 1, 1], ["anna", "anna", "ben", "ben"])
    (0.5, 1.0)
    """
    group, draws = drawn(groups, repeats, seed)
    values = scored(metric, labels, predictions, group, draws)
    return interval_of(values, confidence)


def paired_bootstrap(
    metric: Metric,
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    *,
    repeats: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """`metric` of `second` minus that of `first`, both scored on the same draws of groups (speakers).

    The two-sided p-value is twice the smaller of the shares of draws at or below zero and at or above zero, with one draw added to
    each: it is never 0 and, for equal systems, 1.
    """
    group, draws = drawn(groups, repeats, seed)
    values = scored(metric, labels, second, group, draws) - scored(metric, labels, first, group, draws)
    below, above = np.sum(values <= 0), np.sum(values >= 0)
    p_value = min(1.0, 2.0 * (1 + min(below, above)) / (len(values) + 1))
    return Difference(metric(labels, second) - metric(labels, first), interval_of(values, confidence), float(p_value))


def drawn(groups: ArrayLike, repeats: int, seed: int | Sequence[int]) -> tuple[Counts, Counts]:
    """The group of each clip as an index, and how often each group is in each draw (repeats, groups).

    Groups of the same number are drawn alike by the same seed: who averages several sets of speakers gives each a seed of its own.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise UsageError(f"a bootstrap over speakers needs at least two of them; given: {', '.join(map(str, names)) or 'none'}")
    if repeats < 1:
        raise UsageError(f"repeats={repeats}: at least one draw is needed")
    picks = np.random.default_rng(seed).integers(0, len(names), size=(repeats, len(names)))
    cells = (np.arange(repeats)[:, None] * len(names) + picks).ravel()
    return group.astype(np.int64), np.bincount(cells, minlength=repeats * len(names)).reshape(repeats, len(names)).astype(np.int64)


def scored(metric: Metric, labels: ArrayLike, predictions: ArrayLike, group: Counts, draws: Counts) -> Floats:
    """The metric of each draw, (repeats,)."""
    truth, guess, classes = checked(labels, predictions)
    if len(group) != len(truth):
        raise UsageError(f"{len(truth)} labels and {len(group)} groups: each clip needs the name of its speaker")
    if metric in OF_MATRICES:
        matrices = matrix_by_group(truth, guess, group, classes).reshape(draws.shape[1], -1)
        return OF_MATRICES[metric]((draws.astype(np.float64) @ matrices).reshape(-1, classes, classes))
    members = [np.flatnonzero(group == index) for index in range(draws.shape[1])]
    values = np.empty(len(draws))
    for row, times in enumerate(draws):
        chosen = np.concatenate([np.tile(member, count) for member, count in zip(members, times, strict=True)])
        values[row] = metric(truth[chosen], guess[chosen])
    return values


def interval_of(values: Floats, confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise UsageError(f"confidence={confidence} must lie between 0 and 1, for example 0.95")
    tail = (1 - confidence) / 2
    return cast("tuple[float, float]", tuple(float(value) for value in np.quantile(values, [tail, 1 - tail])))
