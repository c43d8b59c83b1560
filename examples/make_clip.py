"""Synthesises examples/clip.wav: two and a half seconds of speech-like sound, no recording of anyone.

A glottal pulse train with a wide, falling and rising pitch (jitter and shimmer included) goes through five formant resonators in
cascade; noise through two resonators makes the consonants. The voice is loud and its pitch high, as in excited or angry speech, but
nobody meant anything by it: the label that a model gives it is an example of output, not a claim.

    python examples/make_clip.py [clip.wav]
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000  # Hz
SEED = 7
PEAK = 0.8
EDGE = 0.12  # s of room noise before and after
ROOM = 3e-4  # its level
FADE = 0.05  # s
GLIDE = 0.045  # s over which formants and level move from one sound to the next
BANDWIDTHS = (80.0, 100.0, 140.0, 220.0, 300.0)  # Hz
UPPER = (3600.0, 4500.0)  # Hz, formants four and five

VOWELS = {"a": (780, 1300, 2550), "e": (540, 1850, 2600), "i": (310, 2250, 3000), "o": (480, 900, 2500), "u": (330, 800, 2350)}
VOICED = {"m": (260, 1100, 2200), "n": (270, 1500, 2450), "l": (360, 1250, 2700), "r": (430, 1200, 1650), "v": (250, 1150, 2200)}
FRICATIVES = {"s": (5600, 6900), "S": (2600, 4300), "t": (4200, 5800), "f": (1400, 6800), "k": (1800, 3000)}


@dataclass(frozen=True)
class Sound:
    """One speech sound: what, how long (s), the pitch at its start (Hz) and how loud."""

    symbol: str
    duration: float
    pitch: float
    level: float


PHRASE = (
    Sound("n", 0.07, 235, 0.5),
    Sound("o", 0.20, 265, 1.0),
    Sound("t", 0.06, 300, 0.35),
    Sound("e", 0.13, 315, 0.9),
    Sound("m", 0.06, 290, 0.5),
    Sound("a", 0.24, 345, 1.0),
    Sound("S", 0.10, 300, 0.40),
    Sound("i", 0.12, 280, 0.85),
    Sound("l", 0.05, 260, 0.6),
    Sound("a", 0.15, 270, 0.9),
    Sound("k", 0.06, 285, 0.35),
    Sound("u", 0.12, 295, 0.8),
    Sound("v", 0.05, 300, 0.5),
    Sound("e", 0.16, 330, 0.95),
    Sound("r", 0.06, 370, 0.7),
    Sound("a", 0.30, 390, 1.0),
    Sound("s", 0.12, 240, 0.35),
    Sound("o", 0.26, 255, 0.85),
)


def track(values: list[float], glide: float = GLIDE) -> NDArray[np.float64]:
    """One value a sound -> one a sample: constant inside a sound, moving along half a cosine at its borders."""
    lengths = [round(sound.duration * RATE) for sound in PHRASE]
    steps = np.repeat(values, lengths)
    width = round(glide * RATE) | 1
    window = np.hanning(width + 2)[1:-1]
    padded = np.concatenate([np.full(width // 2, steps[0]), steps, np.full(width // 2, steps[-1])])
    return np.asarray(np.convolve(padded, window / window.sum(), mode="valid"))


def glottis(pitch: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Rosenberg pulses, differentiated (the lips radiate), each period 1 % off in length and 4 % in strength."""
    opening, closing = 0.40, 0.16  # parts of a period
    flow = np.zeros(len(pitch))
    phase, strength, length = 0.0, 1.0, 1.0
    for index, hertz in enumerate(pitch):
        phase += hertz * length / RATE
        if phase >= 1.0:
            phase -= 1.0
            length = 1.0 + 0.01 * rng.standard_normal()
            strength = 1.0 + 0.04 * rng.standard_normal()
        if phase < opening:
            flow[index] = strength * 0.5 * (1 - math.cos(math.pi * phase / opening))
        elif phase < opening + closing:
            flow[index] = strength * math.cos(0.5 * math.pi * (phase - opening) / closing)
    return np.diff(flow, prepend=0.0)


def resonate(signal: NDArray[np.float64], centre: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    """A two-pole resonator (Klatt 1980) with gain 1 at 0 Hz, whose centre moves with every sample."""
    radius = math.exp(-math.pi * bandwidth / RATE)
    second = -radius * radius
    first = 2 * radius * np.cos(2 * np.pi * centre / RATE)
    gain = 1 - first - second
    result = np.zeros(len(signal))
    before, earlier = 0.0, 0.0
    for index, sample in enumerate(signal):
        now = gain[index] * sample + first[index] * before + second * earlier
        result[index] = now
        before, earlier = now, before
    return result


def even(voice: NDArray[np.float64], seconds: float = 0.08) -> NDArray[np.float64]:
    """Half of the level differences (in dB) taken out: an open vowel on a harmonic would else drown all others."""
    width = round(seconds * RATE) | 1
    level = np.sqrt(np.convolve(voice * voice, np.ones(width) / width, mode="same"))
    return np.asarray(voice / np.sqrt(level + 0.01 * level.max()))


def formants(symbol: str, following: str) -> tuple[int, int, int]:
    """A voiceless sound takes the formants of what follows it."""
    known = VOWELS | VOICED
    return known[symbol] if symbol in known else known[following]


def synthesise(seed: int = SEED) -> NDArray[np.int16]:
    """The clip as 16 bit samples at 16 kHz."""
    rng = np.random.default_rng(seed)
    symbols = [sound.symbol for sound in PHRASE]
    shapes = [formants(now, following) for now, following in zip(symbols, [*symbols[1:], symbols[-1]], strict=True)]
    pitch = track([sound.pitch for sound in PHRASE], glide=0.11)
    seconds = np.arange(len(pitch)) / RATE
    pitch = pitch * (1 + 0.008 * np.sin(2 * np.pi * 5.5 * seconds))
    voiced = track([0.0 if sound.symbol in FRICATIVES else sound.level for sound in PHRASE], glide=0.025)
    hiss = track([sound.level if sound.symbol in FRICATIVES else 0.0 for sound in PHRASE], glide=0.02)
    breath = rng.standard_normal(len(pitch))

    voice = voiced * (glottis(pitch, rng) + 0.002 * breath)
    for number, bandwidth in enumerate(BANDWIDTHS):
        centre = track([float(shape[number]) for shape in shapes]) if number < 3 else np.full(len(pitch), UPPER[number - 3])
        voice = resonate(voice, centre, bandwidth)
    voice = even(voice)
    noise = rng.standard_normal(len(pitch))
    consonants = np.zeros(len(pitch))
    for number in range(2):
        centre = track([float(FRICATIVES.get(symbol, (5000, 6000))[number]) for symbol in symbols], glide=0.02)
        band = resonate(noise, centre, 900.0)
        consonants += hiss * band / np.abs(band).max()

    clip = voice / np.abs(voice).max() + 0.35 * consonants
    ramp = np.hanning(2 * round(FADE * RATE))[: round(FADE * RATE)]
    clip[: len(ramp)] *= ramp
    clip[-len(ramp) :] *= ramp[::-1]
    edge = np.zeros(round(EDGE * RATE))
    clip = np.concatenate([edge, clip, edge])
    clip = clip * PEAK / np.abs(clip).max() + ROOM * rng.standard_normal(len(clip))
    return np.round(clip * 32767).astype(np.int16)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("clip.wav")
    soundfile.write(target, synthesise(), RATE, subtype="PCM_16")
