"""A transducer's run: the recipe brought together with its inputs, and what it leaves behind. `runs/<name>/` is as in training/runs.py, and
`vocabulary.json` besides."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from emoser.digests import sha256
from emoser.metrics import EditCounts, Score, edits
from training.data import Example, check_lengths
from training.evaluate import calibration_error, score
from training.features import Source, build
from training.files import rounded, write_record, written_whole
from training.heard import check_unheard
from training.runs import Places, left_by, load_encoder_of, origin_digests, record_of, revision, start_weights
from training.steps import RUNNING
from training.systems.transducer.data import Clips, Mixed, Shelf, clips_of, mixtures_of, steady
from training.systems.transducer.fit import Said, fit, said_of
from training.systems.transducer.losses import NONE
from training.systems.transducer.model import TransducerModel
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.timelines import timeline_scores
from training.systems.transducer.vocabulary import Vocabulary, normalised

VOCABULARY = "vocabulary.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """`mixtures` by part: validation, and train where the recipe learns from them."""

    recipe: TransducerRecipe
    clips: Clips
    mixtures: dict[str, Mixed]
    shelf: Shelf
    source: Source
    folder: Path

    def model(self) -> TransducerModel:
        """A new model: the network at random by the recipe's seed, the encoder from the start weights or another run's."""
        model = self._started()
        load_encoder_of(self.recipe, model.encoder, self.folder.parent)
        return model

    def _started(self) -> TransducerModel:
        torch.manual_seed(self.recipe.schedule.seed)
        model = TransducerModel(self.recipe, self.shelf.vocabulary.size)
        model.encoder.load(self.source.weights)
        return model

    def trained(self) -> TransducerModel:
        """The model with the run's weights."""
        model = self._started()
        model.load_state_dict(torch.load(left_by(self.recipe, self.folder, "weights.pt"), weights_only=True))
        return model.eval()

    def record(self) -> dict[str, Any]:
        return record_of(self.recipe, self.folder)


def vocabulary_of(recipe: TransducerRecipe, clips: Clips) -> Vocabulary:
    """From the texts of the training clips. Each different text counts once, for acted corpora repeat few sentences."""
    texts = sorted({item.utterance.text for item in clips.train if item.corpus in recipe.transducer.transcripts})
    if recipe.transducer.vocabulary == "pieces":
        return Vocabulary.pieces(texts, recipe.transducer.pieces)
    return Vocabulary.english() if recipe.transducer.vocabulary == "english" else Vocabulary.characters(texts)


def prepare(recipe: TransducerRecipe, places: Places) -> Prepared:
    """Finds corpora and start weights, renders the mixtures and computes the cached states that are missing. Raises RecipeError where a run
    that the recipe goes on from has heard what is tested."""
    clips = clips_of(recipe, places.corpora)
    tested, validated = ([example.utterance for example in part] for part in (clips.test, clips.validation))
    check_unheard(recipe, tested, validated, places.runs, places.corpora)
    if recipe.model.encoder is None:
        check_lengths(clips.train, recipe.augmentation)
        check_lengths((*clips.validation, *clips.test))
    folder = places.runs / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = vocabulary_of(recipe, clips)
    weights = start_weights(recipe, places)
    chances, views = recipe.augmentation.chances, range(1, recipe.augmentation.views + 1)
    source = Source(weights, recipe.model.frozen_blocks, chances, places.corpora, recipe.model.first_layer, recipe.model.encoder)
    jobs = [(0, (*clips.train, *clips.validation, *clips.test)), *((view, clips.train) for view in views)]
    features = build(source, places.cache, jobs, places.workers)
    steadied = dataclasses.replace(source, chances=steady(recipe).augmentation.chances)
    parts = ("validation", "train") if recipe.transducer.mixtures.share else ("validation",)
    mixtures = {part: mixtures_of(recipe, clips, part, places.cache) for part in parts}
    shelved = []
    for part, mixed in mixtures.items():
        jobs = [(0, mixed.examples), *((view, mixed.examples) for view in views if part == "train")]
        shelved.append((mixed, build(steadied, mixed.folder / "states", jobs, places.workers)))
    return Prepared(recipe, clips, mixtures, Shelf(recipe, vocabulary, features, shelved), source, folder)


