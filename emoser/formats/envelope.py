"""A recording once more, for people who look at it: its envelope, in as many columns as can be drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emoser.audio import SAMPLE_RATE, Progress, open_audio
from emoser.errors import AudioError, Interrupted
from emoser.results import Diarization

Sink = Callable[[NDArray[np.float32]], object]


def envelope(
    result: Diarization, audio: str, columns: int, sink: Sink | None = None, progress: Progress | None = None
) -> NDArray[np.float32]:
    """(2, columns): the lowest and the highest sample in each equal share of the duration. Read in blocks; `sink` is given each of them,
    mono samples at 16 kHz, and `progress` told of it, which may raise Interrupted."""
    found = np.zeros((2, columns), np.float32)
    per_column = max(result.duration, 1e-9) * SAMPLE_RATE / columns
    at, end = 0, round(result.duration * SAMPLE_RATE) + 1  # there may be more by now, of a recording that grows
    with open_audio(audio, channel="mix" if result.channel is None else result.channel) as opened:
        opened.progress = progress
        try:
            for block in opened:
                samples = block[: end - at, 0]
                if sink is not None:
                    sink(samples)
                places = np.minimum(((at + np.arange(len(samples))) / per_column).astype(np.int64), columns - 1)
                np.minimum.at(found[0], places, samples)
                np.maximum.at(found[1], places, samples)
                at += len(samples)
        except Interrupted:
            raise
        except AudioError:
            if result.error is None:  # it was whole a moment ago
                raise
    return found


def thinned(rows: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """(n, ...) -> means of neighbours, at most `most` rows.

    >>> thinned(np.arange(5, dtype=np.float32)[:, None], 3).tolist()
    [[0.5], [2.5], [4.0]]
    """
    step = max(1, -(-len(rows) // most))
    if step == 1:
        return rows
    starts = np.arange(0, len(rows), step)
    counts = np.diff(np.append(starts, len(rows))).reshape(-1, *[1] * (rows.ndim - 1))
    return np.asarray(np.add.reduceat(rows, starts, axis=0) / counts, np.float32)
