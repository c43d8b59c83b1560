"""An utterance model: compact encoder, a learnt mix of its layers, one of the published heads; and the same as an exported graph."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.encoders import build_encoder
from training.encoders.compact import FRAME_HOP, SAMPLE_RATE, frame_mask, halve
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

    def standardised(self, states: list[Tensor]) -> list[Tensor]:
        return [(state - self.mean[index]) / self.deviation[index] for index, state in enumerate(states)]

    def forward(self, states: list[Tensor]) -> Tensor:
        """`states` as `standardised` gives them."""
        share = self.weight.softmax(0)
        mixed = torch.zeros_like(states[0])
        for index, state in enumerate(states):
            mixed = mixed + share[index] * state
        return mixed

    def standardise(self, batches: list[tuple[list[Tensor], Tensor]]) -> None:
        """Takes mean and deviation from `batches`, as `take_scale` does."""
        take_scale(self.mean, self.deviation, batches)


@torch.no_grad()
def take_scale(mean: Tensor, deviation: Tensor, batches: list[tuple[list[Tensor], Tensor]]) -> None:
    """Puts into `mean` and `deviation` (layers, width) those of each channel of each layer over all frames of `batches`: pairs of the
    layers' states (batch, frames, width) and their lengths in frames."""
    for index in range(len(mean)):
        frames = torch.cat([states[index][frame_mask(lengths, states[index].shape[1])] for states, lengths in batches])
        mean[index] = frames.mean(0)
        deviation[index] = frames.std(0).clamp(min=1e-4)


class Adjustment(NamedTuple):
    """Adaptation to a user's recordings (emoser/adaptation.py): pooled vectors become `vector * scale + shift`, both (dim,)."""

    scale: Tensor
    shift: Tensor


class Pooled(NamedTuple):
    """A clip as vectors: `embedding` (batch, dim) of the head, `statistics` (batch, layers * 2 * width) of the layers or None, and each
    frame's logits (batch, frames, classes)."""

    embedding: Tensor
    statistics: Tensor | None
    frames: Tensor

    def to(self, device: torch.device) -> Pooled:
        return Pooled(self.embedding.to(device), None if self.statistics is None else self.statistics.to(device), self.frames.to(device))

    @property
    def vector(self) -> Tensor:
        """All that the read-outs see, (batch, dim of the embedding + dim of the statistics)."""
        return self.embedding if self.statistics is None else torch.cat([self.embedding, self.statistics], dim=1)

    def adjusted(self, by: Adjustment) -> Pooled:
        """The clip as adapted read-outs see it; frames stay as they are."""
        vector = self.vector * by.scale + by.shift
        width = self.embedding.shape[1]
        return self._replace(embedding=vector[:, :width], statistics=None if self.statistics is None else vector[:, width:])

    def mixed(self, order: Tensor, share: Tensor) -> Pooled:
        """Clip i becomes `share` of itself and the rest of clip `order[i]`; frames stay as they are."""
        share = share[:, None]

        def pair(x: Tensor) -> Tensor:
            return share * x + (1 - share) * x[order]

        return Pooled(pair(self.embedding), None if self.statistics is None else pair(self.statistics), self.frames)


LAST_OF_STATISTICS = 5  # which layer of `StatisticsReadout.network` tells the labels apart


