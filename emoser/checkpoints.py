"""checkpoints.yaml -> `Checkpoint`, and a name, folder, file or hf:// address -> a verified local file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

import yaml

from emoser import hub
from emoser.digests import joined, sha256
from emoser.errors import CheckpointError, ChecksumMismatch, UnknownCheckpoint, UsageError
from emoser.records import RecordError, read_record
from emoser.settings import DEFAULTS, DiarizationSettings

Format = Literal["onnx", "torchscript"]
Precision = Literal["fp16", "int8", "fp32"]

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads the registry ten times as fast, where PyYAML has it
FOLDER_FILE = "checkpoint.yaml"  # what makes a folder, or a hub repository, a checkpoint
SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".pt": "torchscript", ".ts": "torchscript", ".torchscript": "torchscript"}
ROLES = ("encoder", "frames", "predictor", "joint", "head")  # of a transducer's files
REPOSITORY = "a clone of the project's repository (checkpoints/torchscript/)"


@dataclass(frozen=True)
class System:
    """The published system that a checkpoint re-implements."""

    name: str
    paper: str
    year: int
    link: str


@dataclass(frozen=True)
class Part:
    """One file of a checkpoint: `path` is relative to the file that holds the entry, `size` in bytes.

    An utterance checkpoint is one file (model), or two (readout and encoder); a transducer is one for each of `ROLES`. Several checkpoints
    may have the same encoder, in one file. The role adaptation is what an adapted checkpoint has beside the files of the one that it was
    made from.
    """

    role: Literal["model", "adaptation", "encoder", "readout", "frames", "predictor", "joint", "head"]
    format: Literal["onnx", "torchscript", "npz"]
    precision: Precision
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Metric:
    """One measured figure: `uar` and its 95 % `interval` as shares of one, over `clips` clips of `speakers` speakers."""

    corpus: str
    protocol: str
    uar: float
    interval: tuple[float, float]
    clips: int
    speakers: int


@dataclass(frozen=True)
class Corpus:
    """A corpus that the checkpoint was trained on, and the licence it came under."""

    corpus: str
    license: str


@dataclass(frozen=True)
class HubAddress:
    """A hub repository (owner/name), pinned to one commit (40 hexadecimal digits)."""

    repository: str
    commit: str


@dataclass(frozen=True)
class Golden:
    """What the checkpoint answers to a known input (docs/architecture.md, "Registry"); `tokens` are those of a transducer."""

    input: Literal["tone"]
    logits: tuple[float, ...]
    tokens: tuple[int, ...] | None = None


@dataclass(frozen=True)
class PredictorState:
    """What a transducer's predictor remembers: a hidden and a cell state of `layers` vectors of `width` each."""

    layers: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a model must know about itself. A single file carries it inside; a registry entry says more (`Checkpoint`).

    `sample_rate` in Hz; `frame_hop` and `longest_window` in seconds; probabilities are softmax(logits / temperature). `diarization` says
    only what differs from the defaults of `DiarizationSettings`. A transducer has `symbols`, the text of each token (the first is blank,
    the last ends a text), the `state` of its predictor, and the temperature of its frames, which are calibrated apart.
    """

    name: str
    task: Literal["utterance", "transducer"]
    labels: tuple[str, ...]
    sample_rate: int
    frame_hop: float
    longest_window: float
    temperature: float
    revision: str
    license: str
    summary: str
    encoder: str
    diarization: DiarizationSettings = DEFAULTS
    symbols: tuple[str, ...] | None = None
    state: PredictorState | None = None
    frame_temperature: float | None = None

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return round(self.frame_hop * self.sample_rate)

    def __post_init__(self) -> None:
        own = {"symbols": self.symbols, "state": self.state, "frame_temperature": self.frame_temperature}
        wrong = [name for name, value in own.items() if (value is None) == (self.task == "transducer")]
        if wrong:
            raise RecordError(f"{', '.join(wrong)}: a transducer has {', '.join(own)}, another checkpoint has none of these")
        if self.frame_temperature is not None and not self.frame_temperature > 0:
            raise RecordError(f"frame_temperature: must be above zero, got {self.frame_temperature}")
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise RecordError(f"labels must be two or more, each once; got {list(self.labels)}")
        for name in ("sample_rate", "frame_hop", "longest_window", "temperature"):
            if not getattr(self, name) > 0:
                raise RecordError(f"{name}: must be above zero, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Description):
    """One entry of the registry. `folder` is where its file stands: the paths of `parts` are relative to it."""

    system: System
    parameters: int
    languages: tuple[str, ...]
    parts: tuple[Part, ...]
    temperature_fitted_on: str
    metrics: tuple[Metric, ...]
    commercial_use: bool
    trained_on: tuple[Corpus, ...]
    recipe: str
    hub: HubAddress | None
    golden: Golden
    folder: Path = field(repr=False, compare=False)
    members: tuple[str, ...] = ()  # of an ensemble: the names of other entries; it has no parts of its own

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.members) == bool(self.parts):
            raise RecordError("an entry has either parts or, as an ensemble, members")
        if self.members and (len(set(self.members)) < 2 or self.name in self.members or self.temperature != 1):
            raise RecordError(f"an ensemble has two other entries or more as members and temperature 1; got {list(self.members)}")
        self._check_roles()
        for part in self.parts:
            if not re.fullmatch("[0-9a-f]{64}", part.sha256):
                raise RecordError(f"{part.path}: sha256 must be 64 lower-case hexadecimal digits, got {part.sha256!r}")
            relative = PurePosixPath(part.path)
            if relative.is_absolute() or ".." in relative.parts or "\\" in part.path:
                raise RecordError(f"parts: a part's path must stay below the entry's folder and use /, got {part.path!r}")
        if len(self.golden.logits) != len(self.labels):
            raise RecordError(f"golden: {len(self.golden.logits)} logits for {len(self.labels)} labels")
        if self.hub is not None and not re.fullmatch("[0-9a-f]{40}", self.hub.commit):
            raise RecordError(f"hub: commit must be 40 lower-case hexadecimal digits, got {self.hub.commit!r}")

    def _check_roles(self) -> None:
        """Raises RecordError where the files of one format and precision are not what runs."""
        for kind in dict.fromkeys((part.format, part.precision) for part in self.parts if part.format != "npz"):
            parts = [part for part in self.parts if (part.format, part.precision) == kind]
            roles = sorted(part.role for part in parts)
            given = f"the {' '.join(kind)} files of"
            if self.task == "transducer" and roles != sorted(ROLES):
                raise RecordError(f"parts: {given} a transducer are {', '.join(ROLES)}; got {', '.join(roles)}")
            if self.task == "utterance" and not self._run(parts):
                raise RecordError(
                    f"parts: {given} an utterance checkpoint are a model, or a readout and its encoder; got {', '.join(roles)}"
                )

    def _run(self, parts: list[Part]) -> bool:
        """Whether an utterance checkpoint's files of one format and precision are all that is needed, with an encoder in fp16 or what is
        read from one."""
        if sorted(part.role for part in parts) in (["model"], ["encoder", "readout"]):
            return True
        pairs = [(part, self._encoder_for(part)) for part in self.parts if part.role == "readout"]
        return len(parts) == 1 and any(parts[0] in pair and None not in pair for pair in pairs)

    def _encoder_for(self, readout: Part) -> Part | None:
        """That of the readout's precision, else that of fp16."""
        found = {part.precision: part for part in self.parts if (part.role, part.format) == ("encoder", readout.format)}
        return found.get(readout.precision) or found.get("fp16")

    @property
    def kinds(self) -> tuple[tuple[Format, Precision], ...]:
        """Format and precision of all that `files` gives, in the order of the entry."""
        mains = ("encoder",) if self.task == "transducer" else ("model", "readout")
        return tuple((cast(Format, part.format), part.precision) for part in self.parts if part.role in mains)

    def part(self, runtime: Format, precision: Precision | None = None) -> Part:
        """The model's file for `runtime`: of two its readout, of a transducer its encoder; without a precision the first one listed.
        CheckpointError says what there is instead."""
        return self.files(runtime, precision)[0]

    def files(self, runtime: Format, precision: Precision | None = None) -> tuple[Part, ...]:
        """All files that are needed to run with `runtime`: the model, or the readout and its encoder, or of a transducer those of `ROLES`
        in that order. Without a precision those of the first one listed; CheckpointError says what there is instead."""
        if self.members:
            raise CheckpointError(f'"{self.name}" is an ensemble and has no file of its own; its members are {", ".join(self.members)}')
        chosen = [kind for kind in self.kinds if kind[0] == runtime and precision in (None, kind[1])]
        if not chosen:
            wanted = f"{runtime} file" + (f" with precision {precision}" if precision else "")
            raise CheckpointError(f'"{self.name}" has no {wanted}; it has: {", ".join(map(" ".join, self.kinds))}')
        alike: dict[str, Part] = {part.role: part for part in self.parts if (part.format, part.precision) == chosen[0]}
        if self.task == "transducer":
            return tuple(alike[role] for role in ROLES)
        if "model" in alike:
            return (alike["model"],)
        encoder = self._encoder_for(alike["readout"])
        assert encoder is not None  # or the entry would not have been read
        return alike["readout"], encoder


