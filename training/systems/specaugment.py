"""SpecAugment (Park et al. 2019) on hidden states, as ShiftSER puts it before every head: spans of frames become one learned vector, then
spans of channels become 0. Out of place, on any device, from a generator of its own where one is given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.encoders.compact import frame_mask


class SpecAugment(nn.Module):
    """`forward(x (batch, frames, width), lengths (batch,) | None)` -> the same shape; in eval mode `x` itself.

    A clip of L frames gets max(`time_least`, floor(`time_probability` L / `time_span` + e)) spans of `time_span` frames, e uniform in
    [0, 1) and drawn once a batch; starts are uniform without replacement (spans may overlap) and each clip has its own. Channels likewise.
    Spans that would not fit are fewer, down to none where L is shorter than one span. `lengths` keeps the spans inside each clip.
    """

    def __init__(
        self,
        width: int,
        time_probability: float = 0.08,
        time_span: int = 15,
        time_least: int = 2,
        channel_probability: float = 0.05,
        channel_span: int = 64,
        channel_least: int = 1,
    ) -> None:
        super().__init__()
        self.time = (time_probability, time_span, time_least)
        self.channel = (channel_probability, channel_span, channel_least)
        self.mask_vector = nn.Parameter(torch.rand(width))

    def forward(self, x: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        if not self.training:
            return x
        batch, frames, width = x.shape
        if lengths is None:
            lengths = torch.full((batch,), frames, device=x.device)
        hidden = span_mask(lengths, frames, *self.time, generator=generator)
        x = torch.where(hidden[:, :, None], self.mask_vector.to(x.dtype), x)
        dropped = span_mask(torch.full_like(lengths, width), width, *self.channel, generator=generator)
        return torch.where(dropped[:, None, :], torch.zeros_like(x), x)


def span_mask(lengths: Tensor, size: int, probability: float, span: int, least: int, generator: torch.Generator | None = None) -> Tensor:
    """(batch, size), True inside the spans drawn for each of `lengths` (batch,) <= `size`; rules as in SpecAugment."""
    # Drawn where the generator lives (a CPU generator gives the same masks on every device), then moved.
    device = lengths.device if generator is None else generator.device
    extra = torch.rand((), generator=generator, device=device).to(lengths.device)
    keys = torch.rand(lengths.shape[0], size, generator=generator, device=device).to(lengths.device)
    counts = (probability * lengths / span + extra).floor().long().clamp(min=least)
    counts = torch.minimum(counts, lengths // span)
    most = int(counts.max())
    if most == 0:
        return torch.zeros(lengths.shape[0], size, dtype=torch.bool, device=lengths.device)
    # The places of the largest of independent uniform keys are a draw without replacement.
    keys = torch.where(frame_mask(lengths - span + 1, size), keys, -1.0)
    starts = keys.topk(most, dim=1).indices
    drawn = torch.arange(most, device=lengths.device)[None, :] < counts[:, None]
    offset = torch.arange(size, device=lengths.device)[None, None, :] - starts[:, :, None]
    return ((offset >= 0) & (offset < span) & drawn[:, :, None]).any(dim=1)
