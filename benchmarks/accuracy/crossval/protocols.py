"""What is compared: the heads, the corpora with their folds, and the test clips that all systems share."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

PAIRS = (("shiftcnn", "cnn"), ("shiftformer", "transformer"), ("shiftlstm", "lstm"))  # with the shift, and its twin without
RECIPES = tuple(name + suffix for suffix in ("", "-frozen") for shift, plain in PAIRS for name in (plain, shift))
# shiftcnn trains blocks of the encoder with its head; the other five stand on those that it has taught. Their own: its recipe, their head.
OWN = "-own-blocks"
VARIANTS = {  # run -> its recipe, and what is set in it
    name + OWN: ("shiftcnn", {"model": {"head": name}}) for pair in PAIRS for name in pair if name != "shiftcnn"
}
HEADS = tuple(row for name in RECIPES for row in (name, name + OWN) if row in (*RECIPES, *VARIANTS))
TWINS = (
    *((shift if shift == "shiftcnn" else shift + OWN, plain + OWN) for shift, plain in PAIRS),
    *((shift, plain) for shift, plain in PAIRS if shift != "shiftcnn"),
    *((f"{shift}-frozen", f"{plain}-frozen") for shift, plain in PAIRS),
)
ABLATION = "ablation-"  # how the names of ablation runs begin
BASE = "shiftcnn-frozen"  # what an ablation run is compared with
RIDGE = "whisper-ridge"  # the reference row that every head is compared with
MULTI = "-multi-corpus-beside"


@dataclass(frozen=True)
class Corpus:
    """A column of the table. `protocol` is the name of the run's folder (`training.crossval.Protocol.name`)."""

    name: str
    title: str
    kind: str  # of training/folds.py
    protocol: str
    folds: str  # in words


SPEAKERS = "leave-one-speaker-out"
CORPORA = (
    Corpus("ravdess", "RAVDESS, 8", "emobox", "ravdess-emobox-nothing-selected", "EmoBox's six folds of four actors"),
    Corpus("emovo", "EMOVO, 7", SPEAKERS, f"emovo-{SPEAKERS}-nothing-selected", "leave one speaker out, which is what EmoBox does"),
    Corpus("nemo", "nEMO, 6", SPEAKERS, f"nemo-{SPEAKERS}-nothing-selected", "leave one speaker out"),
    Corpus("emodb", "EMO-DB, 7", SPEAKERS, f"emodb-{SPEAKERS}-nothing-selected", "leave one speaker out"),
    Corpus("ased", "ASED, 5", "speakers", "ased-speakers-5-nothing-selected", "five groups of thirteen speakers"),
)
PROTOCOLS = {corpus.protocol + suffix: corpus for suffix in ("", MULTI) for corpus in CORPORA}


def packed(indices: Iterable[int]) -> str:
    """Small numbers (below 256) in few characters: one byte each, deflated, in base64.

    >>> unpacked(packed([3, 0, 1])).tolist()
    [3, 0, 1]
    """
    return base64.b64encode(zlib.compress(bytes(int(index) for index in indices), 9)).decode("ascii")


def unpacked(text: str) -> Indices:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Clips:
    """The test clips of a corpus, fold after fold: every clip is tested once. `digests` tell whether a run tested the same ones."""

    labels: tuple[str, ...]
    folds: tuple[str, ...]
    digests: tuple[str, ...]  # of each fold's paths and targets
    fold: Indices  # (clips,) index into `folds`
    targets: Indices  # (clips,) index into `labels`
    speakers: NDArray[np.str_]  # (clips,) as `corpus/speaker`

    def of_fold(self, name: str) -> NDArray[np.bool_]:
        return np.equal(self.fold, self.folds.index(name))

    def to_dict(self) -> dict[str, Any]:
        names, numbers = np.unique(self.speakers, return_inverse=True)
        return {
            "labels": list(self.labels),
            "folds": list(self.folds),
            "digests": list(self.digests),
            "speakers": names.tolist(),
            "speaker": packed(numbers),
            "fold": packed(self.fold),
            "target": packed(self.targets),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Clips:
        return cls(
            tuple(values["labels"]),
            tuple(values["folds"]),
            tuple(values["digests"]),
            unpacked(values["fold"]),
            unpacked(values["target"]),
            np.array(values["speakers"])[unpacked(values["speaker"])],
        )
