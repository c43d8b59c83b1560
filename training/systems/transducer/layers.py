"""The parts that ENT and FENT are made of (the paper's sections 2.1 and 2.2; widths of its repository, ECNU-Cross-Innovation-Lab/ENT).

A frame is one step of the encoder; a node is a pair of a frame and a count of tokens emitted so far.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training.encoders.compact import frame_mask
from training.encoders.lstm import LSTM, State

RECOMPUTED_NODES = 200_000  # a lattice with more is not kept for the backward pass but computed again


class ScalarMix(nn.Module):
    """gamma * sum_k softmax(w)_k h_k over layers: (layers, batch, frames, width) -> (batch, frames, width). One layer has no weights."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers
        if layers > 1:
            self.weight = nn.Parameter(torch.zeros(layers))
            self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, hidden: Tensor) -> Tensor:
        if hidden.shape[0] != self.layers:
            raise ValueError(f"{hidden.shape[0]} layers given to a mix of {self.layers}")
        if self.layers == 1:
            return hidden[0]
        return self.gamma * torch.tensordot(self.weight.softmax(0), hidden, dims=1)


class BidirectionalLSTM(nn.Module):
    """One layer, `width` -> `hidden` in each direction: (batch, frames, width) -> (batch, frames, 2 * hidden), 0 after each clip's end.

    The backward direction runs over each clip turned round at its own end, which is what packing by length computes, and both directions
    export and trace with any number of frames.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.ahead = LSTM(width, hidden)
        self.back = LSTM(width, hidden)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        place = torch.arange(x.shape[1], device=x.device)[None, :]
        turned = (lengths[:, None] - 1 - place).clamp(min=0)[:, :, None]
        ahead, _ = self.ahead(x)
        back, _ = self.back(torch.gather(x, 1, turned.expand(-1, -1, x.shape[2])))
        back = torch.gather(back, 1, turned.expand(-1, -1, back.shape[2]))
        both = torch.cat([ahead, back], dim=2)
        return torch.where(frame_mask(lengths, x.shape[1])[:, :, None], both, torch.zeros_like(both))


class Predictor(nn.Module):
    """Tokens so far -> g: an embedding, one LSTM, a projection to `width`. Step 0 has seen blank alone."""

    def __init__(self, vocabulary: int, width: int = 768, hidden: int = 640, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.dropout = nn.Dropout(dropout)
        self.lstm = LSTM(hidden, hidden)
        self.projection = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """`tokens` (batch, steps), the first of a text being blank -> g (batch, steps, width) and the state after the last step."""
        x, state = self.lstm(self.dropout(self.embedding(tokens)), state)
        return self.projection(x), state


class Joint(nn.Module):
    """W tanh(a + b) + c at each node, where a is a frame and b a step of the predictor, both projected to `inner` first.

    Without `pre_projection` they enter as they are, and both have the width `inner`.
    """

    def __init__(self, encoder: int, predictor: int, inner: int, outputs: int, pre_projection: bool = True) -> None:
        super().__init__()
        if not pre_projection and not encoder == predictor == inner:
            raise ValueError(f"without pre-projection frames, predictor and joint have one width, not {encoder}, {predictor}, {inner}")
        self.frames: nn.Module = nn.Linear(encoder, inner) if pre_projection else nn.Identity()
        self.steps: nn.Module = nn.Linear(predictor, inner) if pre_projection else nn.Identity()
        self.output = nn.Linear(inner, outputs)

    def node(self, frame: Tensor, step: Tensor) -> Tensor:
        """Projected frames and steps (..., inner), of shapes that broadcast -> (..., outputs)."""
        logits: Tensor = self.output(torch.tanh(frame + step))
        return logits

    def forward(self, h: Tensor, g: Tensor) -> Tensor:
        """`h` (batch, T, encoder) and `g` (batch, U + 1, predictor) -> (batch, T, U + 1, outputs)."""
        frames, steps = self.frames(h)[:, :, None], self.steps(g)[:, None]
        nodes = h.shape[0] * h.shape[1] * g.shape[1]
        if torch.is_grad_enabled() and nodes > RECOMPUTED_NODES:
            recomputed: Tensor = checkpoint(self.node, frames, steps, use_reentrant=False)
            return recomputed
        return self.node(frames, steps)


class UtteranceHead(nn.Module):
    """One emotion for a clip: the mean frame beside the mean step of the predictor, LayerNorm, Linear."""

    def __init__(self, encoder: int, predictor: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(encoder + predictor)
        self.classifier = nn.Linear(encoder + predictor, classes)

    def pooled(self, h: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Means (batch, encoder) and (batch, predictor) -> logits (batch, classes) and what they are read from, the embedding."""
        embedding = self.norm(torch.cat([h, g], dim=-1))
        return self.classifier(embedding), embedding

    def forward(self, h: Tensor, frames: Tensor, g: Tensor, steps: Tensor) -> Tensor:
        """`h` (batch, T, encoder) with true lengths `frames`, `g` (batch, U + 1, predictor) with `steps` -> (batch, classes)."""
        return self.pooled(masked_mean(h, frames), masked_mean(g, steps))[0]


def masked_mean(x: Tensor, lengths: Tensor) -> Tensor:
    """(batch, steps, width) -> (batch, width), over the first `lengths` (batch,) steps of each."""
    inside = frame_mask(lengths, x.shape[1])[:, :, None]
    return torch.where(inside, x, torch.zeros_like(x)).sum(1) / lengths.clamp(min=1)[:, None]
