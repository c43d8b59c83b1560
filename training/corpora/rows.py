"""What all readers share: collect clips, notice files that are missing, drop by stated rules, give back a sorted manifest."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from training.corpora.labels import CorpusError, LabelMap
from training.corpora.manifest import Manifest, Utterance


class Rows:
    """The rows of a corpus in the making.

    >>> rows = Rows("demo", Path("."))
    >>> rows.drop("song, not speech")
    >>> rows.dropped
    Counter({'song, not speech': 1})
    """

    def __init__(self, corpus: str, root: Path, labels: LabelMap | None = None) -> None:
        self.corpus = corpus
        self.root = root
        self.labels = labels
        self.kept: list[Utterance] = []
        self.missing: list[str] = []
        self.dropped: Counter[str] = Counter()
        self.clips: set[str] = set()

    def add(self, utterance: Utterance, *, listed: bool = True) -> None:
        """Keep a clip. One that a list names (`listed`) may lack its file, which is counted; one found on disk does not."""
        if listed and not (self.root / utterance.path).is_file():
            self.missing.append(utterance.path)
        else:
            self.kept.append(utterance)

    def drop(self, reason: str) -> None:
        self.dropped[reason] += 1

    def is_copy(self, clip: str) -> bool:
        """Whether a clip of this name came before; counted as dropped. Some copies of archives hold every clip in two folders."""
        if clip in self.clips:
            self.drop("second copy of a clip, in another folder")
            return True
        self.clips.add(clip)
        return False

    def manifest(self) -> Manifest:
        """Sorted by path. Unknown labels are an error, and so is a corpus of which nothing was found."""
        if self.labels is not None:
            self.labels.check()
        if not self.kept:
            missing = f" ({len(self.missing)} listed files are missing, the first: {self.missing[0]})" if self.missing else ""
            raise CorpusError(f"{self.corpus}: no clips in {self.root}{missing}; is this the folder that the official archive unpacks to?")
        rows = sorted(self.kept, key=lambda item: (item.path, item.start or 0.0))
        return Manifest(tuple(rows), self.root, tuple(sorted(self.missing)), dict(sorted(self.dropped.items())))


GENDERS = {"f": "f", "female": "f", "m": "m", "male": "m"}


def gender_of(word: str) -> str:
    """f, m, or empty for anything else.

    >>> gender_of("Female"), gender_of(" M "), gender_of("Unknown")
    ('f', 'm', '')
    """
    return GENDERS.get(word.strip().lower(), "")


NOT_OFFICIAL = "name is not one of the corpus"


def found(root: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    """Files under `root` that match, sorted, as (path relative to root, path); names with a leading dot are left out.

    macOS archives hold "._name.wav" twins that are no audio.
    """
    for path in sorted(root.rglob(pattern)):
        relative = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            yield relative.as_posix(), path


def table(path: Path, columns: set[str], dialect: type[csv.Dialect] = csv.excel) -> Iterator[dict[str, str]]:
    """Rows of a CSV file with a header line, which has to hold these columns; a byte order mark and blank lines do not matter."""
    if not path.is_file():
        raise CorpusError(f"there is no {path}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, dialect=dialect)
        lacking = columns - set(reader.fieldnames or ())
        if lacking:
            raise CorpusError(f"{path} lacks the columns {', '.join(sorted(lacking))}; it has {', '.join(reader.fieldnames or ())}")
        for number, row in enumerate(reader, 2):
            if None in row or None in row.values():
                raise CorpusError(f"{path}, row {number}: the number of cells is not that of the header")
            yield row
