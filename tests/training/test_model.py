"""From states to the graph's outputs: means of neighbouring frames, layers on one scale, frames in their place, padding without effect."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.encoders.compact import FRAME_HOP, halve
from training.model import EmotionModel, Graph, LayerMix, mean_and_deviation
from training.recipe import Model

CLASSES = 5  # of which the graph shows OWN
OWN = 4
OPTIONS = Model(blocks=2, frozen_blocks=1, pool=2, head_options={"expansion": 1})
HOP = 2 * FRAME_HOP


def made(options: Model) -> EmotionModel:
    """A model in which everything that can matter does: no layer weight, mean or deviation is at its neutral start."""
    torch.manual_seed(3)
    model = EmotionModel(options, CLASSES).eval()
    with torch.no_grad():
        model.mix.weight.copy_(torch.linspace(-1, 1, len(model.mix.weight)))
        model.mix.mean.normal_(std=0.2)
        model.mix.deviation.uniform_(0.5, 2)
    return model


@pytest.fixture(scope="module", params=[0, 16], ids=["head", "head and statistics"])
def model(request: pytest.FixtureRequest) -> EmotionModel:
    return made(dataclasses.replace(OPTIONS, statistics=request.param))


@pytest.fixture(scope="module")
def graph(model: EmotionModel) -> Graph:
    return Graph(model, OWN).eval()


def speech(samples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / 16_000
    return torch.randn(samples, generator=generator) * 0.1 * (0.6 + 0.4 * torch.sin(2 * math.pi * 3 * time))


# means of neighbouring frames


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 2, 5, 6])
def test_halve_against_a_loop(factor: int, frames: int) -> None:
    lengths = torch.arange(1, frames + 1)
    x = torch.randn(frames, frames, 3, generator=torch.Generator().manual_seed(frames))
    for row, length in zip(x, lengths.tolist(), strict=True):
        row[length:] = math.nan  # padding is not read
    means, shorter = halve(x, lengths, factor)
    for clip, length, mean, count in zip(x, lengths.tolist(), means, shorter.tolist(), strict=True):
        assert count == -(-length // factor)
        for index in range(count):
            expected = clip[index * factor : min((index + 1) * factor, length)].mean(0)
            torch.testing.assert_close(mean[index], expected, atol=1e-6, rtol=0)


# layers on one scale


def batches(layers: int, width: int) -> list[tuple[list[Tensor], Tensor]]:
    generator = torch.Generator().manual_seed(5)
    found = []
    for lengths in ([7, 3], [4, 9]):
        states = [torch.randn(2, max(lengths), width, generator=generator) * 10**layer + 3 * layer for layer in range(layers)]
        for state in states:
            for row, length in zip(state, lengths, strict=True):
                row[length:] = 1e6  # padding is not counted
        found.append((states, torch.tensor(lengths)))
    return found


def test_standardise_gives_every_channel_of_every_layer_mean_0_and_deviation_1() -> None:
    mix, data = LayerMix(3, 4), batches(3, 4)
    mix.standardise(data)
    for layer in range(3):
        rows = []
        for states, lengths in data:
            standard = mix.standardised(states)[layer]
            rows += [row[:length] for row, length in zip(standard, lengths.tolist(), strict=True)]
        frames = torch.cat(rows)
        assert frames.shape == (23, 4)
        torch.testing.assert_close(frames.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(frames.std(0), torch.ones(4), atol=1e-5, rtol=0)


def test_a_channel_that_never_moves_stays_finite() -> None:
    mix = LayerMix(1, 2)
    constant = torch.full((1, 6, 2), 4.0)
    mix.standardise([([constant], torch.tensor([6]))])
    assert torch.equal(mix.standardised([constant])[0], torch.zeros(1, 6, 2))


def test_mix_is_a_weighted_mean_by_softmax() -> None:
    mix = LayerMix(2, 3)
    with torch.no_grad():
        mix.weight.copy_(torch.tensor([0.0, math.log(3.0)]))
    low, high = torch.full((1, 2, 3), 4.0), torch.full((1, 2, 3), 8.0)
    torch.testing.assert_close(mix([low, high]), torch.full((1, 2, 3), 7.0))


def test_mean_and_deviation_of_true_frames() -> None:
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1))
    x[1, 4:] = math.nan
    found = mean_and_deviation(x, torch.tensor([6, 4]))
    for row, clip in zip(found, (x[0], x[1, :4]), strict=True):
        torch.testing.assert_close(row[:3], clip.mean(0))
        torch.testing.assert_close(row[3:], clip.std(0, correction=0), atol=1e-4, rtol=0)


# what training runs is what the graph runs


@torch.no_grad()
def test_cached_states_give_what_the_waveform_gives(model: EmotionModel) -> None:
    waveform, lengths = torch.stack([speech(9_600), speech(9_600, 1)]), torch.tensor([9_600, 6_000])
    logits, pooled, frames, _ = model(waveform, lengths)
    hidden, cached_frames, _ = model.encoder.lower(waveform, lengths, model.frozen_blocks)
    assert frames.tolist() == [-(-count // 2) for count in cached_frames.tolist()]
    cached = model.pool_states(hidden, cached_frames)
    torch.testing.assert_close(model.read(cached)[0], logits, atol=1e-6, rtol=0)
    torch.testing.assert_close(cached.frames, pooled.frames, atol=1e-6, rtol=0)
    halved = model.read(model.pool_states(hidden.half().float(), cached_frames))[0]  # as they lie on the disk
    torch.testing.assert_close(halved, logits, atol=0.02, rtol=0)
    assert not torch.equal(logits[0], logits[1])


@torch.no_grad()
def test_mixing_in_pairs(model: EmotionModel) -> None:
    waveform, lengths = torch.stack([speech(9_600), speech(9_600, 1)]), torch.tensor([9_600, 6_000])
    pooled = model(waveform, lengths)[1]
    mixed = pooled.mixed(torch.tensor([1, 0]), torch.tensor([0.75, 1.0]))
    torch.testing.assert_close(mixed.embedding[0], 0.75 * pooled.embedding[0] + 0.25 * pooled.embedding[1])
    assert torch.equal(mixed.embedding[1], pooled.embedding[1])
    if pooled.statistics is not None and mixed.statistics is not None:
        torch.testing.assert_close(mixed.statistics[0], 0.75 * pooled.statistics[0] + 0.25 * pooled.statistics[1])


def test_parameters_by_depth_hold_all_that_is_trained_and_nothing_frozen(model: EmotionModel) -> None:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [[names[id(parameter)] for parameter in group] for group in model.parameters_by_depth()]
    assert len(groups) == 2 and all(name.startswith("encoder.blocks.1.") for name in groups[1])
    assert set(names.values()) - {name for group in groups for name in group} == {
        name for name in names.values() if name.startswith(("encoder.conv1", "encoder.conv2", "encoder.blocks.0."))
    }


# the graph


@torch.no_grad()
def test_frames_stand_on_the_clips_own_time_axis(graph: Graph) -> None:
    """Silence, speech, silence: frames are zero but for the speech's, which are those of the speech alone."""
    clip = speech(8_320)  # 13 frames of 40 ms
    before = 12 * HOP
    alone = graph(clip[None], torch.tensor([8_320]))
    output = graph(F.pad(clip, (before, 10_001))[None], torch.tensor([before + 8_320 + 10_001]))
    assert output.frames.shape == (1, 41, OWN) and output.frame_lengths.tolist() == [41]  # 26,001 samples: the last frame is begun
    assert alone.frames.shape == (1, 13, OWN) and alone.frame_lengths.tolist() == [13]
    torch.testing.assert_close(output.frames[0, 12:25], alone.frames[0], atol=1e-5, rtol=0)
    assert bool((alone.frames != 0).all())
    assert not bool(output.frames[0, :12].any()) and not bool(output.frames[0, 25:].any())
    torch.testing.assert_close(output.logits, alone.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.embedding, alone.embedding, atol=1e-5, rtol=0)


