"""An emotion transducer on an encoder: from cached states for training, from the waveform for export.

What comes out of the encoder depends on its weights alone, so that checkpoints that share one may share its file; standardising, which each
recipe fits to its own clips, comes after it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.encoders import build_encoder
from training.encoders.compact import FRAME_HOP, SAMPLE_RATE
from training.encoders.states import encode, upper_states
from training.model import take_scale
from training.systems.specaugment import SpecAugment
from training.systems.transducer.networks import ENT, FENT, FrameWise, Sizes, Transducer
from training.systems.transducer.recipe import TransducerRecipe

NETWORKS = {"ent": ENT, "fent": FENT, "framewise": FrameWise}


class Standardise(nn.Module):
    """Each channel of each layer less its mean, by its deviation, over the training frames: layers of a transformer differ in scale, and a
    few channels carry most of their energy. Set once, from data, and not trained."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(layers, width))
        self.register_buffer("deviation", torch.ones(layers, width))

    def forward(self, states: Tensor) -> Tensor:
        """Layers side by side: (batch, frames, layers * width)."""
        return (states - self.mean.flatten()) / self.deviation.flatten()

    def fit(self, batches: list[tuple[list[Tensor], Tensor]]) -> None:
        """`batches`: as of `take_scale`."""
        take_scale(self.mean, self.deviation, batches)


class Untouched(Standardise):
    """Layers as the encoder gives them, which is what the paper mixes."""

    def fit(self, batches: list[tuple[list[Tensor], Tensor]]) -> None:
        """Nothing to learn."""


class TransducerModel(nn.Module):
    """`layers_of` brings cached states to what the network takes; `network` is an ENT, a FENT or the frame-wise baseline."""

    def __init__(self, recipe: TransducerRecipe, vocabulary: int) -> None:
        super().__init__()
        options = recipe.transducer
        first = recipe.model.frozen_blocks if recipe.model.first_layer is None else recipe.model.first_layer
        self.frozen_blocks, self.first_layer, self.pool = recipe.model.frozen_blocks, first, recipe.model.pool
        self.encoder = build_encoder(recipe.model.encoder, recipe.model.blocks)
        layers = recipe.model.blocks - first + 1
        standardise = Untouched if options.standardise is False else Standardise
        self.standardise = standardise(layers, self.encoder.width)
        self.specaugment = SpecAugment(layers * self.encoder.width, **recipe.model.specaugment) if options.specaugment else None
        self.network: Transducer | FrameWise = NETWORKS[options.system](sizes_of(recipe, vocabulary, layers, self.encoder.width))
        self.frame_samples = FRAME_HOP * recipe.model.pool
        self.frame_hop = self.frame_samples / SAMPLE_RATE  # s

    def encode(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Waveform (batch, samples) -> all layers side by side (batch, pooled frames, layers * width), their lengths (batch,), and the
        pooled frame of the clip's time axis at which the first one stands (batch,)."""
        return encode(self.encoder, waveform, lengths, self.frozen_blocks, self.first_layer, self.pool)

    def layers(self, states: Tensor, lengths: Tensor) -> Tensor:
        """What `encode` gives -> what the network takes: (layers, batch, pooled frames, width), standardised."""
        x = self.standardise(states)
        if self.specaugment is not None:
            x = self.specaugment(x, lengths)
        return torch.stack(x.chunk(self.standardise.mean.shape[0], dim=2))

    def layers_of(self, hidden: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Cached states (batch, frames, cached layers * width) -> the same and their lengths (batch,)."""
        states, lengths = upper_states(self.encoder, hidden, frames, self.frozen_blocks, self.pool)
        return self.layers(states, lengths), lengths

    def listen(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Waveform (batch, samples) -> layers, their lengths, and the frame at which the first one stands."""
        states, frames, starts = self.encode(waveform, lengths)
        return self.layers(states, frames), frames, starts

    def parameters_by_depth(self) -> list[list[nn.Parameter]]:
        """What is trained: the network first, then the encoder's blocks from the highest down to the last that is not frozen."""
        own = [self.network] + ([] if self.specaugment is None else [self.specaugment])
        groups = [[parameter for module in own for parameter in module.parameters()]]
        return groups + [list(block.parameters()) for block in reversed(self.encoder.blocks[self.frozen_blocks :])]


def sizes_of(recipe: TransducerRecipe, vocabulary: int, layers: int, width: int) -> Sizes:
    """Of the network over `layers` layers of an encoder, `width` wide each."""
    options = recipe.transducer
    return Sizes(
        vocabulary=vocabulary,
        layers=layers,
        width=width,
        hidden=options.hidden,
        predictor=options.predictor,
        inner=options.inner,
        classes=len(recipe.data.labels),
        pre_projection=options.pre_projection,
        dropout=options.dropout,
        language_model=options.weights.language > 0,
        emotion_joint=options.weights.lattice > 0 or options.weights.mixture_lattice > 0,  # nothing else trains one
    )
