"""What a caller may choose for a run, checked before any input is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from emoser.audio import Channel, check_channel
from emoser.errors import UsageError

Kind = Literal["predict", "embed"]
Mono = int | Literal["mix"]
Each = Literal["each"]


def check_many(inputs: object) -> None:
    """Raises UsageError for one recording where many are expected: a name would be taken letter by letter, an array sample by sample."""
    pair = isinstance(inputs, tuple) and len(inputs) == 2 and hasattr(inputs[0], "__array__") and isinstance(inputs[1], Real)
    samples = getattr(inputs, "ndim", 0) == 1 and any(word in str(getattr(inputs, "dtype", "")) for word in ("float", "int"))
    if pair or samples or hasattr(inputs, "read") or isinstance(inputs, (str, bytes, bytearray, os.PathLike)):
        raise UsageError("one recording was given where many are expected; put it into a list")


@dataclass(frozen=True)
class Options:
    """`sample_rate` in Hz, of arrays; `batch_size` in clips; `min_confidence` from 0 to 1. Raises UsageError for what cannot be."""

    kind: Kind
    sample_rate: int | None
    channel: Channel
    batch_size: int | None
    min_confidence: float | None = None

    def __post_init__(self) -> None:
        check_channel(self.channel)
        size, least = self.batch_size, self.min_confidence
        if self.kind not in ("predict", "embed"):
            raise UsageError(f'kind is {self.kind!r}; allowed: "predict", "embed"')
        if size is not None and (isinstance(size, bool) or not isinstance(size, Integral) or size < 1):
            raise UsageError(f"batch_size is {size!r}; a whole number from 1 is needed, or None")
        if least is not None and not (isinstance(least, Real) and 0 <= least <= 1):
            raise UsageError(f"min_confidence is {least!r}; a number from 0 to 1 is needed, or None")
