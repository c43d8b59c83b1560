"""Distillation: the encoder's states after the last block, projected linearly, are to be the features of a tagger of all kinds of sound.

The teacher (training/encoders/mn04.py) was taught on AudioSet, which has what speech recognition does not need and Whisper was not asked
for: laughter, crying, screams, the sound of rooms. Nothing is masked. Each dimension of the teacher's features is standardised over the
clips that train, and the loss is their mean squared error: the share of their variance that is not explained, so that it reads alike
from run to run and 1 is what the mean alone reaches. A cosine would forget how far from the mean a frame lies, and weigh frames in which
nothing happens like those in which something does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emoser.digests import sha256
from training import paths
from training.data import Example
from training.encoders import TEACHER
from training.encoders.compact import CompactEncoder, frame_mask
from training.encoders.mn04 import LAYERS, WIDTH
from training.features import Features, Source, build
from training.pretraining.objective import Crops, Objective, Speech
from training.recipe import Recipe, RecipeError
from training.runs import Places

TEACHER_WEIGHTS = "efficientat-mn04"
RATIO = 8  # frames of the encoder, of 20 ms, to one of the teacher
BEFORE = RATIO // 2  # of them that lie before the middle of the teacher's frame, which is at RATIO * its number
LEAST_DEVIATION = 1e-6


class Distillation(Objective):
    """States of the encoder -> the teacher's frames, standardised.

    teacher: its features, cached. weights: the file that they were made with. mean, deviation (384,): of each dimension.
    """

    grid = RATIO

    def __init__(
        self,
        encoder: CompactEncoder,
        frozen_blocks: int,
        teacher: Features,
        weights: Path,
        mean: NDArray[np.float64],
        deviation: NDArray[np.float64],
    ) -> None:
        super().__init__(encoder, frozen_blocks)
        self.teacher = teacher
        self.weights = weights
        self.projection = nn.Linear(encoder.width, WIDTH)
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)), persistent=False)
        self.register_buffer("deviation", torch.from_numpy(deviation.astype(np.float32)), persistent=False)

    def forward(self, crops: Crops, random: np.random.Generator) -> dict[str, Tensor]:
        """Of the teacher's frames: mean squared error (`loss`), and that of the mean alone (`power`)."""
        states, counts = windows(self.states(crops.hidden, crops.frames), crops.frames)
        inside = frame_mask(counts, states.shape[1])
        if not bool(inside.any()):
            raise RecipeError(f"no clip of the batch has the {BEFORE + RATIO} frames that one of the teacher's needs")
        truth = (self.taught(crops, counts) - self.mean) / self.deviation
        predicted = self.projection(states[inside]).float()
        return {"loss": (predicted - truth).square().mean(1), "power": truth.square().mean(1)}

    def taught(self, crops: Crops, counts: Tensor) -> Tensor:
        """The teacher's frames whose windows lie in the crops, one crop after the other: (frames, 384), float32."""
        rows = []
        for example, start, count in zip(crops.examples, crops.starts.tolist(), counts.tolist(), strict=True):
            first = start // RATIO + 1  # half the window of the frame at `start` itself lies before the crop
            rows.append(self.teacher.get(example, 0)[first : first + count])
        return torch.from_numpy(np.concatenate(rows).astype(np.float32))

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """The loss, and the share of the squared distance from the training clips' mean that is explained: 0 is the mean itself."""
        return {"loss": means["loss"], "explained_variance": 1 - means["loss"] / means["power"]}

    def record(self) -> dict[str, str]:
        return {"teacher_weights_sha256": sha256(self.weights)}


def windows(states: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the frames about each frame of the teacher, and how many there are of each clip.

    `states` (batch, frames, width) of crops that begin on a multiple of RATIO frames, `frames` (batch,) their lengths. Both kinds of frames
    have their middles on multiples of their lengths, so that the teacher's frame n goes with the encoder's frames 8 n - 4 to 8 n + 3. The
    first window is that of the teacher's second frame in the crop; windows that a crop holds in part are left out.
    """
    groups = max(0, states.shape[1] - BEFORE) // RATIO
    states = states[:, BEFORE : BEFORE + groups * RATIO]
    means = states.reshape(len(states), groups, RATIO, states.shape[2]).mean(2)
    return means, torch.div((frames - BEFORE).clamp(min=0), RATIO, rounding_mode="floor")


def standard(teacher: Features, examples: Sequence[Example]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation (384,) of each dimension over all frames of `examples`."""
    total, squares, count = np.zeros(WIDTH), np.zeros(WIDTH), 0
    for example in examples:
        rows = teacher.get(example, 0).astype(np.float64)
        total += rows.sum(axis=0)
        squares += np.square(rows).sum(axis=0)
        count += len(rows)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - np.square(mean), LEAST_DEVIATION**2))


def distillation(recipe: Recipe, encoder: CompactEncoder, speech: Speech, places: Places) -> Distillation:
    """The objective with the teacher's features of the clips of `speech`, computed where they are not cached."""
    weights = paths.weights(TEACHER_WEIGHTS, places.weights)
    source = Source(weights, LAYERS, recipe.augmentation.chances, places.corpora, encoder=TEACHER)
    teacher = build(source, places.cache, [(0, (*speech.train, *speech.validation))], places.workers)
    mean, deviation = standard(teacher, speech.train)
    return Distillation(encoder, recipe.model.frozen_blocks, teacher, weights, mean, deviation)
