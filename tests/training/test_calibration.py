"""Class offsets: what a model leans to with unknown speakers is found again, whatever the mixture of classes is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.calibration import class_offsets
from training.corpora import Utterance
from training.data import Example

CLASSES = 3


def examples_of(targets: np.ndarray, corpora: np.ndarray) -> list[Example]:
    clips = [Utterance(str(corpus), f"{index}.wav", speaker="a") for index, corpus in enumerate(corpora)]
    return [Example(clip, Path(clip.path), int(target)) for clip, target in zip(clips, targets, strict=True)]


def drawn(lean: np.ndarray, counts: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that would be right if they were not shifted by `lean`: Gaussian evidence, exact log likelihoods."""
    random = np.random.default_rng(seed)
    targets = np.repeat(np.arange(CLASSES), counts)
    evidence = random.normal(size=(len(targets), CLASSES))
    evidence[np.arange(len(targets)), targets] += 1.5
    return (1.5 * evidence + lean).astype(np.float32), targets


@pytest.mark.parametrize("counts", [(2000, 2000, 2000), (4000, 500, 1500)])
def test_the_lean_is_taken_out_whatever_the_mixture(counts: tuple[int, int, int]) -> None:
    lean = np.array([0.2, 0.9, -1.1])
    logits, targets = drawn(lean, counts)
    offsets = class_offsets(logits, examples_of(targets, np.repeat("one", len(targets))))
    assert offsets == pytest.approx(-(lean - lean.mean()), abs=0.12)
    assert offsets.sum() == pytest.approx(0, abs=1e-9)


def test_a_small_corpus_counts_as_much_as_a_large_one() -> None:
    large, large_targets = drawn(np.array([0.0, 1.0, -1.0]), (3000, 3000, 3000))
    small, small_targets = drawn(np.array([0.0, -1.0, 1.0]), (300, 300, 300), seed=1)
    logits, targets = np.concatenate([large, small]), np.concatenate([large_targets, small_targets])
    corpora = np.repeat(["large", "small"], [len(large), len(small)])
    assert class_offsets(logits, examples_of(targets, corpora)) == pytest.approx(0, abs=0.15)


def test_a_model_without_a_lean_is_left_alone() -> None:
    logits, targets = drawn(np.zeros(CLASSES), (2000, 2000, 2000))
    assert class_offsets(logits, examples_of(targets, np.repeat("one", len(targets)))) == pytest.approx(0, abs=0.12)
