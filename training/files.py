"""Files that are there whole or not at all, and the numbers in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """The name, beside `path`, of a file to write, which takes the place of `path` at the end. Where writing it breaks off, `path` is what
    it was."""
    partial = path.with_suffix(".partial")  # the stem is that of `path`: torch puts it into its files
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Writes what a run has to tell as JSON, floats rounded, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")


def rounded(value: Any, digits: int = 5) -> Any:
    """The same structure with its floats rounded."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value
