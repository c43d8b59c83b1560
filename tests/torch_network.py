"""A transducer's training module behind the interface that the package decodes by."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from emoser.models.transducer import Floats, State
from training.systems.transducer.networks import Transducer


class TorchNetwork:
    """A training module as the decoder's network."""

    def __init__(self, model: Transducer) -> None:
        self.model = model.eval()

    def start(self) -> State:
        hidden, cell = self.model.start(1)
        return hidden.numpy(), cell.numpy()

    @torch.inference_mode()
    def step(self, tokens: NDArray[np.int64], state: State) -> tuple[Floats, State]:
        steps, (hidden, cell) = self.model.step(torch.from_numpy(tokens), (torch.from_numpy(state[0]), torch.from_numpy(state[1])))
        return steps.numpy(), (hidden.numpy(), cell.numpy())

    @torch.inference_mode()
    def node(self, frames: Floats, steps: Floats) -> tuple[Floats, Floats]:
        tokens, emotions = self.model.node(torch.from_numpy(np.ascontiguousarray(frames)), torch.from_numpy(np.ascontiguousarray(steps)))
        return tokens.numpy(), emotions.numpy()
