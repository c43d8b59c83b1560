"""The published decoding loop by its worked examples, and that the package's decoder and the batched one give what it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_network import TorchNetwork

from emoser.models.transducer import aligned, beam_search, greedy, lattice, shares
from training.systems.transducer.decode import frame_by_frame, greedy_batch, padded_tokens
from training.systems.transducer.networks import ENT, FENT, Sizes, Transducer
from training.systems.transducer.rnnt import lattice as lattice_of_training
from training.systems.transducer.rnnt import log_probabilities, occupancy

SIZES = Sizes(vocabulary=7, layers=2, width=10, hidden=6, predictor=5, inner=8)


class Formula:
    def __init__(self, tokens: Any) -> None:
        self.tokens = tokens

    def start(self) -> Any:
        return np.zeros(0), np.zeros(0)

    def step(self, tokens: Any, state: Any) -> Any:
        return tokens[:, None].astype(float), state

    def node(self, frames: Any, steps: Any) -> Any:
        t, y, v = frames[:, :1], steps[:, :1], np.arange(4)[None, :]
        return self.tokens(t, y, v), np.sin(1.1 * t + 0.6 * y + 1.9 * v)


FIRST = Formula(lambda t, y, v: 2 * np.sin(0.9 * t + 1.7 * y + 2.3 * v + 0.4))
SECOND = Formula(lambda t, y, v: np.where(v == 0, 1.2, 0) + 1.5 * np.sin(1.3 * t + 2.1 * y + 0.9 * v))
FRAMES = np.arange(8.0)[:, None]


@pytest.mark.parametrize(
    ("cap", "tokens", "published", "mended"),
    [
        (1, [3, 3, 3, 2, 2, 2], [1, 3, 2, 1, 1, 1, 0, 3], [0, 3, 2, 1, 1, 1, 0, 3]),
        (2, [3, 1, 2, 1, 2, 1, 1, 1, 1, 1, 3, 2, 2, 2, 2, 2], [0, 3, 2, 2, 2, 0, 0, 3], [1, 0, 3, 2, 2, 1, 0, 3]),
    ],
)
def test_golden_walks(cap: int, tokens: list[int], published: list[int], mended: list[int]) -> None:
    for as_published, expected in ((True, published), (False, mended)):
        found = frame_by_frame(FIRST, FRAMES, cap, as_published)
        assert found.tokens == tokens and found.emotions.argmax(1).tolist() == expected


def test_golden_visits() -> None:
    found = frame_by_frame(SECOND, FRAMES, 3, as_published=True)
    visits = "002 023 032 123 130 230 333 333 333 433 433 433 530 630 730"
    assert " ".join("".join(map(str, visit)) for visit in found.visits) == visits
    assert found.tokens == [2, 3, 2, 3, 3, 3, 3, 3, 3, 3] and found.emotions.argmax(1).tolist() == [0, 3, 2, 1, 1, 0, 3, 2]


def model(kind: type[Transducer], blank: float, seed: int = 0) -> Transducer:
    torch.manual_seed(seed)
    made = kind(SIZES).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4)  # so that what is decoded varies
        bias = made.joint.output.bias if isinstance(made, ENT) else made.blank_joint.output.bias
        bias[0] += blank
    return made


def clips() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, 4, 30, 10, generator=generator), torch.tensor([30, 1, 17, 26])


@pytest.mark.parametrize("blank", [-6.0, -3.0, 0.0])
@pytest.mark.parametrize("kind", [ENT, FENT])
def test_all_decoders_agree(kind: type[Transducer], blank: float) -> None:
    made = model(kind, blank)
    network = TorchNetwork(made)
    hidden, lengths = clips()
    together = greedy_batch(made, hidden, lengths, cap=5)
    assert sum(map(len, together.tokens)) > 3
    for index, length in enumerate(lengths.tolist()):
        frames = made.frames(hidden[:, index : index + 1, :length], lengths[index : index + 1])[0].detach().numpy()
        slow, fast = frame_by_frame(network, frames, 5), greedy(network, frames, cap=5)
        assert list(fast.tokens) == slow.tokens == together.tokens[index]
        assert list(fast.places) == slow.places == together.places[index]
        np.testing.assert_allclose(fast.emotions, slow.emotions, atol=1e-4)
        np.testing.assert_allclose(together.emotions[index, :length], slow.emotions, atol=1e-4)
        assert not bool(together.emotions[index, length:].any())
        tokens, counts = padded_tokens([slow.tokens])
        head = made(hidden[:, index : index + 1, :length], lengths[index : index + 1], tokens, counts).head
        np.testing.assert_allclose(together.logits[index], head[0].detach(), atol=1e-4)
        logits, _ = made.utterance(torch.from_numpy(frames.mean(0)), torch.from_numpy(fast.steps.mean(0)))
        np.testing.assert_allclose(logits.detach(), head[0].detach(), atol=1e-4)


@pytest.mark.parametrize("kind", [ENT, FENT])
def test_the_packages_lattice_is_that_of_training(kind: type[Transducer]) -> None:
    made = model(kind, 0.0)
    hidden, _ = clips()
    length, tokens = torch.tensor([9]), torch.tensor([[2, 5, 1]])
    nodes = made(hidden[:, :1, :9], length, tokens, torch.tensor([3]))
    frames = made.frames(hidden[:, :1, :9], length)[0].detach().numpy()
    found = lattice(TorchNetwork(made), frames, [2, 5, 1])
    blank, emit = log_probabilities(nodes.tokens.detach(), tokens)
    np.testing.assert_allclose(found.blank, blank[0], atol=1e-4)
    np.testing.assert_allclose(found.emit, emit[0], atol=1e-4)
    np.testing.assert_allclose(found.emotions, nodes.emotions[0].detach(), atol=1e-4)
    edges = (blank, emit, length, torch.tensor([3]))
    taken, _ = occupancy(lattice_of_training(*edges), *edges)
    np.testing.assert_allclose(shares(found.blank, found.emit), taken[0], atol=1e-4)
    assert aligned(found.blank, found.emit)[-1] == 3


def test_a_beam_searches_a_training_module() -> None:
    made = model(FENT, 0.0)
    hidden, lengths = clips()
    frames = made.frames(hidden[:, :1], lengths[:1])[0].detach().numpy()
    network = TorchNetwork(made)
    assert beam_search(network, frames, beam=4, cap=3).score > greedy(network, frames, cap=3).score


def test_tokens_in_all_are_bounded() -> None:
    made = model(ENT, -2.0)
    hidden, lengths = clips()
    found = greedy_batch(made, hidden, lengths, cap=5, most=4)
    whole = greedy_batch(made, hidden, lengths, cap=5)
    assert max(map(len, whole.tokens)) > 4
    assert [tokens[:4] for tokens in whole.tokens] == found.tokens
    assert bool(found.emotions[0, :30].any(1).all())