@dataclass(frozen=True)
class Resolved:
    """A checkpoint found: `path` is a local file whose sha256 is `sha256`. A single file describes itself: `checkpoint` is None then.

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


def registry_file() -> Path:
    """EMOSER_REGISTRY, or the registry inside the installed package, or the one of the clone that the package stands in."""
    if chosen := os.environ.get("EMOSER_REGISTRY"):
        return Path(chosen).expanduser()
    package = Path(__file__).parent
    bundled = package / "bundled" / "checkpoints.yaml"
    return bundled if bundled.is_file() else package.parent / "checkpoints.yaml"


def list_checkpoints(registry: str | os.PathLike[str] | None = None) -> list[Checkpoint]:
    """All checkpoints of the registry, in its order. Raises CheckpointError where the registry is missing or malformed."""
    path = Path(registry) if registry is not None else registry_file()
    about = path.stat() if path.is_file() else None
    return list(_entries(path, about and (about.st_mtime_ns, about.st_size)))


@lru_cache(maxsize=4)
def _entries(path: Path, changed: tuple[int, int] | None) -> tuple[Checkpoint, ...]:
    """Of the file as it was `changed` last (time in ns, size): reading twenty entries takes 50 ms, and one load asks for them twice."""
    data = _read_yaml(path)
    if not isinstance(data, dict) or list(data) != ["checkpoints"] or not isinstance(data["checkpoints"], list):
        raise CheckpointError(f'{path}: expected one field "checkpoints" that holds a list of entries')
    entries = [_entry(item, path, number) for number, item in enumerate(data["checkpoints"])]
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CheckpointError(f"{path}: more than one entry is named {', '.join(twice)}")
    return tuple(entries)


def find(name: str) -> Checkpoint:
    """The registry's entry of that name, or UnknownCheckpoint with all names and the nearest."""
    entries = list_checkpoints()
    for entry in entries:
        if entry.name == name:
            return entry
    raise _unknown(name, entries)


