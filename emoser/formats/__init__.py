"""Results -> bytes. One small writer a format; `writer("csv")` gives one, `WRITERS` names all.

A writer is a stream: `open(stream, header)`, then `write(record)` as results arrive, then `close()`, which ends the document and leaves
the stream open. At every moment between two calls the bytes written plus what `close` adds are a valid document, so that an
interrupted run keeps what was done. Nothing here imports numpy or rich before a writer that needs it is made.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from emoser.formats.base import Header, Record, Writer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCHEMA_FILE", "WRITERS", "Header", "Record", "Writer", "for_suffix", "writer"]

# name -> module:class. Literal data, so that the command line can offer the names without importing the writers.
WRITERS: Mapping[str, str] = {
    "json": "emoser.formats.json:Json",
    "jsonl": "emoser.formats.json:JsonLines",
    "csv": "emoser.formats.csv:Csv",
    "tsv": "emoser.formats.csv:Tsv",
    "npz": "emoser.formats.npz:Npz",
    "table": "emoser.formats.table:Table",
    "rttm": "emoser.formats.rttm:Rttm",
    "audacity": "emoser.formats.audacity:Audacity",
    "textgrid": "emoser.formats.textgrid:TextGrid",
    "srt": "emoser.formats.subtitles:Srt",
    "vtt": "emoser.formats.subtitles:Vtt",
    "audformat": "emoser.formats.audformat:Audformat",
}

SUFFIXES: Mapping[str, str] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".npz": "npz",
    ".txt": "table",
    ".rttm": "rttm",
    ".textgrid": "textgrid",
    ".srt": "srt",
    ".vtt": "vtt",
}

SCHEMA_FILE = Path(__file__).with_name("emoser-1.schema.json")


def writer(name: str) -> Writer:
    """A new writer of that name.

    >>> writer("csv").extension
    '.csv'
    """
    module, _, attribute = WRITERS[name].partition(":")
    made = getattr(import_module(module), attribute)()
    assert isinstance(made, Writer)
    return made


def for_suffix(path: str) -> str | None:
    """The format that a file name asks for, or None.

    >>> for_suffix("scores.CSV"), for_suffix("scores.dat")
    ('csv', None)
    """
    return SUFFIXES.get(Path(path).suffix.lower())
