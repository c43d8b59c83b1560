"""Any CSV or TSV file with one clip a row, whose columns and labels the caller names."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from training.corpora.labels import CorpusError, LabelMap
from training.corpora.manifest import COLUMNS, Manifest, Utterance
from training.corpora.rows import Rows, gender_of, table

COMPUTED = {"corpus", "emotion", "segments"}


def read(
    file: str | Path,
    columns: Mapping[str, str],
    labels: Mapping[str, str | None],
    *,
    corpus: str,
    root: str | Path | None = None,
    language: str = "",
) -> Manifest:
    """The clips of `file`, with paths that start from `root` (by default the file's folder).

    `columns` says which column of the file is which of the manifest, {"path": "wav_file", "speaker": "actor", "label": "class_id"}; path
    and label are needed, and without a speaker the clips cannot be split. `labels` says which of the eight words each label is; one
    that it leaves out is an error, None keeps the clip without an emotion. The delimiter (comma, semicolon, TAB) is found out.
    """
    file = Path(file)
    usable = [name for name in COLUMNS if name not in COMPUTED]
    if not {"path", "label"} <= set(columns) <= set(usable):
        raise CorpusError(f"columns must name path and label, and may name {', '.join(usable)}; given: {', '.join(columns)}")
    words = LabelMap(corpus, labels)
    rows = Rows(corpus, Path(root) if root is not None else file.parent, words)
    for row in table(file, set(columns.values()), dialect_of(file)):
        cells = {name: row[column] for name, column in columns.items()}
        cells["gender"] = gender_of(cells.get("gender", ""))
        cells.setdefault("language", language)
        word = words[cells["label"]]
        rows.add(Utterance.from_row(cells | {"corpus": corpus, "emotion": word or ""}))
    return rows.manifest()


def dialect_of(file: Path) -> type[csv.Dialect]:
    """The delimiter that the header line has most of."""
    if not file.is_file():
        raise CorpusError(f"there is no {file}")
    with file.open(encoding="utf-8-sig") as stream:
        header = stream.readline()

    class Found(csv.excel):
        delimiter = max(",;\t", key=header.count)

    return Found
