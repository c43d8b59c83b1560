"""The conditions of the robustness benchmark: one function each from a test clip to what a worse recording would have given.

Noises and impulse responses are recordings that training does not use (`training.data`: esc10's fold 5, and of emospeech-noise and rir
every fifth file), but most responses are other positions in rooms whose other responses train (4 of the warehouse, which trains with 13;
2 of a hall's 12; 2 of a house's 10), and the noises of emospeech-noise other moments in the same places. So what rooms cost here is a lower
bound for a room of which nothing was heard. Which of them meets which clip is drawn by a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training import augment, data

Samples = NDArray[np.float32]
Degrade = Callable[[Samples, np.random.Generator], Samples]

RATE = 16_000  # Hz
SNR = 10.0  # dB
CUT = 2.0  # s
PADDING = 1.0  # s
BLOCK = RATE // 50  # samples, 20 ms
FLOOR_RATIO = 1e-4  # energy below the loudest block's at which a block counts as noise floor (-40 dB)
LONGEST_FLOOR = 0.3  # s of floor that are repeated
SEED = 5


@dataclass(frozen=True)
class Condition:
    name: str
    how: str
    degrade: Degrade


def middle(x: Samples, seconds: float = CUT) -> Samples:
    """
    >>> middle(np.arange(5, dtype=np.float32), seconds=3 / RATE).tolist()
    [1.0, 2.0, 3.0]
    """
    length = min(len(x), round(seconds * RATE))
    start = (len(x) - length) // 2
    return x[start : start + length]


def in_silence(x: Samples, seconds: float = PADDING) -> Samples:
    edge = np.zeros(round(seconds * RATE), dtype=np.float32)
    return np.concatenate([edge, x, edge])


def noise_floor(x: Samples) -> Samples:
    """What stands before the speech: the leading blocks 40 dB below the loudest, at most 0.3 s; the quietest block where there are none."""
    blocks = x[: len(x) // BLOCK * BLOCK].reshape(-1, BLOCK)
    energy = np.square(blocks, dtype=np.float64).sum(axis=1)
    loud = np.flatnonzero(energy >= FLOOR_RATIO * energy.max())
    leading = min(int(loud[0]), round(LONGEST_FLOOR * RATE / BLOCK))
    return blocks[:leading].ravel() if leading else blocks[int(energy.argmin())]


def after_floor(x: Samples, seconds: float = PADDING) -> Samples:
    """The clip's own noise floor before it, forwards and backwards in turn so that no click arises where pieces meet."""
    floor = noise_floor(x)
    both = np.concatenate([floor, floor[::-1]])
    return np.concatenate([np.resize(both, round(seconds * RATE)), x])


def conditions(corpora: Path | None = None) -> list[Condition]:
    noises = data.noises(corpora, "test")

    def noisy(x: Samples, random: np.random.Generator) -> Samples:
        noise = noises[int(random.integers(len(noises)))]
        return augment.add_noise(x, noise, SNR, int(random.integers(len(noise))))

    def room(name: str, what: str, places: Sequence[str] = ()) -> Condition:
        responses = data.rooms(corpora, "test", places)

        def degrade(x: Samples, random: np.random.Generator) -> Samples:
            return augment.reverberate(x, responses[int(random.integers(len(responses)))])

        return Condition(name, f"{len(responses)} measured impulse responses{what}", degrade)

    return [
        Condition("clean", "the clip as it is", lambda x, random: x),
        Condition("gain +20 dB", "clipped at full scale", lambda x, random: augment.gain(x, 20)),
        Condition("gain -20 dB", "ten times quieter", lambda x, random: augment.gain(x, -20)),
        Condition("noise", f"background at {SNR:g} dB below the speech, {len(noises)} recordings", noisy),
        Condition("telephone", "300 to 3400 Hz, 8 kHz, G.711 mu-law", lambda x, random: augment.telephone(x)),
        room("room", ""),
        room("room at home", " of them", ["house"]),
        room("warehouse", " of them", ["warehouse"]),
        room("hall or church", " of them", ["openair", "other", "pori"]),
        Condition("mp3", "32 kbit/s", lambda x, random: augment.mp3(x, 32)),
        Condition("cut", f"the middle {CUT:g} s", lambda x, random: middle(x)),
        Condition("silence", f"{PADDING:g} s of digital silence before and after", lambda x, random: in_silence(x)),
        Condition("noise floor", f"{PADDING:g} s of the clip's own noise floor before it", lambda x, random: after_floor(x)),
    ]
