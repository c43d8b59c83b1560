"""Recall of each class, and their mean (UAR, also called UA or balanced accuracy)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoser.metrics.confusion import Floats, confusion_matrix, divided


def recalls_of(matrices: NDArray[Any]) -> Floats:
    """Recalls (..., classes) of confusion matrices (..., classes, classes); NaN where a class has no clips."""
    return divided(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(axis=-1))


def uar_of(matrices: NDArray[Any]) -> Floats:
    """UAR (...) of confusion matrices (..., classes, classes), over the classes that have clips."""
    present = matrices.sum(axis=-1) > 0
    return divided(np.where(present, recalls_of(matrices), 0.0).sum(axis=-1), present.sum(axis=-1))


def recalls(labels: ArrayLike, predictions: ArrayLike, classes: int | None = None) -> Floats:
    """Recall of each class; NaN for a class that no label has.

    >>> recalls([0, 0, 1, 1], [0, 1, 1, 1], classes=3)
    array([0.5, 1. , nan])
    """
    return recalls_of(confusion_matrix(labels, predictions, classes))


def unweighted_average_recall(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Mean of the recalls of the classes that occur in `labels`; a class that was only predicted does not count as one.

    >>> unweighted_average_recall([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 2])
    0.625
    """
    return float(uar_of(confusion_matrix(labels, predictions)))
