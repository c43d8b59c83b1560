"""Adaptation to a user's own recordings: unlabelled clips -> how a checkpoint's pooled vectors are to be moved and scaled.

A clip's pooled vector (what the read-outs see) is, roughly, what its emotion adds to what its speaker, microphone and room sound like. The
second part is estimated here and taken away: how far the mean of the clips lies from where it would lie in training. That place depends on
which emotions the clips have. Where the checkpoint finds them in even numbers, it is the middle of all; the more one-sided they are, the
more it is the mean of those that the checkpoint finds, for else the emotion would be taken away with the voice. A user who knows how often
each emotion occurs can say so, which is believed half: a speaker's sadness need not be that of training's speakers. The spread follows in
the same way. All is shrunk towards what training saw, by n / (n + STRENGTH), so that a few clips move little.

What a user says about the labels' shares is used a second time: the adapted checkpoint's scores are weighed so that over the clips they go
half of the way to these shares. Without it nothing is known of them that the checkpoint has not said itself.

What it brings, and when it hurts, is measured by benchmarks/accuracy/adaptation.py.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from emoser.errors import CheckpointError, UsageError

STRENGTH = 10.0  # clips: with so many, half of the way is gone
NARROWEST, WIDEST = 0.5, 2.0  # of the scale: a channel that hardly moves in a user's clips must not be blown up
FEW_CLIPS = 10  # with less, hardly anything is adapted
# Evenness of the labels predicted for the clips (entropy; 1: all equally often, 0: one alone). From EVEN on the middle of all labels is
# expected, for a voice that is far from training's makes labels look less even than they are; below UNEVEN only what was predicted.
EVEN, UNEVEN = 0.9, 0.3
ONE_SIDED = 0.8  # evenness below which adaptation may do harm; one emotion alone of an unknown voice can look more even
ROUNDED = 0.02  # that shares may be off 1, for people round
TOLD = 0.5  # how far a user is believed who says how often each label occurs; the rest goes by the predictions
LEAST = 0.02  # of a label's share told: what never occurs by a user's word may do so yet
CLOSE, TURNS = 1e-6, 1000  # of the mean scores to the shares; and after how many turns they are close enough

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reference:
    """What pooled vectors are like in training: `means` (labels, dim), and `deviation` (dim,) within one speaker and label."""

    means: Floats
    deviation: Floats

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or self.deviation.shape != self.means.shape[1:] or not (self.deviation > 0).all():
            raise CheckpointError(f"no adaptation reference: means {self.means.shape}, deviation {self.deviation.shape}")

    @classmethod
    def of(cls, vectors: NDArray[np.floating], labels: NDArray[np.integer], speakers: NDArray[np.str_]) -> Reference:
        """Of training clips: `vectors` (clips, dim), `labels` (clips,) from 0 on without gaps, `speakers` (clips,).

        Each label's mean counts speakers alike; the deviation is pooled over speakers, after the label's mean is taken away.
        """
        rows = vectors.astype(np.float64)
        names, speaker = np.unique(speakers, return_inverse=True)
        means = np.empty((int(labels.max()) + 1, rows.shape[1]))
        for label in range(len(means)):
            chosen = labels == label
            if not chosen.any():
                raise UsageError(f"label {label} has no clips to take a mean of")
            means[label] = np.mean([rows[chosen & (speaker == who)].mean(axis=0) for who in np.unique(speaker[chosen])], axis=0)
        left = rows - means[labels]
        for who in range(len(names)):
            left[speaker == who] -= left[speaker == who].mean(axis=0)
        return cls(means, np.sqrt(np.square(left).mean(axis=0) + 1e-8))

    def to_text(self) -> str:
        """For the metadata of a file: base64 of an .npz of float32 arrays."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, means=self.means.astype(np.float32), deviation=self.deviation.astype(np.float32))
        return base64.b64encode(buffer.getvalue()).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> Reference:
        try:
            with np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False) as arrays:
                return cls(arrays["means"].astype(np.float64), arrays["deviation"].astype(np.float64))
        except (ValueError, KeyError, OSError, BadZipFile) as error:
            raise CheckpointError(f"the adaptation reference inside the file is damaged: {error}") from error


