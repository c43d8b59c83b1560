"""The conditions of the robustness benchmark: one function each from a test clip to what a worse recording would have given.

Noises and rooms are files that training must not use: esc10's fold 5, and of emospeech-noise and of rir every fifth file by name
(`held_out`). Which of them meets which clip is drawn once, by a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emoser.audio import load_audio
from training import augment, paths

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
EVERY = 5


@dataclass(frozen=True)
class Condition:
    name: str
    how: str
    degrade: Degrade


def held_out(corpus: str, files: list[str]) -> list[str]:
    """The noise or room files kept for testing, in sorted order.

    >>> held_out("esc10", ["noise/001_dog_bark_1-100032-A.opus", "noise/001_dog_bark_5-203128-A.opus"])
    ['noise/001_dog_bark_5-203128-A.opus']
    >>> held_out("rir", list("gfedcba"))
    ['a', 'f']
    """
    if corpus == "esc10":
        return sorted(name for name in files if Path(name).stem.split("_")[-1].startswith("5-"))
    return sorted(files)[::EVERY]


def sounds(corpus: str, root: Path) -> list[Samples]:
    folder = root / corpus
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in (".opus", ".flac", ".wav", ".ogg")]
    return [load_audio(folder / name, target_rate=RATE)[0].waveform for name in held_out(corpus, files)]


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
    root = paths.corpora_root(corpora)
    if root is None:
        raise SystemExit("no corpora: give their folder with --corpora or EMOSER_CORPORA")
    noises = sounds("esc10", root) + sounds("emospeech-noise", root)
    rooms = sounds("rir", root)

    def noisy(x: Samples, random: np.random.Generator) -> Samples:
        noise = noises[int(random.integers(len(noises)))]
        return augment.add_noise(x, noise, SNR, int(random.integers(len(noise))))

    def in_a_room(x: Samples, random: np.random.Generator) -> Samples:
        return augment.reverberate(x, rooms[int(random.integers(len(rooms)))])

    return [
        Condition("clean", "the clip as it is", lambda x, random: x),
        Condition("gain +20 dB", "clipped at full scale", lambda x, random: augment.gain(x, 20)),
        Condition("gain -20 dB", "ten times quieter", lambda x, random: augment.gain(x, -20)),
        Condition("noise", f"background at {SNR:g} dB below the speech, {len(noises)} recordings", noisy),
        Condition("telephone", "300 to 3400 Hz, 8 kHz, G.711 mu-law", lambda x, random: augment.telephone(x)),
        Condition("room", f"{len(rooms)} measured impulse responses", in_a_room),
        Condition("mp3", "32 kbit/s", lambda x, random: augment.mp3(x, 32)),
        Condition("cut", f"the middle {CUT:g} s", lambda x, random: middle(x)),
        Condition("silence", f"{PADDING:g} s of digital silence before and after", lambda x, random: in_silence(x)),
        Condition("noise floor", f"{PADDING:g} s of the clip's own noise floor before it", lambda x, random: after_floor(x)),
    ]
