"""`python -m training ensemble NAME --members A B ...`: a registry entry that averages the calibrated probabilities of others.

Its licence is the strictest of its members', its time lines have the settings that all of its members have. Its figures are measured like
those of any checkpoint (benchmarks/accuracy) and not guessed: what was measured of an entry comes into it with `--figures FILE`.
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
from training.publish import golden_logits, register, registered
from training.runs import CLONE


def run_ensemble(name: str, members: Sequence[str], root: Path = CLONE, revision: str = "1", figures: Path | None = None) -> dict[str, Any]:
    """Writes the entry, with its golden logits, into the registry under `root` and returns it. figures: a result file of
    `benchmarks.accuracy.evaluate`. Raises CheckpointError, and leaves the registry as it is, where the members are not there or do not
    belong together, or where the figures are of other files."""
    registry = root / "checkpoints.yaml"
    known = {entry.name: entry for entry in list_checkpoints(registry)}
    unknown = [member for member in members if member not in known]
    if unknown:
        raise CheckpointError(f"no checkpoint {', '.join(unknown)} in {registry}; there are {', '.join(known)}")
    parts = [known[member] for member in members]
    entry = entry_of(name, parts, revision)
    model = opened(entry, known, root)
    entry["golden"] = {"input": "tone", "logits": golden_logits(model.opened)}
    entry["metrics"] = [] if figures is None else figures_of(model, figures)
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


def figures_of(model: UtteranceModel, path: Path) -> list[dict[str, Any]]:
    """The registry's figures from a result file of benchmarks/accuracy. Raises CheckpointError for one of other files than the model's."""
    result = json.loads(path.read_text(encoding="utf-8"))
    if result["system"]["sha256"] != model.sha256:
        raise CheckpointError(f"{path} was measured with other files than those of {model.name}: measure it anew")
    return registered({**result["scores"]["corpora"], "pooled": result["scores"]["pooled"]})


def entry_of(name: str, members: Sequence[Checkpoint], revision: str) -> dict[str, Any]:
    first = members[0]
    names = [member.name for member in members]
    unfree = next((member for member in members if not member.commercial_use), first)
    settings = {member.diarization for member in members}
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
        **({"diarization": first.diarization.differing()} if len(settings) == 1 else {}),
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
