"""The ablation of ENT's lattice loss: variants of the recipe `ent` (variants.py), trained alike for few steps, scored on the same test set.

    python -m benchmarks.lattice.run [VARIANT ...] [--steps 600] [--threads 1] [--set SECTION.FIELD=VALUE] [--corpora DIR] ...

Each variant is a run of its own, `runs/ent-ablation-<variant>`: trained, tested and exported as any recipe (to `exported/` in its folder),
then loaded by `emoser` and scored as any checkpoint. Writes results/<variant>.json; `python -m benchmarks.lattice.table` makes README.md
from them. What is there already for the same recipe is left as it is, and a run that was killed goes on where it stopped. To train on one
thread, set OMP_NUM_THREADS=1.

Scored are the test mixtures of benchmarks/diarization by `emoser diarize`, with the settings that the recipe registers; and the recipe's
test clips, by the utterance head (UAR) and by what was written (CER). `--limit`, a quick look at few mixtures, writes nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

import emoser
from benchmarks.accuracy.scoring import about, rounded, versions, write_to
from benchmarks.diarization import scoring
from benchmarks.diarization.evaluate import diarized
from benchmarks.diarization.mixtures import SEEDS, Mixed, described, mixtures
from benchmarks.lattice.variants import BASE, VARIANTS, recipe_of
from emoser.registry import FOLDER_FILE
from training.runs import Places
from training.systems.transducer.export import run_export
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.runs import run_evaluate, run_fit

RESULTS = Path(__file__).resolve().parent / "results"
EXPORTED = "exported"  # in a run's folder: what `emoser` loads

log = logging.getLogger(__name__)


def made(recipe: TransducerRecipe, places: Places) -> Path:
    """The run's folder with its record, its test scores and the exported checkpoint, each made where it is not there for this recipe."""
    folder = places.runs / recipe.name
    checksum = recipe.checksum()
    if _of(folder / "record.json") != checksum:
        run_fit(recipe, places)
    if _of(folder / "test.json") != checksum:
        run_evaluate(recipe, places)
    listing = folder / EXPORTED / FOLDER_FILE
    if not listing.is_file() or listing.stat().st_mtime < (folder / "weights.pt").stat().st_mtime:
        entry = run_export(recipe, places, root=folder / EXPORTED, record=False)
        listing.write_text(yaml.safe_dump(json.loads(json.dumps(entry)), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder


def _of(file: Path) -> str | None:
    """The checksum of the recipe that a run's file is of."""
    return json.loads(file.read_text(encoding="utf-8"))["recipe_sha256"] if file.is_file() else None


def measured(name: str, recipe: TransducerRecipe, folder: Path, mixed: Sequence[Mixed], threads: int | None) -> dict[str, Any]:
    """What the result file says of a variant."""
    record, test = (json.loads((folder / file).read_text(encoding="utf-8")) for file in ("record.json", "test.json"))
    model = emoser.load(folder / EXPORTED, threads=threads, device="cpu", offline=True)
    variant = VARIANTS[name]
    return {
        "variant": name,
        "text": variant.text,
        "overrides": list(variant.overrides),
        "recipe_sha256": recipe.checksum(),
        "pooling": asdict(recipe.transducer.pooling),
        "run": {
            "steps": recipe.schedule.steps,
            **{key: record[key] for key in ("seed", "kept_step", "seconds", "cores", "revision", "finished", "vocabulary")},
            "validation": {key: record["history"][-1].get(key) for key in ("uar", "frames", "cer")},
        },
        "system": about(model),
        "tested": described(list(mixed)),
        "seed": {"mixtures": SEEDS["test"], "bootstrap": scoring.SEED},
        "versions": versions("emoser", "numpy", "onnxruntime", "torch"),
        "clips": {
            "mean_uar": test["mean_uar"],
            "pooled": {key: test["pooled"][key] for key in ("uar", "interval", "clips", "speakers")},
            "corpora": {corpus: value["uar"] for corpus, value in test["corpora"].items()},
            "transcripts": test["transcripts"],
        },
        "diarization": scoring.score(mixed, diarized(model, mixed)),
    }


def current(file: Path, recipe: TransducerRecipe, mixed: Sequence[Mixed]) -> bool:
    """Whether a result file is of this recipe and of these mixtures."""
    if not file.is_file():
        return False
    found = json.loads(file.read_text(encoding="utf-8"))
    return bool(found["recipe_sha256"] == recipe.checksum() and found["tested"]["sha256"] == described(list(mixed))["sha256"])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=f"all if none is given: {', '.join(VARIANTS)}")
    parser.add_argument("--steps", type=int, default=600, help="of each run (default: 600)")
    parser.add_argument("--threads", type=int, default=1, help="of `emoser` (default: 1)")
    parser.add_argument("--recipe", default=BASE, help=f"what is varied (default: {BASE})")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", dest="overrides", help="for all variants")
    parser.add_argument("--limit", type=int, metavar="N", help="mixtures a speaker, at most; nothing is written")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--cache", type=Path, help="of cached states")
    parser.add_argument("--workers", type=int, default=1, help="processes that compute states that are missing (default: 1)")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.variants if name not in VARIANTS]:
        parser.error(f"no variant {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given = {name: getattr(options, name) for name in ("runs", "cache", "corpora", "weights", "workers")}
    places = Places(**{name: value for name, value in given.items() if value is not None})
    mixed = mixtures("test", options.corpora, options.limit)
    for name in options.variants or VARIANTS:
        recipe = recipe_of(name, options.steps, options.recipe, options.overrides)
        file = RESULTS / f"{name}.json"
        if current(file, recipe, mixed):
            log.info("%s is there", name)
            continue
        log.info("%s: %s", name, VARIANTS[name].text)
        found = measured(name, recipe, made(recipe, places), mixed, options.threads)
        mean = found["diarization"]["mean_of_corpora"]
        log.info("%s: EDER %.1f, frame UAR %.1f", name, 100 * mean["eder"]["value"], 100 * mean["frame_uar"]["value"])
        if options.limit is None:
            log.info("%s", write_to(file, rounded(found, 5)))


if __name__ == "__main__":
    main()
