"""The fields of a pre-training recipe: `pretrain`, beside those of all recipes."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.recipe import Recipe, RecipeError

MASKED_PREDICTION, DISTILLATION = "masked-prediction", "distillation"
OBJECTIVES = (MASKED_PREDICTION, DISTILLATION)
PRECISIONS = ("no", "bf16")  # of the steps; what is evaluated or clustered is float32


@dataclass(frozen=True)
class Pretraining:
    """The objective, and the fields of masked prediction: the paper's values, but for the sizes, which are those of a small encoder."""

    objective: str = MASKED_PREDICTION  # or distillation, which has no fields of its own
    teacher: str | None = None  # weights.pt of a trained run; None: the encoder as it starts
    layer: int = 2  # the teacher's layer whose states are clustered
    clusters: int = 100
    span: int = 10  # frames masked at a stretch
    probability: float = 0.8  # spans, times their length, as a share of the frames; they may overlap
    dimension: int = 256  # of the projection and of the clusters' vectors
    temperature: float = 0.1


@dataclass(frozen=True)
class PretrainingRecipe(Recipe):
    pretrain: Pretraining = field(default_factory=Pretraining)


def check(recipe: PretrainingRecipe) -> None:
    """Raises RecipeError for what cannot be pre-trained."""
    options, model = recipe.pretrain, recipe.model
    if options.objective not in OBJECTIVES:
        raise RecipeError(f"pretrain.objective is {' or '.join(OBJECTIVES)}, not {options.objective!r}")
    if recipe.schedule.precision not in PRECISIONS:
        raise RecipeError(f"pretrain runs with schedule.precision {' or '.join(PRECISIONS)}, not {recipe.schedule.precision!r}")
    if model.encoder is not None:
        raise RecipeError("pretrain is for the compact encoder; the others come pre-trained in this very way")
    if not model.frozen_blocks < model.blocks:
        raise RecipeError("pretrain needs a block above model.frozen_blocks")
    if options.objective == MASKED_PREDICTION and not model.frozen_blocks <= options.layer <= model.blocks:
        raise RecipeError("pretrain.layer is one from model.frozen_blocks to model.blocks")
    if options.objective == DISTILLATION and options.teacher is not None:
        raise RecipeError("pretrain.teacher is a field of masked prediction; the teacher of distillation is mn04")
