"""checkpoints.yaml, and the checkpoint.yaml of a folder -> entries."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from emoser.checkpoints import Checkpoint, Part
from emoser.errors import CheckpointError, UnknownCheckpoint
from emoser.records import RecordError, read_record

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads an entry ten times as fast, where PyYAML has it
FOLDER_FILE = "checkpoint.yaml"  # what makes a folder, or a hub repository, a checkpoint
ENTRY = re.compile(r"- name: ([\w.-]+)\n")  # how one begins in a registry that export has written


class Registry(Mapping[str, Checkpoint]):
    """The entries of a checkpoints.yaml by name, in its order. Each is read when it is asked for: a first prediction asks for one. A file
    that is laid out otherwise than export writes it is read whole.

    Raises CheckpointError for a malformed file at once, and for a malformed entry with that entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        text = _text(path)
        split = _split(text)
        self._read = {} if split else {entry.name: entry for entry in _listed(_parsed(text, str(path)), path)}
        self._texts = split or dict.fromkeys(self._read, "")

    def __getitem__(self, name: str) -> Checkpoint:
        if name not in self._read:
            text = self._texts[name]
            number = list(self._texts).index(name) + 1
            (item,) = _parsed(text, f"{self._path}, entry {number}")
            self._read[name] = _entry(item, self._path, number)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def holding(self, sha256: str) -> tuple[Checkpoint, Part] | tuple[None, None]:
        """The entry whose model is one file, with this checksum, and that file; others are not read for it."""
        for name, text in self._texts.items():
            if name in self._read or sha256 in text:
                for part in self[name].parts:
                    if part.sha256 == sha256 and part.role == "model":
                        return self[name], part
        return None, None


def registry_file() -> Path:
    """EMOSER_REGISTRY, or the registry inside the installed package, or the one of the clone that the package stands in."""
    if chosen := os.environ.get("EMOSER_REGISTRY"):
        return Path(chosen).expanduser()
    package = Path(__file__).parent
    bundled = package / "bundled" / "checkpoints.yaml"
    return bundled if bundled.is_file() else package.parent / "checkpoints.yaml"


def list_checkpoints(registry: str | os.PathLike[str] | None = None) -> list[Checkpoint]:
    """All checkpoints of the registry, in its order. Raises CheckpointError where the registry is missing or malformed."""
    return list(open_registry(Path(registry) if registry is not None else registry_file()).values())


def open_registry(path: Path | None = None) -> Registry:
    """The registry at `path`; without one, emoser's own."""
    path = registry_file() if path is None else path
    about = path.stat() if path.is_file() else None
    return _opened(path, about and (about.st_mtime_ns, about.st_size))


@lru_cache(maxsize=4)
def _opened(path: Path, changed: tuple[int, int] | None) -> Registry:
    """Of the file as it was `changed` last (time in ns, size)."""
    return Registry(path)


def registered() -> Mapping[str, Checkpoint]:
    """The registry's entries by name; none where there is no registry."""
    return open_registry() if registry_file().is_file() else {}


def find(name: str) -> Checkpoint:
    """The registry's entry of that name, or UnknownCheckpoint with all names and the nearest."""
    return named(name, open_registry())


def named(name: str, entries: Mapping[str, Checkpoint]) -> Checkpoint:
    """The one of `entries` that is called so, or UnknownCheckpoint."""
    if name not in entries:
        raise unknown(name, entries)
    return entries[name]


def unknown(name: str, names: Iterable[str]) -> UnknownCheckpoint:
    """The error for a name that is none of `names`; it lists them, and the nearest."""
    near = get_close_matches(name, names := list(names), 1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return UnknownCheckpoint(
        f'No checkpoint is named "{name}".{hint} Known names: {", ".join(names) or "none"}. '
        f"A folder with a {FOLDER_FILE}, an .onnx or TorchScript file, or hf://owner/repository@revision work too."
    )


def folder_entries(folder: Path) -> tuple[Checkpoint, ...]:
    """What a checkpoint folder says of itself: as `read_listing`. Raises CheckpointError for any other folder, or a malformed entry."""
    listing = folder / FOLDER_FILE
    if not listing.is_file():
        raise CheckpointError(f"{folder} is no checkpoint folder: there is no {FOLDER_FILE} in it")
    return read_listing(listing)


def read_listing(path: Path) -> tuple[Checkpoint, ...]:
    """The entries of the FOLDER_FILE of a folder or of a hub repository: one or, of an ensemble, its own and then those of its members.

    Raises CheckpointError for a malformed file, and for an ensemble whose members are not all there.
    """
    data = _parsed(_text(path), str(path))
    if not isinstance(data, dict) or list(data) != ["checkpoints"]:
        return (_entry(data, path),)
    entries = _listed(data, path)
    if not entries or not entries[0].members:
        raise CheckpointError(f'{path}: a list "checkpoints" is for an ensemble, whose entry comes first, and its members')
    if missing := set(entries[0].members) - {entry.name for entry in entries}:
        raise CheckpointError(f'{path}: "{entries[0].name}" has members that are not in it: {", ".join(sorted(missing))}')
    return entries


def _split(text: str) -> dict[str, str]:
    r"""Name -> text of each entry, where the file is laid out as export writes it; else nothing.

    >>> _split("checkpoints:\n- name: a\n  task: b\n- name: c\n")
    {'a': '- name: a\n  task: b\n', 'c': '- name: c\n'}
    """
    head, *texts = re.split(r"^(?=- )", text, flags=re.MULTILINE)
    found = [match[1] for each in texts if (match := ENTRY.match(each))]
    alone = re.search(r"[:-] [&*]", text) is None  # an anchor of YAML may be another entry's
    plain = alone and re.sub(r"#.*", "", head).strip() == "checkpoints:" and len(set(found)) == len(texts)
    return dict(zip(found, texts, strict=True)) if plain else {}


def _listed(data: object, path: Path) -> tuple[Checkpoint, ...]:
    if not isinstance(data, dict) or list(data) != ["checkpoints"] or not isinstance(data["checkpoints"], list):
        raise CheckpointError(f'{path}: expected one field "checkpoints" that holds a list of entries')
    entries = tuple(_entry(item, path, number) for number, item in enumerate(data["checkpoints"], 1))
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CheckpointError(f"{path}: more than one entry is named {', '.join(twice)}")
    return entries


def _entry(data: object, path: Path, number: int | None = None) -> Checkpoint:
    given = data.get("name") if isinstance(data, dict) else None
    where = str(path) if number is None else f"{path}, entry {number}" + (f' ("{given}")' if isinstance(given, str) else "")
    try:
        return read_record(Checkpoint, data, where, folder=path.parent)
    except RecordError as error:
        raise CheckpointError(str(error)) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there; install emoser again, or set EMOSER_REGISTRY to a checkpoints.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _parsed(text: str, where: str) -> Any:
    try:
        return yaml.load(text, SAFE_LOADER)
    except yaml.YAMLError as error:
        raise CheckpointError(f"{where} cannot be read: {error}") from error
