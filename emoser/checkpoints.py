"""What a checkpoint says of itself: the fields of an entry of checkpoints.yaml, and of what a single file carries inside."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

from emoser.errors import CheckpointError
from emoser.records import RecordError, read_record
from emoser.settings import DEFAULTS, DiarizationSettings

Format = Literal["onnx", "torchscript"]
Precision = Literal["fp16", "int8", "fp32"]

ROLES = ("encoder", "frames", "predictor", "joint", "head")  # of a transducer's files


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
            raise no_file_of_its_own(self)
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


def no_file_of_its_own(ensemble: Checkpoint) -> CheckpointError:
    """The error where a file of an ensemble is asked for."""
    return CheckpointError(f'"{ensemble.name}" is an ensemble and has no file of its own; its members are {", ".join(ensemble.members)}')


def describe(metadata: dict[str, Any], where: str) -> Description:
    """The description that a single file carries inside, under the key `emoser`."""
    try:
        return read_record(Description, metadata, where)
    except RecordError as error:
        raise CheckpointError(f"{error}. The file was not made by emoser, or by a version that this one does not understand") from None
