"""A name, folder, file or hf:// address -> verified local files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from emoser import hub
from emoser.checkpoints import Checkpoint, Format, Part, Precision, no_file_of_its_own
from emoser.digests import joined, sha256
from emoser.errors import CheckpointError, ChecksumMismatch, UnknownCheckpoint, UsageError
from emoser.registry import FOLDER_FILE, folder_entries, named, open_registry, read_listing, registered, registry_file, unknown

SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".pt": "torchscript", ".ts": "torchscript", ".torchscript": "torchscript"}
REPOSITORY = "a clone of the project's repository (checkpoints/torchscript/)"

Local = Callable[[Checkpoint, Part], Path]  # where a file of an entry lies, which may have to be fetched first


@dataclass(frozen=True)
class Resolved:
    """A checkpoint found: `path` is a local file whose sha256 is `sha256`. A single file that the registry does not know describes
    itself: `checkpoint` is None then.

    Of a checkpoint of several files `path` and `part` are the first of `Checkpoint.files`, `others` are the rest, verified too, and
    `sha256` is that of the digests of all, one after the other.
    """

    path: Path
    format: Format
    sha256: str
    checkpoint: Checkpoint | None = None
    part: Part | None = None
    adaptation: Path | None = None  # verified too
    others: tuple[tuple[str, Path], ...] = ()  # role, file

    @property
    def files(self) -> tuple[Path, ...]:
        """All that runs, in the order of `Checkpoint.files`."""
        return self.path, *(path for _, path in self.others)


@dataclass(frozen=True)
class ResolvedEnsemble:
    """An ensemble found: its entry, and its members in the entry's order."""

    checkpoint: Checkpoint
    members: tuple[Resolved | ResolvedEnsemble, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of all members, each once."""
        return tuple(dict.fromkeys(path for member in self.members for path in member.files))


def locate(
    name_or_path: str | os.PathLike[str], *, runtime: str = "onnx", precision: str | None = None, offline: bool = False
) -> Resolved | ResolvedEnsemble:
    """A name of the registry, hf://owner/repository@revision, a checkpoint folder, or a single file -> verified local files.

    A name is looked up in the registry first (a folder of that name in the working directory does not hide it), its file beside the
    registry, then in the hub's cache, then at the hub, pinned to the registry's commit. Raises UnknownCheckpoint, ChecksumMismatch,
    DownloadError or, for a runtime or precision that the checkpoint does not have, CheckpointError.
    """
    form, grain = cast(Format, runtime), cast("Precision | None", precision)
    given = os.fspath(name_or_path)
    if not given:
        raise UsageError("the checkpoint's name is empty")
    if given.startswith(hub.SCHEME):
        address = hub.parse(given)
        entries = read_listing(hub.fetch(address, FOLDER_FILE, offline=offline))
        return verified_files(entries[0], _by_name(entries), form, grain, lambda _, part: hub.fetch(address, part.path, offline=offline))
    path = Path(given).expanduser()
    a_name = isinstance(name_or_path, str) and given == path.name and path.suffix not in SUFFIXES
    known = registered()
    if a_name and given in known:
        return verified_files(known[given], known, form, grain, lambda entry, part: in_registry(entry, part, offline))
    if path.is_dir():
        entries = folder_entries(path)
        return verified_files(entries[0], _by_name(entries), form, grain, _in_folder)
    if path.is_file():
        return _single_file(path, form)
    if a_name:
        raise unknown(given, open_registry())
    raise UnknownCheckpoint(f"{given}: no such file or folder. Known names: {', '.join(known) or 'none'}")


def resolve(
    name_or_path: str | os.PathLike[str], *, runtime: str = "onnx", precision: str | None = None, offline: bool = False
) -> Resolved:
    """As `locate`; an ensemble, which has no file of its own, is a CheckpointError."""
    found = locate(name_or_path, runtime=runtime, precision=precision, offline=offline)
    if isinstance(found, ResolvedEnsemble):
        raise no_file_of_its_own(found.checkpoint)
    return found


def verified_files(
    entry: Checkpoint,
    among: Mapping[str, Checkpoint],
    form: Format,
    grain: Precision | None,
    local: Local,
    above: tuple[str, ...] = (),
) -> Resolved | ResolvedEnsemble:
    """An entry's files, verified, where `local` has them, and its adaptation, if it is an adapted one; of an ensemble those of its members,
    whose entries are `among` these. `above`: the ensembles that it is a member of."""
    if entry.name in above:
        raise CheckpointError(f"ensembles are members of each other: {' -> '.join((*above, entry.name))}")
    if entry.members:
        found = [verified_files(named(name, among), among, form, grain, local, (*above, entry.name)) for name in entry.members]
        return ResolvedEnsemble(entry, tuple(found))
    files = _joined([_verified_part(entry, part, local(entry, part)) for part in entry.files(form, grain)])
    moved = [_verified_part(entry, part, local(entry, part)) for part in entry.parts if part.role == "adaptation"]
    return replace(files, adaptation=moved[0].path) if moved else files


def _by_name(entries: Iterable[Checkpoint]) -> dict[str, Checkpoint]:
    return {entry.name: entry for entry in entries}


def in_registry(entry: Checkpoint, part: Part, offline: bool) -> Path:
    path = entry.folder / part.path
    return path if path.is_file() else _from_hub(entry, part, path, offline)


def _in_folder(entry: Checkpoint, part: Part) -> Path:
    path = entry.folder / part.path
    if not path.is_file():
        raise CheckpointError(f"{entry.folder / FOLDER_FILE} names {part.path}, which is not there; copy it beside that file")
    return path


def _single_file(path: Path, runtime: Format) -> Resolved:
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path}: a checkpoint file ends in {', '.join(SUFFIXES)}; a folder holds a {FOLDER_FILE}")
    form = SUFFIXES[path.suffix]
    if runtime == "torchscript" and form == "onnx":
        raise CheckpointError(f'{path} is an ONNX file: leave runtime="torchscript" out')
    digest = sha256(path)
    # The file of an entry is that entry, wherever it lies: it knows more than the file says of itself.
    entry, part = open_registry().holding(digest) if registry_file().is_file() else (None, None)
    return Resolved(path=path, format=form, sha256=digest, checkpoint=entry, part=part)


def _from_hub(entry: Checkpoint, part: Part, missing: Path, offline: bool) -> Path:
    if entry.hub is None:
        where = REPOSITORY if part.format == "torchscript" else "installing emoser again"
        raise CheckpointError(f'The {part.format} file of "{entry.name}" is not at {missing} and is on no hub; get it from {where}')
    address = hub.Address(entry.hub.repository, entry.hub.commit)
    listing = hub.fetch(address, FOLDER_FILE, offline=offline)
    # Paths at the hub are its own; the content is what the registry that came with emoser says.
    for theirs in (each for listed in read_listing(listing) for each in listed.parts):
        if theirs.sha256 == part.sha256:
            return hub.fetch(address, theirs.path, offline=offline)
    raise ChecksumMismatch(f"{address} holds no file with the sha256 {part.sha256} that the registry gives for {part.path}; update emoser")


def _joined(files: list[Resolved]) -> Resolved:
    """The files of one checkpoint as one, in the order of `Checkpoint.files`."""
    first, *rest = files
    if not rest:
        return first
    digest = joined(each.sha256 for each in files)
    return replace(first, sha256=digest, others=tuple((each.part.role, each.path) for each in rest if each.part is not None))


def _verified_part(entry: Checkpoint, part: Part, path: Path) -> Resolved:
    digest = sha256(path)
    if digest != part.sha256:
        raise ChecksumMismatch(
            f"{path} is damaged or not the file of {entry.name!r}: sha256 {digest}, {path.stat().st_size} bytes; "
            f"expected {part.sha256}, {part.size} bytes. Delete it and get it again (download, clone or install anew)"
        )
    return Resolved(path=path, format=cast(Format, part.format), sha256=digest, checkpoint=entry, part=part)
