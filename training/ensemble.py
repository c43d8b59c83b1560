"""`python -m training ensemble NAME --members A B ...`: a registry entry that averages the calibrated probabilities of others.

Its licence is the strictest of its members', its figures are measured like those of any checkpoint (benchmarks/accuracy) and not guessed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emoser import load
from emoser.audio import tone
from emoser.checkpoints import Checkpoint
from emoser.errors import CheckpointError
from emoser.registry import list_checkpoints
from training.publish import register
from training.runs import CLONE


def run_ensemble(name: str, members: Sequence[str], root: Path = CLONE, revision: str = "1") -> dict[str, Any]:
    """Writes the entry into the registry under `root`, and its golden logits once it can be loaded. Returns the entry."""
    registry = root / "checkpoints.yaml"
    known = {entry.name: entry for entry in list_checkpoints(registry)}
    unknown = [member for member in members if member not in known]
    if unknown:
        raise CheckpointError(f"no checkpoint {', '.join(unknown)} in {registry}; there are {', '.join(known)}")
    parts = [known[member] for member in members]
    entry = entry_of(name, parts, revision)
    register(entry, registry)
    waveform = tone()
    outputs = load(name, offline=True).opened.run(waveform[None], np.array([len(waveform)], np.int64))
    entry["golden"] = {"input": "tone", "logits": [round(float(value), 5) for value in outputs["logits"][0]]}
    register(entry, registry)
    return entry


def entry_of(name: str, members: Sequence[Checkpoint], revision: str) -> dict[str, Any]:
    first = members[0]
    names = [member.name for member in members]
    unfree = next((member for member in members if not member.commercial_use), first)
    corpora = {corpus.corpus: dataclasses.asdict(corpus) for member in members for corpus in member.trained_on}
    content = {
        "name": name,
        "task": first.task,
        "labels": first.labels,
        "sample_rate": first.sample_rate,
        "frame_hop": first.frame_hop,
        "longest_window": min(member.longest_window for member in members),
        "temperature": 1.0,
        "revision": revision,
        "license": unfree.license,
        "summary": f"The mean of the calibrated probabilities of {', '.join(names)}.",
        "encoder": "as its members",
        "system": dataclasses.asdict(first.system),
        "parameters": sum(member.parameters for member in members),
        "languages": tuple(dict.fromkeys(language for member in members for language in member.languages)),
        "parts": [],
        "members": names,
        "temperature_fitted_on": "nothing: the probabilities of the members are calibrated",
        "metrics": [],
        "commercial_use": all(member.commercial_use for member in members),
        "trained_on": list(corpora.values()),
        "recipe": ", ".join(member.recipe for member in members),
        "hub": None,
        "golden": {"input": "tone", "logits": [0.0] * len(first.labels)},
    }
    plain: dict[str, Any] = json.loads(json.dumps(content))  # tuples as lists, which YAML reads back
    return plain