@dataclass(frozen=True, eq=False)
class Adaptation:
    """Pooled vectors become `vector * scale + shift`, both float32 (dim,). `clips` were used; `evenness` of the labels predicted for them,
    from 0 (one label alone) to 1 (all equally often); `told`: the user said how often each label occurs. `offsets`, float32 (labels,), are
    added to the logits of clips and frames; None: nothing is."""

    scale: NDArray[np.float32]
    shift: NDArray[np.float32]
    clips: int
    evenness: float
    told: bool = False
    offsets: NDArray[np.float32] | None = None

    def weighed(self, logits: NDArray[np.floating], temperature: float, shares: Floats) -> Adaptation:
        """With offsets that bring the scores nearer to the `shares` told; `logits` (clips, labels) are those of the adapted clips."""
        return replace(self, offsets=told_offsets(logits, shares, temperature).astype(np.float32))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against it, in words."""
        found = []
        if self.clips < FEW_CLIPS:
            found.append(f"{self.clips} clip{' is' if self.clips == 1 else 's are'} few: hardly anything is adapted; give thirty or more")
        if self.evenness < ONE_SIDED and not self.told:
            found.append(
                "by what the checkpoint says the clips are of few emotions: where that is so, adapting may do harm; say how often "
                "each occurs (shares)"
            )
        return tuple(found)

    def digest(self, of: str) -> str:
        """What stands for the sha256 of the checkpoint file `of` once it is adapted."""
        offsets = b"" if self.offsets is None else self.offsets.tobytes()
        return hashlib.sha256(bytes.fromhex(of) + self.scale.tobytes() + self.shift.tobytes() + offsets).hexdigest()

    def to_bytes(self) -> bytes:
        """The .npz that `read` reads."""
        arrays: dict[str, Any] = {"scale": self.scale, "shift": self.shift, "clips": np.int64(self.clips)}
        arrays |= {"evenness": np.float64(self.evenness), "told": np.bool_(self.told)}
        if self.offsets is not None:
            arrays["offsets"] = self.offsets
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> Adaptation:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found: Mapping[str, NDArray[np.generic]] = {name: arrays[name] for name in ("scale", "shift", "clips", "evenness")}
                told = bool(arrays["told"]) if "told" in arrays else False  # of folders from before shares could be told
                offsets = arrays["offsets"].astype(np.float32) if "offsets" in arrays else None
        except (ValueError, KeyError, OSError, BadZipFile) as error:
            raise CheckpointError(f"{path} is no adaptation: {error}") from error
        scale, shift = found["scale"].astype(np.float32), found["shift"].astype(np.float32)
        if scale.ndim != 1 or scale.shape != shift.shape:
            raise CheckpointError(f"{path} is no adaptation: scale {scale.shape}, shift {shift.shape}")
        if offsets is not None and offsets.ndim != 1:
            raise CheckpointError(f"{path} is no adaptation: offsets {offsets.shape}")
        return cls(scale, shift, int(found["clips"]), float(found["evenness"]), told, offsets)


@dataclass(frozen=True, eq=False)
class EnsembleAdaptation:
    """What the `members` of an ensemble, by name, were adapted by, each for itself: they see other vectors, and may find other labels."""

    members: Mapping[str, Adaptation]

    @property
    def clips(self) -> int:
        """That were used; the same for all members, unless they were adapted one by one: the fewest then."""
        return min(each.clips for each in self.members.values())

    @property
    def evenness(self) -> float:
        """Of the labels predicted for the clips, as in `Adaptation`; the mean over the members."""
        return float(np.mean([each.evenness for each in self.members.values()]))

    @property
    def told(self) -> bool:
        """The user said how often each label occurs."""
        return all(each.told for each in self.members.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against it, in words; what is not true of all members names those that it is true of."""
        found: dict[str, list[str]] = {}
        for name, each in self.members.items():
            for warning in each.warnings:
                found.setdefault(warning, []).append(name)
        return tuple(said if len(names) == len(self.members) else f"{', '.join(names)}: {said}" for said, names in found.items())


