"""Scores checkpoints on the test mixtures, beside what needs no diarization.

    python -m benchmarks.diarization.evaluate [NAME|FOLDER|FILE ...] [--corpora DIR] [--threads N] [--limit N]

Writes results/baselines.json (a label for everything) and, for each checkpoint, results/<name>.json: its own diarization with the settings
of its registry entry; the same with windows, each of which gets one emotion; and the emotion of the whole recording (`emoser predict`)
stretched over it. Without names: every checkpoint of the registry. With --limit, a quick look: nothing is written.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import emoser
from benchmarks.accuracy.scoring import about, versions, write_to
from benchmarks.diarization import scoring
from benchmarks.diarization.mixtures import SEEDS, Mixed, described, mixtures
from benchmarks.diarization.scoring import Lines
from emoser.models.utterance import UtteranceModel
from emoser.results import Diarization, Prediction
from emoser.settings import DiarizationSettings

LABELS = ("neutral", "happy", "angry", "sad")


def constant(label: str, mixed: Sequence[Mixed]) -> Lines:
    return [[(0.0, each.recording.duration, label)] for each in mixed]


def stretched(model: UtteranceModel, mixed: Sequence[Mixed]) -> Lines:
    """The emotion of the whole recording over all of its time."""
    found: Lines = []
    for each, result in zip(mixed, model.stream(each.path for each in mixed), strict=True):
        if not isinstance(result, Prediction):
            raise SystemExit(f"{model.name} failed: {result}")
        found.append([(0.0, each.recording.duration, result.label)])
    return found


def diarized(model: UtteranceModel, mixed: Sequence[Mixed], settings: DiarizationSettings | None = None) -> Lines:
    found: Lines = []
    for result in model.diarize_each((each.path for each in mixed), settings=settings):
        if not isinstance(result, Diarization) or result.error is not None:
            raise SystemExit(f"{model.name} failed: {result}")
        found.append([(segment.start, segment.end, segment.label) for segment in result.segments])
    return found


def systems_of(model: UtteranceModel) -> dict[str, Callable[[Sequence[Mixed]], Lines]]:
    """What a checkpoint can be asked for. Windows are one more way only where its own way is another."""
    own = model.checkpoint.diarization
    found: dict[str, Callable[[Sequence[Mixed]], Lines]] = {"diarize": lambda mixed: diarized(model, mixed)}
    if model.checkpoint.task == "utterance" and own.posteriors != "windows":
        found["windows"] = lambda mixed: diarized(model, mixed, replace(own, posteriors="windows"))
    found["stretched"] = lambda mixed: stretched(model, mixed)
    return found


def of_checkpoint(model: UtteranceModel, mixed: Sequence[Mixed]) -> dict[str, Any]:
    systems = {}
    for name, run in systems_of(model).items():
        started = time.monotonic()
        lines = run(mixed)
        systems[name] = {"seconds": round(time.monotonic() - started, 1), **scoring.score(mixed, lines)}
        print(f"{model.name} {name}: EDER {100 * systems[name]['mean_of_corpora']['eder']['value']:.1f} %", flush=True)
    return {"system": about(model), "systems": systems}


def baselines(mixed: Sequence[Mixed]) -> dict[str, Any]:
    """A label for everything; and who speaks in each mixture, in the order of all `rates`."""
    owners = {"corpora": [each.corpus for each in mixed], "speakers": [each.recording.speaker for each in mixed]}
    return {"recordings": owners, "systems": {label: scoring.score(mixed, constant(label, mixed)) for label in LABELS}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="checkpoints; all of the registry if none is given")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--limit", type=int, metavar="N", help="mixtures a speaker, at most; nothing is written")
    options = parser.parse_args()
    mixed = mixtures("test", options.corpora, options.limit)
    common = {
        "tested": described(mixed),
        "seed": {"mixtures": SEEDS["test"], "bootstrap": scoring.SEED},
        "interval": {"confidence": scoring.CONFIDENCE, "draws": scoring.REPEATS, "of": "speakers"},
        "versions": versions("emoser", "numpy", "onnxruntime"),
    }
    records = {"baselines": baselines(mixed)}
    for label, found in records["baselines"]["systems"].items():
        print(f"all {label}: EDER {100 * found['mean_of_corpora']['eder']['value']:.1f} %", flush=True)
    for name in options.names or [entry.name for entry in emoser.list_checkpoints()]:
        model = emoser.load(name, threads=options.threads)
        records[model.name] = of_checkpoint(model, mixed)
    if options.limit is None:
        for name, record in records.items():
            print(write_to(scoring.RESULTS / f"{name}.json", {**common, **record}))


if __name__ == "__main__":
    main()
