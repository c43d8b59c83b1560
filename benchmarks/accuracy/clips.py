"""The clips of the accuracy benchmarks: four classes, seven corpora, the fixed split by speaker (training/recipes/splits.yaml).

Of every corpus the clips labelled neutral, happy, angry or sad are taken and the others left out; in emospeech-in, which has no neutral,
`calm` is what its speakers were asked for instead and counts as neutral. tess trains and is never a test.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import paths
from training.corpora import default_split, load
from training.corpora.defaults import FILE as SPLIT_FILE

LABELS = ("neutral", "happy", "angry", "sad")
CORPORA = ("ravdess", "nemo", "emovo", "emodb", "ased", "tess", "emospeech-in")
RENAMED = {"emospeech-in": {"calm": "neutral"}}


@dataclass(frozen=True)
class Clip:
    """One clip: `label` is an index into LABELS, `speaker` is `corpus/speaker`, `part` is train, validation or test."""

    corpus: str
    path: Path
    name: str
    speaker: str
    label: int
    part: str


def four_classes(corpora: Path | None = None) -> list[Clip]:
    """All clips of all parts, corpus by corpus in the order of CORPORA, then by path."""
    clips = []
    for name in CORPORA:
        manifest = load(name, corpora).with_emotions(LABELS, RENAMED.get(name))
        for part, items in default_split(manifest).parts.items():
            clips += [
                Clip(name, items.file(item), item.path, item.voice, LABELS.index(str(item.emotion)), part) for item in items.utterances
            ]
    return sorted(clips, key=lambda clip: (CORPORA.index(clip.corpus), clip.name))


def weights_folder(given: Path | None = None) -> Path:
    return paths.weights("whisper-tiny-en", given).parent


def described(tested: list[Clip]) -> dict[str, Any]:
    """What a result file says about its data: enough to tell whether two files speak of the same clips."""
    listing = "\n".join(f"{clip.corpus}/{clip.name} {LABELS[clip.label]}" for clip in tested)
    return {
        "labels": list(LABELS),
        "split": {"file": SPLIT_FILE.name, "sha256": hashlib.sha256(SPLIT_FILE.read_bytes()).hexdigest()},
        "tested": {
            "clips": dict(Counter(clip.corpus for clip in tested)),
            "speakers": {
                name: len({clip.speaker for clip in tested if clip.corpus == name})
                for name in CORPORA
                if any(clip.corpus == name for clip in tested)
            },
            "sha256": hashlib.sha256(listing.encode()).hexdigest(),
        },
    }
