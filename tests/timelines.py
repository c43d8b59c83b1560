"""What several tests of emotions over time need."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from sounds import RATE

from emoser.results import SILENCE, Diarization


def in_pieces(array: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(array), size):
        yield array[start : start + size]


def cover(result: Diarization) -> None:
    """What holds of every diarization."""
    edges = [0.0, *(segment.end for segment in result.segments)]
    assert [segment.start for segment in result.segments] == edges[:-1]
    assert edges[-1] == result.duration
    for segment, after in itertools.pairwise(result.segments):
        assert segment.label != after.label
    for segment in result.segments:
        assert segment.end > segment.start
        assert list(segment.scores) == list(result.frames.labels)
        assert sum(segment.scores.values()) == pytest.approx(1)
        if segment.label != SILENCE:
            assert segment.confidence == segment.scores[segment.label] == max(segment.scores.values())
    count = -(-round(result.duration * RATE) // round(result.frames.hop * RATE))
    assert abs(len(result.frames.scores) - count) <= 1
    assert len(result.frames.scores) == len(result.frames.speech)
    np.testing.assert_allclose(result.frames.scores.sum(axis=1), 1, atol=1e-5)
