"""Decoding without torch: the published worked examples, agreement with a loop over single frames, and with sums over all alignments."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from emoser.models.transducer import (
    BLANK,
    Piece,
    aligned,
    beam_search,
    greedy,
    lattice,
    mean_over,
    pieces_of,
    posteriors,
    shares,
    text_of,
    words_of,
)
from emoser.models.transducer import Hypothesis as Found


class Formula:
    """A network that is a function of the frame's number and the last token, and counts how often it is asked."""

    def __init__(self, tokens: Any, emotions: Any, vocabulary: int) -> None:
        self.tokens, self.emotions, self.vocabulary = tokens, emotions, vocabulary
        self.calls = 0

    def start(self) -> Any:
        return np.zeros((1, 1, 1)), np.zeros((1, 1, 1))

    def step(self, tokens: Any, state: Any) -> Any:
        return tokens[:, None].astype(float), (np.zeros((1, len(tokens), 1)), np.zeros((1, len(tokens), 1)))

    def node(self, frames: Any, steps: Any) -> Any:
        self.calls += 1
        assert len(frames) == len(steps)
        t, y = frames[:, :1], steps[:, :1]
        return self.tokens(t, y, np.arange(self.vocabulary)[None, :]), self.emotions(t, y, np.arange(4)[None, :])


def emotion(t: Any, y: Any, c: Any) -> Any:
    return np.sin(1.1 * t + 0.6 * y + 1.9 * c)


def first() -> Formula:
    return Formula(lambda t, y, v: 2 * np.sin(0.9 * t + 1.7 * y + 2.3 * v + 0.4), emotion, 4)


def second() -> Formula:
    return Formula(lambda t, y, v: np.where(v == 0, 1.2, 0) + 1.5 * np.sin(1.3 * t + 2.1 * y + 0.9 * v), emotion, 4)


FRAMES = np.arange(8.0)[:, None]

GOLDEN = [  # cap 1 and 2 with the state mended, then the second example
    (first, 1, [3, 3, 3, 2, 2, 2], [0, 3, 2, 1, 1, 1, 0, 3]),
    (first, 2, [3, 1, 2, 1, 2, 1, 1, 1, 1, 1, 3, 2, 2, 2, 2, 2], [1, 0, 3, 2, 2, 1, 0, 3]),
    (second, 3, [2, 3, 2, 3, 3, 3, 3, 3, 3, 3], [0, 3, 2, 1, 1, 0, 3, 2]),
]


class Memory:
    """A random network with a recurrent state: a step depends on all tokens before it."""

    def __init__(self, seed: int, vocabulary: int = 6, quiet: float = 0.0) -> None:
        random = np.random.default_rng(seed)
        self.embed = random.standard_normal((vocabulary, 5))
        self.turn = random.standard_normal((5, 5)) / 2
        self.frames, self.steps = random.standard_normal((7, 8)), random.standard_normal((5, 8))
        self.tokens, self.emotions = random.standard_normal((8, vocabulary)) * 2, random.standard_normal((8, 4))
        self.quiet = quiet
        self.nodes = self.moves = 0

    def start(self) -> Any:
        return np.zeros((1, 1, 5)), np.zeros((1, 1, 5))

    def step(self, tokens: Any, state: Any) -> Any:
        self.moves += 1
        hidden = np.tanh(self.embed[tokens] + state[0][0] @ self.turn)
        return hidden, (hidden[None], state[1])

    def node(self, frames: Any, steps: Any) -> Any:
        self.nodes += 1
        inner = np.tanh(frames @ self.frames + steps @ self.steps)
        logits = inner @ self.tokens
        logits[:, BLANK] += self.quiet
        return logits, inner @ self.emotions


def one_by_one(network: Any, frames: Any, cap: int) -> tuple[list[int], list[int], list[int], list[Any]]:
    """The same search, node by node: tokens, their frames, counts when frames are left, emotions there."""
    tokens: list[int] = []
    places: list[int] = []
    counts: list[int] = []
    read: list[Any] = []
    step, state = network.step(np.array([BLANK]), network.start())
    for t in range(len(frames)):
        for _ in range(cap):
            best = int(network.node(frames[t : t + 1], step)[0].argmax())
            if best == BLANK:
                break
            tokens.append(best)
            places.append(t)
            step, state = network.step(np.array([best]), state)
        counts.append(len(tokens))
        read.append(network.node(frames[t : t + 1], step)[1][0])
    return tokens, places, counts, read


# greedy


@pytest.mark.parametrize(("make", "cap", "tokens", "emotions"), GOLDEN)
def test_golden_greedy(make: Any, cap: int, tokens: list[int], emotions: list[int]) -> None:
    found = greedy(make(), FRAMES, cap=cap)
    assert list(found.tokens) == tokens
    assert found.emotions.argmax(1).tolist() == emotions


