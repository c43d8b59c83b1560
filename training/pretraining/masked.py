"""Masked prediction of clustered states.

Li et al. 2024, "Frame-level emotional state alignment method for speech emotion recognition", sections 3 and 5 of its specification: the
states of a teacher are clustered (k-means); spans of the input are masked; the encoder tells the cluster of each masked frame by the
cosine between a projection of its state and a vector for each cluster. The teacher is the encoder as it starts (the paper's first phase)
or that of a run trained on labels (`pretrain.teacher`: its clusters are the paper's "emotional states").
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from training.data import Example
from training.encoders.compact import CompactEncoder, frame_mask
from training.features import Features
from training.loop import whole_clips
from training.pretraining.objective import Crops, Objective, Speech
from training.pretraining.recipe import Pretraining, PretrainingRecipe
from training.recipe import RecipeError

MOST_FRAMES = 500_000  # that the clusters are fitted on

log = logging.getLogger(__name__)


class MaskedPrediction(Objective):
    """Masked states of the frozen lower blocks -> logits of each frame's cluster.

    targets: the cluster of each frame of each clip.
    """

    def __init__(
        self, encoder: CompactEncoder, frozen_blocks: int, options: Pretraining, targets: Mapping[Example, NDArray[np.int64]]
    ) -> None:
        super().__init__(encoder, frozen_blocks)
        self.options = options
        self.targets = targets
        self.mask = nn.Parameter(torch.zeros(encoder.width))
        self.projection = nn.Linear(encoder.width, options.dimension)
        self.clusters = nn.Parameter(torch.rand(options.clusters, options.dimension))

    def forward(self, crops: Crops, random: np.random.Generator) -> dict[str, Tensor]:
        """Of masked frames: cross-entropy (`loss`), and which were right (`accuracy`)."""
        width = crops.hidden.shape[1]
        frames = crops.frames.tolist()
        masks = [np.pad(spans(count, self.options, random), (0, width - count)) for count in frames]
        masked = torch.from_numpy(np.stack(masks))
        if not bool(masked.any()):
            raise RecipeError(f"no clip of the batch is longer than the {self.options.span} frames of a masked span")
        assert not bool((masked & ~frame_mask(crops.frames, width)).any())
        labels = [
            np.pad(self.targets[example][start : start + count], (0, width - count))
            for example, start, count in zip(crops.examples, crops.starts, frames, strict=True)
        ]
        truth = torch.from_numpy(np.stack(labels))[masked]
        logits = self.logits(crops, masked)[masked]
        return {"loss": F.cross_entropy(logits, truth, reduction="none"), "accuracy": (logits.argmax(1) == truth).float()}

    def logits(self, crops: Crops, masked: Tensor) -> Tensor:
        """`masked` (batch, frames) -> (batch, frames, clusters), float32."""
        # A masked frame keeps its place in time: else it would be the same question wherever it stands.
        place = torch.from_numpy(crops.starts)[:, None] + torch.arange(crops.hidden.shape[1])
        nothing = self.mask + self.encoder.positional_embedding[place.clamp(max=len(self.encoder.positional_embedding) - 1)]
        states = self.states(torch.where(masked[:, :, None], nothing, crops.hidden), crops.frames)
        return cosine_logits(self.projection(states), self.clusters, self.options.temperature).float()


def cosine_logits(projected: Tensor, clusters: Tensor, temperature: float) -> Tensor:
    """Cosines of (..., dimension) and (clusters, dimension), over `temperature`: (..., clusters)."""
    return F.normalize(projected, dim=-1) @ F.normalize(clusters, dim=-1).T / temperature


def spans(frames: int, options: Pretraining, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which of `frames` frames are masked: spans that start anywhere but at the very end, two at least, drawn without replacement."""
    masked = np.zeros(frames, dtype=bool)
    if frames <= options.span:
        return masked
    possible = frames - options.span
    count = min(possible, max(2, int(options.probability * frames / options.span + random.random())))
    for start in random.choice(possible, size=count, replace=False):
        masked[start : start + options.span] = True
    return masked


@torch.inference_mode()
def teacher_states(
    teacher: CompactEncoder, examples: Sequence[Example], features: Features, frozen_blocks: int, layer: int
) -> list[NDArray[np.float32]]:
    """The teacher's states after block `layer`, unmasked, (frames, width) for each clip."""
    teacher.eval()
    found: dict[int, NDArray[np.float32]] = {}
    for places, batch in whole_clips(examples, features, 0):
        states = teacher.upper(batch.hidden, batch.frames, frozen_blocks)[layer - frozen_blocks]
        found.update((place, row[:count].numpy()) for place, row, count in zip(places, states, batch.frames.tolist(), strict=True))
    return [found[index] for index in range(len(examples))]


def clustered(states: Sequence[NDArray[np.float32]], clusters: int, seed: int) -> MiniBatchKMeans:
    """k-means as in the paper: mini-batches of 10,000 frames, k-means++, at most 100 passes."""
    frames = np.concatenate(states)
    if len(frames) < clusters:
        raise RecipeError(f"{len(frames)} frames cannot make {clusters} clusters")
    if len(frames) > MOST_FRAMES:
        frames = frames[np.random.default_rng(seed).choice(len(frames), MOST_FRAMES, replace=False)]
    settings = {"batch_size": 10_000, "max_iter": 100, "n_init": 5, "max_no_improvement": 100, "reassignment_ratio": 0}
    return MiniBatchKMeans(clusters, random_state=seed, **settings).fit(frames)


def masked_prediction(
    recipe: PretrainingRecipe, encoder: CompactEncoder, weights: Path, speech: Speech, features: Features
) -> MaskedPrediction:
    """The objective with a target for each frame of the clips of `speech`; clusters are fitted on those that train. `weights`: those that
    the encoder starts from. Raises RecipeError where the teacher has no such encoder."""
    options, blocks, frozen = recipe.pretrain, recipe.model.blocks, recipe.model.frozen_blocks
    teacher = CompactEncoder(blocks).load(weights)
    if options.teacher is not None:
        state = torch.load(options.teacher, weights_only=True, map_location="cpu")
        own = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
        missing = sorted(set(teacher.state_dict()) - set(own))
        if missing:
            raise RecipeError(f"{options.teacher} has no encoder of {blocks} blocks: {missing[0]} is missing")
        teacher.load_state_dict({name: own[name] for name in teacher.state_dict()})
    states = teacher_states(teacher, speech.train, features, frozen, options.layer)
    means = clustered(states, options.clusters, recipe.schedule.seed)
    log.info("%d clusters of %d frames", options.clusters, sum(map(len, states)))
    targets = {example: means.predict(rows).astype(np.int64) for example, rows in zip(speech.train, states, strict=True)}
    states = teacher_states(teacher, speech.validation, features, frozen, options.layer)
    targets |= {example: means.predict(rows).astype(np.int64) for example, rows in zip(speech.validation, states, strict=True)}
    return MaskedPrediction(encoder, frozen, options, targets)
