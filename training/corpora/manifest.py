"""The one form that every corpus is brought into: a manifest is a list of utterances and the folder that their paths start from.

On disk a manifest is a CSV file (UTF-8, comma, one header line, rows in the order of the manifest) with the columns of `COLUMNS`, which
are the fields of `Utterance`; an empty cell is "unknown", None, or "whole file".
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from training.corpora.labels import EMOTIONS, CorpusError

Segment = tuple[float, float, str]  # start and end in seconds, label


@dataclass(frozen=True)
class Utterance:
    """One clip: a file, or a part of one.

    `emotion` is one of the eight words or None; `label` is the corpus's own. `start` and `end` (seconds) cut the clip out of the file,
    None meaning its ends; `channel` counts from 0, None meaning all mixed. `segments` is an emotional time line inside the clip, where
    the corpus has one. Speaker ids are unique in a corpus; `voice` is unique everywhere.
    """

    corpus: str
    path: str
    speaker: str = ""
    gender: str = ""
    language: str = ""
    emotion: str | None = None
    label: str = ""
    text: str = ""
    session: str = ""
    start: float | None = None
    end: float | None = None
    channel: int | None = None
    duration: float | None = None
    sha256: str = ""
    split: str = ""
    segments: tuple[Segment, ...] = ()

    @property
    def voice(self) -> str:
        """The speaker, told apart from those of other corpora; empty where the speaker is unknown."""
        return f"{self.corpus}/{self.speaker}" if self.speaker else ""

    @property
    def key(self) -> tuple[str, str, float | None, float | None, int | None]:
        """What makes this clip this clip: no manifest holds two with the same."""
        return self.corpus, self.path, self.start, self.end, self.channel

    @property
    def name(self) -> str:
        """The path and, of a part of a file, which part: what tells the clips of a corpus apart in lists of names.

        >>> Utterance("demo", "a.wav").name, Utterance("demo", "a.wav", start=0.5, channel=1).name
        ('a.wav', 'a.wav [0.5, null, 1]')
        """
        part = (self.start, self.end, self.channel)
        return self.path if part == (None, None, None) else f"{self.path} {json.dumps(part)}"

    def to_row(self) -> dict[str, str]:
        return {column: written(getattr(self, column)) for column in COLUMNS}

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Utterance:
        values: dict[str, Any] = {column: READERS.get(column, str)(cell) for column, cell in row.items() if column in COLUMNS and cell}
        return cls(**values)


COLUMNS = tuple(item.name for item in fields(Utterance))


def written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ";".join(f"{start!r} {end!r} {label}" for start, end, label in value)
    return repr(value) if isinstance(value, float) else str(value)


def segments_of(cell: str) -> tuple[Segment, ...]:
    parts = (item.split(" ", 2) for item in cell.split(";"))
    return tuple((float(start), float(end), label) for start, end, label in parts)


READERS: dict[str, Callable[[str], object]] = {
    "start": float,
    "end": float,
    "duration": float,
    "channel": int,
    "segments": segments_of,
}


@dataclass(frozen=True)
class Manifest:
    """Utterances and the folder their paths start from.

    A reader also says what it left out: `missing` are listed files that are not there, `dropped` counts clips by the reason.
    """

    utterances: tuple[Utterance, ...]
    root: Path
    missing: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        twice = [key for key, count in Counter(item.key for item in self.utterances).items() if count > 1]
        if twice:
            raise CorpusError(f"{len(twice)} clips stand in the manifest twice, the first: {twice[0][0]} {twice[0][1]}")
        wrong = {item.emotion for item in self.utterances} - {None, *EMOTIONS}
        if wrong:
            raise CorpusError(f"emotion must be one of {', '.join(EMOTIONS)} or empty; found {', '.join(sorted(map(str, wrong)))}")

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    def __getitem__(self, index: int) -> Utterance:
        return self.utterances[index]

    def file(self, utterance: Utterance) -> Path:
        return self.root / utterance.path

    # what is in it

    @property
    def speakers(self) -> tuple[str, ...]:
        """The voices ("corpus/speaker") in sorted order; clips of unknown speakers add none."""
        return tuple(sorted({item.voice for item in self.utterances if item.speaker}))

    @property
    def corpora(self) -> tuple[str, ...]:
        return tuple(sorted({item.corpus for item in self.utterances}))

    def count(self, column: str) -> dict[str, int]:
        """How many clips have each value of a column, most first; None and empty count as "".

        >>> Manifest((Utterance("demo", "a.wav", emotion="sad"), Utterance("demo", "b.wav")), Path()).count("emotion")
        {'sad': 1, '': 1}
        """
        values = Counter(str(getattr(item, column) or "") for item in self.utterances)
        return dict(sorted(values.items(), key=lambda pair: (-pair[1], pair[0] == "", pair[0])))

    # parts of it

    def filter(self, keep: Callable[[Utterance], bool]) -> Manifest:
        return Manifest(tuple(item for item in self.utterances if keep(item)), self.root)

    def where(self, **columns: object) -> Manifest:
        """Clips whose columns have the given value, or one of several: `where(corpus="ravdess", emotion=["happy", "sad"])`."""
        unknown = set(columns) - {*COLUMNS, "voice"}
        if unknown:
            raise CorpusError(f"no column {', '.join(sorted(unknown))}; there are {', '.join(COLUMNS)} and voice")
        wanted = {name: {value} if value is None or isinstance(value, str | int | float) else set(value) for name, value in columns.items()}  # type: ignore[call-overload]
        return self.filter(lambda item: all(getattr(item, name) in values for name, values in wanted.items()))

    def with_emotions(self, emotions: Iterable[str], mapping: Mapping[str, str | None] | None = None) -> Manifest:
        """Clips with one of `emotions`, after `mapping` has renamed some (see `mapped`)."""
        return self.mapped(mapping or {}).where(emotion=tuple(emotions))

    def mapped(self, mapping: Mapping[str, str | None]) -> Manifest:
        """Emotions renamed by `mapping` (calm: neutral); where the emotion is None its keys are the corpus's own labels (boredom: sad).

        A value of None takes the emotion away.
        """
        renamed = []
        for item in self.utterances:
            name = item.label if item.emotion is None else item.emotion
            renamed.append(replace(item, emotion=mapping[name]) if name in mapping else item)
        return replace(self, utterances=tuple(renamed))

    @classmethod
    def join(cls, manifests: Iterable[Manifest]) -> Manifest:
        """One manifest of several, its root being their common parent folder."""
        parts = list(manifests)
        if not parts:
            raise CorpusError("there is no manifest to join")
        root = Path(os.path.commonpath([part.root.resolve() for part in parts]))
        rows: list[Utterance] = []
        for part in parts:
            prefix = part.root.resolve().relative_to(root)
            rows.extend(replace(item, path=(prefix / item.path).as_posix()) for item in part)
        return cls(tuple(rows), root)

    # on disk

    def to_csv(self, path: str | Path) -> None:
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(item.to_row() for item in self.utterances)

    @classmethod
    def from_csv(cls, path: str | Path, root: str | Path | None = None) -> Manifest:
        """Read what `to_csv` wrote; paths start from `root`, by default the folder of the CSV file."""
        path = Path(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lacking = {"corpus", "path"} - set(reader.fieldnames or ())
            if lacking:
                raise CorpusError(f"{path} is no manifest: column {', '.join(sorted(lacking))} is missing")
            rows = tuple(Utterance.from_row(row) for row in reader)
        return cls(rows, Path(root) if root is not None else path.parent)

    def checksum(self) -> str:
        """sha256 over the rows, whatever their order and the root: the same data give the same value on any machine."""
        rows = sorted("\t".join(item.to_row().values()) for item in self.utterances)
        return hashlib.sha256("\n".join(rows).encode("utf-8")).hexdigest()
