"""Clips in another speaker's voice: what tells speakers, rooms and corpora apart is traded between clips while a model trains.

A clip's pooled vector is, roughly, what its speaker sounds like plus what the emotion adds. `Voices` keeps a running mean of the vectors of
each training speaker; a clip moves to another speaker's place by the difference of the two means, its label unchanged. The read-outs then
cannot lean on who speaks, or on which corpus has which emotions, which is what costs most on voices that were never heard
(docs/experiments.md has the measurement).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data import Example
from training.model import Pooled

SLOWEST = 0.03  # of a clip's own vector in its speaker's mean, once many were seen


class Voices:
    """Running means of the training speakers' pooled vectors."""

    def __init__(self, examples: Sequence[Example]) -> None:
        corpus = {example.speaker: example.corpus for example in examples}
        self.speakers = tuple(sorted(corpus))
        numbers = {speaker: number for number, speaker in enumerate(self.speakers)}
        self.number = np.array([numbers[example.speaker] for example in examples])
        corpora = [corpus[speaker] for speaker in self.speakers]
        weights = np.array([1 / corpora.count(name) for name in corpora])
        self.weights: NDArray[np.float64] = weights / weights.sum()  # of drawing each: corpora are equally likely
        self.means: dict[str, Tensor] = {}  # embedding and statistics, (speakers, dim)
        self.seen = torch.zeros(len(self.speakers))

    def draw(self, random: np.random.Generator, count: int) -> NDArray[np.int64]:
        """The numbers of `count` speakers to move to."""
        return random.choice(len(self.speakers), size=count, p=self.weights)

    @torch.no_grad()
    def update(self, pooled: Pooled, numbers: Tensor) -> None:
        """Takes a batch in; `numbers` (batch,) are its speakers'. A speaker's first clips count equally, later ones `SLOWEST`."""
        for name, vectors in _vectors(pooled).items():
            known = self.means.get(name)
            # The first clips may be heard before the model moves to its device.
            self.means[name] = torch.zeros(len(self.speakers), vectors.shape[1]) if known is None else known
            self.means[name] = self.means[name].to(vectors.device)
        for row, number in enumerate(numbers.tolist()):
            self.seen[number] += 1
            share = max(1 / float(self.seen[number]), SLOWEST)
            for name, vectors in _vectors(pooled).items():
                self.means[name][number].lerp_(vectors[row].detach().float(), share)

    def moved(self, pooled: Pooled, numbers: Tensor, others: Tensor, share: Tensor) -> Pooled:
        """Each clip, `share` (batch,) of the way from its speaker to another; a speaker of whom nothing is known yet is no place to go."""
        known = (self.seen[numbers.cpu()] > 0) & (self.seen[others.cpu()] > 0)
        share = (share * known.to(share.device))[:, None]
        found = {
            name: vectors + share * (self.means[name][others] - self.means[name][numbers]) for name, vectors in _vectors(pooled).items()
        }
        return pooled._replace(**found)

    def state(self) -> dict[str, Tensor]:
        return {"seen": self.seen, **self.means}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.seen = state["seen"].cpu()
        self.means = {name: value for name, value in state.items() if name != "seen"}


def _vectors(pooled: Pooled) -> dict[str, Tensor]:
    vectors = {"embedding": pooled.embedding}
    return vectors if pooled.statistics is None else vectors | {"statistics": pooled.statistics}
