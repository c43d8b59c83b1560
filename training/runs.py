"""A run: a recipe brought together with its inputs, and what it leaves behind.

`runs/<name>/` (ignored by git) holds TensorBoard logs, the resumable state while training, `weights.pt` and `record.json` at the end;
`training/records/<name>.json` is the record of what is shipped, committed.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import re
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import nn

from emoser.digests import sha256
from emoser.metrics import Score
from training import paths
from training.data import Examples, check_lengths, examples_of
from training.evaluate import calibration_error, score
from training.features import Features, Source, build
from training.files import write_record, written_whole
from training.heard import check_unheard
from training.loop import fit, forget_progress, logits_of
from training.model import LAST_OF_STATISTICS, EmotionModel
from training.recipe import Model, Recipe, RecipeError

CLONE = Path(__file__).resolve().parents[1]
RECORDS = Path(__file__).parent / "records"
START_WEIGHTS = "whisper-tiny-en"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where a command reads and writes; None means what `training.paths` finds."""

    runs: Path = CLONE / "runs"
    cache: Path = CLONE / "cache" / "features"
    corpora: Path | None = None
    weights: Path | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Prepared:
    recipe: Recipe
    examples: Examples
    source: Source
    features: Features
    folder: Path
    runs: Path  # where the run lies whose encoder this one goes on from

    def model(self) -> EmotionModel:
        """A new model: the head at random by the recipe's seed, the encoder from the start weights or another run's."""
        model = self._started(self.recipe.model)
        load_encoder_of(self.recipe, model.encoder, self.runs)
        load_readouts_of(self.recipe, model, self.runs)
        return model

    def _started(self, options: Model) -> EmotionModel:
        torch.manual_seed(self.recipe.schedule.seed)
        model = EmotionModel(options, len(self.recipe.all_labels))
        model.encoder.load(self.source.weights)
        return model

    def trained(self) -> EmotionModel:
        """The model with the run's weights."""
        model = self._started(self.recipe.model.in_the_end)
        model.load_state_dict(torch.load(left_by(self.recipe, self.folder, "weights.pt"), weights_only=True))
        return model.eval()

    def record(self) -> dict[str, Any]:
        return record_of(self.recipe, self.folder)


