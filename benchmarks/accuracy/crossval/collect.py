"""Scores of folds -> `Result` records; what lies under runs/crossval -> results/crossval.json."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import scoring
from benchmarks.accuracy.crossval import results
from benchmarks.accuracy.crossval.protocols import ABLATION, HEADS, PROTOCOLS, Clips, packed
from benchmarks.accuracy.crossval.results import Record
from emoser.adaptation import told_offsets
from emoser.evaluation import METRICS
from training.crossval import FoldScores
from training.recipe import Recipe, RecipeError, without_none
from training.report import COLUMNS, scored, spread

SET_BY_PROTOCOL = ("name", "summary", "register", "data.corpora", "data.labels", "data.more_labels", "data.leave_out", "data.rename")


def result_of(folds: Sequence[FoldScores], clips: Clips) -> Record:
    """What `results.Result` reads: figures of all clips together (a clip once for each seed), mean and deviation of the folds, predictions.

    Raises RecipeError where a fold was not tested on `clips`.
    """
    folds = sorted(folds, key=lambda each: (each.seed, clips.folds.index(each.fold)))
    for each in folds:
        if digest_of(each.files, each.targets) != clips.digests[clips.folds.index(each.fold)]:
            raise RecipeError(f"fold {each.fold} was tested on other clips than those of results/{results.BASELINES}.json")
    seeds = list(dict.fromkeys(each.seed for each in folds))
    found: Record = {"folds": {str(seed): [each.fold for each in folds if each.seed == seed] for seed in seeds}}
    for read_out, field in COLUMNS.items():
        pooled = scored(folds, field)
        by_fold = [
            scored([each for each in folds if each.fold == name], field) for name in clips.folds if any(each.fold == name for each in folds)
        ]
        found |= {"clips": pooled.clips, "speakers": pooled.groups}
        guesses = {seed: np.concatenate([getattr(each, field).argmax(1) for each in folds if each.seed == seed]) for seed in seeds}
        found[read_out] = {
            **{metric: pooled.figures()[metric].to_dict() for metric in METRICS},
            "mean_of_folds": {metric: spread([scores.figures()[metric].value for scores in by_fold]) for metric in METRICS},
            "predictions": {str(seed): packed(guess) for seed, guess in guesses.items()},
        }
    rounded: Record = scoring.rounded(found)
    return rounded


def told(folds: Sequence[FoldScores]) -> Record:
    """Figures of the adapted read-out, its scores weighed by how often each label occurs among the speaker's clips."""
    found = scored([weighed(each) for each in folds], COLUMNS["adapted"]).figures()
    rounded: Record = scoring.rounded({metric: found[metric].to_dict() for metric in METRICS})
    return rounded


def weighed(fold: FoldScores) -> FoldScores:
    logits = fold.adapted.astype(np.float64)
    for speaker in np.unique(fold.speakers):
        own = fold.speakers == speaker
        shares = np.bincount(fold.targets[own], minlength=logits.shape[1]) / own.sum()
        logits[own] += told_offsets(logits[own], shares, fold.temperature)
    return dataclasses.replace(fold, adapted=logits.astype(np.float32))


def digest_of(files: Sequence[str] | Any, targets: Sequence[int] | Any) -> str:
    """Of a fold's test clips and their labels, in their order."""
    listing = "\n".join(f"{file} {int(target)}" for file, target in zip(files, targets, strict=True))
    return hashlib.sha256(listing.encode()).hexdigest()[:16]


def options_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe's options that are not the types' defaults and not set by the protocol, as `section.field`; the seed is not one of them.

    >>> options_of({"name": "x", "model": {"head": "cnn", "pool": 2}, "schedule": {"steps": 600, "seed": 7}})
    {'model.head': 'cnn', 'schedule.steps': 600}
    """
    usual = flat(json.loads(json.dumps(Recipe().to_dict())))
    given = flat(without_none(recipe))
    outside = (*SET_BY_PROTOCOL, "schedule.seed")
    return {name: value for name, value in given.items() if not name.startswith(outside) and value != usual.get(name)}


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found


def collected(folder: Path, clips: Clips) -> Record | None:
    """The record of one recipe under one protocol, from its folder; None where no fold has finished."""
    folds, options = [], []
    for path in sorted(folder.glob("seed-*/fold-*/scores.npz")):
        found = FoldScores.read(path)
        assert found is not None
        folds.append(found)
        options.append(options_of(json.loads(path.with_name("record.json").read_text(encoding="utf-8"))["recipe"]))
    if not folds:
        return None
    if any(each != options[0] for each in options):
        raise RecipeError(f"{folder.parent.name}, {folder.name}: its folds are of more than one recipe")
    report = folder / "report.json"
    checksum = json.loads(report.read_text(encoding="utf-8"))["recipe_sha256"] if report.is_file() else None
    return {"recipe_sha256": checksum, "options": options[0], **result_of(folds, clips), "told": told(folds)}


def collect(runs: Path) -> Record:
    """results/crossval.json with what lies under `runs`/crossval put in: it replaces what stood there of the same recipe and protocol, and
    the rest stays. Other names and protocols than those of the table are passed over, and named on standard error."""
    clips = results.clips_of(results.read(results.BASELINES))
    found: dict[str, dict[str, Record]] = results.read(results.RUNS).get("runs", {})
    for folder in sorted((runs / "crossval").glob("*/*")):
        recipe, protocol = folder.parent.name, folder.name
        if protocol not in PROTOCOLS or not (recipe in HEADS or recipe.startswith(ABLATION)):
            print(f"passed over: {recipe}, {protocol}", file=sys.stderr)
            continue
        record = collected(folder, clips[PROTOCOLS[protocol].name])
        if record is not None:
            found.setdefault(recipe, {})[protocol] = record
    order = [*HEADS, *sorted(name for name in found if name not in HEADS)]
    return {
        "interval": {"confidence": 0.95, "of": "speakers"},
        "runs": {
            recipe: {protocol: found[recipe][protocol] for protocol in PROTOCOLS if protocol in found[recipe]}
            for recipe in order
            if recipe in found
        },
    }