class Standardised(nn.Module):
    """Each entry of a vector less its mean, over its deviation, both (width,): of the training clips, set once and not trained."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation

    @torch.no_grad()
    def take(self, vectors: Tensor) -> None:
        """Mean and deviation of `vectors` (clips, width)."""
        self.mean.copy_(vectors.mean(0))
        self.deviation.copy_(vectors.std(0).clamp(min=1e-4))


class StatisticsReadout(nn.Module):
    """Logits from mean and deviation over time of every layer: what a linear probe reads best (docs/experiments.md), through one hidden
    layer. It sees the clip as a whole, where the paper's head averages over frames.

    Clips differ less in these than frames do, in deviations least: with `standardise` each counts alike when training begins."""

    def __init__(self, layers: int, width: int, hidden: int, classes: int, dropout: float, standardise: bool = False) -> None:
        super().__init__()
        self.standardised = Standardised(2 * layers * width) if standardise else None
        self.network = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(2 * layers * width, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )

    @torch.no_grad()
    def begin_anew(self, vectors: Tensor) -> None:
        """First weights again, and the scale of `vectors` (clips, width)."""
        for module in self.network:
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()
        if self.standardised is not None:
            self.standardised.take(vectors.to(self.standardised.mean.device))

    def forward(self, statistics: Tensor) -> Tensor:
        logits: Tensor = self.network(statistics if self.standardised is None else self.standardised(statistics))
        return logits

    def parameters_by_depth(self) -> list[list[nn.Parameter]]:
        """For where it is trained by itself."""
        return [list(self.parameters())]


def mean_and_deviation(x: Tensor, lengths: Tensor) -> Tensor:
    """(batch, 2 * width) over the true frames of (batch, frames, width)."""
    inside = frame_mask(lengths, x.shape[1])[:, :, None]
    count = lengths.clamp(min=1)[:, None]
    mean = torch.where(inside, x, torch.zeros_like(x)).sum(1) / count
    difference = torch.where(inside, x - mean[:, None], torch.zeros_like(x))
    return torch.cat([mean, (difference.square().sum(1) / count + 1e-5).sqrt()], dim=1)


class EmotionModel(nn.Module):
    """`pool_states` is what training runs on cached states, `forward` starts from the waveform; `read` turns pooled clips into logits.

    With `statistics` the logits are the sum of two read-outs, or their mean: the paper's head and `StatisticsReadout`.
    """

    def __init__(self, options: Model, classes: int) -> None:
        super().__init__()
        self.frozen_blocks = options.frozen_blocks
        self.first_layer = options.frozen_blocks if options.first_layer is None else options.first_layer
        self.pool = options.pool
        self.cached_pool = options.cached_pool
        self.encoder = build_encoder(options.encoder, options.blocks)
        layers = options.blocks - self.first_layer + 1
        self.mix = LayerMix(layers, self.encoder.width)
        self.head = build_head(options.head, self.encoder.width, classes, **options.head_options)
        if options.specaugment and self.head.specaugment is not None:
            self.head.specaugment = SpecAugment(self.encoder.width, **options.specaugment)
        self.statistics = self._second_readout(options, classes) if options.statistics else None
        self.weight = 0.5 if self.statistics is not None and options.mean_of_readouts else 1.0  # of the read-outs' sum
        self.vector_width = self.head.classifier.in_features + (2 * layers * self.encoder.width if options.statistics else 0)
        self.frame_samples = FRAME_HOP * options.pool
        self.frame_hop = self.frame_samples / SAMPLE_RATE  # s

    def _second_readout(self, options: Model, classes: int) -> StatisticsReadout:
        layers, standardise = len(self.mix.weight), bool(options.standardise_statistics)
        return StatisticsReadout(layers, self.encoder.width, options.statistics, classes, options.statistics_dropout, standardise)

    def replace_statistics(self, options: Model) -> None:
        """Another second read-out, of the width that `options` say, untrained."""
        self.statistics = self._second_readout(options, self.head.classifier.out_features).to(self.mix.mean.device)

    def pool_states(self, hidden: Tensor, frames: Tensor, by: Adjustment | None = None) -> Pooled:
        """`hidden` (batch, frames, layers * width), the frozen layers that the mix reads, side by side, as they are cached (pooled where
        nothing of the encoder is trained); `frames` (batch,), their true lengths. `by` changes each frame's logits alone."""
        return self._pool(hidden, frames, by)[0]

    def read(self, pooled: Pooled, by: Adjustment | None = None) -> tuple[Tensor, Tensor]:
        """The model's logits (batch, classes), `weight` times the sum of both read-outs, and those of the paper's head alone."""
        pooled = pooled if by is None else pooled.adjusted(by)
        head: Tensor = self.head.classifier(self.head.dropout(pooled.embedding))
        if self.statistics is None or pooled.statistics is None:
            return head, head
        both = head + self.statistics(pooled.statistics)
        return (both if self.weight == 1.0 else self.weight * both), head  # exported files of sums have no product

    @torch.no_grad()
    def add_offsets(self, offsets: Tensor) -> None:
        """Adds `offsets` (classes or fewer,) to the logits of the first classes, of clips and of frames alike."""
        layers = [self.head.classifier]
        if self.statistics is not None and self.weight != 1.0:  # the head's count only in part then
            layers.append(self.statistics.network[LAST_OF_STATISTICS])
        for layer in layers:
            layer.bias[: len(offsets)] += offsets.to(layer.bias.device)

    def forward(self, waveform: Tensor, lengths: Tensor, by: Adjustment | None = None) -> tuple[Tensor, Pooled, Tensor, Tensor]:
        """Logits (batch, classes), the pooled clips, their lengths in frames (batch,), and the frame of the clip's own time axis at which
        the first of them stands (batch,). `by` changes logits of clips and frames, not the pooled clips."""
        hidden, frames, starts = self.encoder.lower(waveform, lengths, self.frozen_blocks, self.first_layer)
        pooled, frames = self._pool(*halve(hidden, frames, self.cached_pool), by)
        return self.read(pooled, by)[0], pooled, frames, torch.div(starts, self.pool, rounding_mode="floor")

    def statistics_of(self, hidden: Tensor, frames: Tensor) -> Tensor:
        """What the second read-out sees of a clip, (batch, layers * 2 * width), without running the head."""
        return self.pooled_statistics(self.encoder.upper(hidden, frames, self.frozen_blocks), frames)

    def pooled_statistics(self, states: list[Tensor], frames: Tensor) -> Tensor:
        """The same from the encoder's states, as `upper` gives them."""
        return self._statistics(self.mix.standardised(states), frames)

    def _statistics(self, states: list[Tensor], frames: Tensor) -> Tensor:
        return torch.cat([mean_and_deviation(state.to(self.mix.mean.dtype), frames) for state in states], dim=1)

    def _pool(self, hidden: Tensor, frames: Tensor, by: Adjustment | None = None) -> tuple[Pooled, Tensor]:
        states = self.mix.standardised(self.encoder.upper(hidden, frames, self.frozen_blocks))
        x, lengths = halve(self.mix(states), frames, self.pool // self.cached_pool)
        adjust = None if by is None else partial(_adjusted, by=by)
        output: HeadOutput = self.head(x, lengths, adjust=adjust)
        statistics = None if self.statistics is None else self._statistics(states, frames)
        return Pooled(output.embedding, statistics, output.frames), lengths

    def parameters_by_depth(self) -> list[list[nn.Parameter]]:
        """What is trained: read-outs and mix first, then the blocks from the highest down to the last that is not frozen."""
        readouts = [self.mix, self.head] + ([] if self.statistics is None else [self.statistics])
        groups = [[parameter for module in readouts for parameter in module.parameters()]]
        groups += [list(block.parameters()) for block in reversed(self.encoder.blocks[self.frozen_blocks :])]
        return groups


def _adjusted(x: Tensor, by: Adjustment) -> Tensor:
    """The part of `by` that belongs to the embedding, on (..., dim)."""
    width = x.shape[-1]
    return x * by.scale[:width] + by.shift[:width]


def on_clip_axis(frames: Tensor, counts: Tensor, starts: Tensor, samples: int, lengths: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """Logits of frames (batch, inner frames, classes) on the clips' own time axis, zeros where there are none, and its lengths (batch,).

    counts, starts: (batch,), how many frames are a clip's and where on its axis the first one stands, for silence at its ends is not heard.
    samples: of the padded clips, lengths: (batch,) of each; hop: samples a frame.
    """
    total = (samples + hop - 1) // hop
    place = torch.arange(total, device=frames.device)[None, :] - starts[:, None]
    inside = (place >= 0) & (place < counts[:, None])
    # Nothing of a clip may be left: a click in its last few milliseconds is less than a frame.
    place = torch.minimum(place, (counts - 1)[:, None]).clamp(min=0)[:, :, None].expand(-1, -1, frames.shape[2])
    placed = torch.gather(frames, 1, place)
    placed = torch.where(inside[:, :, None], placed, torch.zeros_like(placed))
    return placed, torch.div(lengths + hop - 1, hop, rounding_mode="floor")


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
        return self.run(waveform, lengths)[0]

    def run(self, waveform: Tensor, lengths: Tensor, by: Adjustment | None = None) -> tuple[GraphOutput, Tensor]:
        """The outputs, and the pooled vectors (batch, dim) that an adaptation is made from."""
        logits, pooled, inner, starts = self.model(waveform, lengths, by)
        frames = pooled.frames[:, :, : self.classes]
        frames, frame_lengths = on_clip_axis(frames, inner, starts, waveform.shape[1], lengths, self.model.frame_samples)
        return GraphOutput(logits[:, : self.classes], frames, pooled.embedding, frame_lengths), pooled.vector


class AdaptableGraph(Graph):
    """The graph with `scale` and `shift` (dim,) as further inputs and the pooled vectors (batch, dim) as a further output."""

    def forward(self, waveform: Tensor, lengths: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        outputs, pooled = self.run(waveform, lengths, Adjustment(scale, shift))
        return (*outputs, pooled)
