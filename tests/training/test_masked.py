"""Masked prediction: the loss and the masks of the paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from training.pretraining.masked import cosine_logits, spans
from training.pretraining.recipe import Pretraining


def test_logits_are_the_papers() -> None:
    """Over K columns at temperature 0.1; the original's form has K + 1, the positive first and minus infinity in its own column."""
    torch.manual_seed(0)
    projected, clusters = torch.randn(5, 8), torch.rand(7, 8)
    target = torch.tensor([0, 3, 6, 2, 2])
    logits = cosine_logits(projected, clusters, 0.1)
    assert float(logits.abs().max()) <= 10.0
    cosines = F.cosine_similarity(projected[:, None], clusters[None], dim=-1) / 0.1
    published = torch.cat([cosines.gather(1, target[:, None]), cosines.scatter(1, target[:, None], -torch.inf)], dim=1)
    expected = F.cross_entropy(published, torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(F.cross_entropy(logits, target), expected, atol=1e-6, rtol=1e-6)


def test_masks_are_the_papers() -> None:
    options = Pretraining()
    random = np.random.default_rng(0)
    drawn = [spans(200, options, random) for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(1 - math.exp(-0.8), abs=0.03)
    for mask in drawn:
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]]))))[::2]
        assert runs.min() >= options.span
    assert not spans(10, options, random).any() and spans(12, options, random).sum() >= 10
