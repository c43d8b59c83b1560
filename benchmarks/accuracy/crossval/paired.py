"""Two systems on the same clips: the difference of their UAR, with a 95 % interval from a bootstrap over speakers that draws both alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy.crossval.protocols import Clips, Indices
from benchmarks.accuracy.crossval.results import Result
from benchmarks.accuracy.scoring import Truth, compare, mean_uar

MEAN = "mean"


@dataclass(frozen=True)
class Difference:
    """In UAR as a share of one. `count`: how many folds were compared or, for a mean, how many corpora."""

    value: float
    interval: tuple[float, float] | None  # None where there is but one speaker
    count: int

    def __str__(self) -> str:
        """
        >>> str(Difference(0.0123, (-0.004, 0.03), 6))
        '+1.2 [-0.4, +3.0]'
        """
        text = f"{100 * self.value:+.1f}"
        return text if self.interval is None else f"{text} [{100 * self.interval[0]:+.1f}, {100 * self.interval[1]:+.1f}]"


@dataclass(frozen=True, eq=False)
class Both:
    """What two systems said of the same clips."""

    truth: Truth
    first: Indices
    second: Indices
    folds: int


def both(first: Result, second: Result, read_out: str, corpus: str, clips: Clips, any_seed: bool = False) -> Both | None:
    """On the seeds and folds that both have; None where there are none. Seeds are pooled: a clip stands there once for each.

    any_seed: `second` has one seed alone, which means nothing to it, and stands beside every seed of `first`.
    """
    one, other = first.predictions(read_out, clips), second.predictions(read_out, clips)
    if any_seed:
        by_fold = {fold: guess for (_, fold), guess in other.items()}
        other = {(seed, fold): by_fold[fold] for seed, fold in one if fold in by_fold}
    common = [key for key in one if key in other]
    if not common:
        return None
    where = np.concatenate([np.flatnonzero(clips.of_fold(fold)) for _, fold in common])
    truth = Truth.of(clips.targets[where], np.full(len(where), corpus), clips.speakers[where])
    guess, guess_of_other = (np.concatenate([each[key] for key in common]) for each in (one, other))
    return Both(truth, guess, guess_of_other, len({fold for _, fold in common}))


def differences(
    first: Mapping[str, Result], second: Mapping[str, Result], read_out: str, clips: Mapping[str, Clips], any_seed: bool = False
) -> dict[str, Difference]:
    """`first` minus `second`, by corpus; and where there are several, the mean of the corpora (`MEAN`), speakers drawn inside each.

    The mean leaves out corpora of which one speaker alone was compared. `any_seed`: as for `both`.
    """
    common = [name for name in clips if name in first and name in second]
    pairs = {name: both(first[name], second[name], read_out, name, clips[name], any_seed) for name in common}
    found, several = {}, {}
    for corpus, pair in pairs.items():
        if pair is not None and len(np.unique(pair.truth.speakers)) > 1:
            several[corpus] = pair
        elif pair is not None:
            found[corpus] = Difference(mean_uar(pair.truth, pair.first) - mean_uar(pair.truth, pair.second), None, pair.folds)
    if not several:
        return found
    truth = Truth.of(
        *(np.concatenate([getattr(pair.truth, name) for pair in several.values()]) for name in ("labels", "corpora", "speakers"))
    )
    guesses = (np.concatenate([getattr(pair, name) for pair in several.values()]) for name in ("second", "first"))
    compared = compare(truth, *guesses)
    for corpus, values in compared["corpora"].items():
        found[corpus] = Difference(values["difference"], tuple(values["interval"]), several[corpus].folds)
    if len(several) > 1:
        mean = compared["mean_of_corpora"]
        found[MEAN] = Difference(mean["difference"], tuple(mean["interval"]), len(several))
    return found