def record_of(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What `run_fit` wrote. A run of another recipe is an error: its test speakers may have trained it."""
    file = left_by(recipe, folder, "record.json")
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if record["recipe_sha256"] != recipe.checksum():
        raise RecipeError(f"{file} is of another recipe than {recipe.name} now is; give the --set of its training, or fit it anew")
    return record


def left_by(recipe: Recipe, folder: Path, name: str) -> Path:
    """A file that `run_fit` leaves in a run's folder. Raises FileNotFoundError where it is not there yet."""
    file = folder / name
    if not file.is_file():
        raise FileNotFoundError(f"{recipe.name} is not trained yet: python -m training fit {recipe.name}")
    return file


def prepare(recipe: Recipe, places: Places, clean_only: bool = False) -> Prepared:
    """Finds corpora and start weights and computes the cached states that are missing; `clean_only`: none of degraded copies, which nothing
    but training and its validation reads."""
    examples = examples_of(recipe.data, places.corpora)
    return prepared_with(recipe, places, examples, places.runs / recipe.name, clean_only)


def prepared_with(recipe: Recipe, places: Places, examples: Examples, folder: Path, clean_only: bool = False) -> Prepared:
    """The same for clips and a run's folder that the caller chooses. Raises RecipeError where a run that the recipe goes on from has heard
    what is tested."""
    weights = frozen_weights(recipe, places)
    tested, validated = ([example.utterance for example in part] for part in (examples.test, examples.validation))
    check_unheard(recipe, tested, validated, places.runs, places.corpora)
    model, chances = recipe.model, recipe.augmentation.chances
    if model.encoder is None:
        check_lengths((*examples.train, *examples.validation), None if clean_only else recipe.augmentation)
        check_lengths(examples.test)
    source = Source(weights, model.frozen_blocks, chances, places.corpora, model.first_layer, model.encoder, model.cached_pool)
    jobs = [(0, (*examples.train, *examples.validation, *examples.test))]
    if recipe.augmentation.views and not clean_only:
        jobs.append((1, (*examples.train, *examples.validation)))
        jobs += [(view, examples.train) for view in range(2, recipe.augmentation.views + 1)]
    features = build(source, places.cache, jobs, places.workers)
    folder.mkdir(parents=True, exist_ok=True)
    return Prepared(recipe, examples, source, features, folder, places.runs)


def start_weights(recipe: Recipe, places: Places) -> Path:
    """The file that the recipe's encoder starts from."""
    named = recipe.model.encoder or START_WEIGHTS
    weights = Path(recipe.model.start) if recipe.model.start else paths.weights(named, places.weights)
    if not weights.is_file():
        raise FileNotFoundError(f"model.start: there is no {weights}")
    return weights


def frozen_weights(recipe: Recipe, places: Places) -> Path:
    """The file that the frozen blocks come from: the run `model.encoder_of` where it trained some of them, else the start weights."""
    run = encoder_file(recipe, places.runs)
    if run is None or recipe.model.frozen_blocks <= encoder_record(recipe, run)["model"]["frozen_blocks"]:
        return start_weights(recipe, places)
    return run


def run_fit(recipe: Recipe, places: Places) -> Prepared:
    """Trains (or goes on training) and writes the run's weights and record. The test speakers are not looked at."""
    began = time.time()
    prepared = prepare(recipe, places)
    model = prepared.model()
    origins = origin_digests(recipe, places.runs)
    fitted = fit(recipe, model, prepared.examples, prepared.features, prepared.folder, origins)
    if not PartialState().is_main_process:
        return prepared  # the weights are the same in every process: one writes them
    (prepared.folder / "test.json").unlink(missing_ok=True)  # of the weights that these replace
    with written_whole(prepared.folder / "weights.pt") as file:
        torch.save(fitted.state, file)
    record = {
        "name": recipe.name,
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.checksum(),
        "seed": recipe.schedule.seed,
        "clips": prepared.examples.description,
        "corpora_sha256": prepared.examples.checksum,
        "start_weights_sha256": sha256(prepared.source.weights),
        **origins,
        "revision": revision(),
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "numpy", "soundfile", "soxr", "av", "accelerate")},
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "finished": time.strftime("%Y-%m-%d", time.gmtime(began)),
        "seconds": round(fitted.seconds),
        "kept_step": fitted.step,
        "class_offsets": fitted.offsets,
        "temperature": round(fitted.temperature, 4),
        **_validation(prepared, model, fitted.temperature),
        "history": fitted.history,
        **({"phases": fitted.phases} if fitted.phases else {}),
    }
    write_record(prepared.folder / "record.json", record)
    forget_progress(prepared.folder)
    log.info("kept step %d of %d; temperature %.3f", fitted.step, recipe.schedule.steps, fitted.temperature)
    return prepared


def _validation(prepared: Prepared, model: EmotionModel, temperature: float) -> dict[str, Any]:
    """What the record says of the validation speakers; nothing where there are none."""
    examples, labels = prepared.examples.validation, prepared.recipe.data.labels
    if not examples:
        return {}
    logits = logits_of(model, examples, prepared.features, 0)[:, : len(labels)]
    targets = np.array([example.target for example in examples])
    return {"validation": score(logits, examples, labels).to_dict(), "validation_ece": calibration_error(logits, targets, temperature)}


def finished(recipe: Recipe) -> Recipe:
    """The recipe of the checkpoint that its run becomes. With `register.parts` the blocks that it trained are frozen from then on: they
    stand in an encoder's file that read-outs taught later share, and all that reads them reads pooled frames."""
    model = recipe.model
    if not recipe.register.get("parts") or model.frozen_blocks == model.blocks:
        return recipe
    first = model.frozen_blocks if model.first_layer is None else model.first_layer
    model = replace(model, encoder_of=recipe.name, frozen_blocks=model.blocks, first_layer=first)
    return replace(recipe, model=model)


def run_evaluate(recipe: Recipe, places: Places, whole: bool = False) -> dict[str, Any]:
    """Scores a trained run on its test speakers (and the whole of each corpus left out), once; writes `test.json` beside its record."""
    record = record_of(recipe, places.runs / recipe.name)
    prepared = prepare(recipe if whole else finished(recipe), places, clean_only=True)
    logits = logits_of(prepared.trained(), prepared.examples.test, prepared.features, 0)[:, : len(recipe.data.labels)]
    targets = np.array([example.target for example in prepared.examples.test])
    scored = score(logits, prepared.examples.test, recipe.data.labels)
    left_out = set(recipe.data.leave_out)
    result = {
        "name": recipe.name,
        "recipe_sha256": recipe.checksum(),
        "labels": list(recipe.data.labels),
        "temperature": record["temperature"],
        "left_out": sorted(left_out),
        "ece": calibration_error(logits, targets, record["temperature"]),
        **scored.to_dict(),
    }
    write_record(prepared.folder / "test.json", result)
    for name, value in {**scored.corpora, "pooled": scored.pooled}.items():
        assert isinstance(value, Score)
        low, high = value.interval or (float("nan"), float("nan"))
        log.info("%-16s UAR %5.1f  [%5.1f, %5.1f]  %d clips", name, 100 * value.uar, 100 * low, 100 * high, value.clips)
    return result


