"""Does a confidence of 0.8 mean right four times in five? Expected calibration error and the bins behind it.

Guo, Pleiss, Sun, Weinberger 2017, "On Calibration of Modern Neural Networks", equations 2, 3 and 5: bins of equal width over the
confidence, bin m being ((m - 1) / M, m / M].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emoser.errors import UsageError
from emoser.metrics.confusion import Counts, Floats, divided, indices


@dataclass(frozen=True, eq=False)
class Reliability:
    """The reliability diagram, one element a bin; accuracy and confidence are NaN in an empty bin."""

    centres: Floats
    accuracy: Floats
    confidence: Floats
    counts: Counts


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Reliability:
    """Accuracy and mean confidence by bins of confidence, for `probabilities` (n, classes) and `labels` (n,)."""
    scores: Floats = np.asarray(probabilities, dtype=np.float64)
    truth = indices(labels, "labels")
    if bins < 1:
        raise UsageError(f"bins={bins}: at least one bin is needed")
    if scores.ndim != 2 or len(scores) != len(truth):
        raise UsageError(f"probabilities of shape {scores.shape} for {len(truth)} labels: the shape must be (labels, classes)")
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise UsageError(f"labels must lie in 0..{scores.shape[1] - 1}, the columns of probabilities; found {truth.min()}..{truth.max()}")
    if not (np.all(scores >= 0) and np.allclose(scores.sum(axis=1), 1.0, atol=1e-3)):
        raise UsageError("each row of probabilities must be non-negative and sum to 1; for logits take the softmax first")
    confidence = np.minimum(scores.max(axis=1), 1.0)
    right = scores.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence, side="left")
    counts = np.bincount(place, minlength=bins).astype(np.int64)
    return Reliability(
        centres=(edges[:-1] + edges[1:]) / 2,
        accuracy=divided(np.bincount(place, weights=right, minlength=bins), counts),
        confidence=divided(np.bincount(place, weights=confidence, minlength=bins), counts),
        counts=counts,
    )


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Mean over clips of |accuracy - confidence| of the bin that the clip is in: 0 is perfect.

    >>> round(expected_calibration_error([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], [0, 1, 0]), 6)
    0.4
    """
    found = reliability(probabilities, labels, bins)
    used = found.counts > 0
    gaps = np.abs(found.accuracy[used] - found.confidence[used])
    return float((gaps * found.counts[used]).sum() / found.counts.sum())
