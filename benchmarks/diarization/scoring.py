"""The figures of a system on the mixtures: per corpus, of all mixtures together, and the mean of the corpora; and the result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.scoring import rounded
from benchmarks.diarization.mixtures import CORPORA, Mixed
from emoser.metrics.bootstrap import interval_of
from emoser.metrics.diarization import Segment
from emoser.timelines import CONFIDENCE, METRICS, Counted, drawn_weights, labels_of, scores_of

RESULTS = Path(__file__).resolve().parent / "results"
REPEATS = 2000  # draws of speakers
SEED = 1

Lines = list[list[Segment]]


def score(mixed: Sequence[Mixed], lines: Lines) -> dict[str, Any]:
    """EDER, frame UAR, segment F1 and boundary error, with intervals over speakers where a corpus has more than one; and the EDER of each
    mixture, which paired differences need."""
    labels = labels_of([each.recording for each in mixed], [lines])
    parts: dict[str, dict[str, Any]] = {}
    draws: list[dict[str, NDArray[np.float64]] | None] = []
    for number, corpus in enumerate(corpora_of(mixed)):
        chosen = [index for index, each in enumerate(mixed) if each.corpus == corpus]
        parts[corpus], _, drawn = _one(mixed, lines, chosen, labels, number)
        draws.append(drawn)
    pooled, counted, _ = _one(mixed, lines, list(range(len(mixed))), labels)
    mean = {}
    for metric in METRICS:
        values = [part[metric]["value"] for part in parts.values() if part[metric] is not None]
        interval = None
        if all(drawn is not None for drawn in draws):
            of_draws = np.nanmean([drawn[metric] for drawn in draws if drawn is not None], axis=0)
            interval = list(interval_of(of_draws[~np.isnan(of_draws)], CONFIDENCE))
        mean[metric] = {"value": float(np.mean(values)), "interval": interval} if values else None
    return dict(rounded({"corpora": parts, "pooled": pooled, "mean_of_corpora": mean, "rates": counted.rates.tolist()}))


def corpora_of(mixed: Sequence[Mixed]) -> list[str]:
    return [corpus for corpus in CORPORA if any(each.corpus == corpus for each in mixed)]


def mean_eder(corpora: NDArray[np.str_], rates: NDArray[np.float64]) -> float:
    """The mean over corpora of each one's mean."""
    return float(np.mean([rates[corpora == corpus].mean() for corpus in np.unique(corpora)]))


def difference(speakers: Sequence[str], corpora: Sequence[str], first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """EDER of `second` less that of `first`, mean of the corpora, with an interval over the speakers of each: both on the same draws."""
    gains = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    names, owners = np.asarray(corpora), np.asarray(speakers)
    draws = []
    for number, corpus in enumerate(dict.fromkeys(names.tolist())):
        chosen = names == corpus
        if len(np.unique(owners[chosen])) < 2:
            return {"difference": mean_eder(names, gains), "interval": None}
        weights = drawn_weights(owners[chosen].tolist(), REPEATS, (SEED, number))
        draws.append(weights @ gains[chosen] / weights.sum(axis=1))
    return {"difference": mean_eder(names, gains), "interval": list(interval_of(np.mean(draws, axis=0), CONFIDENCE))}


def _one(
    mixed: Sequence[Mixed], lines: Lines, chosen: list[int], labels: list[str], number: int = 0
) -> tuple[dict[str, Any], Counted, dict[str, NDArray[np.float64]] | None]:
    """number: of the corpus; each is drawn by a seed of its own, since those of as many speakers would be drawn alike otherwise."""
    recordings = [mixed[index].recording for index in chosen]
    counted = Counted.of(recordings, [lines[index] for index in chosen], labels)
    speakers = [each.speaker for each in recordings]
    drawn = counted.figures(drawn_weights(speakers, REPEATS, (SEED, number))) if len(set(speakers)) > 1 else None
    found = scores_of(counted, drawn, groups=len(set(speakers)), seconds=sum(each.duration for each in recordings))
    return found.to_dict(), counted, drawn
