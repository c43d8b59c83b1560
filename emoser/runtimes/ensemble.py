"""Several graphs as one: the mean of their calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoser.errors import CheckpointError
from emoser.runtimes import INPUTS, OUTPUTS, Outputs, Port, Runtime

SMALLEST = 1e-9  # a probability below it is taken for it, so that its logarithm is finite


@dataclass(frozen=True)
class Member:
    """A graph of the ensemble: its temperature, and for each label of the ensemble its own column."""

    runtime: Runtime
    temperature: float
    columns: tuple[int, ...]


class EnsembleRuntime:
    """Logits are logarithms of the mean of the members' probabilities: at temperature 1 they give that mean back. The embedding is the
    members' one after the other."""

    inputs: tuple[Port, ...] = INPUTS
    outputs: tuple[Port, ...] = OUTPUTS
    metadata: Mapping[str, Any] = {}

    def __init__(self, members: Sequence[Member]) -> None:
        if len(members) < 2:
            raise CheckpointError(f"an ensemble has two members or more, not {len(members)}")
        self._members = tuple(members)
        first = members[0].runtime
        self.name, self.device, self.threads = first.name, first.device, first.threads
        self.alone = any(member.runtime.alone for member in members)

    def run(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        found = [member.runtime.run(waveform, lengths) for member in self._members]
        first = found[0]
        if any(not np.array_equal(each["frame_lengths"], first["frame_lengths"]) for each in found):
            raise CheckpointError("the members of the ensemble give frames at different rates")
        return Outputs(
            logits=self._mean([each["logits"] for each in found]),
            frames=self._mean([each["frames"] for each in found]),
            embedding=np.concatenate([each["embedding"] for each in found], axis=1),
            frame_lengths=first["frame_lengths"],
        )

    def _mean(self, logits: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Of (..., labels), each in the order of its member; the result is centred, so that even probabilities are zero."""
        pairs = zip(logits, self._members, strict=True)
        shares = [_softmax(each[..., list(member.columns)] / member.temperature) for each, member in pairs]
        logarithm = np.log(np.maximum(np.mean(shares, axis=0), SMALLEST))
        return np.asarray(logarithm - logarithm.mean(axis=-1, keepdims=True), dtype=np.float32)


def _softmax(x: NDArray[np.floating]) -> NDArray[np.float64]:
    powers = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
