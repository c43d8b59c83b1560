"""The files of checkpoints as people read about them: a checkpoint of several parts, and files that are parts of several checkpoints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emoser.checkpoints import Checkpoint, Part

RECORDS = Path(__file__).resolve().parents[1] / "training" / "records"


def owners(entries: Sequence[Checkpoint]) -> dict[str, list[str]]:
    """Path -> the checkpoints that it is a part of, where these are several."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for part in entry.parts:
            found.setdefault(part.path, []).append(entry.name)
    return {path: names for path, names in found.items() if len(names) > 1}


def onnx_sizes(entry: Checkpoint, shared: dict[str, list[str]]) -> str:
    """Of the ONNX files by precision, in MB; those of several checkpoints are named and not counted."""
    said = []
    for precision in (precision for form, precision in entry.kinds if form == "onnx"):
        parts = entry.files("onnx", precision)
        own = sum(part.size for part in parts if part.path not in shared)
        others = "".join(f" + `{Path(part.path).stem}`" for part in parts if part.path in shared)
        said.append(f"{own / 1e6:.1f} MB ({precision}){others}")
    return ", ".join(said)


def shared_files(entries: Sequence[Checkpoint], shared: dict[str, list[str]]) -> str:
    """A sentence for each ONNX file of several checkpoints."""
    parts: dict[str, Part] = {part.path: part for entry in entries for part in entry.parts if part.format == "onnx"}
    return " ".join(
        f"`{Path(path).stem}`, {part.size / 1e6:.1f} MB ({part.precision}), is the {part.role} of {listed(shared[path])}: one file for all."
        for path, part in parts.items()
        if path in shared
    )


def listed(names: Sequence[str]) -> str:
    """
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('`a`', '`a`, `b` and `c`')
    """
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def transcripts_of(name: str) -> dict[str, Any]:
    """What the record of a checkpoint says of its transcripts (benchmarks/accuracy/transcripts.py); empty where there is nothing."""
    file = RECORDS / f"{name}.json"
    if not file.is_file():
        return {}
    scores: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")).get("test", {}).get("transcripts", {})
    return scores
