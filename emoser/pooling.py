"""Small arithmetic between a graph's outputs and a result."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SILENCE_RATIO = 1e-4  # -40 dB, as the compact encoder cuts the ends of what it is given


def calibrated(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """softmax(logits / temperature) along the last axis, in double precision: sums to 1.

    >>> calibrated(np.array([0.0, 0.0]), 2.0)
    array([0.5, 0.5])
    """
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def equal_windows(samples: int, longest: int) -> list[tuple[int, int]]:
    """(start, stop) of as few windows of (almost) equal length as keep each at `longest` or less.

    >>> equal_windows(10, 10), equal_windows(11, 4)
    ([(0, 10)], [(0, 4), (4, 7), (7, 11)])
    """
    count = max(1, -(-samples // longest))
    edges = [round(samples * i / count) for i in range(count + 1)]
    return list(pairwise(edges))


def sounding(waveform: NDArray[np.float32], block: int) -> tuple[int, int]:
    """(start, stop) of a waveform (samples,) without the silence at its ends: blocks of `block` samples whose energy is at most
    SILENCE_RATIO of the loudest one's. All of it where every sample is zero.

    >>> sounding(np.array([0, 0, 1, 0, 1, 1, 0, 0, 0], np.float32), block=2), sounding(np.zeros(5, np.float32), block=2)
    ((2, 6), (0, 5))
    """
    blocks = waveform[: len(waveform) // block * block].reshape(-1, block)
    energy = np.einsum("ij,ij->i", blocks, blocks)  # of hours of samples: nothing is copied
    loud = np.flatnonzero(energy > SILENCE_RATIO * energy.max(initial=0.0))
    if not len(loud):
        return 0, len(waveform)
    last = int(loud[-1]) + 1
    return int(loud[0]) * block, len(waveform) if last == len(blocks) else last * block


def weighted_mean(rows: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """The mean over the first axis, (windows, n) -> (n,).

    >>> weighted_mean(np.array([[1.0], [4.0]]), np.array([2.0, 1.0]))
    array([2.])
    """
    return np.asarray(np.average(rows.astype(np.float64), axis=0, weights=weights))


def on_clip_axis(frames: NDArray[np.float32], counts: NDArray[np.int64], starts: NDArray[np.int64], total: int) -> NDArray[np.float32]:
    """Frames (batch, inner, n) on the clips' own time axis: (batch, total, n), zeros where a clip has none.

    counts, starts: (batch,), how many frames are a clip's and where on its axis the first one stands; what lies beyond `total` is left out.

    >>> on_clip_axis(np.ones((1, 3, 1), np.float32), np.array([2]), np.array([1]), 4)[0, :, 0]
    array([0., 1., 1., 0.], dtype=float32)
    """
    placed = np.zeros((len(frames), total, frames.shape[2]), np.float32)
    for row, own, count, start in zip(placed, frames, counts, starts, strict=True):
        inside = own[: max(0, min(count, total - start))]
        row[start : start + len(inside)] = inside
    return placed


def padded(rows: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows of different lengths as one array (rows, longest), zeros at the ends, and their lengths (rows,)."""
    lengths = np.array([len(row) for row in rows], np.int64)
    batch = np.zeros((len(rows), int(lengths.max())), np.float32)
    for line, row in zip(batch, rows, strict=True):
        line[: len(row)] = row
    return batch, lengths
