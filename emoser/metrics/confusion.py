"""The confusion matrix, from which all label metrics follow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoser.errors import UsageError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def checked(labels: ArrayLike, predictions: ArrayLike, classes: int | None = None) -> tuple[Counts, Counts, int]:
    """Both as int64 vectors of one length with values in [0, classes), and the number of classes (by default the largest index + 1)."""
    pair = [indices(labels, "labels"), indices(predictions, "predictions")]
    if len(pair[0]) != len(pair[1]):
        raise UsageError(f"{len(pair[0])} labels and {len(pair[1])} predictions: there must be one prediction for each label")
    highest = int(max(pair[0].max(), pair[1].max()))
    classes = highest + 1 if classes is None else classes
    if highest >= classes or min(pair[0].min(), pair[1].min()) < 0:
        raise UsageError(f"class indices must lie in 0..{classes - 1}; found {sorted({int(v) for v in np.concatenate(pair)})}")
    return pair[0], pair[1], classes


def indices(values: ArrayLike, what: str) -> Counts:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise UsageError(f"{what} must be a vector with at least one element, not an array of shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise UsageError(f"{what} must be integer class indices, not {array.dtype}: map label words to their index in the model's labels")
    return array.astype(np.int64)


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int | None = None) -> Counts:
    """Counts (classes, classes): row = label, column = prediction.

    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 0], classes=3)
    array([[1, 1, 0],
           [0, 1, 0],
           [1, 0, 0]])
    """
    truth, guess, classes = checked(labels, predictions, classes)
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def matrix_by_group(truth: Counts, guess: Counts, group: Counts, classes: int) -> Counts:
    """Counts (groups, classes, classes), one confusion matrix for each group 0 .. max(group)."""
    groups = int(group.max()) + 1
    flat = np.bincount((group * classes + truth) * classes + guess, minlength=groups * classes * classes)
    return flat.reshape(groups, classes, classes).astype(np.int64)


def divided(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """Element-wise quotient, NaN where the denominator is 0."""
    quotient = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient
