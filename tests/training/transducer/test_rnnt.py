"""The transducer loss against the published worked example, a sum over alignments one by one, and finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from training.systems.transducer import rnnt
from training.systems.transducer.rnnt import lattice, log_probabilities, occupancy, rnnt_loss


def sines(frames: int, nodes: int, size: int) -> Tensor:
    t, u, v = torch.meshgrid(torch.arange(frames), torch.arange(nodes), torch.arange(size), indexing="ij")
    return torch.sin(0.9 * t + 0.4 * u + 1.7 * v).double()[None]


def paths(frames: int, tokens: int) -> list[list[tuple[int, int, bool]]]:
    """Each alignment as its steps (t, u, whether blank is taken there); the last step is always the blank out of the lattice."""
    found = []
    for places in itertools.combinations(range(frames - 1 + tokens), tokens):
        t = u = 0
        steps = []
        for step in range(frames - 1 + tokens):
            steps.append((t, u, step not in places))
            t, u = (t, u + 1) if step in places else (t + 1, u)
        found.append([*steps, (t, u, True)])
    return found


def brute_force(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of one clip, (T, U + 1, V) and (U,), and for each node the share of alignments that take blank there."""
    probabilities = logits.log_softmax(-1)
    every = paths(logits.shape[0], len(targets))
    scores = [torch.stack([probabilities[t, u, 0 if blank else targets[u]] for t, u, blank in path]).sum() for path in every]
    total = torch.logsumexp(torch.stack(scores), 0)
    shares = torch.zeros(logits.shape[:2], dtype=logits.dtype)
    for path, score in zip(every, scores, strict=True):
        for t, u, blank in path:
            if blank:
                shares[t, u] += (score - total).exp()
    return -total, shares


def loss_of(logits: Tensor, targets: list[int]) -> Tensor:
    return rnnt_loss(logits, torch.tensor([targets], dtype=torch.int64), torch.tensor([logits.shape[1]]), torch.tensor([len(targets)]))


# the published worked example


def test_golden_log_probabilities_and_forward_variables() -> None:
    logits, targets = sines(2, 3, 3), torch.tensor([[1, 2]])
    expected = [
        [[-1.497437, -0.505772, -1.752978], [-1.089733, -0.615943, -2.091010], [-0.738147, -0.857030, -2.327079]],
        [[-0.666710, -0.934535, -2.366202], [-0.457253, -1.279691, -2.420734], [-0.360665, -1.607871, -2.278145]],
    ]
    np.testing.assert_allclose(logits.log_softmax(-1)[0], expected, atol=1e-6)
    found = lattice(*log_probabilities(logits, targets), torch.tensor([2]), torch.tensor([2]))
    np.testing.assert_allclose(found.forward[0], [[0, -0.505772, -2.596782], [-1.497437, -1.235569, -2.789613]], atol=1e-6)
    assert float(found.total) == pytest.approx(-3.150279, abs=1e-6)


def test_golden_loss_and_gradient() -> None:
    logits = sines(2, 3, 3).requires_grad_()
    loss = loss_of(logits, [1, 2])
    assert loss.item() == pytest.approx(3.150279, abs=1e-6)
    loss.backward()
    assert logits.grad is not None
    expected = [
        [[0.096642, -0.269900, 0.173257], [0.000295, 0.471502, -0.471797], [-0.302583, 0.246019, 0.056563]],
        [[0.065232, -0.077155, 0.011923], [0.266084, 0.116907, -0.382991], [-0.302788, 0.200314, 0.102474]],
    ]
    np.testing.assert_allclose(logits.grad[0], expected, atol=1e-6)


def test_golden_losses_of_35_paths_and_of_no_tokens() -> None:
    assert len(paths(5, 3)) == 35
    assert loss_of(sines(5, 4, 6), [2, 1, 5]).item() == pytest.approx(12.602679, abs=1e-6)
    assert loss_of(sines(3, 1, 4), []).item() == pytest.approx(3.152106, abs=1e-6)


# against a sum over alignments


@pytest.mark.parametrize(("frames", "tokens"), [(1, 0), (1, 3), (4, 0), (2, 1), (4, 3), (3, 5), (6, 2)])
def test_equals_the_sum_over_all_alignments(frames: int, tokens: int) -> None:
    generator = torch.Generator().manual_seed(10 * frames + tokens)
    logits = torch.randn(1, frames, tokens + 1, 5, generator=generator, dtype=torch.float64).mul_(2).requires_grad_()
    targets = torch.randint(1, 5, (tokens,), generator=generator)
    expected, shares = brute_force(logits[0], targets)
    (gradient,) = torch.autograd.grad(expected, logits)
    loss = rnnt_loss(logits, targets[None], torch.tensor([frames]), torch.tensor([tokens]))
    torch.testing.assert_close(loss[0], expected)
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), logits)[0], gradient)
    edges = (*log_probabilities(logits.detach(), targets[None]), torch.tensor([frames]), torch.tensor([tokens]))
    blank, _ = occupancy(lattice(*edges), *edges)
    torch.testing.assert_close(blank[0], shares)


