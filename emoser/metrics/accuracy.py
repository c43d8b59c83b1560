"""Plain accuracy. Papers on emotion call it weighted accuracy (WA): recalls weighted by how many clips a class has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoser.metrics.confusion import Floats, confusion_matrix, divided


def wa_of(matrices: NDArray[Any]) -> Floats:
    """Accuracy (...) of confusion matrices (..., classes, classes)."""
    return divided(np.trace(matrices, axis1=-2, axis2=-1), matrices.sum(axis=(-2, -1)))


def weighted_accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Share of clips with the right label.

    >>> weighted_accuracy([0, 0, 0, 1], [0, 0, 1, 1])
    0.75
    """
    return float(wa_of(confusion_matrix(labels, predictions)))
