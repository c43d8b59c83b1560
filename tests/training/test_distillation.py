"""Distillation: which frames of the encoder go with which of the teacher, on what scale, and that more than the mean is learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.corpora import Utterance
from training.data import Example
from training.encoders.compact import WIDTH, CompactEncoder
from training.pretraining.distillation import Distillation, standard, windows
from training.pretraining.objective import crops_of
from training.recipe import RecipeError

SECONDS = 4
STUDENT, TEACHER = 50 * SECONDS, round(6.25 * SECONDS)  # frames of a clip


class Clock:
    """Features that say when they are: frame n of either kind holds the second of its middle."""

    def __init__(self, frames: int, hop: float) -> None:
        self.rows = np.repeat(hop * np.arange(frames)[:, None], WIDTH, axis=1).astype(np.float16)

    def get(self, example: Example, view: int) -> NDArray[np.float16]:
        return self.rows


@pytest.fixture
def examples() -> list[Example]:
    return [Example(Utterance("demo", f"{index}.wav", str(index)), Path(), 0) for index in range(8)]


def clocked(teacher: Clock) -> Distillation:
    """An encoder without a block above the frozen ones and a projection that changes nothing: its frames say when they are, too."""
    objective = Distillation(CompactEncoder(0), 0, teacher, Path(), np.zeros(WIDTH), np.ones(WIDTH))  # type: ignore[arg-type]
    with torch.no_grad():
        objective.projection.weight.copy_(torch.eye(WIDTH))
        objective.projection.bias.zero_()
    return objective


def test_frames_go_with_those_of_the_same_time(examples: list[Example]) -> None:
    """The eight frames about a teacher's are, on average, half of one frame of 20 ms before it. One frame of the teacher is 160 ms."""
    random = np.random.default_rng(0)
    crops = crops_of(examples, Clock(STUDENT, 0.02), random, 100, Distillation.grid)  # type: ignore[arg-type]
    assert len(set(crops.starts.tolist())) > 3
    for offset, off in ((0.0, 0.01), (0.16, 0.17)):
        teacher = Clock(TEACHER, 0.16)
        teacher.rows = teacher.rows + np.float16(offset)
        with torch.no_grad():
            figures = clocked(teacher)(crops, random)
        assert len(figures["loss"]) == len(examples) * 12  # of 100 frames four stand before the first window
        np.testing.assert_allclose(figures["loss"].sqrt().numpy(), off, atol=0.003)


def test_windows_lie_within_their_clip() -> None:
    states = torch.arange(40.0)[None, :, None].repeat(3, 1, 1)
    means, counts = windows(states, torch.tensor([40, 27, 3]))
    assert counts.tolist() == [4, 2, 0]
    assert means[0, :, 0].tolist() == [7.5, 15.5, 23.5, 31.5]
    assert windows(states[:, :9], torch.tensor([9, 9, 3]))[0].shape[1] == 0


def test_crops_too_short_for_any_frame_are_an_error(examples: list[Example]) -> None:
    crops = crops_of(examples, Clock(11, 0.02), np.random.default_rng(0), 100, 8)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="has the 12 frames"):
        clocked(Clock(2, 0.16))(crops, np.random.default_rng(0))


def test_the_teacher_is_standardised(examples: list[Example]) -> None:
    teacher = Clock(TEACHER, 0.16)
    teacher.rows[:, 1] = 3.0  # a dimension that never changes has no scale of its own
    mean, deviation = standard(teacher, examples)  # type: ignore[arg-type]
    assert mean[:2] == pytest.approx([teacher.rows[:, 0].astype(float).mean(), 3.0])
    assert deviation[0] == pytest.approx(teacher.rows[:, 0].astype(float).std())
    assert np.all(np.isfinite(1 / deviation))


def test_the_mean_alone_explains_nothing(examples: list[Example]) -> None:
    random = np.random.default_rng(0)
    objective = clocked(Clock(TEACHER, 0.16))
    with torch.no_grad():
        objective.projection.weight.zero_()
        figures = objective(crops_of(examples, Clock(STUDENT, 0.02), random, 100, 8), random)  # type: ignore[arg-type]
    means = {name: float(values.mean()) for name, values in figures.items()}
    assert objective.summary(means) == {"loss": means["loss"], "explained_variance": 0.0}
