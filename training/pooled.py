"""Training clips as the second read-out sees them: whole, pooled once, and then drawn in no time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data import Example, sampling_weights
from training.recipe import Recipe
from training.voices import Voices


@dataclass
class PooledBatch:
    vectors: Tensor  # (batch, dim)
    targets: Tensor  # (batch,)

    def to(self, device: torch.device) -> PooledBatch:
        return PooledBatch(self.vectors.to(device), self.targets.to(device))


class PooledDraws:
    """The training clips of step n: balanced over corpora and classes, in a random view, and with the chance `schedule.whole_clip_voices`
    in another speaker's place, half of them all of the way (training/voices.py): by the difference of the two speakers' means over clips
    as they are."""

    def __init__(self, recipe: Recipe, examples: Sequence[Example], views: Sequence[Tensor], process: int = 0) -> None:
        """views: the clips (clips, dim) as they are, then each degraded copy of them."""
        self.recipe = recipe
        self.views = views
        self.process = process
        self.targets = torch.tensor([example.target for example in examples])
        self.weights = sampling_weights(tuple(examples), recipe.data)
        self.voices = Voices(examples)
        schedule = recipe.schedule
        self.moved = (schedule.voices if schedule.whole_clip_voices is None else schedule.whole_clip_voices) or 0.0
        self.numbers = torch.from_numpy(self.voices.number)
        count = torch.bincount(self.numbers, minlength=len(self.voices.speakers))[:, None]
        self.means = torch.zeros(len(self.voices.speakers), views[0].shape[1]).index_add_(0, self.numbers, views[0]) / count

    def __getitem__(self, step: int) -> PooledBatch:
        random = np.random.default_rng([self.recipe.schedule.seed, step, self.process])
        size, augmentation = self.recipe.schedule.batch_size, self.recipe.augmentation
        chosen = random.choice(len(self.targets), size=size, p=self.weights)
        degraded = random.random(size) >= augmentation.clean_share
        view = np.where(degraded, random.integers(1, len(self.views), size=size), 0) if len(self.views) > 1 else np.zeros(size, int)
        vectors = torch.stack([self.views[number][index] for number, index in zip(view, chosen, strict=True)])
        if self.moved:
            moved = random.random(size) < self.moved
            way = moved * np.maximum(random.random(size), random.random(size) < 0.5)
            others = torch.from_numpy(self.voices.draw(random, size))
            vectors += torch.from_numpy(way.astype(np.float32))[:, None] * (self.means[others] - self.means[self.numbers[chosen]])
        return PooledBatch(vectors, self.targets[chosen])
