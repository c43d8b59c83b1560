"""Recipes without a corpus, and the runs that they go on from."""

from __future__ import annotations

import logging
from dataclasses import replace

from training.recipe import Recipe, read_recipe
from training.runs import Places, run_fit

WITHOUT = "-without-"  # in a run's name, before the corpus left out

log = logging.getLogger(__name__)


def without(recipe: Recipe, corpus: str) -> Recipe:
    """The recipe with `corpus` kept out of training and validation, of the encoder that it goes on from too, under a name that says so."""
    data, model = replace(recipe.data, leave_out=(corpus,)), recipe.model
    if model.encoder_of is not None:
        model = replace(model, encoder_of=f"{model.encoder_of}{WITHOUT}{corpus}")
    return replace(recipe, name=f"{recipe.name}{WITHOUT}{corpus}", data=data, model=model)


def fit_encoder(recipe: Recipe, places: Places) -> None:
    """Trains the run whose encoder `recipe` goes on from, where there is none yet: the recipe of its name, or that without a corpus."""
    name = recipe.model.encoder_of
    if name is None or (places.runs / name / "weights.pt").is_file():
        return
    base, _, corpus = name.partition(WITHOUT)
    log.info("first %s, whose encoder %s goes on from", name, recipe.name)
    run_fit(without(read_recipe(base), corpus) if corpus else read_recipe(base), places)
