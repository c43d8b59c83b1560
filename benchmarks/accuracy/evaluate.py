"""Scores a checkpoint on the test speakers, and checkpoints that never saw a corpus on that corpus.

    python -m benchmarks.accuracy.evaluate shiftcnn [--corpora DIR]
        the test speakers -> results/<name>.json and results/<name>-reliability.png
    python -m benchmarks.accuracy.evaluate shiftcnn --unseen ravdess=FILE --unseen emodb=FILE ...
        FILE: a checkpoint trained by the same recipe without that corpus, scored on all clips of it -> results/<name>-unseen.json

The checkpoint runs as a user runs it: `emoser.load`, then file by file. Each baseline (baselines.py) is compared on the same draws of
speakers. Scores are the model's own, with the temperature that its registry entry holds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emoser
from benchmarks.accuracy import clips as data
from benchmarks.accuracy import scoring
from benchmarks.accuracy.baselines import UNSEEN
from benchmarks.accuracy.clips import LABELS, Clip
from emoser.metrics import Reliability, expected_calibration_error, reliability
from emoser.models.utterance import UtteranceModel
from emoser.results import Prediction

Probabilities = NDArray[np.float64]
BINS = 15


def probabilities(model: UtteranceModel, inputs: list[Any]) -> Probabilities:
    """The model's scores of the four classes (inputs, 4), renormalised where the model knows further labels."""
    unknown = set(LABELS) - set(model.labels)
    if unknown:
        raise SystemExit(f"{model.name} has no label {', '.join(sorted(unknown))}; it has {', '.join(model.labels)}")
    rows = []
    for result in model.stream(inputs):
        if not isinstance(result, Prediction):
            raise SystemExit(f"{model.name} failed: {result}")
        rows.append([result.scores[label] for label in LABELS])
    table = np.array(rows, dtype=np.float64)
    return table / table.sum(axis=1, keepdims=True)


def calibration(truth: scoring.Truth, scores: Probabilities) -> dict[str, Any]:
    """ECE per corpus and pooled, and the pooled reliability diagram, bin by bin."""
    found = reliability(scores, truth.labels, BINS)
    used = found.counts > 0
    bins = {
        "centre": found.centres[used].tolist(),
        "accuracy": found.accuracy[used].tolist(),
        "confidence": found.confidence[used].tolist(),
        "clips": found.counts[used].tolist(),
    }
    corpora = {name: expected_calibration_error(scores[chosen], truth.labels[chosen], BINS) for name, chosen in truth.of_corpora().items()}
    ece = expected_calibration_error(scores, truth.labels, BINS)
    mean_confidence = float(scores.max(axis=1).mean())
    pooled = {"ece": ece, "mean_confidence": mean_confidence, "bins": BINS, "diagram": bins}
    return dict(scoring.rounded({"pooled": pooled, "ece_of_corpora": corpora}))


def plot(found: Reliability, title: str, path: Path) -> None:
    """The reliability diagram: the closer to the diagonal, the more a confidence means what it says."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    used = found.counts > 0
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(4.5, 5.5), height_ratios=(3, 1), sharex=True, layout="constrained")
    upper.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    upper.plot(found.confidence[used], found.accuracy[used], marker="o", markersize=4, color="#1f5f8b")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=title)
    lower.bar(found.centres, found.counts, width=0.9 / len(found.counts), color="#1f5f8b")
    lower.set(xlabel="confidence", ylabel="clips")
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def against(protocol: str, truth: scoring.Truth, guess: scoring.Indices, tested: dict[str, Any]) -> dict[str, Any]:
    """This system minus each baseline, if the baselines' file speaks of the same clips."""
    path = scoring.RESULTS / f"{protocol}.json"
    if not path.is_file():
        return {}
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["tested"]["sha256"] != tested["sha256"]:
        raise SystemExit(f"{path.name} was measured on other clips; run the baselines again")
    return {system["name"]: scoring.compare(truth, scoring.unpacked(system["predictions"]), guess) for system in record["systems"]}


def record(protocol: str, baselines: str, clips: list[Clip], scores: Probabilities, about: dict[str, Any]) -> dict[str, Any]:
    truth = scoring.Truth(clips)
    guess = scores.argmax(axis=1)
    what = data.described(clips)
    return {
        "protocol": protocol,
        "system": about,
        **what,
        "seed": scoring.SEED,
        "interval": {"confidence": scoring.CONFIDENCE, "draws": scoring.REPEATS, "of": "speakers"},
        "versions": scoring.versions("emoser", "numpy", "onnxruntime"),
        "scores": scoring.score(truth, guess),
        "calibration": calibration(truth, scores),
        "minus_baselines": against(baselines, truth, guess, what["tested"]),
        "predictions": scoring.packed(guess),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a registered checkpoint, or a checkpoint's file")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--unseen", action="append", default=[], metavar="CORPUS=FILE", help=f"one of {', '.join(UNSEEN)}; repeat it")
    arguments = parser.parse_args()
    clips = data.four_classes(arguments.corpora)

    if arguments.unseen:
        files = dict(pair.split("=", 1) for pair in arguments.unseen)
        if set(files) != set(UNSEEN):
            parser.error(f"--unseen needs one file for each of {', '.join(UNSEEN)}; given: {', '.join(files)}")
        models = {corpus: emoser.load(files[corpus], threads=arguments.threads) for corpus in UNSEEN}
        chosen = [clip for clip in clips if clip.corpus in UNSEEN]
        order = [corpus for corpus in data.CORPORA if corpus in UNSEEN]
        parts = [probabilities(models[corpus], [clip.path for clip in chosen if clip.corpus == corpus]) for corpus in order]
        about = {"name": arguments.name, "checkpoints": {corpus: scoring.about(models[corpus]) for corpus in order}}
        print(scoring.write(f"{arguments.name}-unseen", record("unseen", "baselines-unseen", chosen, np.concatenate(parts), about)))
        return

    model = emoser.load(arguments.name, threads=arguments.threads)
    chosen = [clip for clip in clips if clip.part == "test"]
    scores = probabilities(model, [clip.path for clip in chosen])
    print(scoring.write(model.name, record("speakers", "baselines", chosen, scores, scoring.about(model))))
    found = reliability(scores, scoring.Truth(chosen).labels, BINS)
    plot(found, f"{model.name}, test speakers", scoring.RESULTS / f"{model.name}-reliability.png")


if __name__ == "__main__":
    main()
