"""What checkpoints that share an encoder read of it: all layers side by side, neighbouring frames pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.encoders.compact import halve

if TYPE_CHECKING:
    from training.encoders import Encoder


def encode(
    encoder: Encoder, waveform: Tensor, lengths: Tensor, frozen_blocks: int, first_layer: int, pool: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Waveform (batch, samples) -> all layers side by side (batch, pooled frames, layers * width), their lengths (batch,), and the pooled
    frame of the clip's time axis at which the first one stands (batch,)."""
    hidden, frames, starts = encoder.lower(waveform, lengths, frozen_blocks, first_layer)
    states, frames = upper_states(encoder, hidden, frames, frozen_blocks, pool)
    return states, frames, torch.div(starts, pool, rounding_mode="floor")


def upper_states(encoder: Encoder, hidden: Tensor, frames: Tensor, frozen_blocks: int, pool: int) -> tuple[Tensor, Tensor]:
    """Cached states -> all layers side by side, pooled (batch, pooled frames, layers * width), and their lengths."""
    return halve(torch.cat(encoder.upper(hidden, frames, frozen_blocks), dim=2), frames, pool)
