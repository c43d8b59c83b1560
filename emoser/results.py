"""What a model gives back: frozen types, each with `to_dict()` in the emoser/1 contract (docs/json.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA = "emoser/1"


@dataclass(frozen=True)
class Prediction:
    """One emotion for one clip (or one channel of it).

    `scores` holds every label of the model, calibrated, summing to 1; `confidence` is the score of `label`. `duration` is in seconds.
    `label` is always the best one; a score below a threshold that the caller set adds the warning `low_confidence`.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    duration: float
    file: str | None = None
    channel: int | None = None
    warnings: tuple[str, ...] = ()
    transcript: str | None = None

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "file": self.file,
            "channel": self.channel,
            "duration": round(self.duration, 3),
            "label": self.label,
            "confidence": self.confidence,
            "scores": dict(self.scores),
            "warnings": list(self.warnings),
        }
        if self.transcript is not None:
            result["transcript"] = self.transcript
        return result


@dataclass(frozen=True)
class Embedding:
    """The pooled hidden vector of one clip: `vector` float32 (dim,), before the classifier."""

    vector: NDArray[np.float32] = field(repr=False)
    duration: float
    file: str | None = None
    channel: int | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "channel": self.channel,
            "duration": round(self.duration, 3),
            "embedding": [float(value) for value in self.vector],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Failure:
    """An input that could not be processed; `error` is what was raised."""

    error: Exception
    file: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.file, "error": {"type": type(self.error).__name__, "message": str(self.error)}}
