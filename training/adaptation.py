"""The training side of adaptation (emoser/adaptation.py): the reference that a checkpoint carries, and adapted logits of a corpus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from emoser.adaptation import Reference, adapt
from emoser.pooling import calibrated
from training.data import Example
from training.features import Features
from training.loop import pooled_clips
from training.model import Adjustment, EmotionModel, Pooled

MANY_CLIPS = 4000  # that a reference is taken from: of n times as many and more, every n-th, so that there are fewer than twice these


def reference_of(model: EmotionModel, examples: Sequence[Example], features: Features, own: int) -> Reference:
    """Of the training clips labelled with one of the first `own` classes; of `MANY_CLIPS` times n and more, every n-th."""
    known = [example for example in examples if example.target < own]
    known = known[:: max(1, len(known) // MANY_CLIPS)]
    vectors = pooled_clips(model, known, features).vector.numpy()
    targets = np.array([example.target for example in known])
    return Reference.of(vectors, targets, np.array([example.speaker for example in known]))


@torch.inference_mode()
def adapted_logits(
    model: EmotionModel, pooled: Pooled, groups: NDArray[np.str_], reference: Reference, own: int, temperature: float
) -> NDArray[np.float32]:
    """Logits (clips, own) where the clips of each group (a speaker, a user's folder) adapt the model to it; no label is used. The model
    stays on its device."""
    model.eval()
    device = next(model.parameters()).device
    plain = model.read(pooled.to(device))[0].cpu().numpy()[:, :own]
    found = np.empty_like(plain)
    vectors = pooled.vector.numpy()
    for group in np.unique(groups):
        chosen = np.flatnonzero(groups == group)
        moved = adapt(vectors[chosen], calibrated(plain[chosen], temperature), reference)
        by = Adjustment(torch.from_numpy(moved.scale).to(device), torch.from_numpy(moved.shift).to(device))
        part = Pooled(pooled.embedding[chosen], None if pooled.statistics is None else pooled.statistics[chosen], pooled.frames[chosen])
        found[chosen] = model.read(part.to(device), by)[0].cpu().numpy()[:, :own]
    return found
