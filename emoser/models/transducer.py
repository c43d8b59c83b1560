"""Decoding an emotion transducer (ENT and FENT: Shen et al., ICASSP 2024, arXiv 2403.19224) with NumPy alone.

A lattice has a node for each frame t and each count u of tokens emitted so far. At a node the joint gives logits of tokens, of which 0 is
blank: leave the frame; and logits of emotions. A decoded clip leaves each frame at one node, and the paper reads the frame's emotion there.

The network is asked through three calls, so that its parts may be ONNX, TorchScript or anything else. What a frame or a step consists of is
the network's own business: here they are vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
State = tuple[Floats, Floats]  # of the predictor: hidden and cell, (layers, n, width) each

BLANK = 0
CAP = 32  # tokens in one frame, at most (the published decoder's)
LOOK = 8  # frames whose joints are evaluated at once after a token; doubled as long as none comes
SPACE = "▁"  # how a piece of sentencepiece writes the space before it


class Network(Protocol):
    """The parts of a transducer after its encoder."""

    def start(self) -> State:
        """The predictor's state before anything is known, for one clip."""
        ...

    def step(self, tokens: NDArray[np.int64], state: State) -> tuple[Floats, State]:
        """One more token for each of n clips: `tokens` (n,) -> steps (n, width) and the state after them. The first token is blank."""
        ...

    def node(self, frames: Floats, steps: Floats) -> tuple[Floats, Floats]:
        """n frames and n steps -> raw logits of tokens (n, vocabulary), blank first, and of emotions (n, classes)."""
        ...


Part = Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]  # a graph: named arrays -> named arrays


@dataclass(frozen=True)
class Parts:
    """The graphs of a checkpoint; a `Network` by its predictor and its joint.

    encoder: `waveform` (batch, samples), `lengths` (batch,) -> `states` (batch, T, hidden), `frame_lengths` (batch,), `starts` (batch,):
        the frame of the clip's time axis where the first one stands, for silence before it is cut. Nothing in it is the transducer's own.
    frames: `states`, `frame_lengths` -> `frames` (batch, T, width).
    predictor: `tokens` (batch,), `hidden` and `cell` (layers, batch, state) -> `steps` (batch, width), `hidden_after`, `cell_after`.
    joint: `frames` (n, width), `steps` (n, width) -> `tokens` (n, vocabulary), `emotions` (n, classes), raw logits.
    head: the mean `frames` (batch, width) and the mean `steps` (batch, width) of clips -> `logits` (batch, classes), `embedding`.
    """

    encoder: Part
    frames: Part
    predictor: Part
    joint: Part
    head: Part
    layers: int  # of the predictor's state
    state: int

    def start(self) -> State:
        zeros = np.zeros((self.layers, 1, self.state), np.float32)
        return zeros, zeros

    def step(self, tokens: NDArray[np.int64], state: State) -> tuple[Floats, State]:
        found = self.predictor({"tokens": tokens, "hidden": state[0], "cell": state[1]})
        return found["steps"], (found["hidden_after"], found["cell_after"])

    def node(self, frames: Floats, steps: Floats) -> tuple[Floats, Floats]:
        found = self.joint({"frames": np.ascontiguousarray(frames), "steps": np.ascontiguousarray(steps)})
        return found["tokens"], found["emotions"]


@dataclass(frozen=True)
class Hypothesis:
    """What was said in a clip of T frames, and where.

    tokens: their ids, U of them. places: the frame in which each was emitted. counts: (T,) tokens emitted when each frame was left.
    emotions: (T, classes) raw logits at these nodes. steps: (U + 1, width) of the predictor, the first having seen no token.
    score: log-probability; of this way through the lattice where greedy, of all ways that the beam saw otherwise.
    """

    tokens: tuple[int, ...]
    places: tuple[int, ...]
    counts: NDArray[np.int64]
    emotions: Floats
    steps: Floats
    score: float


@dataclass(frozen=True)
class Piece:
    """A token or a word: text, first frame and the frame after its last one."""

    text: str
    start: int
    end: int


