"""What trained checkpoints make of speech in a room, and of the same speech without it: how far apart the two are.

The clips of a corpus are put to a checkpoint that was trained without it. One that has learned its training clips by heart knows them in
any room: what it makes of these shows little of what a room does to a voice that it never heard.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emoser.digests import sha256
from training.dereverberation.recipe import DereverberationRecipe
from training.heard import RECORD, recorded
from training.leaving_out import WITHOUT
from training.model import EmotionModel
from training.recipe import Model, RecipeError
from training.runs import Places

LEAST_DEVIATION = 1e-3
FARTHEST = 25.0  # squared deviations: a dimension farther off counts as this far, so that no clip decides a step alone


class Distance(NamedTuple):
    """Of each clip (batch,): squared distance of the vectors that read-outs see, a dimension on average; divergence of the labels; 1 where
    the best label is the same."""

    vectors: Tensor
    divergence: Tensor
    same_label: Tensor


class Teacher(nn.Module):
    """A trained model, whose weights stay. `deviation` (dim,): of its vectors, between clips without a room."""

    deviation: Tensor

    def __init__(self, model: EmotionModel) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.model.encoder.mel = _Exact(self.model.encoder.mel)
        self.register_buffer("deviation", torch.ones(model.vector_width))

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, classes) and vectors (batch, dim)."""
        logits, pooled, _, _ = self.model(waveform, lengths)
        return logits.float(), pooled.vector.float()

    def take_scale(self, waveforms: Iterable[tuple[Tensor, Tensor]]) -> None:
        """From waveforms without a room, with their lengths."""
        with torch.no_grad():
            vectors = torch.cat([self(waveform, lengths)[1] for waveform, lengths in waveforms])
        self.deviation.copy_(vectors.std(0).clamp(min=LEAST_DEVIATION))

    def distance(self, waveform: Tensor, dry: Tensor, lengths: Tensor) -> Distance:
        with torch.no_grad():
            wanted, there = self(dry, lengths)
        logits, vectors = self(waveform, lengths)
        squared = ((vectors - there) / self.deviation).square().clamp(max=FARTHEST).mean(1)
        divergence = F.kl_div(logits.log_softmax(1), wanted.softmax(1), reduction="none").sum(1)
        return Distance(squared, divergence, (logits.argmax(1) == wanted.argmax(1)).float())


class _Exact(nn.Module):
    """A module that computes in float32 wherever it stands: a spectrum in bfloat16 would end 50 dB below its loudest band."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        with torch.autocast("cpu", enabled=False):
            return self.module(*inputs)


def teachers_of(recipe: DereverberationRecipe, places: Places) -> tuple[dict[str, Teacher], dict[str, str]]:
    """For each corpus that the recipe names the run without it, and the digests of their weights, by the run's name.

    Raises RecipeError where a run has heard the corpus, or has other test speakers than the recipe.
    """
    teachers, digests = {}, {}
    for corpus in recipe.dereverberation.corpora:
        name = f"{recipe.dereverberation.teacher}{WITHOUT}{corpus}"
        folder = places.runs / name
        if not (folder / "weights.pt").is_file():
            raise FileNotFoundError(f"{recipe.name} is taught by {name}: python -m training unseen makes it")
        values = recorded(folder / RECORD)
        if values is None or corpus not in values["data"]["leave_out"] or values["data"]["split"] != recipe.data.split:
            raise RecipeError(f"{name} has heard {corpus}, or has other test speakers than {recipe.name}")
        teachers[corpus] = Teacher(_model(values, folder / "weights.pt"))
        digests[name] = sha256(folder / "weights.pt")
    return teachers, digests


def _model(values: dict[str, Any], weights: Path) -> EmotionModel:
    labels = [*values["data"]["labels"], *values["data"]["more_labels"]]
    model = EmotionModel(Model(**values["model"]), len(labels))
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model