@torch.no_grad()
def test_padding_never_changes_a_result(graph: Graph) -> None:
    clips = [F.pad(speech(8_000, 1), (1_700, 900)), speech(1_600, 2), speech(9_637, 3), F.pad(torch.tensor([0.5]), (2_010, 9))]
    waveform = torch.full((len(clips), 14_000), -0.7)
    for row, clip in zip(waveform, clips, strict=True):
        row[: len(clip)] = clip
    batch = graph(waveform, torch.tensor([len(clip) for clip in clips]))
    assert batch.frames.shape == (4, 22, OWN)
    for index, clip in enumerate(clips):
        single = graph(clip[None], torch.tensor([len(clip)]))
        frames = int(single.frame_lengths[0])
        assert frames == int(batch.frame_lengths[index]) == -(-len(clip) // HOP) == single.frames.shape[1]
        torch.testing.assert_close(batch.logits[index], single.logits[0], atol=2e-5, rtol=0)
        torch.testing.assert_close(batch.embedding[index], single.embedding[0], atol=2e-5, rtol=0)
        torch.testing.assert_close(batch.frames[index, :frames], single.frames[0], atol=2e-5, rtol=0)
        assert not bool(batch.frames[index, frames:].any())


@torch.no_grad()
def test_the_graph_shows_the_checkpoints_own_classes(model: EmotionModel, graph: Graph) -> None:
    clip, lengths = speech(4_800)[None], torch.tensor([4_800])
    logits = model(clip, lengths)[0]
    assert logits.shape == (1, CLASSES)
    assert torch.equal(graph(clip, lengths).logits, logits[:, :OWN])


@torch.no_grad()
@pytest.mark.parametrize("place", [0, 1_599, 2_015], ids=["first", "middle", "less than a frame before the end"])
def test_a_lone_click_and_silence_are_finite(graph: Graph, place: int) -> None:
    clips = torch.zeros(2, 2_020)
    clips[0, place] = 0.5
    output = graph(clips, torch.tensor([2_020, 2_020]))
    assert output.frames.shape == (2, 4, OWN)
    assert all(bool(value.isfinite().all()) for value in output)


@torch.no_grad()
@pytest.mark.parametrize("pool", [1, 2])
def test_the_hop_follows_the_pool(pool: int) -> None:
    model = made(dataclasses.replace(OPTIONS, pool=pool, blocks=1))
    output = Graph(model, OWN)(F.pad(speech(6_400), (6_400, 0))[None], torch.tensor([12_800]))
    assert model.frame_hop == pool * 0.02
    assert output.frames.shape == (1, 40 // pool, OWN)
    spoken = output.frames[0].any(1).tolist()
    assert spoken == [False] * (20 // pool) + [True] * (20 // pool)


def test_the_mean_of_both_read_outs_and_its_offsets() -> None:
    options = Model(blocks=2, frozen_blocks=2, head="cnn", statistics=8)
    torch.manual_seed(0)
    model = EmotionModel(options, 4).eval()
    mean = EmotionModel(dataclasses.replace(options, mean_of_readouts=True), 4).eval()
    mean.load_state_dict(model.state_dict())
    hidden, frames = torch.randn(3, 60, model.encoder.width), torch.tensor([60, 41, 9])
    with torch.no_grad():
        pooled = model.pool_states(hidden, frames)
        torch.testing.assert_close(mean.read(pooled)[0], model.read(pooled)[0] / 2)
        torch.testing.assert_close(mean.read(pooled)[1], model.read(pooled)[1])
        offsets = torch.tensor([0.5, -1.0, 0.25])
        for each in (model, mean):
            before, frames_before = each.read(pooled)[0], pooled.frames
            each.add_offsets(offsets)
            moved = torch.cat([offsets, torch.zeros(1)])
            torch.testing.assert_close(each.read(pooled)[0] - before, moved.expand(3, 4))
            moved_frames = each.pool_states(hidden, frames).frames - frames_before
            torch.testing.assert_close(moved_frames[0], moved.expand_as(moved_frames[0]))
