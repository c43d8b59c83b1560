"""The compact encoder: Whisper's numbers where nothing is cut or levelled, and a clip that gives the same wherever it stands."""

from __future__ import annotations

import math
from pathlib import Path

import miniature
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training import paths
from training.encoders.compact import (
    FRAME_HOP,
    LONGEST_FRAMES,
    PEAK,
    QUIETEST_PEAK,
    START_GRID,
    WIDTH,
    CompactEncoder,
    SpeechSpan,
    mel_filterbank,
    sinusoids,
)

GRID = START_GRID * FRAME_HOP


@pytest.fixture(scope="module")
def whisper() -> Path:
    try:
        return paths.weights("whisper-tiny-en")
    except paths.MissingInputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def encoder() -> CompactEncoder:
    torch.manual_seed(1)
    return CompactEncoder(blocks=2).eval()


def speech(samples: int, seed: int = 0) -> Tensor:
    """Noise that swells and fades, and never to silence; (samples,)."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / 16_000
    return torch.randn(samples, generator=generator) * 0.1 * (0.6 + 0.4 * torch.sin(2 * math.pi * 3 * time))


@torch.no_grad()
def run(encoder: CompactEncoder, clip: Tensor) -> tuple[list[Tensor], int, int]:
    """States (frames, width) of one clip, their number and the first one's place."""
    states, frames, starts = encoder(clip[None], torch.tensor([len(clip)]))
    assert states[0].shape[1] >= int(frames[0])
    return [state[0, : int(frames[0])] for state in states], int(frames[0]), int(starts[0])


# the front end


