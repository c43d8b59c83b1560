"""An encoder's file and a read-out's file as one `Runtime` (docs/architecture.md, "Parts")."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from emoser.adaptation import Adaptation, Reference
from emoser.pooling import on_clip_axis
from emoser.runtimes import INPUTS, OUTPUTS, Outputs, Port, Runtime
from emoser.runtimes.onnx import POOLED, AdaptableGraph
from emoser.runtimes.parts import Graph, open_part
from emoser.runtimes.sharing import open_encoder


class PartsRuntime:
    """What a whole file gives, from two; `frame` is a frame's samples. Metadata are those of the read-out."""

    inputs: tuple[Port, ...] = INPUTS
    outputs: tuple[Port, ...] = OUTPUTS
    alone = False  # only whole files have int8 products

    def __init__(self, encoder: Graph, readout: Graph, frame: int) -> None:
        self._encoder, self._readout, self._frame = encoder, readout, frame
        self.name, self.device, self.threads = encoder.name, encoder.device, encoder.threads
        self.metadata: Mapping[str, Any] = readout.metadata

    def run(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        states, starts = self._states(waveform, lengths)
        found = self._readout(states)
        frames = on_clip_axis(found["frames"], states["frame_lengths"], starts, -(-waveform.shape[1] // self._frame))
        return Outputs(
            logits=found["logits"], frames=frames, embedding=found["embedding"], frame_lengths=(lengths + self._frame - 1) // self._frame
        )

    def _states(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        """What the read-out takes, and the frame (batch,) of each clip's own time axis at which its first state stands."""
        found = self._encoder({"waveform": waveform, "lengths": lengths})
        return {name: found[name] for name in ("states", "frame_lengths")}, found["starts"]


class AdaptablePartsRuntime(PartsRuntime):
    """The same over ONNX files: `Adaptable` where the read-out carries a reference."""

    def __init__(self, encoder: Graph, readout: AdaptableGraph, frame: int) -> None:
        super().__init__(encoder, readout, frame)
        self._adaptable = readout
        self.reference: Reference | None = readout.reference

    def pooled(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        found = self._adaptable.unadapted(self._states(waveform, lengths)[0])
        return found["logits"], found[POOLED]

    def adapted(self, adaptation: Adaptation) -> Self:
        other = copy.copy(self)
        other._readout = other._adaptable = self._adaptable.adapted(adaptation)
        return other


def open_parts(encoder: Path, readout: Path, format: str, *, frame: int, device: str = "auto", threads: int | None = None) -> Runtime:
    """Opens both files, side by side, for that is most of the time that a first prediction takes. The encoder is shared with other models
    in the process (emoser/runtimes/sharing.py). frame: samples.

    Raises as `open_part`.
    """
    with ThreadPoolExecutor(max_workers=1) as other:
        opening = other.submit(open_part, "readout", readout, format, device=device, threads=threads)
        shared = open_encoder(encoder, format, device=device, threads=threads)
        opened = opening.result()
    return AdaptablePartsRuntime(shared, opened, frame) if isinstance(opened, AdaptableGraph) else PartsRuntime(shared, opened, frame)
