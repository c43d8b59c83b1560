"""The temporal shift of ShiftSER (Shen, Liu, Zhou 2023, "Mingling or Misalignment? Temporal Shift for Speech Emotion Recognition with
Pre-trained Representations", section 2): some channels of every frame are exchanged for those of a neighbouring frame, so that layers that
see one frame alone mix time at no cost in parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.encoders.compact import frame_mask

PADDINGS = ("zero", "repeat")


def temporal_shift(
    x: Tensor,
    n_div: int = 4,
    stride: int = 1,
    bidirectional: bool = False,
    padding: str = "zero",
    lengths: Tensor | None = None,
) -> Tensor:
    """Moves floor(D / n_div) channels of `x` (batch, frames, D) by `stride` frames towards the future, and, where `bidirectional`, as
    many again towards the past: then 2 / n_div of the channels move. The others stay; an uneven rest stays too.

    Frames that nothing moved into are 0 (`padding="zero"`) or keep their own value (`"repeat"`); nothing wraps around. With `lengths`
    (batch,), in frames, each clip ends at its own end: what stands behind it is not moved into it, and is 0 in the result.

    >>> temporal_shift(torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]), n_div=2)
    tensor([[[0., 2.],
             [1., 4.],
             [3., 6.]]])
    """
    channels = x.shape[-1]
    check_shift(channels, n_div, stride, bidirectional, padding)
    return exchange(x, channels // n_div, stride, bidirectional, padding, lengths)


def exchange(x: Tensor, fold: int, stride: int, bidirectional: bool, padding: str, lengths: Tensor | None) -> Tensor:
    """`temporal_shift` of `fold` channels each way, its options checked before (a check on a shape cannot be traced)."""
    inside = None if lengths is None else frame_mask(lengths, x.shape[1])[:, :, None]
    if inside is not None:
        x = torch.where(inside, x, torch.zeros_like(x))
    # Padded first and sliced after, so that a stride longer than the clip needs no case of its own.
    later = F.pad(x[:, :, :fold], (0, 0, stride, 0))[:, :-stride]
    earlier = F.pad(x[:, :, fold : 2 * fold], (0, 0, 0, stride))[:, stride:] if bidirectional else None
    if padding == "repeat":
        frame = torch.arange(x.shape[1], device=x.device)[None, :, None]
        later = torch.where(frame >= stride, later, x[:, :, :fold])
        if earlier is not None:
            source = F.pad(x.new_ones(x.shape[0], x.shape[1], 1, dtype=torch.bool) if inside is None else inside, (0, 0, 0, stride))
            earlier = torch.where(source[:, stride:], earlier, x[:, :, fold : 2 * fold])
    parts = [later, x[:, :, fold:]] if earlier is None else [later, earlier, x[:, :, 2 * fold :]]
    out = torch.cat(parts, dim=2)
    return out if inside is None else torch.where(inside, out, torch.zeros_like(out))


def check_shift(channels: int, n_div: int, stride: int, bidirectional: bool, padding: str) -> None:
    """Raises ValueError where the options cannot shift `channels` channels (the original fails late or shifts nothing, silently)."""
    least = 2 if bidirectional else 1
    if not least <= n_div <= channels:
        direction = "both directions" if bidirectional else "one direction"
        raise ValueError(f"n_div is {n_div}; for {channels} channels and {direction} it is between {least} and {channels}")
    if stride < 1:
        raise ValueError(f"stride is {stride}; it is a number of frames, 1 or more")
    if padding not in PADDINGS:
        raise ValueError(f'padding is "{padding}"; it is one of {", ".join(PADDINGS)}')


class TemporalShift(nn.Module):
    """`temporal_shift` with its options fixed; no parameters."""

    def __init__(self, channels: int, n_div: int, stride: int, bidirectional: bool, padding: str) -> None:
        super().__init__()
        check_shift(channels, n_div, stride, bidirectional, padding)
        self.n_div = n_div
        self.fold = channels // n_div
        self.stride = stride
        self.bidirectional = bidirectional
        self.padding = padding

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return exchange(x, self.fold, self.stride, self.bidirectional, self.padding, lengths)

    def extra_repr(self) -> str:
        return f"n_div={self.n_div}, stride={self.stride}, bidirectional={self.bidirectional}, padding={self.padding}"