def greedy(network: Network, frames: Floats, *, cap: int = CAP, most: int | None = None) -> Hypothesis:
    """The best token at each node, frame by frame: what the published decoder gives, with far fewer calls.

    frames: (T, width). cap: tokens in one frame, at most. most: tokens in all, at most; then every further frame is left at once.

    Between two tokens the predictor stands still, so the joints of the frames ahead are evaluated together, up to the first that emits.
    A frame left because of `cap` is read after its last token, as every other frame is; the published decoder reads it before that.
    """
    most = cap * len(frames) if most is None else most
    step, state = network.step(np.array([BLANK]), network.start())
    tokens: list[int] = []
    places: list[int] = []
    steps = [step[0]]
    counts = np.zeros(len(frames), np.int64)
    emotions: list[Floats] = []
    score, t, in_frame, look = 0.0, 0, 0, LOOK
    while t < len(frames):
        block = frames[t : t + look] if len(tokens) < most else frames[t:]
        logits, read = _nodes(network, block, step)
        best = logits.argmax(1)
        if len(tokens) >= most:
            best = np.full(len(block), BLANK)
        emitting = np.flatnonzero(best != BLANK)
        silent = int(emitting[0]) if len(emitting) else len(block)
        emotions.append(read[:silent])
        counts[t : t + silent] = len(tokens)
        score += float(_log_softmax(logits[:silent])[:, BLANK].sum())
        t, in_frame, look = t + silent, 0 if silent else in_frame, 2 * look
        if silent == len(block):
            continue
        token, look = int(best[silent]), LOOK
        score += float(_log_softmax(logits[silent : silent + 1])[0, token])
        tokens.append(token)
        places.append(t)
        step, state = network.step(np.array([token]), state)
        steps.append(step[0])
        in_frame += 1
        if in_frame == cap:
            logits, read = _nodes(network, frames[t : t + 1], step)
            emotions.append(read)
            counts[t] = len(tokens)
            score += float(_log_softmax(logits)[0, BLANK])
            t, in_frame = t + 1, 0
    found = np.concatenate(emotions) if emotions else np.zeros((0, 0))
    return Hypothesis(tuple(tokens), tuple(places), counts, found, np.stack(steps), score)


@dataclass
class _Beam:
    """A prefix while it is searched: its score over all ways seen, the best single way and its score, and the predictor after it."""

    tokens: tuple[int, ...]
    score: float
    way: tuple[int, ...]
    way_score: float
    steps: tuple[Floats, ...]
    state: State


def beam_search(network: Network, frames: Floats, *, beam: int = 8, cap: int = 4) -> Hypothesis:
    """The most probable token sequence that a beam finds, ways to the same tokens added up (time-synchronous; Saon et al. 2020, "Alignment-
    length synchronous decoding for RNN transducer", section 2, calls it TSD).

    beam: prefixes that are kept. cap: tokens in one frame, at most. Places and emotions are those of the best single way to the tokens.
    """
    step, state = network.step(np.array([BLANK]), network.start())
    kept = [_Beam((), 0.0, (), 0.0, (step[0],), state)]
    for t, frame in enumerate(frames):
        left: dict[tuple[int, ...], _Beam] = {}
        active = kept
        for emitted in range(cap + 1):
            logits, _ = network.node(np.repeat(frame[None], len(active), 0), np.stack([item.steps[-1] for item in active]))
            logs = _log_softmax(logits)
            for item, row in zip(active, logs, strict=True):
                _merge(left, item, float(row[BLANK]))
            if emitted == cap:
                break
            worst = sorted((item.score for item in left.values()), reverse=True)[:beam][-1] if len(left) >= beam else -np.inf
            scores = np.array([item.score for item in active])[:, None] + logs
            scores[:, BLANK] = -np.inf
            chosen = [int(index) for index in np.argsort(-scores, axis=None, kind="stable")[:beam] if scores.flat[index] > worst]
            if not chosen:
                break  # nothing that leaves this frame later could be kept
            active = _extended(network, active, chosen, logs, t)
        kept = sorted(left.values(), key=lambda item: -item.score)[:beam]
    best = kept[0]
    counts = np.searchsorted(np.array(best.way), np.arange(len(frames)), side="right").astype(np.int64)
    steps = np.stack(best.steps)
    emotions = network.node(frames, steps[counts])[1] if len(frames) else np.zeros((0, 0))
    return Hypothesis(best.tokens, best.way, counts, emotions, steps, best.score)


