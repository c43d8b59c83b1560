"""Classical baselines on the speakers that the checkpoints are tested on, and on whole corpora left out of training.

    python -m benchmarks.accuracy.baselines [--corpora DIR] [--weights DIR] [--protocol speakers|unseen] [--only NAME]

Four classes, seven corpora (clips.py says which). Three kinds of fixed features (features.py), standardised on the training clips, and one
classifier each. Training clips are weighted so that the classes of a corpus count the same; a corpus counts by its number of clips. The
hyper-parameter is the one with the highest mean UAR of the corpora on validation speakers.

speakers  trained on the training speakers, tested once on the test speakers          -> results/baselines.json
unseen    tested on every clip of one corpus; the hyper-parameter is chosen as above on
          the other corpora, then the classifier is trained on all their speakers     -> results/baselines-unseen.json
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from benchmarks.accuracy import clips as data
from benchmarks.accuracy import features, scoring
from benchmarks.accuracy.clips import Clip

Features = NDArray[np.float32]

UNSEEN = ("ravdess", "emodb", "emovo", "ased", "nemo")
CLASSIFIERS: dict[str, Callable[[float], Any]] = {
    "svm-rbf": lambda cost: SVC(C=cost, gamma="scale", cache_size=1000),
    "svm-linear": lambda cost: LinearSVC(C=cost, dual=False, random_state=scoring.SEED),
    "ridge": lambda alpha: RidgeClassifier(alpha=alpha),
}
GRIDS: dict[str, tuple[float, ...]] = {
    "svm-rbf": (0.1, 0.3, 1, 3, 10, 30),
    "svm-linear": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1),
    "ridge": (100, 300, 1000, 3000, 10_000, 30_000),
}


@dataclass(frozen=True)
class Baseline:
    name: str
    features: str
    classifier: str
    summary: str


BASELINES = (
    Baseline("egemaps-svm-rbf", "egemaps", "svm-rbf", "eGeMAPSv02 functionals (openSMILE), SVM with RBF kernel"),
    Baseline("egemaps-svm-linear", "egemaps", "svm-linear", "eGeMAPSv02 functionals (openSMILE), linear SVM"),
    Baseline("logmel-svm-rbf", "logmel", "svm-rbf", "statistics of 80 log-mel bands, SVM with RBF kernel"),
    Baseline("logmel-svm-linear", "logmel", "svm-linear", "statistics of 80 log-mel bands, linear SVM"),
    Baseline("whisper-ridge", "whisper", "ridge", "frozen Whisper tiny.en, blocks 1 to 3, mean and deviation, ridge classifier"),
)


def weights_of(clips: list[Clip]) -> NDArray[np.float64]:
    """One weight a clip: inside a corpus its classes sum to the same; the mean is 1 in every corpus."""
    cells = [(clip.corpus, clip.label) for clip in clips]
    counts = {cell: cells.count(cell) for cell in set(cells)}
    size = {corpus: sum(clip.corpus == corpus for clip in clips) for corpus in {cell[0] for cell in counts}}
    classes = {corpus: sum(cell[0] == corpus for cell in counts) for corpus in size}
    return np.array([size[corpus] / (classes[corpus] * counts[corpus, label]) for corpus, label in cells])


def fit(classifier: str, parameter: float, values: Features, clips: list[Clip]) -> Pipeline:
    model = make_pipeline(StandardScaler(), CLASSIFIERS[classifier](parameter))
    labels = np.array([clip.label for clip in clips])
    model.fit(values, labels, **{f"{model.steps[-1][0]}__sample_weight": weights_of(clips)})
    return model


def choose(classifier: str, values: Features, clips: list[Clip]) -> tuple[float, dict[str, float]]:
    """The parameter that is best on validation speakers, and the mean UAR of the corpora for each one tried."""
    train = np.array([clip.part == "train" for clip in clips])
    held = np.array([clip.part == "validation" for clip in clips])
    truth = scoring.Truth([clip for clip, chosen in zip(clips, held, strict=True) if chosen])
    training = [clip for clip, chosen in zip(clips, train, strict=True) if chosen]
    found = {}
    for parameter in GRIDS[classifier]:
        guess = fit(classifier, parameter, values[train], training).predict(values[held])
        found[parameter] = scoring.mean_uar(truth, guess)
    best = max(found, key=lambda parameter: found[parameter])
    return best, {f"{parameter:g}": round(value, 4) for parameter, value in found.items()}


def by_speakers(baseline: Baseline, values: Features, clips: list[Clip]) -> dict[str, Any]:
    parameter, tried = choose(baseline.classifier, values, clips)
    train = np.array([clip.part == "train" for clip in clips])
    test = np.array([clip.part == "test" for clip in clips])
    model = fit(baseline.classifier, parameter, values[train], [clip for clip in clips if clip.part == "train"])
    guess = model.predict(values[test])
    truth = scoring.Truth([clip for clip in clips if clip.part == "test"])
    return {
        **described(baseline),
        "parameter": parameter,
        "validation": tried,
        "train_clips": int(train.sum()),
        "scores": scoring.score(truth, guess),
        "predictions": scoring.packed(guess),
    }


def by_corpus(baseline: Baseline, values: Features, clips: list[Clip]) -> dict[str, Any]:
    guesses = np.full(len(clips), -1, dtype=np.int64)
    chosen = {}
    for corpus in UNSEEN:
        inside = np.array([clip.corpus != corpus for clip in clips])
        others = [clip for clip in clips if clip.corpus != corpus]
        parameter, _ = choose(baseline.classifier, values[inside], others)
        chosen[corpus] = parameter
        guesses[~inside] = fit(baseline.classifier, parameter, values[inside], others).predict(values[~inside])
    tested = guesses >= 0
    truth = scoring.Truth([clip for clip in clips if clip.corpus in UNSEEN])
    return {
        **described(baseline),
        "parameters": chosen,
        "scores": scoring.score(truth, guesses[tested]),
        "predictions": scoring.packed(guesses[tested]),
    }


def described(baseline: Baseline) -> dict[str, Any]:
    return {"name": baseline.name, "summary": baseline.summary, "features": baseline.features, "classifier": baseline.classifier}


PROTOCOLS = {"speakers": (by_speakers, "baselines"), "unseen": (by_corpus, "baselines-unseen")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--protocol", choices=[*PROTOCOLS, "all"], default="all")
    parser.add_argument("--only", choices=[baseline.name for baseline in BASELINES], help="print one baseline; write nothing")
    arguments = parser.parse_args()

    clips = data.four_classes(arguments.corpora)
    weights = data.weights_folder(arguments.weights)
    tables: dict[str, Features] = {}
    wanted = [baseline for baseline in BASELINES if arguments.only in (None, baseline.name)]
    for kind in sorted({baseline.features for baseline in wanted}):
        parts = {
            corpus: features.table(kind, [clip.path for clip in clips if clip.corpus == corpus], corpus, weights) for corpus in data.CORPORA
        }
        tables[kind] = np.concatenate([parts[corpus] for corpus in data.CORPORA])

    for protocol, (run, name) in PROTOCOLS.items():
        if arguments.protocol not in (protocol, "all"):
            continue
        found = []
        for baseline in wanted:
            begin = time.monotonic()
            found.append(run(baseline, tables[baseline.features], clips))
            mean = found[-1]["scores"]["mean_of_corpora"]
            print(f"{protocol} {baseline.name}: mean UAR {mean['uar']:.3f}, {time.monotonic() - begin:.0f} s", file=sys.stderr)
        if arguments.only is None:
            record = {
                "protocol": protocol,
                **data.described([clip for clip in clips if (clip.part == "test" if protocol == "speakers" else clip.corpus in UNSEEN)]),
                "balance": "classes of a corpus count the same, a corpus counts by its number of training clips",
                "seed": scoring.SEED,
                "interval": {"confidence": scoring.CONFIDENCE, "draws": scoring.REPEATS, "of": "speakers"},
                "versions": scoring.versions("numpy", "scikit-learn", "opensmile", "torch"),
                "systems": found,
            }
            print(scoring.write(name, record))


if __name__ == "__main__":
    main()
