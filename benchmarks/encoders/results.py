"""What a variant said of the validation clips, in its run's folder; and the result file of all variants.

results.json   {"labels", "clips": `Clips`, "interval", "groups": {name: ...}, "variants": {name: its settings, scores, predictions, ...}}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.crossval.collect import digest_of
from benchmarks.accuracy.crossval.protocols import packed, unpacked
from benchmarks.accuracy.scoring import Truth
from benchmarks.encoders.variants import Variant
from emoser.digests import sha256
from training.data import Example
from training.files import written_whole
from training.recipe import Recipe

FILE = Path(__file__).with_name("results.json")
ANSWERS = "validation.npz"  # in a run's folder

Indices = NDArray[np.int64]
Record = dict[str, Any]


def read() -> Record:
    found: Record = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    return found


def key_of(variant: Variant, recipe: Recipe, folder: Path) -> str:
    """Of the weights that a run has trained; of a ridge classifier, which is not kept, of its settings."""
    alpha = variant.group.alpha
    return sha256(folder / "weights.pt") if alpha is None else f"{recipe.checksum()} {alpha:g}"


@dataclass(frozen=True, eq=False)
class Clips:
    """The validation clips: labels as indices, speakers as `corpus/speaker`, both (clips,), and a digest of their paths and labels."""

    targets: Indices
    speakers: NDArray[np.str_]
    digest: str

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Clips:
        targets = np.array([example.target for example in examples], dtype=np.int64)
        names = [f"{example.corpus}/{example.utterance.name}" for example in examples]
        return cls(targets, np.array([example.speaker for example in examples]), digest_of(names, targets))

    @property
    def truth(self) -> Truth:
        return Truth.of(self.targets, np.array([speaker.partition("/")[0] for speaker in self.speakers]), self.speakers)

    def to_dict(self) -> Record:
        names, numbers = np.unique(self.speakers, return_inverse=True)
        return {"digest": self.digest, "speakers": names.tolist(), "speaker": packed(numbers), "target": packed(self.targets)}

    @classmethod
    def from_dict(cls, values: Record) -> Clips:
        return cls(unpacked(values["target"]), np.array(values["speakers"])[unpacked(values["speaker"])], values["digest"])


@dataclass(frozen=True, eq=False)
class Answers:
    """`predictions` (clips,) are indices of labels. `key` is that of the run which gave them (`key_of`)."""

    clips: Clips
    predictions: Indices
    key: str

    def save(self, folder: Path) -> None:
        """Whole or not at all."""
        with written_whole(folder / ANSWERS) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file,
                predictions=self.predictions,
                targets=self.clips.targets,
                speakers=self.clips.speakers,
                digest=np.array(self.clips.digest),
                key=np.array(self.key),
            )

    @classmethod
    def read(cls, folder: Path) -> Answers | None:
        """What was saved, or None."""
        if not (folder / ANSWERS).is_file():
            return None
        with np.load(folder / ANSWERS, allow_pickle=False) as arrays:
            clips = Clips(arrays["targets"], arrays["speakers"], str(arrays["digest"]))
            return cls(clips, arrays["predictions"], str(arrays["key"]))
