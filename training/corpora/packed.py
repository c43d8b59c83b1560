"""Corpora re-encoded to 16 kHz Ogg/Opus with one `metadata.csv` each.

Columns: path, speaker, gender, language, emotion (one of the eight words or the corpus's own; empty: no label), intensity, text, session,
duration, sha256. `label` keeps the word of the file; a word outside the eight gives no emotion and must be in OTHER_LABELS.
"""

from __future__ import annotations

import csv
from pathlib import Path

from training.corpora.labels import EMOTIONS, CorpusError, LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import Rows

FILE = "metadata.csv"
NEEDED = {"path", "speaker", "emotion", "duration", "sha256"}
OTHER_LABELS = {"emodb": ("boredom",)}


def is_packed(folder: Path) -> bool:
    if not (folder / FILE).is_file():
        return False
    with (folder / FILE).open(encoding="utf-8", newline="") as file:
        return set(next(csv.reader(file), [])) >= NEEDED


def read(folder: Path, corpus: str) -> Manifest:
    """The rows of `folder`/metadata.csv whose files are there."""
    if not is_packed(folder):
        raise CorpusError(f"{corpus}: {folder / FILE} is not there or has not the columns {', '.join(sorted(NEEDED))}")
    words: dict[str, str | None] = {word: word for word in EMOTIONS}
    labels = LabelMap(corpus, words | dict.fromkeys(("", *OTHER_LABELS.get(corpus, ()))))
    rows = Rows(corpus, folder, labels)
    with (folder / FILE).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.add(
                Utterance(
                    corpus=corpus,
                    path=row["path"],
                    speaker=row["speaker"],
                    gender=row.get("gender", ""),
                    language=row.get("language", ""),
                    emotion=labels[row["emotion"]],
                    label=row["emotion"],
                    text=row.get("text", ""),
                    session=row.get("session", ""),
                    duration=float(row["duration"]),
                    sha256=row["sha256"],
                )
            )
    return rows.manifest()
