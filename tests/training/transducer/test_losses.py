"""The losses against worked examples of the published code, and what they must and cannot do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.systems.transducer.layers import UtteranceHead
from training.systems.transducer.losses import (
    AS_PUBLISHED,
    NONE,
    Pooling,
    head_loss,
    language_loss,
    lattice_loss,
    lattice_losses,
    mixture_head_loss,
    mixture_lattice_loss,
)

NEUTRAL = 3
LABELS = torch.tensor([1, NEUTRAL])


def sines(batch: int, frames: int, nodes: int) -> Tensor:
    b, t, u, c = torch.meshgrid(*(torch.arange(size) for size in (batch, frames, nodes, 4)), indexing="ij")
    return 2 * torch.sin(0.7 * t + 1.3 * u + 2.1 * c + 0.5 * b)


def both(how: Pooling, frames: tuple[int, int] = (4, 3), nodes: tuple[int, int] = (3, 2)) -> list[float]:
    """Batch loss, then that of each of the two clips."""
    lengths = torch.tensor(frames), torch.tensor(nodes)
    logits = sines(2, 4, 3)
    return [
        float(lattice_loss(logits, LABELS, *lengths, NEUTRAL, how)),
        *lattice_losses(logits, LABELS, *lengths, NEUTRAL, how).tolist(),
    ]


# lattice max pooling


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("one", (3.524752, 4.068607, 2.980897)),
        ("full-t", (6.357371, 4.952271, 7.762470)),
        ("full-u", (5.860767, 5.116925, 6.604610)),
    ],
)
def test_golden_losses_as_published(pooling: str, expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(both(replace(AS_PUBLISHED, pooling=pooling)), expected, atol=1e-5)


@pytest.mark.parametrize(("pooling", "expected"), [("one", 4.281009), ("full-t", 4.244235), ("full-u", 5.091840)])
def test_golden_losses_of_full_lattices(pooling: str, expected: float) -> None:
    for padding in (True, False):  # without any, there is nothing to count
        how = replace(AS_PUBLISHED, pooling=pooling, padding=padding)
        assert both(how, (4, 4), (3, 3))[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Pooling("full-t", "least-neutral"), (3.692818, 4.952271, 2.433365)),
        (Pooling("full-u", "least-neutral"), (3.891422, 5.116925, 2.665920)),
        (Pooling(), (1.291775, 1.074624, 1.508925)),
    ],
)
def test_golden_losses_mended(how: Pooling, expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(both(how), expected, atol=1e-5)


@pytest.mark.parametrize(("pooling", "expected"), [("full-t", 3.139953), ("full-u", 3.094004)])
def test_golden_losses_with_the_most_neutral_node(pooling: str, expected: float) -> None:
    assert both(Pooling(pooling))[0] == pytest.approx(expected, abs=1e-5)


def test_golden_nodes() -> None:
    logits = sines(2, 4, 3).requires_grad_()
    how = replace(AS_PUBLISHED, negative="none")
    lattice_losses(logits, LABELS, torch.tensor([4, 3]), torch.tensor([3, 2]), NEUTRAL, how).sum().backward()
    assert logits.grad is not None
    moved = logits.grad.abs().sum(-1).nonzero().tolist()
    assert moved == [[0, 0, 0], [1, 0, 1]]
    probabilities = logits.detach().softmax(-1)
    assert float(probabilities[0, 0, 0, 1]) == pytest.approx(0.717846, abs=1e-6)
    assert float(probabilities[1, 0, 1, 3]) == pytest.approx(0.470263, abs=1e-6)
    assert float(probabilities[0, 3, 2, 3]) == pytest.approx(0.023823, abs=1e-6)
    assert float(probabilities[1, 2, 1, 3]) == pytest.approx(0.107912, abs=1e-6)


def optimised(how: Pooling, steps: int = 400) -> tuple[float, Tensor]:
    """Loss and probabilities of a 4 x 3 lattice that is free to become anything, for an angry clip."""
    logits = (0.1 * sines(1, 4, 3)).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(steps):
        loss = lattice_loss(logits, torch.tensor([1]), torch.tensor([4]), torch.tensor([3]), NEUTRAL, how)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach()), logits.detach().softmax(-1)[0]


def test_as_published_the_loss_of_an_emotional_clip_ends_at_2_ln_2_and_mended_near_0() -> None:
    published, probabilities = optimised(replace(AS_PUBLISHED, pooling="one"))
    assert 2 * math.log(2) <= published < 2 * math.log(2) + 0.02
    assert float(probabilities[..., 1].max()) < 0.55
    mended, probabilities = optimised(Pooling())
    assert mended < 0.05 and float(probabilities[..., 1].max()) > 0.95 and float(probabilities[..., NEUTRAL].max()) > 0.95


def test_the_published_gradient_pulls_both_classes_up_at_one_node() -> None:
    logits = torch.zeros(1, 1, 1, 4, requires_grad=True)
    loss = lattice_loss(logits, torch.tensor([0]), torch.tensor([1]), torch.tensor([1]), 2, AS_PUBLISHED)
    loss.backward()
    assert loss.item() == pytest.approx(2.772589, abs=1e-6) and logits.grad is not None
    np.testing.assert_allclose(logits.grad.flatten(), [-0.5, 0.5, -0.5, 0.5], atol=1e-6)


def test_neutral_clips_can_be_neutral_throughout() -> None:
    logits = sines(2, 4, 3)
    frames, nodes = torch.tensor([4, 3]), torch.tensor([3, 2])
    found = lattice_losses(logits, LABELS, frames, nodes, NEUTRAL, Pooling(neutral_clips="mean"))
    assert found[0].item() == pytest.approx(1.074624, abs=1e-5)
    assert found[1].item() == pytest.approx(-float(logits[1, :3, :2].log_softmax(-1)[..., NEUTRAL].mean()), abs=1e-5)


def test_soft_pooling_tends_to_the_largest_node_and_to_the_mean() -> None:
    logits = sines(2, 4, 3)
    lengths = torch.tensor([4, 3]), torch.tensor([3, 2])
    hard = lattice_losses(logits, LABELS, *lengths, NEUTRAL, Pooling())
    torch.testing.assert_close(lattice_losses(logits, LABELS, *lengths, NEUTRAL, Pooling(temperature=1e-6)), hard)
    mean = lattice_losses(logits, LABELS, *lengths, NEUTRAL, Pooling(negative="none", temperature=1e6))
    assert mean[0].item() == pytest.approx(-float(logits[0].log_softmax(-1)[..., 1].mean()), abs=1e-4)


def test_clips_without_emotion_do_not_count() -> None:
    logits = sines(2, 4, 3)
    lengths = torch.tensor([4, 3]), torch.tensor([3, 2])
    alone = lattice_loss(logits, torch.tensor([1, NONE]), *lengths, NEUTRAL)
    assert float(alone) == pytest.approx(1.074624, abs=1e-5)
    assert float(lattice_loss(logits, torch.tensor([NONE, NONE]), *lengths, NEUTRAL)) == 0
    head = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head_loss(head, torch.tensor([2, NONE, 1])), F.cross_entropy(head[[0, 2]], torch.tensor([2, 1])))
    assert float(head_loss(head, torch.full((3,), NONE))) == 0


@pytest.mark.parametrize("wrong", [{"pooling": "two"}, {"negative": "neutral"}, {"neutral_clips": "min"}])
def test_unknown_poolings_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="allowed: "):
        Pooling(**wrong)
    with pytest.raises(ValueError, match="goes with the pooling one"):
        Pooling("full-t", temperature=0.5)


# concatenations

FRAME_PARTS = torch.tensor([[0, 0, 1, 1, 2, 2]])
NODE_PARTS = torch.tensor([[0, 0, 1, 1, 2]])
EMOTIONS = torch.tensor([[3, 1, 3]])


def test_golden_mixture_lattice_loss() -> None:
    logits = sines(1, 6, 5)
    assert float(mixture_lattice_loss(logits, FRAME_PARTS, NODE_PARTS, EMOTIONS)) == pytest.approx(5.780784, abs=1e-5)
    assert float(mixture_lattice_loss(logits, FRAME_PARTS, NODE_PARTS, EMOTIONS, block_diagonal=True)) == pytest.approx(2.852256, abs=1e-5)
    for part, expected, size in ((0, 1.121410, 4), (1, 2.512599, 12), (2, 2.146776, 14)):
        part_of = torch.maximum(FRAME_PARTS[:, :, None], NODE_PARTS[:, None, :])
        nodes = (part_of == part)[0]
        assert int(nodes.sum()) == size
        assert -float(logits[0].log_softmax(-1)[nodes][:, EMOTIONS[0, part]].mean()) == pytest.approx(expected, abs=1e-5)


def test_mixture_losses_leave_padding_and_other_clips_out() -> None:
    logits = torch.cat([F.pad(sines(1, 6, 5), (0, 0, 0, 2, 0, 1), value=9.0), torch.randn(1, 7, 7, 4)])
    frame_parts = torch.cat([F.pad(FRAME_PARTS, (0, 1), value=NONE), torch.full((1, 7), NONE)])
    node_parts = torch.cat([F.pad(NODE_PARTS, (0, 2), value=NONE), torch.full((1, 7), NONE)])
    emotions = torch.cat([F.pad(EMOTIONS, (0, 1), value=NONE), torch.full((1, 4), NONE)])
    assert float(mixture_lattice_loss(logits, frame_parts, node_parts, emotions)) == pytest.approx(5.780784, abs=1e-5)
    head = UtteranceHead(3, 2, 4)
    h, g = torch.randn(2, 7, 3), torch.randn(2, 7, 2)
    short = mixture_head_loss(head, h[:1, :6], g[:1, :5], FRAME_PARTS, NODE_PARTS, EMOTIONS)
    torch.testing.assert_close(mixture_head_loss(head, h, g, frame_parts, node_parts, emotions), short)


def test_mixture_head_loss_pools_parts_of_one_emotion_together_and_counts_each() -> None:
    head = UtteranceHead(3, 2, 4)
    h, g = torch.randn(1, 6, 3), torch.randn(1, 5, 2)
    neutral, _ = head.pooled(h[:, [0, 1, 4, 5]].mean(1), g[:, [0, 1, 4]].mean(1))
    angry, _ = head.pooled(h[:, [2, 3]].mean(1), g[:, [2, 3]].mean(1))
    expected = (2 * F.cross_entropy(neutral, torch.tensor([3])) + F.cross_entropy(angry, torch.tensor([1]))) / 3
    torch.testing.assert_close(mixture_head_loss(head, h, g, FRAME_PARTS, NODE_PARTS, EMOTIONS), expected)


# the language model


def test_golden_language_loss() -> None:
    u, v = torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij")
    logits = torch.sin(0.9 * u + 1.7 * v)[None]
    found = language_loss(logits, torch.tensor([[2, 1, 3]]), torch.tensor([3]))
    assert float(found) == pytest.approx(1.759834, abs=1e-6)
    padded = language_loss(F.pad(logits, (0, 0, 0, 2), value=7.0), torch.tensor([[2, 1, 3, 0, 0]]), torch.tensor([3]))
    torch.testing.assert_close(padded, found)
