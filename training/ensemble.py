"""`python -m training ensemble NAME --members A B ...`: a registry entry that averages the calibrated probabilities of others.

Its licence is the strictest of its members', its figures are measured like those of any checkpoint (benchmarks/accuracy) and not guessed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emoser import loading
from emoser.checkpoints import Checkpoint
from emoser.errors import CheckpointError
from emoser.models.utterance import UtteranceModel
from emoser.records import RecordError, read_record
from emoser.registry import list_checkpoints
from emoser.resolving import in_registry, verified_files
from training.publish import golden_logits, register
from training.runs import CLONE


def run_ensemble(name: str, members: Sequence[str], root: Path = CLONE, revision: str = "1") -> dict[str, Any]:
    """Writes the entry, with its golden logits, into the registry under `root` and returns it. Raises CheckpointError, and leaves the
    registry as it is, where the members are not there or do not belong together."""
    registry = root / "checkpoints.yaml"
    known = {entry.name: entry for entry in list_checkpoints(registry)}
    unknown = [member for member in members if member not in known]
    if unknown:
        raise CheckpointError(f"no checkpoint {', '.join(unknown)} in {registry}; there are {', '.join(known)}")
    parts = [known[member] for member in members]
    entry = entry_of(name, parts, revision)
    entry["golden"] = {"input": "tone", "logits": golden_logits(opened(entry, known, root).opened)}
    register(entry, registry)
    return entry


def opened(entry: dict[str, Any], known: Mapping[str, Checkpoint], root: Path) -> UtteranceModel:
    """The ensemble that an entry describes, of members `known` to the registry under `root`: perhaps not the one that emoser reads."""
    try:
        ensemble = read_record(Checkpoint, entry, entry["name"], folder=root)
    except RecordError as error:
        raise CheckpointError(str(error)) from None
    found = verified_files(
        ensemble, {**known, ensemble.name: ensemble}, "onnx", None, lambda member, part: in_registry(member, part, offline=True)
    )
    return loading.opened(found, device="cpu")


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
