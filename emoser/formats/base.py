"""What every writer is, and what it is told before the first result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from emoser.audio import Channel

Kind = Literal["predict", "embed", "check", "diarize"]


class Record(Protocol):
    """One result: a Prediction, an Embedding, a Diarization, a Quality or a Failure. Whatever has `to_dict()` in the emoser/1 contract."""

    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Header:
    """What is known before the first result.

    `model` is the block `{"name", "labels", "sha256", "runtime", "device"}` of emoser/1; None for `check`, which runs no checkpoint.
    `models` are such blocks where several checkpoints answer, and `model` is None; each result then names its own.
    `scores`: a table shows one column a label instead of the runner-up. `transcripts`: results tell what was said, too; `speakers`: and by
    whom, where that is known. `channel`: as in the audio contract, None where it means nothing. `min_confidence`: the score below which a
    result carries `low_confidence`.
    """

    kind: Kind
    model: dict[str, Any] | None = None
    scores: bool = False
    models: tuple[dict[str, Any], ...] = ()
    transcripts: bool = False
    speakers: bool = False
    channel: Channel | None = None
    min_confidence: float = 0.0

    @property
    def labels(self) -> list[str]:
        """Those of the model, or of all models, each once."""
        blocks = self.models if self.model is None else (self.model,)
        return list(dict.fromkeys(label for block in blocks for label in block["labels"]))


class Writer(ABC):
    """A format. Writers hold no file: the caller opens the stream, and closes it."""

    extension: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]] = ("predict", "embed", "check", "diarize")
    # Whether a document tells of one recording only: several need a folder.
    one_recording: ClassVar[bool] = False
    # Terminals cannot show it: only to a file or a pipe.
    binary: ClassVar[bool] = False
    # Called before anything is shown, so that a progress bar on the same terminal can step aside.
    step_aside: Callable[[], None] | None = None

    def open(self, stream: BinaryIO, header: Header) -> None:
        self.stream = stream
        self.header = header

    @abstractmethod
    def write(self, record: Record) -> None:
        """Add one result. What a reader can use of it has left the process when this returns, where the format allows."""

    @abstractmethod
    def close(self) -> None:
        """End the document and flush; the stream stays open."""

    def put(self, text: str) -> None:
        """Text as UTF-8 in one call, then out of the process: a signal between two results never splits one."""
        if self.step_aside is not None:
            self.step_aside()
        # File names of undecodable bytes come as lone surrogates (PEP 383) and leave as the bytes they were.
        self.stream.write(text.encode("utf-8", "surrogateescape"))
        self.stream.flush()
