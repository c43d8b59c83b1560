"""Sounds that several tests of audio need."""

from __future__ import annotations

import io

import numpy as np
import soundfile

RATE = 16_000


def sine(seconds: float = 1.0, rate: int = RATE, hertz: float = 220.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def hertz_of(waveform: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))) * RATE / len(waveform))
