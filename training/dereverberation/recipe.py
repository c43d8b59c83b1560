"""The fields of a recipe of task dereverberation: `dereverberation`, beside those of all recipes."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.recipe import Recipe, RecipeError


@dataclass(frozen=True)
class Dereverberation:
    """First the log-mel spectrum is to be that without the room (`spectrum_steps`), then what trained checkpoints make of the waveform is
    to be what they make of that without the room (`schedule.steps`)."""

    teacher: str = ""  # of the runs that teach: their name before `-without-CORPUS`
    corpora: tuple[str, ...] = ()  # whose clips are taught by the run without each; the others are heard in the first part alone
    width: int = 128
    hidden: int = 192
    pairs: int = 9000
    validation_pairs: int = 300  # of validation speakers, in rooms that do not train
    seconds: float = 3.0  # of a pair, at most
    spectrum_steps: int = 800
    spectrum_batch: int = 24
    spectrum_rate: float = 2e-3
    divergence: float = 1.0  # weight of the divergence of the labels, beside the distance of the vectors


@dataclass(frozen=True)
class DereverberationRecipe(Recipe):
    dereverberation: Dereverberation = field(default_factory=Dereverberation)


def check(recipe: DereverberationRecipe) -> None:
    """Raises RecipeError for what cannot be trained."""
    options = recipe.dereverberation
    if not options.teacher or not options.corpora:
        raise RecipeError("dereverberation.teacher and dereverberation.corpora name trained runs: TEACHER-without-CORPUS")
    if unheard := sorted(set(options.corpora) - set(recipe.data.corpora)):
        raise RecipeError(f"dereverberation.corpora has {', '.join(unheard)}, which data.corpora has not")
    if recipe.schedule.precision not in ("no", "bf16"):
        raise RecipeError(f"this runs with schedule.precision no or bf16, not {recipe.schedule.precision!r}")
