"""Macro F1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoser.metrics.confusion import Floats, confusion_matrix, divided


def macro_f1_of(matrices: NDArray[Any]) -> Floats:
    """Macro F1 (...) of confusion matrices (..., classes, classes)."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    seen = matrices.sum(axis=-1) + matrices.sum(axis=-2)
    f1 = np.where(seen > 0, divided(2 * hits, seen), 0.0)
    return divided(f1.sum(axis=-1), (seen > 0).sum(axis=-1))


def macro_f1(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Mean F1 of the classes that occur in `labels` or in `predictions` (scikit-learn's and EmoBox's convention).

    A class that is predicted and never true has F1 = 0 and pulls the mean down; in UAR it only costs the class it was taken from.

    >>> round(macro_f1([0, 0, 1, 1], [0, 0, 0, 1]), 6)  # F1 4/5 and 2/3
    0.733333
    """
    return float(macro_f1_of(confusion_matrix(labels, predictions)))
