"""Clips that change voices: running means, moves that undo each other, and what makes a move impossible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data import examples_of
from training.model import Pooled
from training.recipe import Recipe
from training.voices import SLOWEST, Voices


@pytest.fixture
def voices(tiny: Callable[..., Recipe], tree: Path) -> Voices:
    return Voices(examples_of(tiny().data, tree / "corpora").train)


def pooled(*rows: tuple[float, float]) -> Pooled:
    vectors = torch.tensor(rows)
    return Pooled(vectors, torch.cat([vectors, -vectors], dim=1), torch.zeros(len(rows), 1, 2))


def test_speakers_are_those_that_train_and_corpora_are_equally_likely(voices: Voices) -> None:
    assert voices.speakers == ("emodb/08", "emodb/09", "ravdess/01", "ravdess/03")
    drawn = Counter(voices.draw(np.random.default_rng(0), 4000).tolist())
    assert set(drawn) == {0, 1, 2, 3} and all(900 < count < 1100 for count in drawn.values())


def test_the_first_clips_count_equally(voices: Voices) -> None:
    for value in (1.0, 2.0, 6.0):
        voices.update(pooled((value, 0.0)), torch.tensor([1]))
    assert torch.allclose(voices.means["embedding"][1], torch.tensor([3.0, 0.0]))
    assert torch.allclose(voices.means["statistics"][1], torch.tensor([3.0, 0.0, -3.0, 0.0]))
    for _ in range(1000):
        voices.update(pooled((4.0, 0.0)), torch.tensor([1]))
    voices.update(pooled((5.0, 0.0)), torch.tensor([1]))
    assert float(voices.means["embedding"][1][0]) == pytest.approx(4 + SLOWEST, abs=1e-3)


def test_a_clip_keeps_what_it_adds_to_its_speaker(voices: Voices) -> None:
    voices.update(pooled((1.0, 0.0), (0.0, 10.0)), torch.tensor([0, 2]))
    clips = pooled((1.5, 0.25), (0.0, 11.0))
    moved = voices.moved(clips, torch.tensor([0, 2]), torch.tensor([2, 0]), torch.tensor([1.0, 0.5]))
    assert torch.allclose(moved.embedding, torch.tensor([[0.5, 10.25], [0.5, 6.0]]))
    assert moved.statistics is not None and torch.allclose(moved.statistics[:, :2], moved.embedding)
    back = voices.moved(moved, torch.tensor([2, 0]), torch.tensor([0, 2]), torch.tensor([1.0, 0.5]))
    assert torch.allclose(back.embedding, clips.embedding) and moved.frames is clips.frames


def test_a_speaker_never_heard_is_no_place_to_go(voices: Voices) -> None:
    voices.update(pooled((1.0, 0.0)), torch.tensor([0]))
    clips = pooled((1.5, 0.25))
    moved = voices.moved(clips, torch.tensor([0]), torch.tensor([3]), torch.tensor([1.0]))
    assert torch.equal(moved.embedding, clips.embedding)
