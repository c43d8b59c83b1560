"""Taking up a .jsonl that an interrupted run left behind."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from emoser.cli.inputs import STDIN
from emoser.errors import UsageError
from emoser.formats import Header
from emoser.results import SCHEMA

FIELD = {"predict": "scores", "embed": "embedding", "check": "findings", "diarize": "segments"}


def take_up(path: Path, header: Header) -> Counter[str]:
    """Clean the file and count what it holds complete, by input.

    Dropped, so that this run does them again: failed inputs, standard input, a last line that was cut off, and, where channels are
    judged one by one or several checkpoints answer, the results of the last file, of which some may be missing.

    Raises UsageError if the file is not what this run would write: nothing of the user's is ever overwritten by mistake.
    """
    kept: list[str | None] = []  # by line: the input it is the result of, or None if the line is to go
    by_channel = False
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                kept.append(None)
                break
            record = _read(line, f"{path}, line {number}")
            usable = _belongs(record, header, f"{path}, line {number}")
            kept.append(record["file"] if usable else None)
            by_channel = usable and (record.get("channel") is not None or bool(header.models))
    if by_channel:
        last = kept[-1]
        for index in reversed(range(len(kept))):
            if kept[index] != last:
                break
            kept[index] = None
    if None in kept:
        _rewrite(path, kept)
    return Counter(file for file in kept if file is not None)


def _read(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or "file" not in record:
        raise UsageError(f"{where} is not a result of emoser, so nothing was added to it; give another file with -o, or remove this one")
    return record


def _belongs(record: dict[str, Any], header: Header, where: str) -> bool:
    """Whether the line is a complete result of a run like this one."""
    cure = "give another file with -o, or remove this one"
    model, wanted = (record.get("model") or {}).get("name"), header.model["name"] if header.model else None
    if header.models and "error" in record and model is None:
        return False
    several = {block["name"]: block["labels"] for block in header.models}
    if model not in (several or {wanted}):
        this = ", ".join(several) or wanted or header.kind
        raise UsageError(f"{where} holds results of {model or 'another command'}, this run is of {this}; {cure}")
    if "error" in record or record["file"] in (None, STDIN):
        return False
    if FIELD[header.kind] not in record:
        raise UsageError(f"{where} holds no result of `emoser {header.kind}`; {cure}")
    labels = several.get(model, header.labels)
    if header.kind == "predict" and set(record["scores"]) != set(labels):
        raise UsageError(f"{where} has the labels {', '.join(record['scores'])}, this run {', '.join(labels)}; {cure}")
    return True


def _rewrite(path: Path, kept: list[str | None]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with path.open("rb") as lines, part.open("wb") as clean:
            for line, file in zip(lines, kept, strict=True):
                if file is not None:
                    clean.write(line)
        part.chmod(path.stat().st_mode)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
