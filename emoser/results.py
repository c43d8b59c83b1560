"""What a model gives back: frozen types, each with `to_dict()` in the emoser/1 contract (docs/json.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA = "emoser/1"
SILENCE = "silence"  # the label of a segment without speech


@dataclass(frozen=True)
class Prediction:
    """One emotion for one clip (or one channel of it).

    `scores` holds every label of the model, calibrated, summing to 1; `confidence` is the score of `label`. `duration` is in seconds.
    `label` is always the best one; a score below a threshold that the caller set adds the warning `low_confidence`. `model` names what
    predicted it where several models did.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    duration: float
    file: str | None = None
    channel: int | None = None
    warnings: tuple[str, ...] = ()
    transcript: str | None = None
    model: str | None = None

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "file": self.file,
            **({} if self.model is None else {"model": {"name": self.model}}),
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
class Segment:
    """`label` from `start` to `end`, in seconds.

    `scores` holds every label of the model: the mean of the calibrated posteriors over the segment, summing to 1; `label` is the best of
    them and `confidence` its score. Where nobody speaks `label` is `silence`, `confidence` the mean probability that nobody does, and the
    scores are all equal. `speaker` stands where the caller gave speaker turns.
    """

    start: float
    end: float
    label: str
    confidence: float
    scores: dict[str, float]
    speaker: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def speech(self) -> bool:
        return self.label != SILENCE

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "label": self.label,
            "confidence": self.confidence,
            "scores": dict(self.scores),
        }
        if self.speaker is not None:
            result["speaker"] = self.speaker
        if self.warnings:
            result["warnings"] = list(self.warnings)
        return result


@dataclass(frozen=True)
class Word:
    """A word, or a phrase where a transcript has times for phrases only, with the emotion of its time; seconds."""

    word: str
    start: float
    end: float
    label: str

    def to_dict(self) -> dict[str, Any]:
        return {"word": self.word, "start": round(self.start, 3), "end": round(self.end, 3), "label": self.label}


@dataclass(frozen=True)
class Transcript:
    text: str
    words: tuple[Word, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"text": self.text, "words": [word.to_dict() for word in self.words]}


@dataclass(frozen=True)
class Frames:
    """What segments were made from. Frame i covers [i, i + 1) * hop seconds.

    scores: float32 (frames, labels), calibrated posteriors, not smoothed, summing to 1 in each frame, speech or not. speech: float32
    (frames,), probability that somebody speaks.
    """

    hop: float
    labels: tuple[str, ...]
    scores: NDArray[np.float32] = field(repr=False)
    speech: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class Diarization:
    """The emotions of one recording (or one channel of it) over time: `segments` cover [0, duration] in order, without gap or overlap.

    `error` is what broke the recording off, where something did: all else tells of what came before.
    """

    segments: tuple[Segment, ...]
    frames: Frames = field(repr=False)
    duration: float
    transcript: Transcript | None = None
    file: str | None = None
    channel: int | None = None
    warnings: tuple[str, ...] = ()
    error: Exception | None = None

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "file": self.file,
            "channel": self.channel,
            "duration": round(self.duration, 3),
            "segments": [segment.to_dict() for segment in self.segments],
            "transcript": None if self.transcript is None else self.transcript.to_dict(),
            "warnings": list(self.warnings),
        }
        return result if self.error is None else result | _error(self.error)


@dataclass(frozen=True)
class Failure:
    """An input that could not be processed; `error` is what was raised."""

    error: Exception
    file: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.file, **_error(self.error)}


def _error(error: Exception) -> dict[str, Any]:
    return {"error": {"type": type(error).__name__, "message": str(error)}}
