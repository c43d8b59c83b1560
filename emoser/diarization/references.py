"""What a person says of recordings: emotions over time, out of ZED.json, RTTM, TextGrid or CSV. What no segment covers is neutral."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from emoser.diarization.textgrid import intervals_of
from emoser.errors import UsageError
from emoser.headers import AUDIO_SUFFIXES
from emoser.metrics.diarization import TOLERANCE, Segment

SUFFIXES = (".json", ".rttm", ".textgrid", ".csv", ".tsv")
FILES, LABELS = ("file", "path"), ("label", "emotion")  # names of the columns of a CSV
TIMEDELTA = re.compile(r"(?:(\d+) days?,? )?(\d+):(\d{2}):(\d{2}(?:\.\d+)?)")  # as pandas and audformat write it
UNSURE = "?"  # how our own TextGrid marks a segment of low confidence


@dataclass(frozen=True)
class Reference:
    """The segments (start and end in s, label) of one recording, in order and without overlap; `speaker` is empty where not known."""

    file: str
    segments: tuple[Segment, ...]
    speaker: str = ""


@dataclass
class _Lines:
    """What a file says of one recording, in the order in which it stands there."""

    segments: list[Segment] = field(default_factory=list)
    speakers: set[str] = field(default_factory=set)
    channels: set[int] = field(default_factory=set)


def read_references(
    path: Path, audio: Path | None = None, renamed: dict[str, str] | None = None, channel: int | None = None
) -> list[Reference]:
    """The references of a file, or of all RTTM and TextGrid files in a folder, by recording.

    - ZED.json, in the form of the ZED corpus: {id: {"wav": "datafolder/...", "emotion": [{"emo", "start", "end"}], "speaker"?}}, any number
      of segments in each; "datafolder" stands for the folder of the recordings.
    - RTTM: SPEAKER lines with the emotion in place of the name. A recording is found by its name without suffix.
    - TextGrid: the recording has the same name without suffix; the tier is that called `emotion`, or the only one of intervals.
    - CSV or TSV: columns file (or path), start, end, label (or emotion) and, if known, speaker; s, or times as audformat writes them. Paths
      are below the folder of the recordings; where all of them begin with its own name, as `diarize` writes them, it counts once.

    audio: folder of the recordings, that of the reference if not given. renamed: their labels to ours. channel: takes the lines of this
    channel (counted from 0) where RTTM or tiers tell channels apart.

    Several speakers of a recording count as one together. Raises UsageError for what cannot be read, for segments that overlap, and where
    it cannot be told which recordings are meant.
    """
    root = audio or (path if path.is_dir() else path.parent)
    if not path.exists():
        raise UsageError(f"{path}: no such reference; give ZED.json, an .rttm, .TextGrid or .csv file, or a folder of these")
    names = _Names(root)
    found: dict[str, Reference] = {}
    for file in files_of(path):
        for name, lines in _lines_of(file, root, names, channel).items():
            if name in found:
                raise UsageError(f"{file}: {name} has a reference already, in another file")
            segments = _ordered([(start, end, _word(label, renamed or {})) for start, end, label in lines.segments], f"{file}: {name}")
            found[name] = Reference(name, segments, " + ".join(sorted(lines.speakers)))
    if not found:
        raise UsageError(f"{path}: it holds no reference")
    return list(found.values())


def files_of(path: Path) -> list[Path]:
    """The files of references in a folder, or the one that `path` is."""
    return sorted(each for each in path.rglob("*") if each.suffix.lower() in (".rttm", ".textgrid")) if path.is_dir() else [path]


def _lines_of(file: Path, root: Path, names: _Names, channel: int | None) -> dict[str, _Lines]:
    match file.suffix.lower():
        case ".json":
            return _zed(file, root)
        case ".rttm":
            return _rttm(file, names, channel)
        case ".textgrid":
            return {names[file.stem]: _Lines(intervals_of(file, "emotion", channel))}
        case ".csv" | ".tsv":
            return _table(file, root)
    raise UsageError(f"{file}: unknown kind of reference; known are {', '.join(SUFFIXES)}")


def _zed(file: Path, root: Path) -> dict[str, _Lines]:
    found: dict[str, _Lines] = {}
    try:
        for entry in json.loads(_text(file)).values():
            name = str(root / entry["wav"].removeprefix("datafolder").lstrip("/"))
            segments = [(float(each["start"]), float(each["end"]), str(each["emo"])) for each in entry["emotion"]]
            lines = found.setdefault(name, _Lines())
            lines.segments += segments
            lines.speakers |= {str(entry["speaker"])} if entry.get("speaker") else set()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        form = '{"id": {"wav": "datafolder/a.wav", "emotion": [{"emo": "sad", "start": 0.5, "end": 2}]}}'
        raise UsageError(f"{file}: not in the form of ZED.json, which is {form} ({type(error).__name__}: {error})") from None
    return found


def _rttm(file: Path, names: _Names, channel: int | None) -> dict[str, _Lines]:
    found: dict[str, _Lines] = {}
    for number, line in enumerate(_text(file).splitlines(), start=1):
        cells = line.split()
        if not cells or cells[0] != "SPEAKER":
            continue
        try:
            start, place = float(cells[3]), int(cells[2]) - 1
            segment = (start, start + float(cells[4]), cells[7])
        except (IndexError, ValueError):
            raise UsageError(
                f"{file}, line {number}: {line!r} is no RTTM; a line is: SPEAKER recording 1 start duration <NA> <NA> emotion <NA> <NA>"
            ) from None
        lines = found.setdefault(cells[1], _Lines())
        lines.channels.add(place)
        if channel is None or place == channel:
            lines.segments.append(segment)
    for name, lines in found.items():
        if len(lines.channels) > 1 and channel is None:
            raise UsageError(f"{file}: {name} has {len(lines.channels)} channels; take one of them, counted from 0, with --channel")
    return {names[name]: lines for name, lines in found.items()}


def _table(file: Path, root: Path) -> dict[str, _Lines]:
    try:
        rows = _rows(file)
    except csv.Error as error:
        raise UsageError(f"{file}: cannot read it as a table: {error}") from None
    found: dict[str, _Lines] = {}
    for name, lines in zip(_placed(file, root, list(rows)), rows.values(), strict=True):
        placed = found.setdefault(name, _Lines())  # two names may mean one recording: its absolute path and that below the folder
        placed.segments += lines.segments
        placed.speakers |= lines.speakers
    return found


def _placed(file: Path, root: Path, names: list[str]) -> list[str]:
    """The paths of a table's recordings, below `root`. `diarize recordings/` writes recordings/a.wav, which is recordings/a.wav below
    recordings/ only where its first part counts once. One reading holds for the whole table, that which finds recordings; where none or
    more than one does, it is not guessed."""
    parts = [Path(name).parts for name in names]
    folder = root.absolute().parts[1:]  # without "/", with which an absolute path would count as one below itself
    shortest = min(map(len, parts), default=0)
    repeated = [count for count in range(1, shortest) if all(each[:count] == folder[-count:] for each in parts)]
    readings = [[str(root.joinpath(*each[count:])) for each in parts] for count in (0, *repeated)]
    if len(readings) == 1:  # reading what is not there will say so
        return readings[0]
    found = [paths for paths in readings if any(map(os.path.exists, paths))]
    if len(found) != 1:
        tried = " or ".join(paths[0] for paths in found or readings)
        there = "there are recordings for each of these" if found else "there is no recording for any of these"
        raise UsageError(f"{file}: {names[0]} may be {tried}, and {there}; give another folder of the recordings, or absolute paths")
    return found[0]


def _rows(file: Path) -> dict[str, _Lines]:
    rows = csv.DictReader(_text(file).splitlines(), delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
    there = rows.fieldnames or ()
    columns = [next((name for name in allowed if name in there), None) for allowed in (FILES, ("start",), ("end",), LABELS)]
    if None in columns:
        raise UsageError(f"{file}: the columns are {', '.join(there) or 'none'}; needed are file, start, end and label")
    found: dict[str, _Lines] = {}
    for number, row in enumerate(rows, start=2):
        cells = [(row[str(column)] or "").strip() for column in columns]
        lines = found.setdefault(str(Path(cells[0])), _Lines())
        if speaker := (row.get("speaker") or "").strip():
            lines.speakers.add(speaker)
        try:
            lines.segments.append((_seconds(cells[1]), _seconds(cells[2]), cells[3]))
        except ValueError:
            raise UsageError(f"{file}, line {number}: start {cells[1]!r} and end {cells[2]!r} are no times; give seconds") from None
    return found


class _Names:
    """A recording's name without suffix -> its path below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: dict[str, list[Path]] | None = None

    def __getitem__(self, name: str) -> str:
        """RTTM separates fields by blanks, which stand as underscores in the names. Without a file of that name, the path where one was
        looked for: reading it will say so."""
        if self._paths is None:
            self._paths = {}
            for path in sorted(each for each in self._root.rglob("*") if each.suffix.lower() in AUDIO_SUFFIXES):
                for key in {path.stem, "_".join(path.stem.split())}:
                    self._paths.setdefault(key, []).append(path)
        found = self._paths.get(name, [self._root / name])
        if len(found) > 1:
            raise UsageError(f"{name} may be {' or '.join(map(str, found))}; give the folder of the recordings meant")
        return str(found[0])


def _ordered(segments: Iterable[Segment], where: str) -> tuple[Segment, ...]:
    ordered = sorted(segments)
    end = 0.0
    for start, stop, label in ordered:
        if not 0 <= start < stop or start < end - TOLERANCE:
            raise UsageError(
                f"{where}: {label} from {start:g} to {stop:g} s begins before {end:g} s or has no length; segments may not overlap"
            )
        end = stop
    return tuple(ordered)


def _word(label: str, renamed: dict[str, str]) -> str:
    word = label.strip().rstrip(UNSURE).lower()
    return renamed.get(word, word)


def _seconds(text: str) -> float:
    """
    >>> _seconds("1.25"), _seconds("0 days 00:01:01.250000")
    (1.25, 61.25)
    """
    found = TIMEDELTA.fullmatch(text)
    if found is None:
        return float(text)
    days, hours, minutes, seconds = found.groups()
    return int(days or 0) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot read the reference: {getattr(error, 'strerror', None) or error}") from None