def find_ensemble(name_or_path: str | os.PathLike[str]) -> Checkpoint | None:
    """The registry's entry of that name if it is an ensemble, else None."""
    for entry in _registered():
        if entry.members and entry.name == name_or_path:
            return entry
    return None


def resolve(
    name_or_path: str | os.PathLike[str], *, runtime: str = "onnx", precision: str | None = None, offline: bool = False
) -> Resolved:
    """A name of the registry, hf://owner/repository@revision, a checkpoint folder, or a single file -> a verified local file.

    A name is looked up in the registry first (a folder of that name in the working directory does not hide it), its file beside the
    registry, then in the hub's cache, then at the hub, pinned to the registry's commit. Raises UnknownCheckpoint, ChecksumMismatch,
    DownloadError or, for a runtime or precision that the checkpoint does not have, CheckpointError.
    """
    form, grain = cast(Format, runtime), cast("Precision | None", precision)
    given = os.fspath(name_or_path)
    if not given:
        raise UsageError("the checkpoint's name is empty")
    if given.startswith(hub.SCHEME):
        return _at_hub(hub.parse(given), form, grain, offline)
    path = Path(given).expanduser()
    a_name = isinstance(name_or_path, str) and given == path.name and path.suffix not in SUFFIXES
    entries = {entry.name: entry for entry in _registered()}
    if a_name and given in entries:
        return _registry_file(entries[given], form, grain, offline)
    if path.is_dir():
        return _in_folder(path, form, grain)
    if path.is_file():
        return _single_file(path, form)
    if a_name:
        raise _unknown(given, list_checkpoints())
    raise UnknownCheckpoint(f"{given}: no such file or folder. Known names: {', '.join(entries) or 'none'}")


def folder_entry(folder: Path) -> Checkpoint:
    """What a checkpoint folder says of itself. Raises CheckpointError for any other folder, or a malformed entry."""
    listing = folder / FOLDER_FILE
    if not listing.is_file():
        raise CheckpointError(f"{folder} is no checkpoint folder: there is no {FOLDER_FILE} in it")
    return _entry(_read_yaml(listing), listing)


