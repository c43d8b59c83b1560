"""What adaptation to unlabelled clips brings on a corpus that the model never saw, and when it hurts.

    python -m training unseen shiftcnn                   # trains the recipe once without each corpus
    python -m benchmarks.accuracy.adaptation shiftcnn    # -> results/shiftcnn-adaptation.json, and a table on standard output

For each corpus left out, its clips are scored by the model as it is, and adapted (emoser/adaptation.py, the code that a user runs) to 10,
30, 100 or all clips of it drawn at random, to one-sided draws (one label alone, or two thirds of one label), and to each speaker's own
clips; each draw once more with the shares of its labels told (`emoser adapt --shares`). Draws are repeated; the figure is the mean UAR over
all clips of the corpus, those adapted to among them, their labels unused.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.accuracy import scoring
from benchmarks.accuracy.unseen import TOLD
from emoser.adaptation import EVEN, STRENGTH, UNEVEN, Reference, adapt
from emoser.adaptation import TOLD as BELIEVED
from emoser.metrics import unweighted_average_recall
from training.adaptation import adapted_logits, pooled_clips, reference_of
from training.evaluate import softmax
from training.leaving_out import without
from training.model import Adjustment, EmotionModel, Pooled
from training.recipe import read_recipe
from training.runs import Places, prepare
from training.unseen import CORPORA

SIZES = (10, 30, 100)
DRAWS = 5
SEED = 1

Indices = NDArray[np.int64]


def draws_of(targets: Indices, labels: Sequence[str], random: np.random.Generator) -> Iterator[tuple[str, list[Indices]]]:
    """(name, draws): which clips of a corpus the model is adapted to."""
    count = len(targets)
    for size in SIZES:
        yield f"{size} clips", [random.choice(count, min(size, count), replace=False) for _ in range(DRAWS)]
    yield "all", [np.arange(count)]
    for index, label in enumerate(labels):
        inside, outside = np.flatnonzero(targets == index), np.flatnonzero(targets != index)
        if not len(inside) or not len(outside):
            continue
        yield f"100 {label} alone", [random.permutation(inside)[:100] for _ in range(DRAWS)]
        yield (
            f"two thirds {label}",
            [np.concatenate([random.permutation(inside)[:60], random.permutation(outside)[:30]]) for _ in range(DRAWS)],
        )


@torch.inference_mode()
def adapted_uar(
    model: EmotionModel,
    pooled: Pooled,
    targets: Indices,
    chosen: Indices,
    reference: Reference,
    plain: NDArray[np.float32],
    temperature: float,
    told: bool = False,
) -> float:
    """UAR over all clips, adapted to those chosen; `told`: with the shares of their labels."""
    own = plain.shape[1]
    shares = np.bincount(targets[chosen], minlength=own) / len(chosen) if told else None
    moved = adapt(pooled.vector[chosen].numpy(), softmax(plain[chosen], temperature), reference, shares=shares)
    by = Adjustment(torch.from_numpy(moved.scale), torch.from_numpy(moved.shift))
    return unweighted_average_recall(targets, model.read(pooled, by)[0].numpy()[:, :own].argmax(1))


def measure(
    model: EmotionModel,
    pooled: Pooled,
    targets: Indices,
    speakers: NDArray[np.str_],
    reference: Reference,
    temperature: float,
    labels: Sequence[str],
) -> dict[str, float]:
    """UAR by what the model is adapted to; `none` is the model as it is."""
    own = len(labels)
    with torch.inference_mode():
        plain = model.read(pooled)[0].numpy()[:, :own]
    found = {"none": unweighted_average_recall(targets, plain.argmax(1))}
    for name, draws in draws_of(targets, labels, np.random.default_rng(SEED)):
        for told in (False, True):
            values = [adapted_uar(model, pooled, targets, chosen, reference, plain, temperature, told) for chosen in draws]
            found[name + TOLD * told] = float(np.mean(values))
    if len(np.unique(speakers)) > 1:
        by_speaker = adapted_logits(model, pooled, speakers, reference, own, temperature)
        found["each speaker's own"] = unweighted_average_recall(targets, by_speaker.argmax(1))
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown, in percent: a row a corpus."""
    columns = list(dict.fromkeys(name for values in found.values() for name in values))
    lines = [f"| unseen corpus | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    for corpus, values in found.items():
        cells = [f"{100 * values[name]:.1f}" if name in values else "-" for name in columns]
        lines.append(f"| {corpus} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.adaptation", description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--without", nargs="+", default=list(CORPORA), metavar="CORPUS")
    for name in ("corpora", "weights", "runs", "cache"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("corpora", "weights", "runs", "cache")}
    places = Places(**{name: value for name, value in given.items() if value is not None})
    recipe = read_recipe(options.recipe, options.overrides)
    found: dict[str, dict[str, float]] = {}
    clips: dict[str, Any] = {}
    for corpus in options.without:
        run = prepare(without(recipe, corpus), places, clean_only=True)
        record, model = run.record(), run.trained()
        tested = [example for example in run.examples.test if example.corpus == corpus]
        own = len(recipe.data.labels)
        reference = reference_of(model, run.examples.train, run.features, own)
        pooled = pooled_clips(model, tested, run.features)
        targets = np.array([example.target for example in tested])
        speakers = np.array([example.speaker for example in tested])
        found[corpus] = measure(model, pooled, targets, speakers, reference, record["temperature"], recipe.data.labels)
        clips[corpus] = {"clips": len(tested), "speakers": len(np.unique(speakers)), "kept_step": record["kept_step"]}
    record = {
        "recipe": recipe.name,
        "recipe_sha256": recipe.checksum(),
        "set": options.overrides,
        "labels": list(recipe.data.labels),
        "strength": STRENGTH,
        "evenness": [UNEVEN, EVEN],
        "shares_believed": BELIEVED,
        "draws": DRAWS,
        "seed": SEED,
        "tested": clips,
        "uar": scoring.rounded(found),
        "versions": scoring.versions("numpy", "torch"),
    }
    scoring.write(f"{recipe.name}-adaptation", record)
    print(table(found))


if __name__ == "__main__":
    main()
