"""What adaptation to unlabelled clips brings on a corpus that the model never saw, and when it hurts.

    python -m training unseen shiftcnn                   # trains the recipe once without each corpus
    python -m benchmarks.accuracy.adaptation shiftcnn    # -> results/shiftcnn-adaptation.json, and a table on standard output
    python -m benchmarks.accuracy.adaptation shiftcnn --with shiftformer-frozen    # the mean of both, as an ensemble takes it

For each corpus left out, its clips are scored by the model as it is, and adapted (emoser/adaptation.py, the code that a user runs) to 10,
30, 100 or all clips of it drawn at random, to one-sided draws (one label alone, or two thirds of one label), and to each speaker's own
clips; each draw once more with the shares of its labels told (`emoser adapt --shares`). Draws are repeated; the figure is the mean UAR over
all clips of the corpus, those adapted to among them, their labels unused; beside it stands how many of the clips adapted to are labelled
rightly. Of several recipes each is adapted by itself, and their probabilities are averaged.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.accuracy import scoring
from benchmarks.accuracy.unseen import AS_IT_IS, EACH, TOLD
from emoser.adaptation import EVEN, LEAST, STRENGTH, UNEVEN, Reference, adapt, told_offsets
from emoser.adaptation import TOLD as BELIEVED
from emoser.metrics import unweighted_average_recall
from emoser.pooling import calibrated
from training.adaptation import adapted_logits, reference_of
from training.data import Example
from training.leaving_out import without
from training.loop import pooled_clips
from training.model import Adjustment, EmotionModel, Pooled
from training.recipe import Recipe, read_recipe
from training.runs import Places, prepare
from training.unseen import CORPORA

SIZES = (10, 30, 100)
DRAWS = 5
SEED = 1

Indices = NDArray[np.int64]
Probabilities = NDArray[np.float64]


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


@dataclass(frozen=True)
class Member:
    """A model, and how it hears the clips of the corpus: the only one that is measured, or one of several whose probabilities are
    averaged."""

    model: EmotionModel
    pooled: Pooled
    reference: Reference
    temperature: float
    labels: int  # how many of its classes, from the first, a checkpoint has

    @torch.inference_mode()
    def probabilities(self, by: Adjustment | None = None) -> Probabilities:
        """(clips, labels), as it is or adjusted."""
        return calibrated(self.model.read(self.pooled, by)[0].numpy()[:, : self.labels], self.temperature)

    @cached_property
    def plain(self) -> Probabilities:
        return self.probabilities()

    def adapted(self, chosen: Indices, shares: NDArray[np.float64] | None) -> Probabilities:
        """Those of all clips, adapted to the ones chosen."""
        moved = adapt(self.pooled.vector[chosen].numpy(), self.plain[chosen], self.reference, shares=shares)
        found = self.probabilities(Adjustment(torch.from_numpy(moved.scale), torch.from_numpy(moved.shift)))
        if shares is None:
            return found
        logits = np.log(found + 1e-12)
        return calibrated(logits + told_offsets(logits[chosen], shares), 1.0)

    def adapted_to_each(self, speakers: NDArray[np.str_]) -> Probabilities:
        """Those of each speaker's clips, adapted to these."""
        logits = adapted_logits(self.model, self.pooled, speakers, self.reference, self.labels, self.temperature)
        return calibrated(logits, self.temperature)


def uar(targets: Indices, probabilities: Sequence[Probabilities]) -> float:
    """UAR of the mean over the members."""
    return unweighted_average_recall(targets, np.mean(probabilities, axis=0).argmax(1))


def shares_in(targets: Indices, labels: Sequence[str]) -> NDArray[np.float64]:
    return np.bincount(targets, minlength=len(labels)) / len(targets)


@dataclass
class Measured:
    """By what the members are adapted to: `uar` over all clips of the corpus (`none`: as the members are), and `own`, how many of the clips
    adapted to are labelled rightly, which is what a user has of it whose clips these are (with AS_IT_IS: without adaptation)."""

    uar: dict[str, float]
    own: dict[str, float]


def measure(members: Sequence[Member], targets: Indices, speakers: NDArray[np.str_], labels: Sequence[str]) -> Measured:
    plain = np.mean([member.plain for member in members], axis=0)
    found = Measured({"none": uar(targets, [plain])}, {})
    for name, draws in draws_of(targets, labels, np.random.default_rng(SEED)):
        found.own[name + AS_IT_IS] = float(np.mean([accuracy(targets[chosen], plain[chosen]) for chosen in draws]))
        for told in (False, True):
            values, own = [], []
            for chosen in draws:
                shares = shares_in(targets[chosen], labels) if told else None
                scores = np.mean([member.adapted(chosen, shares) for member in members], axis=0)
                values.append(uar(targets, [scores]))
                own.append(accuracy(targets[chosen], scores[chosen]))
            found.uar[name + TOLD * told] = float(np.mean(values))
            found.own[name + TOLD * told] = float(np.mean(own))
    if len(np.unique(speakers)) > 1:
        found.uar[EACH] = uar(targets, [member.adapted_to_each(speakers) for member in members])
        told_to_each = np.empty_like(plain)
        for speaker in np.unique(speakers):
            chosen = np.flatnonzero(speakers == speaker)
            shares = shares_in(targets[chosen], labels)
            told_to_each[chosen] = np.mean([member.adapted(chosen, shares) for member in members], axis=0)[chosen]
        found.uar[EACH + TOLD] = uar(targets, [told_to_each])
    return found


