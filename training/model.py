"""An utterance model: compact encoder, a learnt mix of its layers, one of the published heads; and the same as an exported graph."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.encoders.compact import FRAME_HOP, SAMPLE_RATE, CompactEncoder, frame_mask
from training.recipe import Model
from training.systems.shiftser import HeadOutput, SpecAugment, build_head


class LayerMix(nn.Module):
    """One sequence from several layers: each channel standardised by what the training clips had, then a softmax-weighted mean.

    The layers of a transformer differ in scale, and a few channels carry most of their energy; without standardising, the head would have
    to undo both first. `mean` and `deviation` (layers, width) are set once, from data (`standardise`), and are not trained.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(layers))
        self.register_buffer("mean", torch.zeros(layers, width))
        self.register_buffer("deviation", torch.ones(layers, width))

    def forward(self, states: list[Tensor]) -> Tensor:
        share = self.weight.softmax(0)
        mixed = torch.zeros_like(states[0])
        for index, state in enumerate(states):
            mixed = mixed + share[index] * (state - self.mean[index]) / self.deviation[index]
        return mixed

    @torch.no_grad()
    def standardise(self, batches: list[tuple[list[Tensor], Tensor]]) -> None:
        """Takes mean and deviation of each channel over all frames of `batches`, pairs of states and their lengths in frames."""
        for index in range(len(self.weight)):
            frames = torch.cat([states[index][frame_mask(lengths, states[index].shape[1])] for states, lengths in batches])
            self.mean[index] = frames.mean(0)
            self.deviation[index] = frames.std(0).clamp(min=1e-4)


def halve(x: Tensor, lengths: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Means of `factor` neighbouring frames of (batch, frames, width), over the frames that are there; lengths round up."""
    if factor == 1:
        return x, lengths
    inside = frame_mask(lengths, x.shape[1])[:, :, None]
    x = torch.where(inside, x, torch.zeros_like(x))
    # One group more than is needed at most, so that no shape depends on whether the number of frames divides evenly.
    short = nn.functional.pad(x, (0, 0, 0, factor - 1))
    groups = short.shape[1] // factor
    sums = short[:, : groups * factor].reshape(x.shape[0], groups, factor, x.shape[2]).sum(2)
    ends = torch.arange(1, groups + 1, device=x.device)[None, :] * factor
    counts = (factor - (ends - lengths[:, None])).clamp(min=1, max=factor)
    return sums / counts[:, :, None], torch.div(lengths + factor - 1, factor, rounding_mode="floor")


class EmotionModel(nn.Module):
    """`forward_states` is what training runs on cached states; `forward` starts from the waveform. Both give the head's output.

    `starts` (batch,) of `forward` is the frame of the clip's own time axis at which the first frame of the output stands.
    """

    def __init__(self, options: Model, classes: int) -> None:
        super().__init__()
        self.frozen_blocks = options.frozen_blocks
        self.pool = options.pool
        self.encoder = CompactEncoder(options.blocks)
        self.mix = LayerMix(options.blocks - options.frozen_blocks + 1, self.encoder.width)
        self.head = build_head(options.head, self.encoder.width, classes, **options.head_options)
        if options.specaugment and self.head.specaugment is not None:
            self.head.specaugment = SpecAugment(self.encoder.width, **options.specaugment)
        self.frame_samples = FRAME_HOP * options.pool
        self.frame_hop = self.frame_samples / SAMPLE_RATE  # s

    def states(self, hidden: Tensor, frames: Tensor) -> list[Tensor]:
        """The layers that are mixed, from the cached one on."""
        return self.encoder.upper(hidden, frames, self.frozen_blocks)

    def forward_states(self, hidden: Tensor, frames: Tensor) -> HeadOutput:
        """`hidden` (batch, frames, 384) after the frozen blocks, `frames` (batch,) their true lengths."""
        return self._head(hidden, frames)[0]

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[HeadOutput, Tensor, Tensor]:
        """Head output, its lengths in frames (batch,) and `starts` (batch,)."""
        hidden, frames, starts = self.encoder.lower(waveform, lengths, self.frozen_blocks)
        output, frames = self._head(hidden, frames)
        return output, frames, torch.div(starts, self.pool, rounding_mode="floor")

    def _head(self, hidden: Tensor, frames: Tensor) -> tuple[HeadOutput, Tensor]:
        x, lengths = halve(self.mix(self.states(hidden, frames)), frames, self.pool)
        output: HeadOutput = self.head(x, lengths)
        return output, lengths

    def parameters_by_depth(self) -> list[list[nn.Parameter]]:
        """What is trained: the head and the mix first, then the blocks from the highest down to the last that is not frozen."""
        groups = [[*self.mix.parameters(), *self.head.parameters()]]
        groups += [list(block.parameters()) for block in reversed(self.encoder.blocks[self.frozen_blocks :])]
        return groups


class GraphOutput(NamedTuple):
    """The fixed outputs of an utterance checkpoint (docs/architecture.md)."""

    logits: Tensor
    frames: Tensor
    embedding: Tensor
    frame_lengths: Tensor


class Graph(nn.Module):
    """The model with the graph interface: the checkpoint's own classes only, and frames on the clip's own time axis."""

    def __init__(self, model: EmotionModel, classes: int) -> None:
        super().__init__()
        self.model = model
        self.classes = classes

    def forward(self, waveform: Tensor, lengths: Tensor) -> GraphOutput:
        output, inner, starts = self.model(waveform, lengths)
        hop = self.model.frame_samples
        frame_lengths = torch.div(lengths + hop - 1, hop, rounding_mode="floor")
        total = (waveform.shape[1] + hop - 1) // hop
        place = torch.arange(total, device=waveform.device)[None, :] - starts[:, None]
        inside = (place >= 0) & (place < inner[:, None])
        place = place.clamp(min=0)
        place = torch.minimum(place, (inner - 1)[:, None])[:, :, None].expand(-1, -1, self.classes)
        frames = torch.gather(output.frames[:, :, : self.classes], 1, place)
        frames = torch.where(inside[:, :, None], frames, torch.zeros_like(frames))
        return GraphOutput(output.logits[:, : self.classes], frames, output.embedding, frame_lengths)