def batch_of(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four clips of different lengths, padded with numbers that must not matter."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 6, 5, 7, generator=generator, dtype=torch.float64).mul_(3).to(dtype)
    return logits, torch.randint(1, 7, (4, 4), generator=generator), torch.tensor([6, 3, 1, 5]), torch.tensor([4, 0, 2, 4])


def test_padding_changes_nothing_and_gets_no_gradient() -> None:
    logits, targets, frames, tokens = batch_of()
    logits.requires_grad_()
    losses = rnnt_loss(logits, targets, frames, tokens)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    for index, (t, u) in enumerate(zip(frames.tolist(), tokens.tolist(), strict=True)):
        alone = logits[index : index + 1, :t, : u + 1]
        loss = rnnt_loss(alone, targets[index : index + 1, :u], torch.tensor([t]), torch.tensor([u]))
        torch.testing.assert_close(losses[index : index + 1], loss)
        torch.testing.assert_close(torch.autograd.grad(loss.sum(), logits)[0][index], gradient[index])
        rest = gradient[index].clone()
        rest[:t, : u + 1] = 0
        assert not bool(rest.any())


def test_gradients_by_finite_differences_and_with_weights_on_the_clips() -> None:
    logits, targets, frames, tokens = batch_of()
    assert torch.autograd.gradcheck(lambda x: rnnt_loss(x, targets, frames, tokens), (logits.requires_grad_(),))


def test_single_and_half_precision_stay_near() -> None:
    logits, targets, frames, tokens = batch_of()
    exact = rnnt_loss(logits, targets, frames, tokens)
    single = rnnt_loss(logits.float(), targets, frames, tokens)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=1e-4, rtol=1e-4)
    rounded = logits.bfloat16().requires_grad_()
    half = rnnt_loss(rounded, targets, frames, tokens)
    torch.testing.assert_close(half, rnnt_loss(rounded.detach().float(), targets, frames, tokens))
    half.sum().backward()
    assert rounded.grad is not None and rounded.grad.dtype == torch.bfloat16


def test_long_and_certain_lattices_stay_finite() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (60 * torch.randn(2, 400, 121, 6, generator=generator)).requires_grad_()
    targets = torch.randint(1, 6, (2, 120), generator=generator)
    losses = rnnt_loss(logits, targets, torch.tensor([400, 250]), torch.tensor([120, 90]))
    losses.sum().backward()
    assert logits.grad is not None and bool(logits.grad.isfinite().all()) and bool(losses.isfinite().all())
    np.testing.assert_allclose(logits.grad.sum(-1), 0, atol=1e-4)  # softmax: each node's gradients cancel


def test_every_alignment_leaves_each_frame_once_and_emits_each_token_once() -> None:
    logits, targets, frames, tokens = batch_of()
    edges = (*log_probabilities(logits, targets), frames, tokens)
    blank, emit = occupancy(lattice(*edges), *edges)
    for index, (t, u) in enumerate(zip(frames.tolist(), tokens.tolist(), strict=True)):
        torch.testing.assert_close(blank[index, :t].sum(1), torch.ones(t, dtype=torch.float64))
        torch.testing.assert_close(emit[index].sum(0)[:u], torch.ones(u, dtype=torch.float64))
        assert not bool(blank[index, t:].any()) and not bool(emit[index, :, u:].any())


@pytest.mark.skipif(rnnt.torchaudio_functional() is None, reason="torchaudio is not installed")
def test_equals_torchaudio() -> None:
    logits, targets, frames, tokens = batch_of(torch.float32)
    audio = rnnt.torchaudio_functional()
    assert audio is not None
    for clip in range(4):  # torchaudio takes only lengths whose longest fill the lattice
        t, u = int(frames[clip]), int(tokens[clip])
        if u == 0:
            continue
        ours, theirs = (logits[clip : clip + 1, :t, : u + 1].clone().requires_grad_() for _ in range(2))
        lengths = (torch.tensor([t]), torch.tensor([u]))
        loss = rnnt_loss(ours, targets[clip : clip + 1, :u], *lengths)
        expected = audio.rnnt_loss(theirs, targets[clip : clip + 1, :u].int(), *(x.int() for x in lengths), blank=0, reduction="none")
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(torch.autograd.grad(loss.sum(), ours)[0], torch.autograd.grad(expected.sum(), theirs)[0])


@pytest.mark.parametrize(
    ("frames", "tokens", "said"), [([0], [2], "lengths lie outside"), ([3], [2], "lengths lie outside"), ([2], [3], "lengths lie outside")]
)
def test_lengths_outside_the_lattice_are_refused(frames: list[int], tokens: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rnnt_loss(torch.zeros(1, 2, 3, 4), torch.ones(1, 2, dtype=torch.int64), torch.tensor(frames), torch.tensor(tokens))
    with pytest.raises(ValueError, match="does not fit"):
        rnnt_loss(torch.zeros(1, 2, 2, 4), torch.ones(1, 2, dtype=torch.int64), torch.tensor([2]), torch.tensor([2]))
