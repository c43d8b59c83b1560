"""Recipes without a corpus, and the runs that they go on from."""

from __future__ import annotations

import logging
from dataclasses import replace

from training.recipe import Recipe, RecipeError, known_recipes, read_recipe
from training.runs import Places, record_of, run_fit

WITHOUT = "-without-"  # in a run's name, before the corpus left out

log = logging.getLogger(__name__)


def without(recipe: Recipe, corpus: str) -> Recipe:
    """The recipe with `corpus` kept out of training and validation, of the encoder that it goes on from too, under a name that says so."""
    data, model = replace(recipe.data, leave_out=(corpus,)), recipe.model
    if model.encoder_of is not None:
        model = replace(model, encoder_of=f"{model.encoder_of}{WITHOUT}{corpus}")
    return replace(recipe, name=f"{recipe.name}{WITHOUT}{corpus}", data=data, model=model)


def fit_encoder(recipe: Recipe, places: Places) -> None:
    """Trains the run whose encoder `recipe` goes on from, where there is none yet: the recipe of its name, or that without a corpus.

    Raises RecipeError where the run that is there is of another recipe. One whose name is no recipe's is taken as it is.
    """
    name = recipe.model.encoder_of
    if name is None:
        return
    base, _, corpus = name.partition(WITHOUT)
    if (places.runs / name / "weights.pt").is_file() and base not in known_recipes():
        return
    first = read_recipe(base)
    first = without(first, corpus) if corpus else first
    if not is_trained(first, places):
        log.info("first %s, whose encoder %s goes on from", name, recipe.name)
        run_fit(first, places)


def is_trained(recipe: Recipe, places: Places) -> bool:
    """Whether a run of the recipe's name is finished. Raises RecipeError where that run is of another recipe."""
    folder = places.runs / recipe.name
    if not (folder / "weights.pt").is_file() or not (folder / "record.json").is_file():  # the record is written last
        return False
    try:
        record_of(recipe, folder)
    except RecipeError:
        way_out = "give the --set of its training, or rename it: model.encoder_of takes a run of any name"
        raise RecipeError(f"{folder} was trained by other settings than {recipe.name} has now; {way_out}") from None
    return True
