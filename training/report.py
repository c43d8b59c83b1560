"""What a cross-validation says: figures of each fold and of all test clips together, as Markdown, JSON, and confusion matrices."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoser.evaluation import METRICS, Figure, Scores
from emoser.formats.evaluation import percent
from emoser.plots import confusion_plot
from emoser.pooling import calibrated
from training.crossval import FoldScores, Protocol
from training.files import rounded
from training.recipe import Recipe

COLUMNS = {"plain": "logits", "adapted": "adapted"}  # what a table calls it -> the field of `FoldScores`


def scored(folds: Sequence[FoldScores], field: str) -> Scores:
    """All clips of several folds and seeds together. A clip stands there once for each seed; intervals are over speakers all the same."""
    probabilities = np.concatenate([calibrated(getattr(fold, field), fold.temperature) for fold in folds])
    targets = np.concatenate([fold.targets for fold in folds])
    return Scores.of(targets, probabilities, np.concatenate([fold.speakers for fold in folds]))


def report(
    recipe: Recipe,
    protocol: Protocol,
    labels: Sequence[str],
    folds: Sequence[FoldScores],
    folder: Path,
    every: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes `report.json`, `report.md`, `confusion.csv`, `confusion.png` and their adapted twins to `folder`; returns the report.

    every: the names of all folds of the protocol; where a seed lacks some, the report says so. Those of `folds` if not given.
    """
    names = list(dict.fromkeys(fold.fold for fold in folds))
    seeds = list(dict.fromkeys(fold.seed for fold in folds))
    found: dict[str, Any] = {
        "recipe": recipe.name,
        "recipe_sha256": recipe.checksum(),
        "protocol": protocol.name,
        "corpus": protocol.corpus,
        "folds": protocol.folds,
        "select": protocol.select,
        "multi_corpus": protocol.multi_corpus,
        "labels": list(labels),
        "seeds": seeds,
        "missing": missing(folds, every or names),
    }
    for column, field in COLUMNS.items():
        pooled = scored(folds, field)
        by_fold = {name: scored([fold for fold in folds if fold.fold == name], field) for name in names}
        by_seed = [scored([fold for fold in folds if fold.seed == seed], field) for seed in seeds]
        found[column] = {
            "pooled": pooled.to_dict(labels),
            "by_fold": {name: scores.to_dict(labels) for name, scores in by_fold.items()},
            "mean_of_folds": {metric: spread([scores.figures()[metric].value for scores in by_fold.values()]) for metric in METRICS},
            "over_seeds": {metric: spread([scores.figures()[metric].value for scores in by_seed]) for metric in METRICS},
        }
        suffix = "" if column == "plain" else f"-{column}"
        write_confusion(pooled.confusion, labels, folder / f"confusion{suffix}.csv")
        confusion_plot(pooled.confusion, labels, folder / f"confusion{suffix}.png", f"{recipe.name}, {protocol.name}{suffix}")
    (folder / "report.json").write_text(json.dumps(rounded(found), indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(found), encoding="utf-8")
    return found


def missing(folds: Sequence[FoldScores], every: Sequence[str]) -> dict[str, list[str]]:
    """Seed -> the folds that it lacks; seeds that lack none are left out."""
    done = {(fold.seed, fold.fold) for fold in folds}
    lacking = {str(seed): [name for name in every if (seed, name) not in done] for seed, _ in sorted(done)}
    return {seed: names for seed, names in lacking.items() if names}


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and standard deviation (n - 1); the latter is None for one value."""
    return {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def markdown(found: dict[str, Any]) -> str:
    """A row a fold, then their mean and all clips together; plain beside adapted."""
    lines = [
        f"# {found['recipe']}: {found['protocol']}",
        "",
        f"{len(found['labels'])} labels ({', '.join(found['labels'])}); seeds {', '.join(map(str, found['seeds']))}. Percent, with 95 % "
        "intervals by bootstrap over speakers. *Adapted*: to each test speaker's own clips, labels unused (transductive).",
        *(
            ["", "**Selected on the test clips, as published: an upper bound, not a result.**"]
            if found["select"] == "test-as-published"
            else []
        ),
        *_unfinished(found),
        "",
        "| fold | clips | speakers | UAR | WA | macro F1 | adapted UAR | adapted WA | adapted macro F1 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, plain in found["plain"]["by_fold"].items():
        lines.append(_row(name, plain, found["adapted"]["by_fold"][name]))
    means = [_mean(found[column]["mean_of_folds"][metric]) for column in COLUMNS for metric in METRICS]
    lines.append(f"| mean of folds ± SD | | | {' | '.join(means)} |")
    lines.append(_row("**all clips**", found["plain"]["pooled"], found["adapted"]["pooled"]))
    if len(found["seeds"]) > 1:
        deviations = [f"{100 * found[column]['over_seeds'][metric]['deviation']:.1f}" for column in COLUMNS for metric in METRICS]
        lines.append(f"| SD over seeds | | | {' | '.join(deviations)} |")
    for column in COLUMNS:
        pooled = found[column]["pooled"]
        lines += ["", f"Confusion, {column}: rows said, columns recognised; ECE {100 * pooled['ece']:.1f}.", ""]
        lines += [f"| | {' | '.join(found['labels'])} | recall |", f"|{'---|' * (len(found['labels']) + 2)}"]
        for label, counts in zip(found["labels"], pooled["confusion"], strict=True):
            recall = pooled["recalls"][label]
            lines.append(f"| {label} | {' | '.join(map(str, counts))} | {'-' if recall is None else f'{100 * recall:.1f}'} |")
    return "\n".join(lines) + "\n"


def write_confusion(matrix: NDArray[np.int64], labels: Sequence[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["said", *labels])
        writer.writerows([label, *counts] for label, counts in zip(labels, matrix.tolist(), strict=True))


def _unfinished(found: dict[str, Any]) -> list[str]:
    """Lines that name the folds which are not there, if any."""
    lacking = found["missing"]
    if not lacking:
        return []
    which = "; ".join(f"seed {seed} lacks {', '.join(names)}" for seed, names in lacking.items())
    return ["", f"**Not all folds are finished: {which}. The figures are of the others alone.**"]


def _row(name: str, *both: dict[str, Any]) -> str:
    cells = [_percent(scores[metric]) for scores in both for metric in METRICS]
    return f"| {name} | {both[0]['clips']} | {both[0]['groups']} | {' | '.join(cells)} |"


def _percent(figure: dict[str, Any]) -> str:
    return percent(Figure(figure["value"], None if figure["interval"] is None else tuple(figure["interval"])))


def _mean(spread: dict[str, float | None]) -> str:
    mean, deviation = spread["mean"], spread["deviation"]
    assert mean is not None
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")
