"""An adapted checkpoint -> a folder that loads like any other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import yaml

from emoser.adaptation import Adaptation
from emoser.checkpoints import FOLDER_FILE, Resolved, folder_entry
from emoser.errors import CheckpointError, UsageError

ADAPTATION_FILE = "adaptation.npz"
ADAPTED_TO = "; adapted to"  # in the summary of an adapted checkpoint


def save_adapted(found: Resolved, name: str, adaptation: Adaptation, golden: tuple[float, ...], folder: str | os.PathLike[str]) -> None:
    """Writes a checkpoint folder: the files of `found`, the adaptation, and an entry that says what they are.

    An earlier adapted checkpoint in the folder is replaced; a folder with anything else is left alone, with a UsageError.
    """
    entry, target = found.checkpoint, Path(folder)
    check_folder(folder)
    if entry is None or found.part is None:
        raise CheckpointError(f"{found.path} is a single file, and an adapted folder needs an entry: adapt a name or a folder")
    moved = target / ADAPTATION_FILE
    sources = [found.path, *(path for _, path in found.others)]
    parts = entry.files(found.format, found.part.precision)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for source in sources:
            copy = target / source.name
            if not (copy.exists() and copy.samefile(source)):
                shutil.copyfile(source, copy)
        new = target / f".{os.getpid()}.npz"
        adaptation.save(new)
        size, digest = new.stat().st_size, hashlib.sha256(new.read_bytes()).hexdigest()
        part = {"role": "adaptation", "format": "npz", "precision": "fp32", "path": moved.name, "size": size, "sha256": digest}
        clips = f"{adaptation.clips} clip{'s' * (adaptation.clips != 1)}"
        content = asdict(entry) | {
            "name": name,
            "summary": f"{entry.summary.rstrip('.').partition(ADAPTED_TO)[0]}{ADAPTED_TO} {clips} of a user's own.",
            "parts": [*(asdict(each) | {"path": source.name} for each, source in zip(parts, sources, strict=True)), part],
            "metrics": [],  # what was measured, was measured without
            "hub": None,
            "golden": {"input": "tone", "logits": golden},
        }
        for name in ("folder", "symbols", "state", "frame_temperature"):
            del content[name]
        plain = json.loads(json.dumps(content))  # tuples as lists, which YAML reads back
        listing = target / f".{os.getpid()}.yaml"
        listing.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
        new.replace(moved)  # both at once, as far as that goes: an adaptation and an entry that do not match could not be loaded
        listing.replace(target / FOLDER_FILE)
    except OSError as error:
        raise UsageError(f"could not write {target}: {error.strerror}") from error


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises UsageError for what `save_adapted` would not write to: anything but an empty folder, an adapted checkpoint, or nothing."""
    target = Path(folder)
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} exists and is no folder; give another name")
    if not (target / FOLDER_FILE).is_file():
        if any(target.iterdir()):
            raise UsageError(f"{target} exists and is no checkpoint folder; give another one")
        return
    entry = folder_entry(target)
    if not any(part.role == "adaptation" for part in entry.parts):
        raise UsageError(f'{target} holds the checkpoint "{entry.name}", which is not an adapted one; give another folder')
