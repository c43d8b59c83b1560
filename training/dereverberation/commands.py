"""The commands of `python -m training` for recipes of the task dereverberation."""

from __future__ import annotations

from training.recipe import Recipe, RecipeError
from training.runs import Places


def run(command: str, recipe: Recipe, places: Places) -> None:
    """Raises RecipeError for a command that these recipes do not have."""
    if command == "fit":
        from training.dereverberation.fit import run_fit

        run_fit(recipe, places)
    elif command == "export":
        from training.dereverberation.export import run_export

        run_export(recipe, places)
    else:
        raise RecipeError(f"{command} is for recipes of the task utterance; {recipe.name} has fit and export")