def run_fit(recipe: TransducerRecipe, places: Places) -> Prepared:
    """Trains (or goes on training) and writes the run's weights and record. The test speakers are not looked at."""
    began = time.time()
    prepared = prepare(recipe, places)
    model = prepared.model()
    clips, mixtures, shelf = prepared.clips, prepared.mixtures, prepared.shelf
    taught = mixtures["train"].examples if "train" in mixtures else ()
    held = (clips.validation, mixtures["validation"].examples)
    origins = origin_digests(recipe, places.runs)
    fitted = fit(recipe, model, shelf, (clips.train, taught), held, prepared.folder, origins)
    if not PartialState().is_main_process:
        return prepared  # the weights are the same in every process: one writes them
    (prepared.folder / "test.json").unlink(missing_ok=True)  # of the weights that these replace
    with written_whole(prepared.folder / "weights.pt") as file:
        torch.save(fitted.state, file)
    shelf.vocabulary.write(prepared.folder / VOCABULARY)
    record = {
        "name": recipe.name,
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.checksum(),
        "seed": recipe.schedule.seed,
        "clips": clips.description | {f"mixtures/{part}": {"mixtures": len(mixed.examples)} for part, mixed in mixtures.items()},
        "corpora_sha256": clips.checksum,
        "start_weights_sha256": sha256(prepared.source.weights),
        **origins,
        "revision": revision(),
        "versions": {name: metadata.version(name) for name in ("torch", "numpy", "soundfile", "soxr", "av", "accelerate")},
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "finished": time.strftime("%Y-%m-%d", time.gmtime(began)),
        "seconds": round(fitted.seconds),
        "kept_step": fitted.step,
        "vocabulary": shelf.vocabulary.size,
        "temperature": round(fitted.temperature, 4),
        "frame_temperature": round(fitted.frame_temperature, 4),
        "validation": scores_of(prepared, model, clips.validation, fitted.temperature),
        "history": fitted.history,
    }
    write_record(prepared.folder / "record.json", record)
    (prepared.folder / RUNNING).unlink(missing_ok=True)
    log.info(
        "kept step %d of %d; temperatures %.3f and %.3f", fitted.step, recipe.schedule.steps, fitted.temperature, fitted.frame_temperature
    )
    return prepared


def run_evaluate(recipe: TransducerRecipe, places: Places) -> dict[str, Any]:
    """Scores a trained run on its test speakers, once; writes `test.json` beside its record."""
    prepared = prepare(recipe, places)
    record = prepared.record()
    model = prepared.trained()
    result = {
        "name": recipe.name,
        "recipe_sha256": recipe.checksum(),
        "labels": list(recipe.data.labels),
        "temperature": record["temperature"],
        "left_out": sorted(recipe.data.leave_out),
        **scores_of(prepared, model, prepared.clips.test, record["temperature"]),
    }
    write_record(prepared.folder / "test.json", result)
    for name, value in {**result["corpora"], "pooled": result["pooled"]}.items():
        low, high = value["interval"] or (float("nan"), float("nan"))
        log.info("%-16s UAR %5.1f  [%5.1f, %5.1f]  %d clips", name, 100 * value["uar"], 100 * low, 100 * high, value["clips"])
    for name, value in result["transcripts"].items():
        log.info("%-16s %s", name, json.dumps(rounded(value, 3)))
    return result


def scores_of(prepared: Prepared, model: TransducerModel, examples: tuple[Example, ...], temperature: float) -> dict[str, Any]:
    """Emotions as in training/runs.py; `transcripts`: WER and CER by corpus, sentences seen in training and unseen ones apart; and
    `timelines` (training/systems/transducer/timelines.py) where there are any."""
    recipe, shelf = prepared.recipe, prepared.shelf
    said = said_of(recipe, model, shelf, examples)
    emotional = [index for index, example in enumerate(examples) if example.target != NONE]
    chosen = [examples[index] for index in emotional]
    logits = np.stack([said[index].logits for index in emotional])
    scored = score(logits, chosen, recipe.data.labels)
    assert isinstance(scored.pooled, Score)
    targets = np.array([example.target for example in chosen])
    found = {**scored.to_dict(), "ece": calibration_error(logits, targets, temperature)}
    if timelines := timeline_scores(recipe, shelf, examples, said):
        found["timelines"] = timelines
    if recipe.transducer.system == "framewise":
        return found | {"transcripts": {}}
    return found | {"transcripts": transcript_scores(prepared, examples, said)}


def transcript_scores(prepared: Prepared, examples: tuple[Example, ...], said: list[Said]) -> dict[str, dict[str, float]]:
    seen = {normalised(prepared.shelf.text(example)) for example in prepared.clips.train}
    counts: dict[str, list[EditCounts]] = {}
    clips: dict[str, int] = {}
    for example, item in zip(examples, said, strict=True):
        text = normalised(prepared.shelf.text(example))
        if not text:
            continue
        name = f"{example.corpus}/{'seen' if text in seen else 'unseen'}"
        none = [EditCounts(0, 0, 0, 0)] * 2
        own = (edits(text.split(), item.text.split()), edits(list(text), list(item.text)))
        counts[name] = [before + more for before, more in zip(counts.get(name, none), own, strict=True)]
        clips[name] = clips.get(name, 0) + 1
    return {name: {"wer": words.rate, "cer": letters.rate, "clips": clips[name]} for name, (words, letters) in sorted(counts.items())}