@pytest.mark.parametrize("cap", [1, 3, 32])
@pytest.mark.parametrize("quiet", [-1.0, 1.0, 3.0, 6.0])
def test_greedy_is_the_loop_over_single_frames(quiet: float, cap: int) -> None:
    for seed in range(8):
        frames = np.random.default_rng(100 + seed).standard_normal((int(3 + 9 * seed), 7))
        network = Memory(seed, quiet=quiet)
        found = greedy(network, frames, cap=cap)
        tokens, places, counts, read = one_by_one(Memory(seed, quiet=quiet), frames, cap)
        assert list(found.tokens) == tokens and list(found.places) == places and found.counts.tolist() == counts
        np.testing.assert_allclose(found.emotions, read, atol=1e-12)
        assert found.steps.shape == (len(tokens) + 1, 5) and network.moves == len(tokens) + 1


def test_greedy_asks_seldom_where_little_is_said() -> None:
    frames = np.random.default_rng(0).standard_normal((500, 7))
    network = Memory(0, quiet=30.0)
    assert greedy(network, frames).tokens == () and network.nodes < 8 and network.moves == 1


def test_greedy_scores_its_own_way_and_keeps_to_the_most() -> None:
    network, frames = Memory(3, quiet=1.0), np.random.default_rng(1).standard_normal((9, 7))
    found = greedy(network, frames, cap=4)
    score, u = 0.0, 0
    for t, left in enumerate(found.counts):
        while True:
            logits, _ = network.node(frames[t : t + 1], found.steps[u : u + 1])
            logs = logits[0] - np.log(np.exp(logits[0]).sum())
            score += logs[BLANK if u == left else found.tokens[u]]
            if u == left:
                break
            u += 1
    assert found.score == pytest.approx(score)
    assert len(found.tokens) > 3
    short = greedy(network, frames, cap=4, most=3)
    assert short.tokens == found.tokens[:3] and len(short.counts) == 9 and short.emotions.shape == (9, 4)
    assert short.counts[-1] == 3
    nothing = greedy(network, frames[:0])
    assert nothing.tokens == () and len(nothing.counts) == 0 and nothing.steps.shape == (1, 5)


# the lattice of a text


def alignments(frames: int, tokens: int) -> list[tuple[int, ...]]:
    """Every way: after how many tokens each frame is left."""
    return [counts for counts in itertools.combinations_with_replacement(range(tokens + 1), frames) if counts[-1] == tokens]


def way_score(blank: Any, emit: Any, counts: tuple[int, ...]) -> float:
    total, u = 0.0, 0
    for t, left in enumerate(counts):
        total += emit[t, u:left].sum() + blank[t, left]
        u = left
    return float(total)


@pytest.mark.parametrize(("frames", "tokens"), [(1, 0), (1, 3), (5, 0), (4, 3), (3, 5)])
def test_shares_and_alignment_by_brute_force(frames: int, tokens: int) -> None:
    random = np.random.default_rng(frames)
    blank, emit = np.log(random.random((frames, tokens + 1))), np.log(random.random((frames, tokens)))
    ways = alignments(frames, tokens)
    scores = np.array([way_score(blank, emit, way) for way in ways])
    weights = np.exp(scores - np.logaddexp.reduce(scores))
    expected = np.zeros((frames, tokens + 1))
    for way, weight in zip(ways, weights, strict=True):
        expected[np.arange(frames), way] += weight
    np.testing.assert_allclose(shares(blank, emit), expected, atol=1e-12)
    np.testing.assert_allclose(shares(blank, emit).sum(1), 1)
    assert aligned(blank, emit).tolist() == list(ways[int(scores.argmax())])
    with pytest.raises(ValueError, match="emit has a column less"):
        shares(blank, blank)


def test_shares_of_long_and_certain_lattices_stay_finite() -> None:
    random = np.random.default_rng(0)
    blank, emit = -60 * random.random((400, 121)), -60 * random.random((400, 120))
    found = shares(blank, emit)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-8)
    counts = aligned(blank, emit)
    assert bool((np.diff(counts) >= 0).all()) and counts[-1] == 120


def test_posteriors_are_the_emotions_of_all_nodes_by_their_shares() -> None:
    network, frames = Memory(5), np.random.default_rng(2).standard_normal((6, 7))
    whole = lattice(network, frames, [1, 3, 2])
    split = lattice(network, frames, [1, 3, 2], nodes_at_once=8)
    for name in ("blank", "emit", "emotions"):
        np.testing.assert_allclose(getattr(split, name), getattr(whole, name), atol=1e-12)
    assert whole.blank.shape == (6, 4) and whole.emit.shape == (6, 3) and whole.emotions.shape == (6, 4, 4)
    found = posteriors(whole, temperature=1.7)
    np.testing.assert_allclose(found.sum(1), 1)
    weights = shares(whole.blank, whole.emit)
    scaled = np.exp(whole.emotions / 1.7)
    np.testing.assert_allclose(found, (weights[..., None] * scaled / scaled.sum(2, keepdims=True)).sum(1))
    silent = lattice(network, frames, [])
    np.testing.assert_allclose(shares(silent.blank, silent.emit), 1)


