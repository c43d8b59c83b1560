"""How much of a checkpoint's accuracy is left when the recording gets worse (conditions.py), on the test speakers.

python -m benchmarks.accuracy.robustness shiftcnn [--corpora DIR]       -> results/<name>-robustness.json
python -m benchmarks.accuracy.robustness --baselines                    -> results/baselines-robustness.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emoser
from benchmarks.accuracy import baselines, features, scoring, table
from benchmarks.accuracy import clips as data
from benchmarks.accuracy.clips import Clip
from benchmarks.accuracy.conditions import RATE, SEED, Condition, Samples, conditions
from benchmarks.accuracy.evaluate import probabilities
from emoser.audio import load_audio

Predict = Callable[[list[Samples]], NDArray[np.int64]]


def degraded(clips: list[Clip], condition: Condition) -> list[Samples]:
    """The clips under one condition; what is random follows from the seed and the place of the clip alone."""
    return [
        np.ascontiguousarray(condition.degrade(load_audio(clip.path, target_rate=RATE)[0].waveform, np.random.default_rng((SEED, index))))
        for index, clip in enumerate(clips)
    ]


def measure(name: str, predict: Predict, clips: list[Clip], tried: list[Condition]) -> list[dict[str, Any]]:
    """One entry a condition: its scores, its distance to the clean clips, and how many labels stayed."""
    truth = scoring.Truth(clips)
    clean = None
    found = []
    for condition in tried:
        guess = predict(degraded(clips, condition))
        clean = guess if clean is None else clean
        entry: dict[str, Any] = {"name": condition.name, "how": condition.how, "scores": scoring.score(truth, guess)}
        if guess is not clean:
            entry["minus_clean"] = scoring.compare(truth, clean, guess)
        entry["same_label"] = round(float(np.mean(guess == clean)), 4)
        entry["predictions"] = scoring.packed(guess)
        found.append(entry)
        print(f"{name} {condition.name}: mean UAR {entry['scores']['mean_of_corpora']['uar']:.3f}", file=sys.stderr)
    return found


def baseline_predictors(names: list[str], clips: list[Clip], weights: Path) -> dict[str, Predict]:
    """The baselines as their result file has them: trained on clean clips of the training speakers."""
    predictors = {}
    for baseline in (item for item in baselines.BASELINES if item.name in names):
        parts = {
            corpus: features.table(baseline.features, [clip.path for clip in clips if clip.corpus == corpus], corpus, weights)
            for corpus in data.CORPORA
        }
        values = np.concatenate([parts[corpus] for corpus in data.CORPORA])
        parameter, _ = baselines.choose(baseline.classifier, values, clips)
        train = np.array([clip.part == "train" for clip in clips])
        model = baselines.fit(baseline.classifier, parameter, values[train], [clip for clip in clips if clip.part == "train"])
        extract = features.extractor(baseline.features, weights)

        def predict(waves: list[Samples], model: Any = model, extract: features.Extractor = extract) -> NDArray[np.int64]:
            return np.asarray(model.predict(np.stack([extract(wave) for wave in waves])))

        predictors[baseline.name] = predict
    return predictors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("name", nargs="?", help="a registered checkpoint, or a checkpoint's file")
    what.add_argument("--baselines", nargs="+", choices=[baseline.name for baseline in baselines.BASELINES])
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    everything = data.four_classes(arguments.corpora)
    clips = [clip for clip in everything if clip.part == "test"]
    tried = conditions(arguments.corpora)
    common = {
        "protocol": "speakers",
        **data.described(clips),
        "seed": SEED,
        "interval": {"confidence": scoring.CONFIDENCE, "draws": scoring.REPEATS, "of": "speakers"},
    }
    if arguments.baselines:
        kept = {system["name"]: system for system in (table.read("baselines-robustness") or {"systems": []})["systems"]}
        predictors = baseline_predictors(arguments.baselines, everything, data.weights_folder(arguments.weights))
        versions = scoring.versions("numpy", "scikit-learn", "opensmile", "torch", "av")
        for name, predict in predictors.items():
            kept[name] = {"name": name, "conditions": measure(name, predict, clips, tried)}
            print(scoring.write("baselines-robustness", {**common, "versions": versions, "systems": list(kept.values())}))
        return
    model = emoser.load(arguments.name, threads=arguments.threads)

    def predict(waves: list[Samples]) -> NDArray[np.int64]:
        return probabilities(model, list(waves)).argmax(axis=1)

    versions = scoring.versions("emoser", "numpy", "onnxruntime", "av")
    found = measure(model.name, predict, clips, tried)
    print(scoring.write(f"{model.name}-robustness", {**common, "system": scoring.about(model), "versions": versions, "conditions": found}))


if __name__ == "__main__":
    main()