def describe(metadata: dict[str, Any], where: str) -> Description:
    """The description that a single file carries inside, under the key `emoser`."""
    try:
        return read_record(Description, metadata, where)
    except RecordError as error:
        raise CheckpointError(f"{error}. The file was not made by emoser, or by a version that this one does not understand") from None


def _registry_file(entry: Checkpoint, form: Format, grain: Precision | None, offline: bool) -> Resolved:
    def local(part: Part) -> Path:
        path = entry.folder / part.path
        return path if path.is_file() else _from_hub(entry, part, path, offline)

    return _with_adaptation(entry, form, grain, local)


def _with_adaptation(entry: Checkpoint, form: Format, grain: Precision | None, local: Callable[[Part], Path]) -> Resolved:
    """An entry's files, verified, where `local` has them; and its adaptation, if it is an adapted one."""
    found = _joined([_verified(entry, part, local(part)) for part in entry.files(form, grain)])
    moved = [_verified(entry, part, local(part)) for part in entry.parts if part.role == "adaptation"]
    return replace(found, adaptation=moved[0].path) if moved else found


def _in_folder(folder: Path, form: Format, grain: Precision | None) -> Resolved:
    entry = folder_entry(folder)

    def local(part: Part) -> Path:
        path = folder / part.path
        if not path.is_file():
            raise CheckpointError(f"{folder / FOLDER_FILE} names {part.path}, which is not there; copy it beside that file")
        return path

    return _with_adaptation(entry, form, grain, local)


def _at_hub(address: hub.Address, form: Format, grain: Precision | None, offline: bool) -> Resolved:
    listing = hub.fetch(address, FOLDER_FILE, offline=offline)
    entry = _entry(_read_yaml(listing), listing)
    return _with_adaptation(entry, form, grain, lambda part: hub.fetch(address, part.path, offline=offline))


def _single_file(path: Path, runtime: Format) -> Resolved:
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path}: a checkpoint file ends in {', '.join(SUFFIXES)}; a folder holds a {FOLDER_FILE}")
    form = SUFFIXES[path.suffix]
    if runtime == "torchscript" and form == "onnx":
        raise CheckpointError(f'{path} is an ONNX file: leave runtime="torchscript" out')
    return Resolved(path=path, format=form, sha256=sha256(path))


def _from_hub(entry: Checkpoint, part: Part, missing: Path, offline: bool) -> Path:
    if entry.hub is None:
        where = REPOSITORY if part.format == "torchscript" else "installing emoser again"
        raise CheckpointError(f'The {part.format} file of "{entry.name}" is not at {missing} and is on no hub; get it from {where}')
    address = hub.Address(entry.hub.repository, entry.hub.commit)
    listing = hub.fetch(address, FOLDER_FILE, offline=offline)
    # Paths at the hub are its own; the content is what the registry that came with emoser says.
    for theirs in _entry(_read_yaml(listing), listing).parts:
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


def _verified(entry: Checkpoint, part: Part, path: Path) -> Resolved:
    digest = sha256(path)
    if digest != part.sha256:
        raise ChecksumMismatch(
            f"{path} is damaged or not the file of {entry.name!r}: sha256 {digest}, {path.stat().st_size} bytes; "
            f"expected {part.sha256}, {part.size} bytes. Delete it and get it again (download, clone or install anew)"
        )
    return Resolved(path=path, format=cast(Format, part.format), sha256=digest, checkpoint=entry, part=part)


def _registered() -> list[Checkpoint]:
    return list_checkpoints() if registry_file().is_file() else []


def _unknown(name: str, entries: list[Checkpoint]) -> UnknownCheckpoint:
    names = [entry.name for entry in entries]
    near = get_close_matches(name, names, 1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return UnknownCheckpoint(
        f'No checkpoint is named "{name}".{hint} Known names: {", ".join(names) or "none"}. '
        f"A folder with a {FOLDER_FILE}, an .onnx or TorchScript file, or hf://owner/repository@revision work too."
    )


def _entry(data: object, path: Path, number: int | None = None) -> Checkpoint:
    named = data.get("name") if isinstance(data, dict) else None
    where = str(path) if number is None else f'{path}, entry {number + 1} ("{named}")'
    try:
        return read_record(Checkpoint, data, where, folder=path.parent)
    except RecordError as error:
        raise CheckpointError(str(error)) from None


def _read_yaml(path: Path) -> object:
    try:
        return cast(object, yaml.load(path.read_text(encoding="utf-8"), SAFE_LOADER))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there; install emoser again, or set EMOSER_REGISTRY to a checkpoints.yaml") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
