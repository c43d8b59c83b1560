"""An adapted checkpoint, or an ensemble of such -> a folder that loads like any other."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from emoser.adaptation import Adaptation
from emoser.checkpoints import Checkpoint, Part
from emoser.errors import CheckpointError, OutputError, UsageError
from emoser.registry import FOLDER_FILE, folder_entries
from emoser.resolving import Resolved

ADAPTATION_FILE = "adaptation.npz"
ADAPTED_TO = "; adapted to"  # in the summary of an adapted checkpoint


@dataclass(frozen=True)
class Adapted:
    """An adapted checkpoint: the files and the entry that it was made from, its own `name`, and its logits of the golden input."""

    found: Resolved
    name: str
    adaptation: Adaptation
    golden: tuple[float, ...]


def save_adapted(adapted: Adapted, folder: str | os.PathLike[str]) -> None:
    """Writes a checkpoint folder: the files that it was made from, the adaptation, and an entry that says what they are.

    An earlier adapted checkpoint in the folder is replaced; a folder with anything else is left alone, with a UsageError. Raises
    OutputError where it cannot be written, and leaves nothing of it then.
    """
    check_folder(folder)
    files = _Files()
    files.write(files.entry(adapted, ADAPTATION_FILE), Path(folder))


def save_adapted_ensemble(
    entry: Checkpoint, members: Sequence[Adapted], clips: int, golden: tuple[float, ...], folder: str | os.PathLike[str]
) -> None:
    """The same of an ensemble, whose `entry` has the members' own names: one listing of its entry and theirs, and what several have in
    common once."""
    check_folder(folder)
    files = _Files()
    entries = [files.entry(member, f"adaptation-{number}.npz") for number, member in enumerate(members, 1)]
    files.write({"checkpoints": [_entry(entry, entry.name, [], clips, golden), *entries]}, Path(folder))


def entry_of(found: Resolved) -> tuple[Checkpoint, Part]:
    """What an adapted folder's listing is made from. Raises CheckpointError for a single file that is of no entry."""
    if found.checkpoint is None or found.part is None:
        raise CheckpointError(f"{found.path} is a single file, and an adapted folder needs an entry: adapt a name or a folder")
    return found.checkpoint, found.part


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises UsageError for what is not written to: anything but an empty folder, an adapted checkpoint or ensemble, or nothing; and
    OutputError where no file can be written."""
    target = Path(folder)
    with _told(target):
        _check_content(target)
        with _made(target), tempfile.TemporaryFile(dir=target):  # permissions and mounts are best asked by trying
            pass


def _check_content(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} exists and is no folder; give another name")
    if not (target / FOLDER_FILE).is_file():
        if any(target.iterdir()):
            raise UsageError(f"{target} exists and is no checkpoint folder; give another one")
        return
    entries = folder_entries(target)
    if not all(entry.members or any(part.role == "adaptation" for part in entry.parts) for entry in entries):
        raise UsageError(f'{target} holds the checkpoint "{entries[0].name}", which is not an adapted one; give another folder')


@dataclass
class _Files:
    """What a folder will hold beside its listing."""

    names: dict[str, str] = field(default_factory=dict)  # sha256 of a checkpoint's file -> how it is called in the folder
    copied: dict[str, Path] = field(default_factory=dict)  # name -> where it is copied from
    adaptations: dict[str, bytes] = field(default_factory=dict)  # name -> content

    def entry(self, adapted: Adapted, adaptation_file: str) -> dict[str, Any]:
        """Takes an adapted checkpoint's files up, and gives what the listing says of it."""
        found = adapted.found
        entry, part = entry_of(found)
        parts = zip(entry.files(found.format, part.precision), found.files, strict=True)
        listed = [asdict(part) | {"path": self._name(part.sha256, source)} for part, source in parts]
        data = self.adaptations[adaptation_file] = adapted.adaptation.to_bytes()
        about = {"path": adaptation_file, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        listed.append({"role": "adaptation", "format": "npz", "precision": "fp32"} | about)
        return _entry(entry, adapted.name, listed, adapted.adaptation.clips, adapted.golden)

    def _name(self, sha256: str, source: Path) -> str:
        if sha256 not in self.names:
            # Files of different folders may be called the same.
            name = source.name if source.name not in self.copied else f"{sha256[:8]}-{source.name}"
            self.names[sha256], self.copied[name] = name, source
        return self.names[sha256]

    def write(self, listing: dict[str, Any], folder: Path) -> None:
        """All of it beside what is there, and then in its place, the listing last: what breaks off leaves what was there before or, between
        one file and the next, an earlier listing that is refused. Files of the earlier listing that this one does not name are taken away
        then. Raises OutputError."""
        earlier = {part.path for entry in folder_entries(folder) for part in entry.parts} if (folder / FOLDER_FILE).is_file() else set()
        plain = json.loads(json.dumps(listing))  # tuples as lists, which YAML reads back
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        new = self.adaptations | {FOLDER_FILE: text.encode()}
        with _told(folder), _made(folder) as undo:
            copies = {name: source for name, source in self.copied.items() if not _same(folder / name, source)}
            for name in (*copies, *new):
                undo.callback(_beside(folder / name).unlink, missing_ok=True)
                if not (folder / name).exists():
                    undo.callback((folder / name).unlink, missing_ok=True)
            for name, source in copies.items():
                shutil.copyfile(source, _beside(folder / name))
            for name, data in new.items():
                _beside(folder / name).write_bytes(data)
            for name in (*copies, *new):  # all at once, as far as that goes
                _beside(folder / name).replace(folder / name)
            undo.pop_all()
            for name in earlier - {*self.copied, *new}:
                (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Raises OutputError for what the system refuses in the block."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"could not write {folder}: {error.strerror}") from error


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[contextlib.ExitStack]:
    """Makes the folder and those that it lies in. Gives what takes away at the end those that were not there; its `pop_all` keeps them."""
    with contextlib.ExitStack() as undo:
        for each in (*reversed(folder.parents), folder):
            if not each.exists():
                each.mkdir()
                undo.callback(_remove_empty, each)
        yield undo


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another program has put something into it
        folder.rmdir()


def _same(copy: Path, source: Path) -> bool:
    return copy.exists() and copy.samefile(source)


def _beside(path: Path) -> Path:
    return path.with_name(f".{os.getpid()}-{path.name}")


def _entry(entry: Checkpoint, name: str, parts: list[dict[str, Any]], clips: int, golden: tuple[float, ...]) -> dict[str, Any]:
    """`entry` as that of a checkpoint `name` which was made from it, by an adaptation to so many `clips`."""
    many = f"{clips} clip{'s' * (clips != 1)}"
    content = asdict(entry) | {
        "name": name,
        "summary": f"{entry.summary.rstrip('.').partition(ADAPTED_TO)[0]}{ADAPTED_TO} {many} of a user's own.",
        "parts": parts,
        "metrics": [],  # what was measured, was measured without
        "hub": None,
        "golden": {"input": "tone", "logits": golden},
    }
    for left_out in ("folder", "symbols", "state", "frame_temperature"):
        del content[left_out]
    return content