def _merge(left: dict[tuple[int, ...], _Beam], item: _Beam, blank: float) -> None:
    """Puts `item` among the prefixes that left the frame, where it may meet itself."""
    score, way_score = item.score + blank, item.way_score + blank
    other = left.get(item.tokens)
    if other is None:
        left[item.tokens] = _Beam(item.tokens, score, item.way, way_score, item.steps, item.state)
        return
    other.score = float(np.logaddexp(other.score, score))
    if way_score > other.way_score:
        other.way, other.way_score = item.way, way_score


def _extended(network: Network, active: Sequence[_Beam], chosen: Sequence[int], logs: Floats, t: int) -> list[_Beam]:
    """The prefixes one token longer: `chosen` are flat indices into `logs` (prefixes, vocabulary)."""
    pairs = [divmod(index, logs.shape[1]) for index in chosen]
    parents = [active[row] for row, _ in pairs]
    hidden = np.concatenate([item.state[0] for item in parents], axis=1)
    cell = np.concatenate([item.state[1] for item in parents], axis=1)
    steps, (hidden, cell) = network.step(np.array([token for _, token in pairs]), (hidden, cell))
    return [
        _Beam(
            (*item.tokens, token),
            item.score + float(logs[row, token]),
            (*item.way, t),
            item.way_score + float(logs[row, token]),
            (*item.steps, steps[index]),
            (hidden[:, index : index + 1], cell[:, index : index + 1]),
        )
        for index, (item, (row, token)) in enumerate(zip(parents, pairs, strict=True))
    ]


@dataclass(frozen=True)
class Heard:
    """A decoded clip: what was said and where, raw logits (classes,) of its emotion, the embedding (dim,) that they are read from, its
    frames (T, width), and the frame of its time axis at which the first one stands."""

    hypothesis: Hypothesis
    logits: Floats
    embedding: Floats
    frames: Floats
    start: int


def hear(
    parts: Parts, waveform: NDArray[np.float32], lengths: NDArray[np.int64], search: Callable[..., Hypothesis] = greedy
) -> list[Heard]:
    """Decodes a batch: `waveform` (batch, samples), each row padded with zeros to the right of its `lengths` (batch,) samples.

    search: `greedy`, `beam_search`, or either with its options bound.
    """
    found = parts.encoder({"waveform": waveform, "lengths": lengths})
    read = parts.frames({"states": found["states"], "frame_lengths": found["frame_lengths"]})["frames"]
    clips = [frames[:count] for frames, count in zip(read, found["frame_lengths"], strict=True)]
    hypotheses = [search(parts, frames) for frames in clips]
    # A click in a clip's last few milliseconds may leave no frame at all: its mean is then of nothing, 0.
    means = [frames.mean(0) if len(frames) else np.zeros(read.shape[2], np.float32) for frames in clips]
    steps = [item.steps.mean(0) for item in hypotheses]
    said = parts.head({"frames": np.stack(means).astype(np.float32), "steps": np.stack(steps).astype(np.float32)})
    rows = zip(hypotheses, said["logits"], said["embedding"], clips, found["starts"], strict=True)
    return [Heard(item, logits, embedding, frames, int(start)) for item, logits, embedding, frames, start in rows]


# what is read at the nodes once the text is known


@dataclass(frozen=True)
class Lattice:
    """All nodes of a clip with its text: log-probabilities `blank` (T, U + 1) and `emit` (T, U), `emotions` (T, U + 1, classes) raw."""

    blank: Floats
    emit: Floats
    emotions: Floats


