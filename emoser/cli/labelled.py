"""What `evaluate` reads: a CSV of labelled files, or folders named by label."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from emoser.cli.inputs import expand
from emoser.errors import UsageError
from emoser.evaluation import Labelled
from emoser.results import Failure

NEEDED = ("path", "label")
KNOWN = (*NEEDED, "speaker", "corpus")


def read_labelled(name: str, renamed: dict[str, str]) -> tuple[list[Labelled], list[Failure]]:
    """The clips of a manifest, in its order, and what was named but holds no audio; `renamed` maps its labels to ours.

    A CSV has a header with the columns path and label and, if known, speaker and corpus; paths start from its folder. In a folder, each
    folder directly below it is named by the label of all audio in it. Raises UsageError for anything else.
    """
    path = Path(name)
    if path.is_dir():
        clips, failures = _folders(path)
    elif path.is_file():
        clips, failures = _table(path), []
    else:
        raise UsageError(f"{name}: no such file or folder; give a CSV with columns path and label, or a folder of folders named by label")
    if not clips and not failures:
        raise UsageError(f"{name}: it holds no clips")
    words = [(clip, clip.label.strip().lower()) for clip in clips]
    return [Labelled(clip.file, renamed.get(word, word), clip.speaker, clip.corpus) for clip, word in words], failures


def _folders(root: Path) -> tuple[list[Labelled], list[Failure]]:
    labels = sorted(item.name for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
    if not labels:
        raise UsageError(f"{root}: no folders in it; each folder is named by the label of the clips in it, for instance {root / 'happy'}")
    clips: list[Labelled] = []
    failures: list[Failure] = []
    for label in labels:
        paths, failed = expand((str(root / label),))
        clips += [Labelled(path, label) for path in paths]
        failures += failed
    return clips, failures


def _table(path: Path) -> list[Labelled]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lacking = [column for column in NEEDED if column not in (reader.fieldnames or ())]
            if lacking:
                there = ", ".join(reader.fieldnames or ()) or "nothing"
                raise UsageError(f"{path}: no column {' and '.join(lacking)} in the first line, but {there}; read: {', '.join(KNOWN)}")
            clips = []
            for number, row in enumerate(reader, start=2):
                cells = {column: (row.get(column) or "").strip() for column in KNOWN}
                if not cells["path"] or not cells["label"]:
                    raise UsageError(f"{path}, line {number}: path or label is empty")
                file_name = os.path.join(path.parent, cells["path"])  # noqa: PTH118  an absolute path stays as it is
                clips.append(Labelled(file_name, cells["label"], cells["speaker"], cells["corpus"]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    return clips
