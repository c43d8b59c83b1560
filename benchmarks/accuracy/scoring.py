"""The figures of a system on the test clips, alone or against another: per corpus, over all clips, and the mean of the corpora."""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.clips import LABELS, Clip
from emoser.metrics import Score, paired_bootstrap, unweighted_average_recall
from emoser.metrics.bootstrap import drawn, interval_of, scored
from emoser.models.utterance import UtteranceModel
from training import files

RESULTS = Path(__file__).resolve().parent / "results"
REPEATS = 2000  # draws of speakers
CONFIDENCE = 0.95
SEED = 1

Indices = NDArray[np.int64]


class Truth:
    """What is known of the test clips: label indices, corpora and speakers (named `corpus/speaker`)."""

    def __init__(self, clips: list[Clip]) -> None:
        self.labels = np.array([clip.label for clip in clips], dtype=np.int64)
        self.corpora = np.array([clip.corpus for clip in clips])
        self.speakers = np.array([clip.speaker for clip in clips])

    @classmethod
    def of(cls, labels: Indices, corpora: NDArray[np.str_], speakers: NDArray[np.str_]) -> Truth:
        """The same from arrays, one value a clip."""
        truth = cls([])
        truth.labels, truth.corpora, truth.speakers = labels, corpora, speakers
        return truth

    def of_corpora(self) -> dict[str, NDArray[np.bool_]]:
        return {str(name): self.corpora == name for name in sorted(set(self.corpora.tolist()))}


def score(truth: Truth, predictions: Indices) -> dict[str, Any]:
    """UAR with its interval over speakers, WA, macro F1 and confusion: per corpus and pooled; and the mean UAR of the corpora."""

    def one(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        found = Score.of(
            truth.labels[chosen], predictions[chosen], truth.speakers[chosen],
            classes=len(LABELS), repeats=REPEATS, confidence=CONFIDENCE, seed=SEED,
        )  # fmt: skip
        return rounded(found.to_dict())

    parts = truth.of_corpora()
    corpora = {name: one(chosen) for name, chosen in parts.items()}
    draws = _mean_draws(truth, predictions)
    mean = {"uar": mean_uar(truth, predictions), "interval": list(interval_of(draws, CONFIDENCE))}
    return {"corpora": corpora, "pooled": one(np.ones(len(predictions), dtype=bool)), "mean_of_corpora": rounded(mean)}


def compare(truth: Truth, first: Indices, second: Indices) -> dict[str, Any]:
    """UAR of `second` minus UAR of `first` on the same draws of speakers: per corpus, pooled, and the mean of the corpora.
    A corpus of one speaker has no interval."""

    def one(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        if _one_speaker(truth, chosen):
            after, before = (float(unweighted_average_recall(truth.labels[chosen], each[chosen])) for each in (second, first))
            return {"difference": rounded(after - before), "interval": None, "p": None}
        found = paired_bootstrap(
            unweighted_average_recall, truth.labels[chosen], first[chosen], second[chosen], truth.speakers[chosen],
            repeats=REPEATS, confidence=CONFIDENCE, seed=SEED,
        )  # fmt: skip
        return rounded({"difference": found.difference, "interval": list(found.interval), "p": found.p_value})

    corpora = {name: one(chosen) for name, chosen in truth.of_corpora().items()}
    draws = _mean_draws(truth, second) - _mean_draws(truth, first)
    mean = {
        "difference": float(np.mean([part["difference"] for part in corpora.values()])),
        "interval": list(interval_of(draws, CONFIDENCE)),
    }
    return {"corpora": corpora, "pooled": one(np.ones(len(first), dtype=bool)), "mean_of_corpora": rounded(mean)}


def mean_uar(truth: Truth, predictions: Indices) -> float:
    """The mean UAR of the corpora."""
    parts = truth.of_corpora().values()
    return float(np.mean([unweighted_average_recall(truth.labels[chosen], predictions[chosen]) for chosen in parts]))


def packed(predictions: Indices) -> str:
    """Class indices as one string of digits, in the order of the clips: what a paired test needs of a system, in a few bytes."""
    return "".join(str(int(index)) for index in predictions)


def unpacked(text: str) -> Indices:
    """
    >>> unpacked("0213").tolist()
    [0, 2, 1, 3]
    """
    return np.array([int(digit) for digit in text], dtype=np.int64)


def _mean_draws(truth: Truth, predictions: Indices) -> NDArray[np.float64]:
    """The mean UAR of the corpora in each draw; speakers are drawn inside each corpus, by a seed of its own.

    With one seed for all, corpora of as many speakers would be drawn alike, and their chances would add up where they should even out.
    A corpus of one speaker is in every draw as it is: of others like them nothing is known.
    """
    values = []
    for number, chosen in enumerate(truth.of_corpora().values()):
        if _one_speaker(truth, chosen):
            values.append(np.full(REPEATS, unweighted_average_recall(truth.labels[chosen], predictions[chosen])))
            continue
        group, draws = drawn(truth.speakers[chosen], REPEATS, (SEED, number))
        values.append(scored(unweighted_average_recall, truth.labels[chosen], predictions[chosen], group, draws))
    return np.mean(values, axis=0)


def _one_speaker(truth: Truth, chosen: NDArray[np.bool_]) -> bool:
    return len(np.unique(truth.speakers[chosen])) == 1


def rounded(value: Any, digits: int = 4) -> Any:
    """As training rounds a record, to the digits of a result file."""
    return files.rounded(value, digits)


def about(model: UtteranceModel) -> dict[str, Any]:
    """What a result file says of the checkpoint that was measured."""
    own = model.checkpoint
    return {
        "name": model.name,
        "summary": own.summary,
        "revision": own.revision,
        "sha256": model.sha256,
        "precision": model.precision,
        "temperature": own.temperature,
        "runtime": model.runtime,
        "device": model.device,
        "diarization": own.diarization.differing(),
    }


def versions(*packages: str) -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def write(name: str, record: dict[str, Any]) -> Path:
    """Writes the result file of that name."""
    return write_to(RESULTS / f"{name}.json", record)


def write_to(path: Path, record: dict[str, Any]) -> Path:
    """Writes a result file. Lists of numbers or words stand on one line, so that a change of a figure is a change of a line."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: "[" + re.sub(r"\s*\n\s*", " ", found[1]) + "]", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    return path