def encoder_file(recipe: Recipe, runs: Path) -> Path | None:
    """The weights of the run `model.encoder_of`, where the recipe names one."""
    if recipe.model.encoder_of is None:
        return None
    file = runs / recipe.model.encoder_of / "weights.pt"
    if not file.is_file():
        raise FileNotFoundError(f"{recipe.name} goes on from {recipe.model.encoder_of}: python -m training fit {recipe.model.encoder_of}")
    return file


def encoder_record(recipe: Recipe, file: Path) -> dict[str, Any]:
    """The recipe of the run whose weights `file` holds."""
    before: dict[str, Any] = json.loads(file.with_name("record.json").read_text(encoding="utf-8"))["recipe"]
    return before


def origin_digests(recipe: Recipe, runs: Path) -> dict[str, str]:
    """What a record says of the weights of other runs that the recipe goes on from: one of their names may be trained anew."""
    readouts = runs / recipe.model.readouts_of / "weights.pt" if recipe.model.readouts_of else None
    start = Path(recipe.model.start) if recipe.model.start else None
    files = {"encoder_of_sha256": encoder_file(recipe, runs), "readouts_of_sha256": readouts, "start_sha256": start}
    # Read-outs that are not there are an error where they are loaded.
    return {name: sha256(file) for name, file in files.items() if file is not None and file.is_file()}


def load_encoder_of(recipe: Recipe, encoder: nn.Module, runs: Path) -> None:
    """Puts the encoder of the run `model.encoder_of` into `encoder`, where the recipe names one. Its frozen blocks must be the same."""
    file = encoder_file(recipe, runs)
    if file is None:
        return
    found = torch.load(file, weights_only=True)
    own = {name.removeprefix("encoder."): value for name, value in found.items() if name.startswith("encoder.")}
    trained = {name: int(match[1]) for name in own if (match := re.match(r"blocks\.(\d+)\.", name))}
    for name, value in encoder.state_dict().items():
        if trained.get(name, -1) < recipe.model.frozen_blocks and not torch.equal(value, own[name]):
            raise RecipeError(f"model.encoder_of: {recipe.model.encoder_of} has another {name} than the start weights of {recipe.name}")
    encoder.load_state_dict(own)


def load_readouts_of(recipe: Recipe, model: EmotionModel, runs: Path) -> None:
    """Puts mix and read-outs of the run `model.readouts_of` into `model`, where the recipe names one. What tells labels apart is taken over
    for those that both have; a label that is new starts at random.

    Raises RecipeError where the run has another head, or had another encoder: read-outs fit the states that they were taught on alone.
    """
    if recipe.model.readouts_of is None:
        return
    folder = runs / recipe.model.readouts_of
    if not (folder / "weights.pt").is_file():
        raise FileNotFoundError(f"{recipe.name} starts with the read-outs of {folder.name}: python -m training unseen makes it")
    data = json.loads((folder / "record.json").read_text(encoding="utf-8"))["recipe"]["data"]
    found = torch.load(folder / "weights.pt", weights_only=True)
    for name, value in model.encoder.state_dict().items():
        if not torch.equal(value, found.get(f"encoder.{name}", torch.empty(0))):
            raise RecipeError(f"model.readouts_of: {folder.name} has another encoder ({name}); model.encoder_of: {folder.name} takes it")
    before = [*data["labels"], *data["more_labels"]]
    known = [(index, before.index(label)) for index, label in enumerate(recipe.all_labels) if label in before]
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("encoder.")}
    for name, value in own.items():
        by_label = name.startswith(("head.classifier.", f"statistics.network.{LAST_OF_STATISTICS}."))
        taught = found.get(name, torch.empty(0))
        if taught.shape != ((len(before), *value.shape[1:]) if by_label else value.shape):
            raise RecipeError(f"model.readouts_of: {name} of {folder.name} is of another head")
        if by_label:
            for index, there in known:
                value[index] = taught[there]
        else:
            value.copy_(taught)


def revision() -> str:
    """The commit that the code stands at, with a plus where files were changed since; empty outside a clone."""
    try:
        described = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=CLONE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()