# beam search


def exhaustive(network: Any, frames: Any, longest: int, vocabulary: int) -> dict[tuple[int, ...], float]:
    """Log-probability of every token sequence of at most `longest` tokens."""
    found = {}
    for size in range(longest + 1):
        for tokens in itertools.product(range(1, vocabulary), repeat=size):
            nodes = lattice(network, frames, tokens)
            scores = [way_score(nodes.blank, nodes.emit, way) for way in alignments(len(frames), size)]
            found[tokens] = float(np.logaddexp.reduce(scores))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_finds_the_most_probable_text_and_its_probability(seed: int) -> None:
    frames = np.random.default_rng(seed).standard_normal((3, 7))
    network = Memory(seed, vocabulary=3, quiet=2.0)
    every = exhaustive(network, frames, 5, 3)
    found = beam_search(network, frames, beam=400, cap=5)
    best = max(every, key=lambda tokens: every[tokens])
    assert found.tokens == best and found.score == pytest.approx(every[best])
    nodes = lattice(network, frames, found.tokens)
    assert found.counts.tolist() == aligned(nodes.blank, nodes.emit).tolist()
    np.testing.assert_allclose(found.emotions, nodes.emotions[np.arange(3), found.counts])


def test_a_beam_is_no_worse_than_greedy() -> None:
    better = 0
    for seed in range(12):
        network, frames = Memory(seed, quiet=2.5), np.random.default_rng(seed).standard_normal((12, 7))
        found = [greedy(network, frames, cap=4), beam_search(network, frames, beam=6, cap=4)]
        logs = []
        for item in found:
            nodes = lattice(network, frames, item.tokens)
            ways = shares(nodes.blank, nodes.emit)
            assert bool(np.isfinite(ways).all())
            logs.append(_total(nodes))
        assert logs[1] >= logs[0] - 1e-9
        better += logs[1] > logs[0] + 1e-9
    assert better > 0


def _total(nodes: Any) -> float:
    frames, columns = nodes.blank.shape
    row = np.full(columns, -np.inf)
    row[0] = 0
    for t in range(frames):
        for u in range(1, columns):
            row[u] = np.logaddexp(row[u], row[u - 1] + nodes.emit[t, u - 1])
        row = row + nodes.blank[t]
    return float(row[-1])


# text

SYMBOLS = ["<blank>", "<unk>", " ", "A", "B", "<sos/eos>"]


def test_text_stops_at_the_end_and_shows_what_is_unknown() -> None:
    assert text_of([3, 4, 2, 2, 1, 5, 3], SYMBOLS) == "AB <unk>"
    assert text_of([], SYMBOLS) == "" and text_of([5], SYMBOLS) == ""


def hypothesis(tokens: tuple[int, ...], places: tuple[int, ...]) -> Found:
    return Found(tokens, places, np.zeros(9, np.int64), np.zeros((9, 2)), np.zeros((len(tokens) + 1, 1)), 0.0)


def test_words_reach_from_their_first_token_to_their_last() -> None:
    pieces = pieces_of(hypothesis((3, 4, 2, 3, 5, 3), (0, 2, 3, 6, 7, 8)), SYMBOLS)
    assert [piece.text for piece in pieces] == ["A", "B", " ", "A"]  # nothing after the end
    assert words_of(pieces) == [Piece("AB", 0, 3), Piece("A", 6, 7)]
    parts = [Piece("▁GO", 1, 2), Piece("ING", 1, 2), Piece("▁", 3, 4), Piece("ON", 5, 6)]
    assert words_of(parts) == [Piece("GOING", 1, 2), Piece("ON", 5, 6)]
    assert words_of([]) == [] and words_of([Piece(" ", 0, 1)]) == []


def test_words_carry_the_mean_of_their_frames() -> None:
    frames = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    np.testing.assert_allclose(mean_over([Piece("A", 0, 2), Piece("B", 2, 3)], frames), [[0.75, 0.25], [0.0, 1.0]])
    assert mean_over([], frames).shape == (0, 2)


@pytest.mark.parametrize("seed", range(20))
def test_words_follow_each_other(seed: int) -> None:
    random = np.random.default_rng(seed)
    places = np.sort(random.integers(0, 60, size=40))
    pieces = [Piece(" A"[int(random.integers(2))], int(place), int(place) + 1) for place in places]
    letters = "".join(piece.text for piece in pieces)
    words = words_of(pieces)
    assert [word.text for word in words] == letters.split()
    assert all(0 <= word.start < word.end <= 60 for word in words)
    for one, other in itertools.pairwise(words):
        assert one.start <= other.start and one.end <= other.end
        if other.start < one.end:  # there are more words than frames from the one before them to their end
            crowd = [word for word in words if word.start < other.end and one.start < word.end]
            before = max([word.end for word in words if word.end <= crowd[0].start], default=0)
            assert crowd[-1].end - before < len(crowd)