def accuracy(targets: Indices, probabilities: Probabilities) -> float:
    return float((probabilities.argmax(1) == targets).mean())


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown, in percent: a row a corpus."""
    columns = list(dict.fromkeys(name for values in found.values() for name in values))
    lines = [f"| unseen corpus | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    for corpus, values in found.items():
        cells = [f"{100 * values[name]:.1f}" if name in values else "-" for name in columns]
        lines.append(f"| {corpus} | {' | '.join(cells)} |")
    return "\n".join(lines)


def settings_of(name: str) -> list[str]:
    """What the runs of a recipe set beside it, out of its own result file. Raises SystemExit where it has none."""
    file = scoring.RESULTS / f"{name}-adaptation.json"
    if not file.is_file():
        raise SystemExit(f"{name} is measured by itself first: python -m benchmarks.accuracy.adaptation {name}")
    found: list[str] = json.loads(file.read_text(encoding="utf-8"))["set"]
    return found


def member_of(recipe: Recipe, corpus: str, places: Places) -> tuple[Member, list[Example], int]:
    """The run without `corpus`, the clips of it that are tested, and the run's kept step."""
    run = prepare(without(recipe, corpus), places, clean_only=True)
    record, model = run.record(), run.trained()
    tested = [example for example in run.examples.test if example.corpus == corpus]
    own = len(recipe.data.labels)
    reference = reference_of(model, run.examples.train, run.features, own)
    pooled = pooled_clips(model, tested, run.features)
    return Member(model, pooled, reference, record["temperature"], own), tested, record["kept_step"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.adaptation", description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--name", help="of the runs, where they bear another than the recipe's; the result file has it too")
    parser.add_argument("--with", nargs="+", default=[], dest="others", metavar="RECIPE", help="averaged with it, set as in their files")
    parser.add_argument("--without", nargs="+", default=list(CORPORA), metavar="CORPUS")
    for name in ("corpora", "weights", "runs", "cache"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("corpora", "weights", "runs", "cache")}
    places = Places(**{name: value for name, value in given.items() if value is not None})
    settings = {options.recipe: options.overrides} | {name: settings_of(name) for name in options.others}
    recipes = [read_recipe(name, overrides, options.name if name == options.recipe else None) for name, overrides in settings.items()]
    if any(recipe.data.labels != recipes[0].data.labels for recipe in recipes):
        raise SystemExit("recipes of other labels cannot be averaged")
    found: dict[str, Measured] = {}
    clips: dict[str, Any] = {}
    for corpus in options.without:
        heard = [member_of(recipe, corpus, places) for recipe in recipes]
        tested = heard[0][1]
        if any([example.utterance for example in others] != [example.utterance for example in tested] for _, others, _ in heard):
            raise SystemExit(f"the recipes test other clips of {corpus}")
        targets = np.array([example.target for example in tested])
        speakers = np.array([example.speaker for example in tested])
        found[corpus] = measure([member for member, _, _ in heard], targets, speakers, recipes[0].data.labels)
        steps = [step for _, _, step in heard]
        clips[corpus] = {"clips": len(tested), "speakers": len(np.unique(speakers)), "kept_step": steps if options.others else steps[0]}
    name = "-with-".join(recipe.name for recipe in recipes)
    sums = [recipe.checksum() for recipe in recipes]
    record = {
        "recipe": name,
        "recipe_sha256": sums if options.others else sums[0],
        "set": options.overrides + [f"{other}: {each}" for other in options.others for each in settings[other]],
        "labels": list(recipes[0].data.labels),
        "strength": STRENGTH,
        "evenness": [UNEVEN, EVEN],
        "shares_believed": BELIEVED,
        "least_share": LEAST,
        "draws": DRAWS,
        "seed": SEED,
        "tested": clips,
        "uar": scoring.rounded({corpus: each.uar for corpus, each in found.items()}),
        "right_of_own": scoring.rounded({corpus: each.own for corpus, each in found.items()}),
        "versions": scoring.versions("numpy", "torch"),
    }
    scoring.write(f"{name}-adaptation", record)
    print(table({corpus: each.uar for corpus, each in found.items()}))


if __name__ == "__main__":
    main()
