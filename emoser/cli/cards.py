"""A checkpoint's entry as plain data, and what several commands print of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from emoser.checkpoints import Checkpoint, Description
from emoser.formats.json import dumps
from emoser.results import SCHEMA


def to_dict(entry: Description) -> dict[str, Any]:
    """All fields of the registry, and `installed`: whether files that answer lie beside the registry, so that no download is needed. An
    ensemble has no files but `members`, and only a transducer has what belongs to its text."""
    result = asdict(entry)
    folder = result.pop("folder", None)
    for name in ("symbols", "state", "frame_temperature"):
        if result[name] is None:
            del result[name]
    if isinstance(entry, Checkpoint) and folder is not None:
        if entry.members:
            del result["parts"]
            del result["golden"]["tokens"]
            return result
        if entry.golden.tokens is None:
            del result["golden"]["tokens"]
        result["installed"] = any(all((entry.folder / part.path).is_file() for part in entry.files(*kind)) for kind in entry.kinds)
        del result["members"]
    return result


def print_json(content: dict[str, Any]) -> None:
    click.echo(dumps({"schema": SCHEMA, **content}, indent=2))


def size(count: int) -> str:
    """
    >>> size(5_400_000), size(912)
    ('5.4 MB', '0.9 kB')
    """
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
