"""What the objectives share: crops of cached states, and an encoder that learns something from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data import Example
from training.encoders.compact import CompactEncoder
from training.features import Features
from training.loop import stack


@dataclass(frozen=True)
class Speech:
    """Clips without regard to their labels: who trains, and who shows whether it helps."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]


@dataclass(frozen=True)
class Crops:
    """A part of each of some clips: what the frozen blocks make of it."""

    examples: tuple[Example, ...]
    starts: NDArray[np.int64]  # (batch,), frames of the clip
    hidden: Tensor  # (batch, frames, width), float32
    frames: Tensor  # (batch,)


def crops_of(examples: Sequence[Example], features: Features, random: np.random.Generator, longest: int, grid: int) -> Crops:
    """A random part of each clip of `longest` frames at most, which begins on a multiple of `grid` frames."""
    states, starts = [], []
    for example in examples:
        state = features.get(example, 0)
        start = grid * int(random.integers(max(0, len(state) - longest) // grid + 1))
        states.append(state[start : start + longest])
        starts.append(start)
    batch = stack(states, [0] * len(states))
    return Crops(tuple(examples), np.array(starts), batch.hidden, batch.frames)


class Objective(nn.Module):
    """An encoder and what it is to tell of each frame.

    `forward` takes crops and gives figures of frames, by name, each (frames,) over all frames that count; `loss` is what is minimised.
    """

    grid = 1  # frames; crops begin on a multiple

    def __init__(self, encoder: CompactEncoder, frozen_blocks: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.frozen_blocks = frozen_blocks

    def forward(self, crops: Crops, random: np.random.Generator) -> dict[str, Tensor]:
        raise NotImplementedError

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """What the history tells, from the mean of each figure over the frames of validation speakers."""
        return means

    def record(self) -> dict[str, str]:
        """What the run's record says besides."""
        return {}

    def trained(self) -> list[nn.Parameter]:
        """What learns: the encoder's upper blocks, and all that is not the encoder. Everything else is frozen."""
        self.encoder.requires_grad_(False)
        self.encoder.blocks[self.frozen_blocks :].requires_grad_(True)
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def states(self, hidden: Tensor, frames: Tensor) -> Tensor:
        """After the last block, (batch, frames, width)."""
        return self.encoder.upper(hidden, frames, self.frozen_blocks)[-1]


@torch.no_grad()
def validated(objective: Objective, held: Sequence[Example], features: Features, longest: int) -> dict[str, float]:
    """The objective's summary of speakers that do not train, on the same frames every time, in float32."""
    objective.eval()
    random = np.random.default_rng(0)
    found: dict[str, list[NDArray[np.float32]]] = {}
    for begin in range(0, len(held), 32):
        figures = objective(crops_of(held[begin : begin + 32], features, random, longest, objective.grid), random)
        for name, values in figures.items():
            found.setdefault(name, []).append(values.float().numpy())
    means = {name: float(np.concatenate(values).mean(dtype=np.float64)) for name, values in found.items()}
    return {f"validation_{name}": value for name, value in objective.summary(means).items()}
