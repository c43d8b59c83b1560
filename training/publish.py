"""What is said of files that a trained run has become: their entry in the registry, with the figures of the test speakers, and the run's
record. Nothing here knows of graphs (training/export.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
from torch import nn

from emoser.audio import tone
from emoser.digests import sha256
from emoser.runtimes import Runtime
from training.files import written_whole
from training.recipe import Recipe

Files = dict[tuple[str, str, str], Path]  # by role, format and precision


class Trained(Protocol):
    """What `publish` needs of a prepared run, of whatever task."""

    @property
    def recipe(self) -> Recipe: ...
    @property
    def folder(self) -> Path: ...


def tuned(recipe: Recipe) -> dict[str, Any]:
    """The settings of its time line, where the recipe has some: an entry has them, and a single file, which is used without one."""
    return {"diarization": recipe.register["diarization"]} if "diarization" in recipe.register else {}


def publish(
    prepared: Trained,
    run: dict[str, Any],
    description: dict[str, Any],
    model: nn.Module,
    files: Files,
    golden: dict[str, Any],
    root: Path,
    records: Path | None,
) -> dict[str, Any]:
    """Registers `files`, by role, format and precision, in `root`/checkpoints.yaml and returns the entry.

    run: the record of the run, which goes to `records` with the test scores and the files' checksums. golden: what the checkpoint says of
    the golden tone.
    """
    recipe = prepared.recipe
    entry = {
        **description,
        "system": recipe.register["system"],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "languages": recipe.register["languages"],
        **tuned(recipe),
        "parts": [
            {
                "role": role,
                "format": kind,
                "precision": precision,
                "path": path.relative_to(root).as_posix(),
                "size": path.stat().st_size,
                "sha256": sha256(path),
            }
            for (role, kind, precision), path in files.items()
        ],
        "temperature_fitted_on": "validation speakers of the training corpora",
        "metrics": metrics_of(prepared),
        "commercial_use": bool(recipe.register["commercial_use"]),
        "trained_on": recipe.register["trained_on"],
        "recipe": f"training/recipes/{recipe.name}.yaml",
        "hub": None,
        "golden": {"input": "tone", **golden},
    }
    register(entry, root / "checkpoints.yaml")
    if records is not None:
        records.mkdir(exist_ok=True)
        sums = {file_key(*key): sha256(path) for key, path in files.items()}
        text = json.dumps({**run, "test": test_scores(prepared), "files": sums}, indent=1) + "\n"
        with written_whole(records / f"{recipe.name}.json") as file:
            file.write_text(text, encoding="utf-8")
    return entry


def file_key(role: str, kind: str, precision: str) -> str:
    """What a record calls a file.

    >>> file_key("model", "onnx", "fp16"), file_key("encoder", "onnx", "fp16")
    ('onnx-fp16', 'encoder-onnx-fp16')
    """
    return "-".join(word for word in (role, kind, precision) if word != "model")


def register(entry: dict[str, Any], registry: Path) -> None:
    """Puts `entry` into the registry file, in place of one of the same name."""
    known = yaml.safe_load(registry.read_text(encoding="utf-8"))["checkpoints"] if registry.is_file() else []
    entries = [item for item in known if item["name"] != entry["name"]] + [entry]
    entries.sort(key=lambda item: str(item["name"]))
    text = yaml.safe_dump({"checkpoints": entries}, sort_keys=False, allow_unicode=True, width=140)
    head = "# The registry: one entry a checkpoint, written by `python -m training export`; the fields: docs/architecture.md.\n"
    with written_whole(registry) as file:
        file.write_text(head + text, encoding="utf-8")


def golden_logits(runtime: Runtime) -> list[float]:
    """Of the golden tone."""
    waveform = np.asarray(tone(), dtype=np.float32)[None]
    return [round(float(value), 5) for value in runtime.run(waveform, np.array([waveform.shape[1]]))["logits"][0]]


def test_scores(prepared: Trained) -> dict[str, Any]:
    file = prepared.folder / "test.json"
    if not file.is_file():
        raise FileNotFoundError(f"{prepared.recipe.name} has no test scores yet: python -m training evaluate {prepared.recipe.name}")
    scores: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return scores


def metrics_of(prepared: Trained) -> list[dict[str, Any]]:
    """The registry's figures: the test speakers of each corpus, and all of them pooled."""
    test = test_scores(prepared)
    return registered({**test["corpora"], "pooled": test["pooled"]})


def registered(scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Scores by corpus as the registry has them. A corpus with one test speaker has no interval over speakers, and a figure without one is
    not registered."""
    return [
        {"corpus": corpus, "protocol": "held-out speakers", **{name: value[name] for name in ("uar", "interval", "clips", "speakers")}}
        for corpus, value in scores.items()
        if value["interval"] is not None
    ]
