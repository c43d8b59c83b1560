"""Speech in a room, and the same speech without it: what the network learns from.

Every draw depends on the seed and the number of the pair alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.augment import RATE, Chances, Samples, add_noise, change_speed, made_up_room, reverberate, tilt
from training.data import Example, noises, rooms, samples_of
from training.encoders.compact import FRAME_HOP, SILENCE_RATIO

FULL = 29_000  # of 32767: both of a pair are stored as 16 bits, the loudest sample there; level is no matter to who hears them
SHORTEST = RATE // 2  # samples; what is shorter is drawn anew
PAIRS_A_PART = 250


Pair = tuple[NDArray[np.int16], NDArray[np.int16], str]


@dataclass(frozen=True)
class Source:
    """What pairs are drawn from: `chances.room` is how often there is a room at all, the share of made-up ones among them as everywhere."""

    examples: tuple[Example, ...]  # drawn by the square root of their corpus' size
    chances: Chances
    seconds: float
    seed: int
    corpora: Path | None = None
    held_out: bool = False  # every sixth of the rooms alone, for validation; else all others


@dataclass(frozen=True)
class Pairs:
    """`room` and `dry` (pairs, samples) int16, zeros after `lengths` (pairs,); `corpora`: of each, which its speech is of."""

    room: NDArray[np.int16]
    dry: NDArray[np.int16]
    lengths: NDArray[np.int64]
    corpora: NDArray[np.str_]

    def of(self, corpus: str) -> NDArray[np.int64]:
        """The numbers of those of a corpus."""
        return np.flatnonzero(self.corpora == corpus)

    def __len__(self) -> int:
        return len(self.lengths)


def draw(source: Source, count: int, workers: int) -> Pairs:
    """`count` pairs, in as many processes as `workers` says."""
    parts = [range(start, min(start + PAIRS_A_PART, count)) for start in range(0, count, PAIRS_A_PART)]
    samples = round(source.seconds * RATE)
    room, dry = np.zeros((count, samples), np.int16), np.zeros((count, samples), np.int16)
    lengths, corpora = np.zeros(count, np.int64), []
    with ProcessPoolExecutor(workers, initializer=_start, initargs=(source,)) as pool:
        for numbers, found in zip(parts, pool.map(_part, parts), strict=True):
            for number, (wet, clean, corpus) in zip(numbers, found, strict=True):
                room[number, : len(wet)], dry[number, : len(clean)], lengths[number] = wet, clean, len(wet)
                corpora.append(corpus)
    return Pairs(room, dry, lengths, np.array(corpora))


class Drawing:
    """One process's sounds."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.noises = noises(source.corpora)
        every = rooms(source.corpora)
        self.rooms = [room for index, room in enumerate(every) if (index % 6 == 0) == source.held_out]
        corpora = sorted({example.corpus for example in source.examples})
        self.corpora = {corpus: [example for example in source.examples if example.corpus == corpus] for corpus in corpora}
        sizes = np.sqrt([len(examples) for examples in self.corpora.values()])
        self.shares = sizes / sizes.sum()

    def pair(self, number: int) -> Pair:
        """Samples (samples,) in a room, or in none, and the same without it; noise and the microphone are in both. And their corpus."""
        random = np.random.default_rng([self.source.seed, number])
        while True:
            corpus = list(self.corpora)[int(random.choice(len(self.corpora), p=self.shares))]
            room, dry = self._drawn(self.corpora[corpus], random)
            if len(room) >= SHORTEST and dry.any():
                return _stored(room), _stored(dry), corpus

    def _drawn(self, examples: Sequence[Example], random: np.random.Generator) -> tuple[Samples, Samples]:
        chances = self.source.chances
        dry = samples_of(examples[int(random.integers(len(examples)))])
        if random.random() < chances.speed:
            dry = change_speed(dry, random.uniform(*chances.speeds))
        if random.random() < chances.tilt:
            dry = tilt(dry, random.uniform(-chances.tilt_db, chances.tilt_db, size=int(random.integers(3, 7))))
        room = dry
        if random.random() < chances.room:
            made_up = random.random() < (chances.made_up_room or 0.0) or not self.rooms
            room = reverberate(dry, made_up_room(random) if made_up else self.rooms[int(random.integers(len(self.rooms)))])
        if random.random() < chances.noise:
            noise = self.noises[int(random.integers(len(self.noises)))]
            added = add_noise(room, noise, random.uniform(*chances.snr_db), int(random.integers(len(noise)))) - room
            room, dry = room + added, dry + added
        start, stop = _span(room)
        longest = round(self.source.seconds * RATE)
        if stop - start > longest:
            start = int(random.integers(start, stop - longest + 1))
            stop = start + longest
        return room[start:stop], dry[start:stop]


def _span(x: Samples) -> tuple[int, int]:
    """What an encoder takes for speech: the first sample that is no silence, and the one after the last; (0, 0) if all is."""
    energy = np.square(x[: len(x) // FRAME_HOP * FRAME_HOP].reshape(-1, FRAME_HOP), dtype=np.float64).sum(axis=1)
    active = np.flatnonzero((energy >= SILENCE_RATIO * energy.max(initial=0.0)) & (energy > 0))
    return (int(active[0]) * FRAME_HOP, (int(active[-1]) + 1) * FRAME_HOP) if len(active) else (0, 0)


def _stored(x: Samples) -> NDArray[np.int16]:
    return np.round(x * (FULL / np.abs(x).max())).astype(np.int16)


_drawing: Drawing | None = None


def _start(source: Source) -> None:
    global _drawing
    _drawing = Drawing(source)


def _part(numbers: Sequence[int]) -> list[Pair]:
    assert _drawing is not None
    return [_drawing.pair(number) for number in numbers]


def digest(pairs: Pairs) -> str:
    """sha256 of all of them, for the record."""
    found = hashlib.sha256()
    for values in (pairs.room, pairs.dry, pairs.lengths):
        found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()