def shares_of(given: Mapping[str, float], labels: Sequence[str]) -> Floats:
    """How often each label occurs, (labels,), summing to 1; labels that `given` does not name have the rest in equal parts.

    Raises UsageError for a label that is not there, and for numbers that are no shares.

    >>> shares_of({"neutral": 0.7}, ["neutral", "happy", "angry", "sad"]).round(3)
    array([0.7, 0.1, 0.1, 0.1])
    """
    if not isinstance(given, Mapping) or not all(isinstance(share, Real) for share in given.values()):
        raise UsageError(f"shares are {given!r}; a mapping from labels to numbers is needed")
    for name, share in given.items():
        if name not in labels:
            raise UsageError(f'there is no label "{name}" to give a share: {", ".join(labels)}')
        if not 0 <= share <= 1:
            raise UsageError(f"the share of {name} is {share:g}: not between 0 and 1")
    total, unnamed = sum(given.values()), len(labels) - len(given)
    if total > 1 + ROUNDED or (not unnamed and total < 1 - ROUNDED):
        raise UsageError(f"the shares sum to {total:g}, not to 1")
    rest = max(0.0, 1 - total) / max(1, unnamed)
    found: Floats = np.array([given.get(label, rest) for label in labels], np.float64)
    return np.asarray(found / found.sum())


def told_offsets(logits: NDArray[np.floating], shares: Floats, temperature: float = 1.0, strength: float = STRENGTH) -> Floats:
    """What to add to raw `logits` (clips, labels), (labels,): `TOLD` of what makes the mean of the clips' scores equal to `shares`, and
    less of it for few clips.

    The whole of it is found by scaling rows and columns in turn (Sinkhorn and Knopp 1967).

    >>> even = np.log(np.array([[0.5, 0.5]] * 1000))
    >>> (told_offsets(even, np.array([0.8, 0.2]), strength=0.0) / TOLD).round(2)  # log 0.8 and log 0.2, around their mean
    array([ 0.69, -0.69])
    """
    wanted = np.maximum(shares, LEAST)
    wanted = np.log(wanted / wanted.sum())
    found: Floats = np.zeros(len(wanted))
    raw = logits.astype(np.float64) / temperature
    for _ in range(TURNS):
        moved = raw + found
        moved -= moved.max(axis=1, keepdims=True)
        likely = np.exp(moved)
        mean = (likely / likely.sum(axis=1, keepdims=True)).mean(axis=0)
        step = wanted - np.log(np.maximum(mean, 1e-12))
        found += step
        if np.abs(step).max() < CLOSE:
            break
    return np.asarray(temperature * TOLD * len(logits) / (len(logits) + strength) * (found - found.mean()))


def adapt(
    vectors: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    reference: Reference,
    strength: float = STRENGTH,
    shares: Floats | None = None,
) -> Adaptation:
    """The adaptation to one voice or one channel: `vectors` (clips, dim) and `probabilities` (clips, labels) of its unlabelled clips;
    `shares` (labels,), where it is known how often each label occurs among them.

    >>> reference = Reference(np.array([[-1.0], [1.0]]), np.array([1.0]))
    >>> moved = adapt(np.array([[2.0], [4.0]] * 500), np.array([[1.0, 0.0], [0.0, 1.0]] * 500), reference, strength=0.0)
    >>> (moved.shift / moved.scale).round(3)  # the clips lie 3 too high
    array([-3.], dtype=float32)
    """
    rows, likely = vectors.astype(np.float64), probabilities.astype(np.float64)
    if not len(rows):
        raise UsageError("there is no clip to adapt to")
    if rows.shape[1] != reference.means.shape[1] or likely.shape != (len(rows), len(reference.means)):
        raise UsageError(f"vectors {rows.shape} and probabilities {likely.shape} do not fit a reference of {reference.means.shape}")
    count, centre = len(rows), reference.means.mean(axis=0)
    mean = likely.mean(axis=0)
    evenness = min(1.0, max(0.0, float(-(mean * np.log(mean + 1e-12)).sum() / np.log(len(mean)))))
    # Labels in even numbers lie around `centre`, whatever the checkpoint says of each clip; of others it has to be believed.
    trust = min(1.0, max(0.0, (EVEN - evenness) / (EVEN - UNEVEN)))
    expected = trust * (mean @ reference.means) + (1 - trust) * centre
    if shares is not None:
        expected = TOLD * (shares @ reference.means) + (1 - TOLD) * expected
    offset = (rows.mean(axis=0) - expected) * count / (count + strength)
    left = rows - likely @ reference.means
    spread = np.square(left - left.mean(axis=0)).sum(axis=0)
    deviation = np.sqrt((spread + strength * np.square(reference.deviation)) / (count + strength))
    scale = np.clip(reference.deviation / np.maximum(deviation, 1e-8), NARROWEST, WIDEST)
    shift = centre - scale * (centre + offset)  # what lies `offset` too high comes down; the spread is set around the middle
    return Adaptation(scale.astype(np.float32), shift.astype(np.float32), count, evenness, told=shares is not None)
