"""Runs of the variants, each with what it says of the validation clips. Test speakers are not scored."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import baselines, scoring
from benchmarks.accuracy.clips import Clip
from benchmarks.encoders.results import ANSWERS, Answers, Clips, Record, key_of
from benchmarks.encoders.variants import Variant
from emoser.digests import sha256
from training.data import Example
from training.features import Features
from training.leaving_out import is_trained
from training.loop import logits_of
from training.recipe import Recipe, RecipeError
from training.runs import Places, frozen_weights, origin_digests, prepare, record_of, revision, run_fit

log = logging.getLogger(__name__)


def run(chosen: Sequence[Variant], places: Places) -> int:
    """Trains and scores what is not there yet. 0 when all of `chosen` are done, 1 where one goes on from a run that is not there.

    Raises RecipeError, before anything is trained, where a finished run of a variant's name is of other settings or other start weights.
    """
    places = replace(places, runs=places.runs.resolve())  # the same recipe wherever the command is given
    ready, lacking = [], 0
    for variant in chosen:
        recipe = variant.recipe(places.runs)
        try:
            frozen_weights(recipe, places)
        except FileNotFoundError as error:
            print(f"not run: {variant.name}: {error}", file=sys.stderr)
            lacking += 1
        else:
            ready.append((variant, recipe, is_done(variant, recipe, places)))
    for variant, recipe, done in ready:
        log.info("%s: %s%s", variant.name, variant.text, " (is there)" if done else "")
        if variant.group.alpha is None:
            head(variant, recipe, places, done)
        elif not done:
            ridge(variant, recipe, places, variant.group.alpha)
    return int(lacking > 0)


def is_done(variant: Variant, recipe: Recipe, places: Places) -> bool:
    """Whether the run is finished. Raises RecipeError where what lies there was made by other settings, or went on from other weights."""
    folder, alpha = places.runs / recipe.name, variant.group.alpha
    trained = is_trained(recipe, places) if alpha is None else all((folder / name).is_file() for name in ("record.json", ANSWERS))
    if not trained:
        return False
    record, now = record_of(recipe, folder), origins(recipe, places) | ({} if alpha is None else {"alpha": alpha})
    if changed := [name for name, value in now.items() if record.get(name) != value]:
        raise RecipeError(f"{folder} was made with another {', '.join(changed)} than there is now; remove it to make it anew")
    return True


def origins(recipe: Recipe, places: Places) -> Record:
    """What a record says of the files that the run went on from."""
    return {"start_weights_sha256": sha256(frozen_weights(recipe, places)), **origin_digests(recipe, places.runs)}


def head(variant: Variant, recipe: Recipe, places: Places, done: bool) -> None:
    """`training fit`, and the kept weights on the clean validation clips, less the class offsets: those were fitted on the same clips."""
    folder = places.runs / recipe.name
    if not done:
        run_fit(recipe, places)
    key = key_of(variant, recipe, folder)
    before = Answers.read(folder)
    if before is not None and before.key == key:
        return
    prepared = prepare(recipe, places, clean_only=True)
    examples = prepared.examples.validation
    logits = logits_of(prepared.trained(), examples, prepared.features, 0)[:, : len(recipe.data.labels)]
    plain = logits - np.array(prepared.record()["class_offsets"])
    Answers(Clips.of(examples), plain.argmax(1), key).save(folder)


def ridge(variant: Variant, recipe: Recipe, places: Places, alpha: float) -> None:
    """The probe of `benchmarks.accuracy.baselines` on the cached states, with one strength; clips of the recipe's labels alone train it."""
    prepared = prepare(recipe, places)
    began = time.monotonic()
    train = [example for example in prepared.examples.train if example.target < len(recipe.data.labels)]
    held = prepared.examples.validation
    model = baselines.fit("ridge", alpha, statistics(train, prepared.features), [clip_of(example) for example in train])
    guess = model.predict(statistics(held, prepared.features)).astype(np.int64)
    record = {
        "name": recipe.name,
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.checksum(),
        "alpha": alpha,
        "clips": prepared.examples.description,
        **origins(recipe, places),
        "revision": revision(),
        "versions": scoring.versions("torch", "numpy", "scikit-learn", "soundfile", "soxr", "av"),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "finished": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(time.monotonic() - began),
    }
    Answers(Clips.of(held), guess, key_of(variant, recipe, prepared.folder)).save(prepared.folder)
    text = json.dumps(record, indent=1) + "\n"  # last, and so the mark of a finished run
    (prepared.folder / "record.json").write_text(text, encoding="utf-8")


def statistics(examples: Sequence[Example], features: Features) -> NDArray[np.float32]:
    """Mean and deviation over time of each clip's cached states, clean, (clips, 2 * layers * width)."""
    states = (features.get(example, 0).astype(np.float32) for example in examples)
    return np.stack([np.concatenate([state.mean(0), state.std(0)]) for state in states])


def clip_of(example: Example) -> Clip:
    """As the accuracy benchmarks know a clip; the ridge probe trains on these alone."""
    return Clip(example.corpus, Path(example.file), example.utterance.path, example.speaker, example.target, "train")
