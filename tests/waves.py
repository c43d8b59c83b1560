"""Clips that are made up, and batches of them as a graph takes them."""

from __future__ import annotations

import numpy as np


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def batch(*clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    waveform = np.zeros((len(clips), max(map(len, clips))), np.float32)
    for row, clip in zip(waveform, clips, strict=True):
        row[: len(clip)] = clip
    return waveform, np.array([len(clip) for clip in clips])
