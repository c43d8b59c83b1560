"""`python -m training pretrain RECIPE`: the encoder goes on learning from speech without labels, by the recipe's `pretrain.objective`.

| objective | what the encoder tells | file |
|---|---|---|
| masked-prediction | the cluster of frames that it cannot hear | training/pretraining/masked.py |
| distillation | what a tagger of all kinds of sound makes of frames that it hears | training/pretraining/distillation.py |

Clips of test speakers and of corpora left out are not heard, unlike in the paper of masked prediction, whose clustering and pre-training
include the test session. What is written, `encoder.npz`, is a file of start weights:
`python -m training fit RECIPE --set model.start=.../encoder.npz`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emoser.digests import sha256
from training.corpora import Utterance, default_split, load
from training.data import Example, check_lengths
from training.encoders.compact import CompactEncoder
from training.features import Features, Source, build
from training.files import rounded, write_record, written_whole
from training.heard import check_unheard
from training.pretraining.distillation import distillation
from training.pretraining.masked import masked_prediction
from training.pretraining.objective import Objective, Speech, crops_of, validated
from training.pretraining.recipe import DISTILLATION, PretrainingRecipe, check
from training.recipe import Recipe, RecipeError
from training.runs import Places, start_weights
from training.steps import RUNNING, Running, set_rates

VALIDATED = 400  # clips: of n times as many and more, every n-th, so that there are fewer than twice these

log = logging.getLogger(__name__)


def speech_of(recipe: Recipe, places: Places) -> Speech:
    """All clips of the recipe's corpora, labelled or not, but those of test speakers and of corpora left out."""
    parts: dict[str, list[Example]] = {"train": [], "validation": []}
    for name in recipe.data.corpora:
        if name in recipe.data.leave_out:
            continue
        split = default_split(load(name, places.corpora), recipe.data.split)
        for part, own in (("train", split.train), ("validation", split.validation)):
            parts[part] += [Example(clip, own.file(clip), 0) for clip in own]
    if not parts["train"] or not parts["validation"]:
        raise RecipeError("pre-training needs speakers that train and speakers that validate; data.corpora has none left")
    return Speech(tuple(parts["train"]), tuple(parts["validation"]))


def held_out(recipe: Recipe, places: Places) -> list[Utterance]:
    """The clips of test speakers and of corpora left out, which nothing that a run starts from may have heard either."""
    found: list[Utterance] = []
    for name in recipe.data.corpora:
        manifest = load(name, places.corpora)
        found += manifest if name in recipe.data.leave_out else default_split(manifest, recipe.data.split).test
    return found


def run_pretrain(recipe: Recipe, places: Places) -> Path:
    """Trains (or goes on) and writes `encoder.npz` and `record.json` to the run's folder; returns the former's path. Raises RecipeError
    where the teacher, or whatever else it starts from, has heard the test speakers or a corpus left out."""
    if not isinstance(recipe, PretrainingRecipe):
        raise RecipeError(f"{recipe.name} has the task {recipe.task}; a recipe of this command says task: pretraining")
    check(recipe)
    began = time.monotonic()
    folder = places.runs / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    weights = start_weights(recipe, places)
    speech = speech_of(recipe, places)
    if recipe.pretrain.teacher or recipe.model.start:
        check_unheard(recipe, held_out(recipe, places), [item.utterance for item in speech.validation], places.runs, places.corpora)
    check_lengths((*speech.train, *speech.validation))
    source = Source(weights, recipe.model.frozen_blocks, recipe.augmentation.chances, places.corpora)
    features = build(source, places.cache, [(0, (*speech.train, *speech.validation))], places.workers)
    used = Speech(speech.train, speech.validation[:: max(1, len(speech.validation) // VALIDATED)])
    torch.manual_seed(recipe.schedule.seed)
    encoder = CompactEncoder(recipe.model.blocks).load(weights)
    objective: Objective
    if recipe.pretrain.objective == DISTILLATION:
        objective = distillation(recipe, encoder, used, places)
    else:
        objective = masked_prediction(recipe, encoder, weights, used, features)
    history = _train(recipe, objective, used, features, folder)
    file = folder / "encoder.npz"
    save_encoder(encoder, weights, file)
    record = {
        "name": recipe.name,
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.checksum(),
        "start_weights_sha256": sha256(weights),
        **objective.record(),
        "clips": {"train": len(speech.train), "validation": len(speech.validation)},
        "encoder_sha256": sha256(file),
        "seconds": round(time.monotonic() - began),
        "history": history,
    }
    write_record(folder / "record.json", record)
    (folder / RUNNING).unlink(missing_ok=True)
    return file


def _train(recipe: PretrainingRecipe, objective: Objective, speech: Speech, features: Features, folder: Path) -> list[dict[str, Any]]:
    """The plain loop of masked prediction's paper: one rate, everything decays, the last weights are kept as they are."""
    schedule = recipe.schedule
    trained = objective.trained()
    group = {"params": trained, "peak": schedule.encoder_learning_rate}
    optimizer = torch.optim.AdamW([group], betas=(0.9, 0.98), eps=1e-6, weight_decay=schedule.weight_decay)
    history: list[dict[str, Any]] = []
    start = 0
    running = Running(folder, recipe)
    if (state := running.read()) is not None:
        objective.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start, history = state["step"], state["history"]
    longest = round(recipe.data.longest_crop * 50)
    for step in range(start, schedule.steps):
        torch.manual_seed(hash((schedule.seed, step)) % 2**31)
        set_rates(optimizer, schedule, step)
        objective.train()
        loss = _loss(recipe, objective, speech.train, features, longest, step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, schedule.clip_norm)
        optimizer.step()
        done = step + 1
        if done % schedule.evaluate_every == 0 or done == schedule.steps:
            entry = {"step": done, "loss": float(loss.detach()), **validated(objective, speech.validation, features, longest)}
            history.append(entry)
            log.info("%s", json.dumps(rounded(entry)))
        if running.due(done):
            running.write({"model": objective.state_dict(), "optimizer": optimizer.state_dict(), "step": done, "history": history})
    return history


def _loss(
    recipe: PretrainingRecipe, objective: Objective, examples: Sequence[Example], features: Features, longest: int, step: int
) -> torch.Tensor:
    """Of the clips of step `step`, in the recipe's precision."""
    random = np.random.default_rng([recipe.schedule.seed, step])
    chosen = [examples[int(index)] for index in random.integers(len(examples), size=recipe.schedule.batch_size)]
    crops = crops_of(chosen, features, random, longest, objective.grid)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.schedule.precision == "bf16"):
        return objective(crops, random)["loss"].mean()


def save_encoder(encoder: CompactEncoder, start: Path, path: Path) -> None:
    """Start weights in the form of Whisper's (`CompactEncoder.load_whisper`), float32: what was not trained is copied from `start`, which
    is of that form or a run's weights.pt."""
    if start.suffix == ".pt":
        found = {name: value.numpy() for name, value in torch.load(start, weights_only=True).items() if name.startswith("encoder.")}
    else:
        with np.load(start) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    found |= {f"encoder.{name}": value.detach().cpu().numpy() for name, value in encoder.state_dict().items()}
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez(file, **found)
