"""The teacher of distillation: the original's numbers, and frames that stand where the student's do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from training import paths
from training.encoders.compact import CompactEncoder
from training.encoders.mn04 import TEACHER_RATE, WIDTH, Mn04


@pytest.fixture(scope="module")
def original() -> Mn04:
    try:
        return Mn04().load(paths.weights("efficientat-mn04")).eval().requires_grad_(False)
    except paths.MissingInputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def teacher(tree: Path) -> Mn04:
    return Mn04().load(paths.weights("efficientat-mn04", tree / "weights")).eval().requires_grad_(False)


def golden(rate: int) -> Tensor:
    """The golden input of all start weights, two seconds at any rate: (1, samples)."""
    t = np.arange(2 * rate) / rate
    x = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.2 * np.sin(2 * np.pi * 440 * t + 0.5) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    x += 0.1 * np.sin(2 * np.pi * 1234 * t) + 0.05 * np.sin(2 * np.pi * (500 * t + 400 * t**2))
    return torch.from_numpy(x.astype(np.float32))[None]


def noise(samples: int, seed: int) -> Tensor:
    return 0.05 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


# Values of the original's own code: the first eight channels at the first place and frame, mean and deviation of all.
LAYERS = {
    0: ([0.1511, 0.64282, -0.15512, 5.42128, 3.39376, 1.44867, 1.41262, 2.77907], 1.4764236, 1.1676537),
    3: ([0.82024, -0.54274, -7.75017, -0.4339, 3.78402, -1.3675, -8.83161, -2.2338], 0.1745946, 1.6000792),
    6: ([2.91677, -1.86431, 1.27933, 0.14125, -3.52633, 1.26737, -1.81998, 4.74868], -0.3173994, 1.6908896),
    12: ([0.44217, -1.63155, -0.48989, 1.95791, 0.65146, -1.76794, 0.82759, -0.6415], -0.0539134, 0.8249269),
}


def test_golden(original: Mn04) -> None:
    waveform = golden(TEACHER_RATE)
    x = original.mel(waveform)
    assert x.shape == (1, 1, 128, 200)
    middle = [-1.21076, -0.9886, -1.289, -1.27178, -0.79092, -0.4217, -0.13542, 0.43548]
    np.testing.assert_allclose(x[0, 0, :8, 50], middle, atol=2e-5)
    assert (float(x.mean()), float(x.std(correction=0))) == pytest.approx((-0.904809, 0.864972), abs=2e-5)
    for index, layer in enumerate(original.features):
        x = layer(x)
        if index in LAYERS:
            first, mean, deviation = LAYERS[index]
            np.testing.assert_allclose(x[0, :8, 0, 0], first, atol=1e-4)
            assert (float(x.mean()), float(x.std())) == pytest.approx((mean, deviation), abs=5e-6)
    assert x.shape == (1, 48, 8, 13)
    rows = original(waveform)
    assert rows.shape == (1, 13, WIDTH)
    torch.testing.assert_close(rows[0, 4], x[0, :, :, 4].flatten())


def test_audio_at_16_khz_is_heard_as_at_32(original: Mn04) -> None:
    """The golden tone lies below 4 kHz, so nothing is lost; the level that `lower` sets is that of the whole clip."""
    original.span.level = False
    rows, frames, starts = original.lower(golden(16_000), torch.tensor([32_000]))
    original.span.level = True
    assert (rows.shape, frames.tolist(), starts.tolist()) == ((1, 13, WIDTH), [13], [0])
    expected = original(golden(TEACHER_RATE))
    # At the ends the resampler does not know what comes next, and in the highest bands the two differ in what is near nothing.
    assert float((rows - expected).square().mean() / expected.var()) < 0.02


def test_clips_of_a_batch_do_not_touch(teacher: Mn04) -> None:
    """Nor does the silence that is cut, or the level."""
    clip, other = noise(16_000, 0), noise(40_000, 1)
    alone, frames, _ = teacher.lower(clip[None], torch.tensor([16_000]))
    quiet = torch.cat([torch.zeros(6400), clip / 3, torch.zeros(40_000 - 22_400)])
    rows, lengths, starts = teacher.lower(torch.stack([quiet, other]), torch.tensor([40_000, 40_000]))
    assert lengths[0] == frames[0] and starts.tolist() == [20, 0]
    torch.testing.assert_close(rows[0, : frames[0]], alone[0], rtol=1e-3, atol=1e-4)
    assert alone.std() > 0.01  # else all of this would hold of silence


@pytest.mark.parametrize("second", [0.64, 1.12, 1.28])
def test_frames_of_both_stand_at_the_same_time(teacher: Mn04, second: float) -> None:
    """A click is loudest in the teacher's frame n and in the encoder's frames about 8 n."""
    clip = noise(32_000, 2)
    clip[100], clip[-100] = 0.5, 0.5  # what sets the level stays
    clicked, middle = clip.clone(), round(second * 16_000)
    clicked[middle - 160 : middle + 160] += 0.3 * torch.randn(320, generator=torch.Generator().manual_seed(3)).clamp(-1, 1)
    both, lengths = torch.stack([clip, clicked]), torch.tensor([32_000, 32_000])

    def loudest(hidden: Tensor) -> int:
        return int((hidden[0] - hidden[1]).norm(dim=1).argmax())

    with torch.no_grad():
        torch.manual_seed(0)
        of_student, of_teacher = loudest(CompactEncoder(1).lower(both, lengths, 0)[0]), loudest(teacher.lower(both, lengths)[0])
    assert of_teacher == round(second / 0.16)
    assert abs(of_student - 8 * of_teacher) <= 1


def test_the_shortest_clip_has_a_frame(teacher: Mn04) -> None:
    rows, frames, _ = teacher.lower(torch.tensor([[0.5, -0.5, 0.1, 0.2]]), torch.tensor([4]))
    assert rows.shape[1] == frames[0] >= 1 and bool(rows.isfinite().all())


def test_other_layers_are_refused(teacher: Mn04) -> None:
    with pytest.raises(ValueError, match="those of block 12"):
        teacher.lower(torch.zeros(1, 3200), torch.tensor([3200]), 11)
