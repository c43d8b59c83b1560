"""The commands of `python -m training` for recipes of the task transducer."""

from __future__ import annotations

from training.recipe import Recipe, RecipeError
from training.runs import Places
from training.systems.transducer.recipe import TransducerRecipe


def run(command: str, recipe: Recipe, places: Places) -> None:
    """Raises RecipeError for a command that trains recipes of the task utterance alone."""
    from training.systems.transducer import runs

    assert isinstance(recipe, TransducerRecipe)
    if command == "features":
        runs.prepare(recipe, places)
    elif command == "fit":
        runs.run_fit(recipe, places)
    elif command == "evaluate":
        runs.run_evaluate(recipe, places)
    elif command == "export":
        from training.systems.transducer.export import run_export

        run_export(recipe, places)
    else:
        raise RecipeError(f"{command} is for recipes of the task utterance; {recipe.name} has features, fit, evaluate and export")
