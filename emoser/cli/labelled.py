"""What `evaluate` reads: a CSV of labelled files, or folders named by label."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from emoser.cli.inputs import expand
from emoser.errors import UsageError
from emoser.evaluation import Labelled
from emoser.results import Failure

FILES, LABELS = ("path", "file"), ("label", "emotion")  # what the needed columns may be called, the first preferred
KNOWN = ("path (or file)", "label (or emotion)", "speaker", "corpus")


def read_labelled(name: str, renamed: dict[str, str]) -> tuple[list[Labelled], list[Failure]]:
    """The clips of a manifest, in its order, and what was named but holds no audio; `renamed` maps its labels to ours.

    A CSV has a header with the columns path (or file), label (or emotion) and, if known, speaker and corpus; paths start from its folder.
    In a folder, each folder directly below it is named by the label of all audio in it. Raises UsageError for anything else.
    """
    path = Path(name)
    if path.is_dir():
        clips, failures = _folders(path)
    elif path.is_file():
        clips, failures = _table(path), []
    else:
        raise UsageError(
            f"{name}: no such file or folder; give a CSV with columns path and label (or file and emotion), or folders named by label"
        )
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
            there = reader.fieldnames or ()
            columns = [next((name for name in names if name in there), "") for names in (FILES, LABELS)]
            lacking = [names[0] for names, column in zip((FILES, LABELS), columns, strict=True) if not column]
            if lacking:
                found = ", ".join(there) or "nothing"
                raise UsageError(f"{path}: no column {' and '.join(lacking)} in the first line, but {found}; read: {', '.join(KNOWN)}")
            clips = []
            for number, row in enumerate(reader, start=2):
                name, label, speaker, corpus = ((row.get(column) or "").strip() for column in (*columns, "speaker", "corpus"))
                if not name or not label:
                    raise UsageError(f"{path}, line {number}: path or label is empty")
                file_name = os.path.join(path.parent, name)  # noqa: PTH118  an absolute path stays as it is
                clips.append(Labelled(file_name, label, speaker, corpus))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    return clips
