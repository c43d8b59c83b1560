"""A checkpoint's file -> a callable on arrays. What is the same for every format stands here; each format has a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypedDict, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from emoser.adaptation import Adaptation, Reference


class Outputs(TypedDict):
    """What a graph gives for a batch (docs/architecture.md, "Graph interface")."""

    logits: NDArray[np.float32]  # (batch, classes), raw
    frames: NDArray[np.float32]  # (batch, frames, classes), raw
    embedding: NDArray[np.float32]  # (batch, dim)
    frame_lengths: NDArray[np.int64]  # (batch,)


@dataclass(frozen=True)
class Port:
    """One input or output of a graph, as shown to people."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(map(str, self.shape))})"


INPUTS = (Port("waveform", "float32", ("batch", "samples")), Port("lengths", "int64", ("batch",)))
OUTPUTS = (
    Port("logits", "float32", ("batch", "classes")),
    Port("frames", "float32", ("batch", "frames", "classes")),
    Port("embedding", "float32", ("batch", "dim")),
    Port("frame_lengths", "int64", ("batch",)),
)


class Runtime(Protocol):
    """An opened file. `device` is the one in use, not the one asked for; `metadata` is what the file says of itself, {} if nothing."""

    name: str
    device: str
    threads: int
    metadata: Mapping[str, Any]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def alone(self) -> bool:
        """Whether what it gives for a clip depends on all else in the batch, so that each is to be run by itself."""
        ...

    def run(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        """waveform: (batch, samples), each row padded with zeros; lengths: (batch,), true samples of each row."""
        ...


@runtime_checkable
class Adaptable(Runtime, Protocol):
    """A runtime that can be adapted to a user's recordings (emoser/adaptation.py). `reference` is None where its file carries none."""

    reference: Reference | None

    def pooled(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (batch, classes), and the vectors (batch, dim) that the read-outs see, before any adaptation."""
        ...

    def adapted(self, adaptation: Adaptation) -> Self:
        """The same file, adapted; this runtime stays as it is, and the two share what is in memory."""
        ...


def open_runtime(path: Path, format: str, *, device: str = "auto", threads: int | None = None) -> Runtime:
    """Opens an ONNX or TorchScript file. Raises DeviceError, MissingExtra, RuntimeClash, or CheckpointError for a file that is neither."""
    if format == "torchscript":
        from emoser.runtimes.torchscript import TorchScriptRuntime

        return TorchScriptRuntime(path, device=device, threads=threads)
    from emoser.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(path, device=device, threads=threads)
