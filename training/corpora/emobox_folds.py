"""EmoBox's folds of a corpus, from one JSON file: {"corpora": {name: {"folds": {"1": {"test_speakers": [...], "test_keys": [...]}}}}}.

`test_speakers` stand for folds by speaker; `test_keys` ("emodb-03a02Wb", the corpus and the clip's name with hyphens) for folds that share
speakers between train and test, which most of EmoBox's single folds do. Where the file lies: `training.paths.emobox_folds`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from training import paths
from training.corpora.labels import CorpusError
from training.corpora.manifest import Manifest, Utterance
from training.corpora.splits import Split, by_fraction, by_speakers

VALIDATION = 0.2  # of the training part


def key(clip: Utterance) -> str:
    """EmoBox's name of a clip.

    >>> key(Utterance("tess", "OAF_angry/OAF_back_angry.wav"))
    'tess-OAF-back-angry'
    """
    return f"{clip.corpus}-{Path(clip.path).stem.replace('_', '-')}"


def folds(manifest: Manifest, file: str | Path | None = None, seed: int = 0, legacy: bool = False) -> list[Split]:
    """EmoBox's folds of a manifest of one corpus, in their order.

    Validation is a fifth of the training speakers. `legacy` is as published: a fifth of the training clips, speakers ignored. Folds that
    share speakers between train and test are there only with `legacy`, and say so in their name.
    """
    if len(manifest.corpora) != 1:
        raise CorpusError(f"EmoBox's folds are of one corpus, not of {', '.join(manifest.corpora) or 'none'}")
    name = manifest.corpora[0]
    listed = json.loads(Path(file or paths.emobox_folds()).read_text(encoding="utf-8"))["corpora"]
    if name not in listed:
        raise CorpusError(f'EmoBox has no folds for "{name}"; it has {", ".join(sorted(listed))}')
    entry = listed[name]
    apart = entry["speaker_independent"] is True
    if not apart and not legacy:
        raise CorpusError(
            f"EmoBox's folds of {name} share speakers between train and test ({entry['rule']}); take them with legacy=True only"
        )
    chosen = [entry["folds"][number] for number in sorted(entry["folds"], key=int)]
    tests = [by_listed_speakers(manifest, fold) if apart else by_keys(manifest, fold) for fold in chosen]
    return [with_validation(manifest, test, seed, legacy, name, apart) for test in tests]


def by_listed_speakers(manifest: Manifest, fold: dict[str, Any]) -> Manifest:
    return by_speakers(manifest, test=fold["test_speakers"]).test


def by_keys(manifest: Manifest, fold: dict[str, Any]) -> Manifest:
    wanted = set(fold.get("test_keys", ()))
    test = manifest.filter(lambda item: key(item) in wanted)
    if not len(test):
        raise CorpusError(f"none of the {len(wanted)} test clips that EmoBox lists is in the manifest")
    return test


def with_validation(manifest: Manifest, test: Manifest, seed: int, legacy: bool, name: str, apart: bool) -> Split:
    held = {item.key for item in test}
    rest = manifest.filter(lambda item: item.key not in held)
    if not legacy:
        inner = by_fraction(rest, validation=VALIDATION, test=0, seed=seed)
        return Split(inner.train, inner.validation, test)
    picks = np.random.default_rng(seed).permutation(len(rest))[: round(VALIDATION * len(rest))]
    chosen = {rest[int(index)].key for index in picks}
    parts = [rest.filter(lambda item, inside=inside: (item.key in chosen) == inside) for inside in (False, True)]  # type: ignore[misc]
    shared = "train and validation" if apart else "train, validation and test"
    return Split(parts[0], parts[1], test, as_published=f"EmoBox {name}: {shared} share speakers")