def test_mel_filterbank_against_the_formula_bin_by_bin() -> None:
    def mel(hertz: float) -> float:
        return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)

    def hertz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    edges = [hertz(mel(8000) * index / 81) for index in range(82)]
    filters = mel_filterbank()
    assert filters.shape == (80, 201) and filters.dtype == np.float32
    for row, (low, peak, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        for column in range(201):
            frequency = column * 40.0
            height = max(0.0, min((frequency - low) / (peak - low), (high - frequency) / (high - peak)))
            assert filters[row, column] == pytest.approx(height * 2 / (high - low), abs=1e-8), (row, column)


def test_mel_filterbank_and_positions_are_whispers(whisper: Path) -> None:
    with np.load(whisper) as arrays:
        np.testing.assert_allclose(mel_filterbank(), arrays["mel_filters"], atol=1e-7)
        np.testing.assert_allclose(sinusoids(LONGEST_FRAMES, WIDTH), arrays["encoder.positional_embedding"], atol=2.5e-4)


# Whisper tiny.en on the golden tone of two seconds: values of the original's own code.
MEL_50 = [0.03477, 0.26119, 0.50784, 0.92268, 1.26204, 1.30184, 1.22681, 0.89181]
HIDDEN_50 = [
    [-0.43188, -0.66816, 0.82987, -0.65701, -0.38419, 0.83004, -0.42738, -0.89942],
    [0.66919, 1.2379, 0.9589, 0.41273, 0.54434, 0.6176, 0.71223, 0.1834],
    [0.99989, 0.87631, 0.88796, 0.48605, 0.3309, 0.41485, 0.51044, 0.71876],
    [1.67776, 0.58158, -0.41349, -0.07378, 0.55139, 0.14865, -0.23209, 1.14534],
    [1.83323, 1.35881, -0.11238, 0.21695, 0.2737, -0.05291, 0.156, 1.38921],
]
HIDDEN_ALL = [  # mean and standard deviation
    (0.47908681631088257, 0.7726762294769287),
    (0.5716134905815125, 0.4225843846797943),
    (0.5683785080909729, 0.39514538645744324),
    (0.5476804375648499, 0.711918294429779),
    (0.545303225517273, 1.3285901546478271),
]
AFTER_NORM_50 = [0.5372, 0.41983, -0.91986, -0.39333, -0.09638, 0.08839, -0.61244, 0.6988]
AFTER_NORM_50_OF_30_SECONDS = [0.99593, 0.78665, -0.08643, -0.34269, 0.01148, 0.32303, -0.43289, 0.25744]


@pytest.fixture(scope="module")
def original(whisper: Path) -> CompactEncoder:
    return CompactEncoder(blocks=4, cut=False, level=False).load_whisper(whisper).eval()


def after_norm(whisper: Path, state: Tensor) -> Tensor:
    with np.load(whisper) as arrays:
        weight, bias = (torch.from_numpy(arrays[f"encoder.ln_post.{name}"].astype(np.float32)) for name in ("weight", "bias"))
    return F.layer_norm(state, (WIDTH,), weight, bias)


def test_whispers_spectrogram(original: CompactEncoder) -> None:
    tone = torch.from_numpy(miniature.tone())[None]
    with torch.no_grad():
        samples, lengths, starts = original.span(tone, torch.tensor([32_000]))
        mel, frames = original.mel(samples, lengths)
    assert mel.shape == (1, 80, 200) and frames.tolist() == [200] and starts.tolist() == [0]
    torch.testing.assert_close(mel[0, :8, 50], torch.tensor(MEL_50), atol=5e-5, rtol=0)
    assert float(mel.mean()) == pytest.approx(-0.215133, abs=2e-5)
    assert float(mel.std(correction=0)) == pytest.approx(0.659002, abs=2e-5)


def test_whispers_hidden_states(original: CompactEncoder, whisper: Path) -> None:
    states, frames, _ = run(original, torch.from_numpy(miniature.tone()))
    assert frames == 100 and len(states) == 5
    for state, expected, (mean, deviation) in zip(states, HIDDEN_50, HIDDEN_ALL, strict=True):
        torch.testing.assert_close(state[50, :8], torch.tensor(expected), atol=5e-4, rtol=0)
        assert float(state.mean()) == pytest.approx(mean, abs=1e-4)
        assert float(state.std(correction=0)) == pytest.approx(deviation, abs=1e-4)
    torch.testing.assert_close(after_norm(whisper, states[-1])[50, :8], torch.tensor(AFTER_NORM_50), atol=5e-4, rtol=0)


def test_whispers_hidden_states_of_thirty_seconds(original: CompactEncoder, whisper: Path) -> None:
    states, frames, _ = run(original, F.pad(torch.from_numpy(miniature.tone()), (0, 448_000)))
    assert frames == LONGEST_FRAMES
    torch.testing.assert_close(after_norm(whisper, states[-1])[50, :8], torch.tensor(AFTER_NORM_50_OF_30_SECONDS), atol=5e-4, rtol=0)


# the same clip wherever it stands


@pytest.mark.parametrize(("before", "after"), [(GRID, 0), (0, 5_003), (7 * GRID, 1), (25 * GRID, 16_000)])
def test_silence_at_the_ends_changes_nothing(encoder: CompactEncoder, before: int, after: int) -> None:
    clip = speech(9_600)
    expected, count, start = run(encoder, clip)
    assert (count, start) == (30, 0)
    states, frames, starts = run(encoder, F.pad(clip, (before, after)))
    assert (frames, starts) == (count, before // FRAME_HOP)
    for state, other in zip(states, expected, strict=True):
        torch.testing.assert_close(state, other, atol=1e-5, rtol=0)


def test_faint_noise_at_the_ends_counts_as_silence_and_speech_does_not(encoder: CompactEncoder) -> None:
    clip = speech(9_600)
    noise = torch.randn(3 * GRID, generator=torch.Generator().manual_seed(3))
    assert run(encoder, torch.cat([noise * 2e-4, clip]))[1:] == (30, 6)  # -54 dB of the loudest block
    assert run(encoder, torch.cat([noise * 2e-2, clip]))[1:] == (36, 0)  # -14 dB


@pytest.mark.parametrize("decibels", [-20, 20])
def test_level_changes_nothing(encoder: CompactEncoder, decibels: float) -> None:
    clip = speech(9_600)
    for state, other in zip(run(encoder, clip * 10 ** (decibels / 20))[0], run(encoder, clip)[0], strict=True):
        torch.testing.assert_close(state, other, atol=1e-4, rtol=0)


def test_level_is_set_by_the_loudest_sample_and_next_to_nothing_is_not_raised() -> None:
    span = SpeechSpan()
    clip = speech(3_200)
    loud, _, _ = span(clip[None] * 0.01, torch.tensor([3_200]))
    assert float(loud.abs().max()) == pytest.approx(PEAK, abs=1e-5)
    faint, _, _ = span(clip[None] / clip.abs().max() * QUIETEST_PEAK / 100, torch.tensor([3_200]))
    assert float(faint.abs().max()) == pytest.approx(PEAK / 100, rel=1e-4)


def test_reflection_at_each_clips_own_ends() -> None:
    waveform = torch.stack([F.pad(speech(2_400), (0, 1_600), value=9.0), speech(4_000, seed=1)])
    samples, lengths, _ = SpeechSpan(cut=False, level=False)(waveform, torch.tensor([2_400, 4_000]))
    assert samples.shape == (2, 4_400) and lengths.tolist() == [2_400, 4_000]
    for row, clip in zip(samples, (waveform[0, :2_400], waveform[1]), strict=True):
        expected = F.pad(clip[None], (200, 200), mode="reflect")[0]
        assert torch.equal(row[: len(expected)], expected)


def test_a_batch_gives_what_single_clips_give(encoder: CompactEncoder) -> None:
    clips = [F.pad(speech(8_000, 1), (1_700, 900)), speech(1_600, 2), speech(9_637, 3), torch.zeros(4_000), speech(12_345, 4) * 0.01]
    longest = max(map(len, clips))
    waveform = torch.full((len(clips), longest + 3_000), 0.9)  # what stands behind a clip is not read
    for row, clip in zip(waveform, clips, strict=True):
        row[: len(clip)] = clip
    with torch.no_grad():
        states, frames, starts = encoder(waveform, torch.tensor([len(clip) for clip in clips]))
    for index, clip in enumerate(clips):
        expected, count, start = run(encoder, clip)
        assert (int(frames[index]), int(starts[index])) == (count, start)
        for state, other in zip(states, expected, strict=True):
            torch.testing.assert_close(state[index, :count], other, atol=2e-5, rtol=0)


def click(place: int, samples: int) -> Tensor:
    clip = torch.zeros(samples)
    clip[place] = 0.5
    return clip


@pytest.mark.parametrize(
    ("clip", "most"),
    [
        (speech(1_600), 5),
        (torch.zeros(1_600), 5),
        (torch.zeros(8_000), 25),
        (click(0, 1_600), 1),
        (click(700, 1_600), 1),
        (click(1_599, 1_600), 1),
        (click(2_010, 2_020), 0),  # 100 samples are left: less than a frame
        (click(1_920, 1_921), 0),
        (click(4_000, 8_000), 1),
        (torch.full((3_000,), 0.7), 9),
    ],
    ids=["short", "short zeros", "zeros", "first", "in block 3", "last", "in the rest", "alone", "in the middle", "constant"],
)
def test_odd_clips_are_finite(encoder: CompactEncoder, clip: Tensor, most: int) -> None:
    states, frames, _ = run(encoder, clip)
    assert frames == most
    with torch.no_grad():
        whole, _, _ = encoder(clip[None], torch.tensor([len(clip)]))
    assert all(bool(state.isfinite().all()) for state in whole) and len(states) == 3


def test_frames_keep_their_place_on_the_clips_time_axis(encoder: CompactEncoder) -> None:
    """Without cutting, the same frames come out, later by `starts` (positions taken off, frames at the very ends left out)."""
    plain = CompactEncoder(blocks=0, cut=False).eval()
    plain.load_state_dict(encoder.state_dict(), strict=False)
    clip = torch.cat([torch.zeros(5 * FRAME_HOP), speech(9_600), torch.zeros(3_333)])
    lengths = torch.tensor([len(clip)])
    with torch.no_grad():
        cut, frames, starts = encoder.lower(clip[None], lengths, blocks=0)
        uncut, _, _ = plain.lower(clip[None], lengths, blocks=0)
    start, count = int(starts[0]), int(frames[0])
    assert start == 4 and count == 31  # a multiple of START_GRID at or before the 5 silent blocks
    cut = cut - encoder.positional_embedding[: cut.shape[1]]
    uncut = uncut - encoder.positional_embedding[: uncut.shape[1]]
    torch.testing.assert_close(cut[0, 2 : count - 2], uncut[0, start + 2 : start + count - 2], atol=1e-5, rtol=0)


# the halves of the encoder


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_lower_and_upper_make_the_whole(encoder: CompactEncoder, blocks: int) -> None:
    waveform, lengths = torch.stack([speech(9_600), speech(9_600, 1)]), torch.tensor([9_600, 5_000])
    with torch.no_grad():
        states, frames, starts = encoder(waveform, lengths)
        hidden, lower_frames, lower_starts = encoder.lower(waveform, lengths, blocks)
        rest = encoder.upper(hidden, lower_frames, blocks)
    assert torch.equal(frames, lower_frames) and torch.equal(starts, lower_starts)
    assert len(rest) == 3 - blocks
    for state, other in zip(rest, states[blocks:], strict=True):
        torch.testing.assert_close(state, other, atol=1e-6, rtol=0)


def test_start_weights_take_whispers_names_and_leave_out_the_blocks_beyond(start_weights: Path) -> None:
    with np.load(start_weights) as arrays:
        assert "encoder.blocks.1.attn.query.weight" in arrays.files
        expected = arrays["encoder.conv2.weight"].astype(np.float32)
    loaded = CompactEncoder(blocks=1).load_whisper(start_weights)
    assert np.array_equal(loaded.conv2.weight.detach().numpy(), expected)
    with pytest.raises(KeyError):
        CompactEncoder(blocks=3).load_whisper(start_weights)