def lattice(network: Network, frames: Floats, tokens: Sequence[int], *, nodes_at_once: int = 4096) -> Lattice:
    """The lattice of `tokens` over `frames` (T, width): the predictor steps through the text once."""
    state = network.start()
    steps = []
    for token in (BLANK, *tokens):
        step, state = network.step(np.array([token]), state)
        steps.append(step[0])
    columns = np.stack(steps)
    targets = np.array(tokens, np.int64)
    blank, emit, emotions = [], [], []
    rows = max(1, nodes_at_once // len(columns))
    for start in range(0, len(frames), rows):
        block = frames[start : start + rows]
        logits, read = network.node(np.repeat(block, len(columns), 0), np.tile(columns, (len(block), 1)))
        logs = _log_softmax(logits).reshape(len(block), len(columns), -1)
        blank.append(logs[:, :, BLANK])
        emit.append(np.take_along_axis(logs[:, :-1], np.broadcast_to(targets[None, :, None], (len(block), len(targets), 1)), 2)[..., 0])
        emotions.append(read.reshape(len(block), len(columns), -1))
    return Lattice(np.concatenate(blank), np.concatenate(emit), np.concatenate(emotions))


def shares(blank: Floats, emit: Floats) -> NDArray[np.float64]:
    """(T, U + 1): the share of all ways through the lattice that leave frame t after u tokens. Each row sums to 1.

    >>> shares(np.log([[0.5, 0.5], [0.5, 0.5]]), np.log([[0.5], [0.5]])).round(3).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    blank, emitted = _checked(blank, emit)
    frames, nodes = blank.shape
    # The ways from node u to node k of a frame emit what lies between: a difference of sums from the first node on.
    after = np.full((frames + 1, nodes), -np.inf)  # of all ways on from a node to the end; the row below the last frame is the end
    after[frames, -1] = 0.0
    for t in reversed(range(frames)):
        ways = blank[t] + after[t + 1] + emitted[t]
        after[t] = np.logaddexp.accumulate(ways[::-1])[::-1] - emitted[t]
    before = np.full((frames, nodes), -np.inf)
    arrived = np.where(np.arange(nodes) == 0, 0.0, -np.inf)
    for t in range(frames):
        before[t] = np.logaddexp.accumulate(arrived - emitted[t]) + emitted[t]
        arrived = before[t] + blank[t]
    return np.asarray(np.exp(before + blank + after[1:] - after[0, 0]))


def aligned(blank: Floats, emit: Floats) -> NDArray[np.int64]:
    """(T,): after how many tokens each frame is left on the most probable single way through the lattice.

    >>> aligned(np.log([[0.1, 0.9], [0.5, 0.5]]), np.log([[0.9], [0.5]])).tolist()
    [1, 1]
    """
    blank, emitted = _checked(blank, emit)
    frames, nodes = blank.shape
    came_by_token = np.zeros((frames, nodes), np.bool_)
    arrived = np.where(np.arange(nodes) == 0, 0.0, -np.inf)
    for t in range(frames):
        ways = arrived - emitted[t]
        best = np.maximum.accumulate(ways)
        came_by_token[t] = best > ways
        arrived = best + emitted[t] + blank[t]
    counts = np.zeros(frames, np.int64)
    u = nodes - 1
    for t in reversed(range(frames)):
        counts[t] = u
        while came_by_token[t, u]:
            u -= 1
    return counts


def _checked(blank: Floats, emit: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`blank`, and the sums of `emit` up to each node, (T, U + 1) both."""
    frames, nodes = blank.shape
    if emit.shape != (frames, nodes - 1):
        raise ValueError(f"blank {blank.shape} and emit {emit.shape} are of no one lattice: emit has a column less")
    return blank.astype(np.float64), np.pad(emit.astype(np.float64).cumsum(1), ((0, 0), (1, 0)))


def posteriors(found: Lattice, temperature: float = 1.0) -> NDArray[np.float64]:
    """(T, classes): the emotions of each frame, over all nodes at which it may be left, weighted by `shares`. Each row sums to 1."""
    probabilities = np.exp(_log_softmax(found.emotions / temperature))
    return np.asarray(np.einsum("tu,tuc->tc", shares(found.blank, found.emit), probabilities))


# text


def text_of(tokens: Sequence[int], symbols: Sequence[str]) -> str:
    """Tokens as text, up to the last symbol, which ends it; pieces of sentencepiece or single characters.

    >>> text_of([3, 4, 3, 5, 4], ["<blank>", "<unk>", " ", "▁A", "B", "<sos/eos>"])
    'AB A'
    """
    end = len(symbols) - 1
    tokens = list(tokens)
    cut = tokens[: tokens.index(end)] if end in tokens else tokens
    return " ".join("".join(symbols[token] for token in cut).replace(SPACE, " ").split())


def pieces_of(found: Hypothesis, symbols: Sequence[str]) -> list[Piece]:
    """The tokens of a hypothesis, each in its frame."""
    end = len(symbols) - 1
    pairs = zip(found.tokens, found.places, strict=True)
    pieces = []
    for token, place in pairs:
        if token == end:
            break
        pieces.append(Piece(symbols[token], place, place + 1))
    return pieces


def words_of(pieces: Sequence[Piece]) -> list[Piece]:
    """Tokens -> words: a space, or a piece that begins with one, starts a new word. A word reaches from its first token to its last; words
    that were written in the same frames share their time (`spread`).

    >>> words_of([Piece("A", 0, 1), Piece("B", 2, 3), Piece(" ", 3, 4), Piece("C", 5, 6)])
    [Piece(text='AB', start=0, end=3), Piece(text='C', start=5, end=6)]
    """
    starts = [i for i, piece in enumerate(pieces) if i == 0 or piece.text.startswith((" ", SPACE))]
    words = []
    for start, stop in pairwise([*starts, len(pieces)]):
        own = [piece for piece in pieces[start:stop] if piece.text.strip(" " + SPACE)]
        if own:
            words.append(Piece("".join(piece.text for piece in own).strip(" " + SPACE), own[0].start, own[-1].end))
    return spread(words)


def spread(words: Sequence[Piece]) -> list[Piece]:
    """Words in their order, none over another: a transducer may hold words back and write several in one frame, so these divide the time
    that they have together, and as much of the pause before it as one frame each needs, by their numbers of letters. Where there are fewer
    frames than words, they keep the same ones.

    >>> for word in spread([Piece("BY", 5, 8), Piece("THE", 7, 8), Piece("SEA", 7, 8), Piece("NOW", 9, 10)]):
    ...     print(word.text, word.start, word.end)
    BY 5 6
    THE 6 7
    SEA 7 8
    NOW 9 10
    """
    found: list[Piece] = []
    waiting = list(words)
    while waiting:
        count, end = 1, waiting[0].end
        while count < len(waiting) and waiting[count].start < end:
            end = max(end, waiting[count].end)
            count += 1
        together, waiting = waiting[:count], waiting[count:]
        start = max(found[-1].end if found else 0, min(together[0].start, end - count))
        frames, letters = end - start, sum(len(word.text) for word in together)
        if count == 1 or frames < count:
            found += together
            continue
        before = 0
        edges = [0]
        for number, word in enumerate(together, start=1):
            before += len(word.text)
            edges.append(max(edges[-1] + 1, min(frames - (count - number), round(frames * before / letters))))
        found += [Piece(word.text, start + one, start + other) for word, (one, other) in zip(together, pairwise(edges), strict=True)]
    return found


def mean_over(pieces: Sequence[Piece], frames: Floats) -> NDArray[np.float64]:
    """(pieces, classes): the mean over each piece's own frames of `frames` (T, classes), probabilities say."""
    rows = [frames[piece.start : piece.end].astype(np.float64).mean(0) for piece in pieces]
    return np.stack(rows) if rows else np.zeros((0, frames.shape[1]))


def _nodes(network: Network, frames: Floats, step: Floats) -> tuple[Floats, Floats]:
    return network.node(frames, np.repeat(step, len(frames), 0))


def _log_softmax(logits: Floats) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
