"""The six heads of ShiftSER (Shen, Liu, Zhou 2023, "Mingling or Misalignment? Temporal Shift for Speech Emotion Recognition with
Pre-trained Representations", ICASSP, arXiv 2302.13277; code MIT): three small networks on the last hidden state of a speech encoder, each
with and without the temporal shift.

Layers, order of parameters and initialisation are the original's. Three things differ, each with an option to have it back:

- padding is masked at every step that mixes frames, so it never changes a result (`masked=False`: padding is speech, as published);
- relative distances beyond the table are clipped to its ends, so a clip may be longer than those trained on;
- the dropout that the original configures and never applies is wired (`dropout=0.0`, the default, is what was published).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.encoders.compact import attention_bias, frame_mask
from training.encoders.lstm import LSTM
from training.systems.shift import TemporalShift, temporal_shift
from training.systems.specaugment import SpecAugment

__all__ = ["HEADS", "Head", "HeadOptions", "HeadOutput", "SpecAugment", "build_head", "temporal_shift"]

POSITIONS = ("relative_key_query", "relative_key", "absolute")


class HeadOutput(NamedTuple):
    """`logits` (batch, classes); `frames` (batch, frames, classes), each frame by itself, 0 after the clip's end; `embedding` (batch, dim),
    the mean of the frames that the classifier sees."""

    logits: Tensor
    frames: Tensor
    embedding: Tensor


@dataclass(frozen=True)
class HeadOptions:
    """Everything a recipe may set; the defaults are the paper's."""

    # temporal shift: where it stands in a block, and in which blocks (numbered from 1; None: all)
    placement: str = "none"
    n_div: int = 4
    stride: int = 1
    bidirectional: bool = False
    padding: str = "zero"
    shifted_blocks: tuple[int, ...] | None = None

    # network
    blocks: int = 2
    expansion: int = 4  # inner width of a block's MLP, in widths
    kernel: int = 7  # frames a convolution sees
    heads: int = 12
    position: str = "relative_key_query"
    longest: int = 374  # frames the position tables tell apart: 7.5 s
    distance_deviation: float = 1.0  # of the initial distance table; at 1 it outweighs the content at the start of training

    # regularisation
    dropout: float = 0.0  # of each residual branch and of the pooled vector
    specaugment: bool = True

    # False: padding is treated as speech, as in the original
    masked: bool = True

    def shifts_block(self, block: int) -> bool:
        """Whether block number `block`, from 1, is one of those shifted."""
        return self.placement != "none" and (self.shifted_blocks is None or block in self.shifted_blocks)


class Head(nn.Module):
    """What the heads have in common: SpecAugment first, masked mean and linear classifier last. `mix` stands between."""

    placements: tuple[str, ...] = ()

    def __init__(self, width: int, options: HeadOptions) -> None:
        super().__init__()
        if options.placement not in self.placements:
            raise ValueError(f'placement is "{options.placement}"; for {type(self).__name__} it is one of {", ".join(self.placements)}')
        wrong = [block for block in options.shifted_blocks or () if not 1 <= block <= options.blocks]
        if wrong:
            raise ValueError(f"shifted_blocks names {wrong}; blocks are numbered 1 to {options.blocks}")
        self.masked = options.masked
        self.specaugment = SpecAugment(width) if options.specaugment else None
        self.dropout = nn.Dropout(options.dropout)

    def mix(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, width) -> the normalised frames (batch, frames, dim) that are pooled; `lengths` is None where unmasked."""
        raise NotImplementedError

    def forward(
        self,
        hidden: Tensor,
        lengths: Tensor,
        generator: torch.Generator | None = None,
        adjust: Callable[[Tensor], Tensor] | None = None,
    ) -> HeadOutput:
        """`hidden` (batch, frames, width), `lengths` (batch,) in frames; `generator` draws SpecAugment's spans while training. `adjust` is
        applied to what the classifier sees of clips and frames, (..., dim); the embedding stays as it is."""
        known = lengths if self.masked else None
        x = silence(hidden, known)
        if self.specaugment is not None:
            x = self.specaugment(x, known, generator)
        x = silence(self.mix(x, known), known)
        # At least one, so that a clip without a frame gives the classifier's bias and not NaN.
        embedding = x.mean(dim=1) if known is None else x.sum(dim=1) / known.clamp(min=1)[:, None]
        pooled, frames = (embedding, x) if adjust is None else (adjust(embedding), adjust(x))
        return HeadOutput(self.classifier(self.dropout(pooled)), silence(self.classifier(frames), known), embedding)


def silence(x: Tensor, lengths: Tensor | None) -> Tensor:
    """`x` (batch, frames, dim) with zeros after each clip's end. `where`, for a product would keep NaN and infinity."""
    if lengths is None:
        return x
    return torch.where(frame_mask(lengths, x.shape[1])[:, :, None], x, torch.zeros_like(x))


