"""What validation speakers say about a trained model's classes: an offset for each (the temperature that follows: training/evaluate.py).

A network trained on balanced draws still leans to some classes with speakers it does not know (ours to angry). Offsets that make the
probabilities of unknown speakers right move the labels too, and carry over to corpora never seen (docs/experiments.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from training.data import Example


def class_offsets(logits: NDArray[np.float32], examples: Sequence[Example]) -> NDArray[np.float64]:
    """What to add to the logits (clips, classes), summing to 0: temperature and offsets of least negative log likelihood, where each class
    of each corpus counts alike (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2, one scale for all)."""
    targets = np.array([example.target for example in examples])
    cells = Counter((example.corpus, example.target) for example in examples)
    weights = np.array([1 / cells[example.corpus, example.target] for example in examples])
    rows = np.arange(len(targets))

    def loss(parameters: NDArray[np.float64]) -> float:
        scores = log_softmax(logits * np.exp(parameters[0]) + parameters[1:], axis=1)
        # The sum of the offsets has no effect on the scores; the last term pins it to 0.
        return float(-(weights * scores[rows, targets]).sum() / weights.sum() + parameters[1:].sum() ** 2)

    found = minimize(loss, np.zeros(logits.shape[1] + 1)).x
    offsets = found[1:] / np.exp(found[0])
    return np.asarray(offsets - offsets.mean())
