"""How frames become segments: every number in one place. A registry entry may override any of them (`diarization:`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from emoser.errors import UsageError
from emoser.records import RecordError


class SettingsError(UsageError, RecordError):
    """Settings that cannot be. To a caller it is a UsageError, to a reader of registry entries a RecordError like any other."""


Posteriors = Literal["frames", "windows"]


@dataclass(frozen=True, kw_only=True)
class DiarizationSettings:
    """Durations are in seconds, thresholds are probabilities.

    The defaults are those of checkpoints whose registry entry says nothing else; a person sets `min_confidence` alone.
    Raises UsageError for values that cannot be.
    """

    # what the model is shown: windows on a fixed grid, each with the others as context (diarization/windows.py)
    posteriors: Posteriors = "frames"  # a window's frame logits, or its own logits for all of its frames
    window: float = 4.0
    hop: float = 2.0

    # speech, and all else, which gets no emotion (diarization/speech.py)
    speech_on: float = 0.5  # speech begins where its probability reaches this
    speech_off: float = 0.35  # and ends where it falls below this (Silero VAD's own pair)
    shortest_speech: float = 0.2
    shortest_pause: float = 0.4

    # emotions (diarization/smoothing.py)
    smoothing: float = 1.0  # width of the mean over neighbouring speech
    margin: float = 0.1  # by which another emotion must lead before it takes over
    shortest: float = 0.6  # an emotion that lasts less does not interrupt another
    min_confidence: float = 0.0  # below it a segment carries the warning `low_confidence`

    def __post_init__(self) -> None:
        if self.posteriors not in get_args(Posteriors):
            raise SettingsError(f"posteriors: must be one of {', '.join(get_args(Posteriors))}, got {self.posteriors!r}")
        for name in ("window", "hop"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"{name}: must be above zero and finite, got {getattr(self, name)}")
        if self.hop > self.window:
            raise SettingsError(f"hop: must not be longer than window ({self.window} s), got {self.hop}")
        for name in ("shortest_speech", "shortest_pause", "smoothing", "shortest"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"{name}: must be finite and not below zero, got {getattr(self, name)}")
        for name in ("speech_on", "speech_off", "margin", "min_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name}: must be from 0 to 1, got {getattr(self, name)}")
        if self.speech_off > self.speech_on:
            raise SettingsError(f"speech_off: must not be above speech_on ({self.speech_on}), got {self.speech_off}")

    def differing(self) -> dict[str, object]:
        """What a registry entry must say: the fields that are not the defaults.

        >>> DiarizationSettings(smoothing=0.5).differing()
        {'smoothing': 0.5}
        """
        return {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default}


DEFAULTS = DiarizationSettings()