def build_shift(width: int, options: HeadOptions, block: int) -> TemporalShift | None:
    """The shift of block number `block`, from 1, or None."""
    if not options.shifts_block(block):
        return None
    return TemporalShift(width, options.n_div, options.stride, options.bidirectional, options.padding)


class ConvBlock(nn.Module):
    """Depthwise convolution, LayerNorm, and an MLP at each frame, around which stands a residual. The shift may stand on the residual (the
    paper's), before both, or (not in the paper) in place of the convolution."""

    def __init__(self, width: int, options: HeadOptions, block: int) -> None:
        super().__init__()
        self.shift = build_shift(width, options, block)
        self.placement = options.placement if self.shift is not None else "none"
        if self.placement != "replacement":
            self.dw = nn.Conv1d(width, width, options.kernel, padding=options.kernel // 2, groups=width)
        self.ln = nn.LayerNorm(width)
        # The original's 1x1 convolutions; Linear has the same numbers and initialisation without the two transpositions.
        self.pw1 = nn.Linear(width, options.expansion * width)
        self.pw2 = nn.Linear(options.expansion * width, width)
        self.act = nn.GELU()
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        x = silence(x, lengths)
        shortcut = x if self.shift is None else self.shift(x, lengths)
        if self.placement in ("in-place", "replacement"):
            x = shortcut
        y = x if self.placement == "replacement" else self.dw(x.transpose(1, 2)).transpose(1, 2)
        y = self.pw2(self.act(self.pw1(self.ln(y))))
        return shortcut + self.dropout(y)


class ConvHead(Head):
    """`cnn`, `shiftcnn`: ConvNeXt-like blocks, then LayerNorm at each frame."""

    placements = ("none", "residual", "in-place", "replacement")

    def __init__(self, width: int, classes: int, options: HeadOptions) -> None:
        super().__init__(width, options)
        if options.kernel % 2 == 0:
            raise ValueError(f"kernel is {options.kernel}; it is odd, so that a frame stands in its middle")
        self.blocks = nn.ModuleList(ConvBlock(width, options, block) for block in range(1, options.blocks + 1))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def mix(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, lengths)
        return self.norm(x)


def by_distance(products: Tensor) -> Tensor:
    """(..., frames, 2 * frames - 1), each frame i with distance j - i from 1 - frames up -> (..., frames, frames), [i, j].

    A row further down, what is wanted begins one column further left: read in rows that are one shorter, it stands in columns.
    """
    frames = products.shape[-2]
    flat = F.pad(products, (0, 1)).flatten(-2)[..., frames - 1 :]
    flat = flat[..., : frames * (2 * frames - 1)]
    return flat.unflatten(-1, (frames, 2 * frames - 1))[..., :frames]


class RelativeAttention(nn.Module):
    """Self-attention without an output projection, with learned relative distances (Shaw et al. 2018; Huang et al. 2020).

    Scores are (q_i k_j + q_i e_ij + k_j e_ij) / sqrt(dim of a head), e_ij the row of the table for distance i - j, shared by the heads;
    `relative_key` leaves out the k e term, `absolute` both.
    """

    def __init__(self, width: int, options: HeadOptions) -> None:
        super().__init__()
        self.heads = options.heads
        self.head = width // options.heads
        self.position = options.position
        self.longest = options.longest
        self.qkv = nn.Linear(width, 3 * width)
        if self.position != "absolute":
            self.distance = nn.Embedding(2 * self.longest - 1, self.head)
            nn.init.normal_(self.distance.weight, std=options.distance_deviation)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, width) -> the same."""
        batch, frames, width = x.shape
        q, k, v = self.qkv(x).view(batch, frames, 3, self.heads, self.head).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(2, 3)
        if self.position != "absolute":
            reach = self.longest - 1
            distances = torch.arange(1 - frames, frames, device=x.device).clamp(-reach, reach)  # j - i, from one end to the other
            scores = scores + by_distance(q @ self.distance.weight[reach - distances].T)
            if self.position == "relative_key_query":
                scores = scores + by_distance(k @ self.distance.weight[reach + distances].T).transpose(2, 3)
        scores = scores / math.sqrt(self.head)
        if lengths is not None:
            scores = scores + attention_bias(lengths, frames).to(scores.dtype)
        return (scores.softmax(dim=3) @ v).transpose(1, 2).reshape(batch, frames, width)


class AttentionBlock(nn.Module):
    """Post-norm transformer block. The shift may take the place of attention with its residual and norm (the paper's), stand on the
    residual of attention, or before the block."""

    def __init__(self, width: int, options: HeadOptions, block: int) -> None:
        super().__init__()
        self.shift = build_shift(width, options, block)
        self.placement = options.placement if self.shift is not None else "none"
        if self.placement != "replacement":
            self.attention = RelativeAttention(width, options)
            self.ln1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, options.expansion * width), nn.GELU(), nn.Linear(options.expansion * width, width), nn.Dropout(options.dropout)
        )
        self.ln2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        shortcut = x if self.shift is None else self.shift(x, lengths)
        if self.placement == "replacement":
            x = shortcut
        else:
            x = shortcut if self.placement == "in-place" else x
            x = self.ln1(shortcut + self.dropout(self.attention(x, lengths)))
        return self.ln2(x + self.mlp(x))


class AttentionHead(Head):
    """`transformer`, `shiftformer`: post-norm blocks without a final norm."""

    placements = ("none", "residual", "in-place", "replacement")

    def __init__(self, width: int, classes: int, options: HeadOptions) -> None:
        super().__init__(width, options)
        if options.position not in POSITIONS:
            raise ValueError(f'position is "{options.position}"; it is one of {", ".join(POSITIONS)}')
        if width % options.heads:
            raise ValueError(f"heads is {options.heads}; it divides the width, {width}")
        self.absolute = nn.Embedding(options.longest, width) if options.position == "absolute" else None
        self.blocks = nn.ModuleList(AttentionBlock(width, options, block) for block in range(1, options.blocks + 1))
        self.classifier = nn.Linear(width, classes)

    def mix(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if self.absolute is not None:
            place = torch.arange(x.shape[1], device=x.device)
            x = x + self.absolute(place.clamp(max=self.absolute.num_embeddings - 1))
        for block in self.blocks:
            x = block(x, lengths)
        return x


class RecurrentHead(Head):
    """`lstm`, `shiftlstm`: one bidirectional LSTM, then LayerNorm at each frame.

    Two LSTMs of one direction each; the second reads every clip from its own last frame (flipped by a gather), which is what packing does
    and, unlike packing, exports. The order of parameters is that of `nn.LSTM(bidirectional=True)`.
    """

    placements = ("none", "in-place")

    def __init__(self, width: int, classes: int, options: HeadOptions) -> None:
        super().__init__(width, options)
        self.shift = build_shift(width, replace(options, shifted_blocks=None), 1)
        self.forwards = LSTM(width, width)
        self.backwards = LSTM(width, width)
        self.norm = nn.LayerNorm(2 * width)
        self.classifier = nn.Linear(2 * width, classes)

    def mix(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if self.shift is not None:
            x = self.shift(x, lengths)
        past, _ = self.forwards(x)
        future, _ = self.backwards(reverse(x, lengths))
        return self.norm(torch.cat([past, reverse(future, lengths)], dim=2))


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """`x` (batch, frames, dim) with the frames of each clip in reverse order and its padding where it was; its own inverse."""
    if lengths is None:
        return x.flip(1)
    place = torch.arange(x.shape[1], device=x.device)[None, :]
    end = lengths[:, None]
    index = torch.where(place < end, end - 1 - place, place)
    return torch.gather(x, 1, index[:, :, None].expand(-1, -1, x.shape[2]))


# The published settings (section 3.1 of the paper and the commands of its repository).
HEADS: dict[str, tuple[type[ConvHead] | type[AttentionHead] | type[RecurrentHead], HeadOptions]] = {
    "cnn": (ConvHead, HeadOptions(n_div=16)),
    "shiftcnn": (ConvHead, HeadOptions(placement="residual", n_div=16, shifted_blocks=(2,))),
    "transformer": (AttentionHead, HeadOptions()),
    "shiftformer": (AttentionHead, HeadOptions(placement="replacement", n_div=4, bidirectional=True)),
    "lstm": (RecurrentHead, HeadOptions()),
    "shiftlstm": (RecurrentHead, HeadOptions(placement="in-place", n_div=4)),
}


def build_head(name: str, width: int, classes: int, **options: Any) -> Head:
    """The head `name` of `HEADS` for hidden states of `width` channels; `options` replaces fields of its `HeadOptions`.

    >>> build_head("shiftcnn", width=32, classes=4, n_div=8).blocks[1].shift
    TemporalShift(n_div=8, stride=1, bidirectional=False, padding=zero)
    """
    if name not in HEADS:
        raise ValueError(f'no head "{name}"; there are {", ".join(HEADS)}')
    known = [field.name for field in fields(HeadOptions)]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            raise ValueError(f'no option "{option}"' + (f', perhaps "{near[0]}"' if near else "") + f"; there are {', '.join(known)}")
    if options.get("shifted_blocks") is not None:
        options["shifted_blocks"] = tuple(options["shifted_blocks"])  # a recipe's YAML gives a list
    head, defaults = HEADS[name]
    return head(width, classes, replace(defaults, **options))
