"""Lin's concordance correlation coefficient, for arousal, valence and dominance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emoser.errors import UsageError
from emoser.metrics.confusion import Floats


def ccc(truth: ArrayLike, predicted: ArrayLike) -> float:
    """2 cov / (var + var + (difference of the means)²), with population moments; NaN where both are one and the same constant.

    Lin 1989, "A Concordance Correlation Coefficient to Evaluate Reproducibility". 1 only if both are equal: scale and offset count.

    >>> round(ccc([1, 2, 3], [2, 3, 4]), 6)  # 2 · 2/3 / (2/3 + 2/3 + 1)
    0.571429
    """
    x: Floats = np.asarray(truth, dtype=np.float64)
    y: Floats = np.asarray(predicted, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size == 0:
        raise UsageError(f"ccc needs two vectors of one length, not shapes {x.shape} and {y.shape}")
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * covariance / spread) if spread > 0 else float("nan")
