"""Scores by corpus, and the temperature that fits logits to the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emoser.pooling import calibrated
from training.corpora import Utterance
from training.data import Example
from training.evaluate import calibration_error, score, temperature_of


def example(corpus: str, speaker: str, target: int, index: int) -> Example:
    return Example(Utterance(corpus, f"{index}.wav", speaker=speaker), Path(), target)


EXAMPLES = [example("a", f"s{index % 2}", target, index) for index, target in enumerate([0, 0, 0, 1])]
EXAMPLES += [example("b", f"t{index % 2}", target, index) for index, target in enumerate([0, 1, 1, 1, 1, 0])]
PREDICTED = [0, 0, 1, 1, 0, 0, 1, 1, 1, 1]  # a: recalls 2/3 and 1; b: 1/2 and 3/4
LOGITS = np.eye(2, dtype=np.float32)[PREDICTED]


def test_scores_by_corpus_their_mean_and_pooled() -> None:
    scored = score(LOGITS, EXAMPLES, ["neutral", "happy"], intervals=False)
    assert {name: value.uar for name, value in scored.corpora.items()} == pytest.approx({"a": 5 / 6, "b": 0.625})
    assert scored.mean_uar == pytest.approx((5 / 6 + 0.625) / 2)
    assert scored.pooled.uar == pytest.approx((3 / 5 + 4 / 5) / 2)
    full = score(LOGITS, EXAMPLES, ["neutral", "happy"]).to_dict()
    assert full["pooled"]["uar"] == pytest.approx(scored.pooled.uar)
    assert full["corpora"]["b"]["clips"] == 6 and full["corpora"]["b"]["speakers"] == 2
    low, high = full["pooled"]["interval"]
    assert 0 <= low <= full["pooled"]["uar"] <= high <= 1


def test_temperature_recovers_what_logits_were_multiplied_by() -> None:
    random = np.random.default_rng(0)
    logits = random.standard_normal((20_000, 4)).astype(np.float32) * 2
    drawn = (calibrated(logits, 1.0).cumsum(axis=1) > random.random((len(logits), 1))).argmax(axis=1)
    for factor in (0.5, 1.0, 3.0):
        temperature = temperature_of(logits * factor, drawn)
        assert temperature == pytest.approx(factor, rel=0.05)
        assert calibration_error(logits * factor, drawn, temperature) < 0.02
    assert calibration_error(logits * 3, drawn, 1.0) > 0.1


def test_probabilities_of_large_logits() -> None:
    np.testing.assert_allclose(calibrated(np.array([[1e4, 1e4 - np.log(3)]], dtype=np.float64), 1.0), [[0.75, 0.25]], atol=1e-6)
