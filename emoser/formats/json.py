"""JSON: the whole contract, for programs."""

from __future__ import annotations

import json
import re
from typing import Any, BinaryIO

from emoser.formats.base import Header, Record, Writer
from emoser.results import SCHEMA

_SURROGATES = re.compile("[\ud800-\udfff]")


def dumps(value: Any, indent: int | None = None) -> str:
    r"""Strict JSON that is always valid UTF-8: NaN and infinity raise ValueError.

    A file name with bytes that are not UTF-8 holds lone surrogates (PEP 383). They are escaped, so that `json.loads` and `os.fsencode`
    give the name back byte by byte:

    >>> print(dumps({"file": "caf\u00e9 \udcff.wav"}))
    {"file": "café \udcff.wav"}
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class Json(Writer):
    """One document: schema, model, results. One result a line, so that it can be read, compared and cut by line tools too."""

    extension = ".json"

    def open(self, stream: BinaryIO, header: Header) -> None:
        super().open(stream, header)
        self._separator = "\n"
        model = f'"model": {dumps(header.model)}, ' if header.model is not None else ""
        model = f'"models": {dumps(list(header.models))}, ' if header.models else model
        self.put(f'{{"schema": {dumps(SCHEMA)}, {model}"results": [')

    def write(self, record: Record) -> None:
        text = dumps(record.to_dict())
        self.put(f"{self._separator}  {text}")
        self._separator = ",\n"

    def close(self) -> None:
        self.put("\n]}\n")


class JsonLines(Writer):
    """One result a line, each complete in itself: for pipes, for long runs, and to go on after an interruption."""

    extension = ".jsonl"

    def open(self, stream: BinaryIO, header: Header) -> None:
        super().open(stream, header)
        blocks = header.models if header.model is None else (header.model,)
        self._models = {block["name"]: {"name": block["name"], "sha256": block["sha256"]} for block in blocks}
        self._head: dict[str, Any] = {"schema": SCHEMA}
        if header.model is not None:
            self._head["model"] = self._models[header.model["name"]]

    def write(self, record: Record) -> None:
        line = {**self._head, **record.to_dict()}
        if self.header.models and "model" in line:
            # In a document `models` holds what a result only names; a line stands alone.
            line["model"] = self._models[line["model"]["name"]]
        self.put(dumps(line) + "\n")

    def close(self) -> None:
        self.stream.flush()
