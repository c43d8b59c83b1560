"""Scores of a model on labelled clips, by corpus and pooled, and the temperature that makes its probabilities honest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from emoser.metrics import Score, expected_calibration_error, unweighted_average_recall
from emoser.pooling import calibrated
from training.data import Example


@dataclass(frozen=True)
class Plain:
    """UAR alone, where intervals would cost more than they tell (validation while training)."""

    uar: float

    def to_dict(self) -> dict[str, Any]:
        return {"uar": self.uar}


@dataclass(frozen=True)
class Scored:
    corpora: dict[str, Score | Plain]
    pooled: Score | Plain
    mean_uar: float  # of the corpora, each counting alike

    def to_dict(self) -> dict[str, Any]:
        return {
            "corpora": {name: value.to_dict() for name, value in self.corpora.items()},
            "pooled": self.pooled.to_dict(),
            "mean_uar": self.mean_uar,
        }


def score(logits: NDArray[np.float32], examples: Sequence[Example], labels: Sequence[str], intervals: bool = True) -> Scored:
    """`logits` (clips, classes) in the order of `examples`; intervals are 95 %, by bootstrap over speakers."""
    targets = np.array([example.target for example in examples])
    predictions = logits.argmax(1)
    speakers = np.array([example.speaker for example in examples])
    corpora = np.array([example.corpus for example in examples])

    def of(chosen: NDArray[np.bool_]) -> Score | Plain:
        if not intervals:
            return Plain(float(unweighted_average_recall(targets[chosen], predictions[chosen])))
        return Score.of(targets[chosen], predictions[chosen], speakers[chosen], classes=len(labels))

    by_corpus = {str(name): of(corpora == name) for name in np.unique(corpora)}
    mean = float(np.mean([value.uar for value in by_corpus.values()]))
    return Scored(by_corpus, of(np.ones(len(targets), dtype=bool)), mean)


def temperature_of(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """The temperature of least negative log likelihood (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2)."""

    def loss(log_temperature: float) -> float:
        probabilities = calibrated(logits, float(np.exp(log_temperature)))
        return float(-np.log(probabilities[np.arange(len(targets)), targets] + 1e-12).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded").x))


def calibration_error(logits: NDArray[np.float32], targets: NDArray[np.int64], temperature: float) -> float:
    return float(expected_calibration_error(calibrated(logits, temperature), targets))
