"""What recordings do to speech, on float32 mono at 16 kHz: noise, rooms, telephones, codecs, microphones, speed.

Each function is one degradation with its strength as a plain argument, so that training (random strengths, `Augmenter`) and the
robustness benchmark (fixed strengths) use the same code. Nothing here changes the length by more than the codec's or the room's own tail,
which is cut; `change_speed` says so in its name.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import av
import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

RATE = 16_000  # Hz
Samples = NDArray[np.float32]


def root_mean_square(x: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)) + 1e-20))


def speech_level(x: Samples) -> float:
    """Root mean square of the louder half of the 20 ms blocks: a level that silence around the speech does not move."""
    blocks = x[: len(x) // 320 * 320].reshape(-1, 320)
    energy = np.sort(np.mean(np.square(blocks), axis=1))
    return float(np.sqrt(energy[len(energy) // 2 :].mean() + 1e-20)) if len(energy) else root_mean_square(x)


def gain(x: Samples, decibels: float) -> Samples:
    """Louder or quieter; beyond ±1 it clips, as a recorder does."""
    return np.clip(x * np.float32(10 ** (decibels / 20)), -1.0, 1.0).astype(np.float32)


def add_noise(x: Samples, noise: Samples, snr_db: float, start: int = 0) -> Samples:
    """Adds `noise`, from sample `start` on and repeated as needed, at a ratio of speech level to noise level."""
    if len(noise) == 0:
        raise ValueError("the noise has no samples")
    repeated = np.resize(np.roll(noise, -(start % len(noise))), len(x))
    scale = speech_level(x) / root_mean_square(repeated) * 10 ** (-snr_db / 20)
    return (x + repeated * np.float32(scale)).astype(np.float32)


def reverberate(x: Samples, response: Samples) -> Samples:
    """Convolves with a room's impulse response, aligned on its loudest sample and cut to the clip's length."""
    wet = fftconvolve(x, response)[int(np.argmax(np.abs(response))) :][: len(x)]
    wet = np.pad(wet, (0, len(x) - len(wet)))
    return (wet * (root_mean_square(x) / root_mean_square(wet))).astype(np.float32)


def made_up_room(random: np.random.Generator) -> Samples:
    """A response after Polack's statistical model: a direct sound, sparse early reflections, and noise that decays exponentially, the high
    frequencies faster. Reverberation time 0.2 to 2 s, direct to reverberant ratio -10 to 10 dB."""
    seconds = random.uniform(0.2, 2.0)
    time = np.arange(round(seconds * RATE)) / RATE
    noise = random.standard_normal(len(time))
    low = sosfilt(_low_pass(round(random.uniform(800, 4000))), noise)
    faster = random.uniform(1.0, 3.0)
    tail = low * 10 ** (-3 * time / seconds) + (noise - low) * 10 ** (-3 * time * faster / seconds)
    tail[: round(random.uniform(0.001, 0.02) * RATE)] = 0.0  # until the nearest wall has answered
    for delay in random.uniform(0.002, 0.05, size=int(random.integers(2, 9))):
        tail[round(delay * RATE)] += random.choice([-1.0, 1.0]) * random.uniform(2.0, 6.0) * 10 ** (-3 * delay / seconds)
    ratio = 10 ** (random.uniform(-10.0, 10.0) / 20)
    tail[0] = ratio * np.sqrt(np.sum(np.square(tail)))
    # The loudest sample is where `reverberate` takes the clip's start to be; at a low ratio an early reflection may be louder.
    tail[0] = max(tail[0], 1.001 * np.abs(tail).max())
    return tail.astype(np.float32)


@cache
def _low_pass(high: int) -> NDArray[np.float64]:
    return butter(1, high, btype="lowpass", fs=RATE, output="sos")


@cache
def _band(low: float, high: float, order: int = 4) -> NDArray[np.float64]:
    return butter(order, [low, high], btype="bandpass", fs=RATE, output="sos")


def band_limit(x: Samples, low: float, high: float) -> Samples:
    """Butterworth band pass; `low` and `high` in Hz."""
    return sosfilt(_band(round(low), round(high)), x).astype(np.float32)


def telephone(x: Samples) -> Samples:
    """A narrow-band call: 300 to 3400 Hz, 8 kHz, G.711 mu-law, and back to 16 kHz."""
    narrow = soxr.resample(band_limit(x, 300, 3400), RATE, RATE // 2)
    peak = max(float(np.abs(narrow).max()), 1e-9)
    return _fit(soxr.resample(through_codec(narrow / max(peak, 1.0), "pcm_mulaw", "wav", RATE // 2), RATE // 2, RATE), len(x))


def mp3(x: Samples, kilobits: int = 32) -> Samples:
    """MPEG-1/2 layer 3 at a constant rate, and back. The encoder's delay is taken out by the decoder."""
    return _fit(through_codec(x, "libmp3lame", "mp3", RATE, kilobits), len(x))


def opus(x: Samples, kilobits: int = 12) -> Samples:
    """Opus as voice messages use it, and back."""
    decoded = through_codec(x, "libopus", "ogg", RATE, kilobits)
    return _fit(decoded, len(x))


def through_codec(x: Samples, codec: str, container: str, rate: int, kilobits: int | None = None) -> Samples:
    """Encodes in memory with FFmpeg's `codec` and decodes again, at `rate` Hz."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
        if kilobits:
            stream.bit_rate = kilobits * 1000
        pcm = np.clip(np.round(x * 32767), -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate, frame_size=stream.frame_size or 0)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    file.seek(0)
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
    with av.open(file) as source:
        pieces = [piece.to_ndarray()[0] for frame in source.decode(audio=0) for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(pieces).astype(np.float32)


def change_speed(x: Samples, factor: float) -> Samples:
    """Plays faster (`factor` above 1) or slower: length, tempo and pitch change together."""
    return soxr.resample(x, RATE * factor, RATE).astype(np.float32)


def tilt(x: Samples, decibels: NDArray[np.floating]) -> Samples:
    """A microphone's colour: gains in dB at evenly spaced points of the mel scale from 0 Hz to 8 kHz, joined smoothly in the spectrum."""
    spectrum = np.fft.rfft(x)
    mel = 2595 * np.log10(1 + np.linspace(0, RATE / 2, len(spectrum)) / 700)
    points = np.linspace(0, mel[-1], len(decibels))
    return np.fft.irfft(spectrum * 10 ** (np.interp(mel, points, decibels) / 20), len(x)).astype(np.float32)


def _fit(x: Samples, length: int) -> Samples:
    """Codecs work in blocks: takes their padding off, or puts back what they dropped at the end."""
    return np.pad(x[:length], (0, max(0, length - len(x)))).astype(np.float32)


@dataclass(frozen=True)
class Chances:
    """How often each degradation is drawn, and how strong it is at most."""

    # the room and what else sounds in it
    noise: float = 0.5
    snr_db: tuple[float, float] = (5.0, 30.0)
    room: float = 0.3
    made_up_room: float | None = None  # of the rooms: the others are measured ones
    # the microphone
    tilt: float = 0.6
    tilt_db: float = 8.0
    clip: float = 0.1
    clip_db: tuple[float, float] = (3.0, 15.0)  # gain over full scale
    # the line
    telephone: float = 0.15
    mp3: float = 0.1
    opus: float = 0.1
    kilobits: tuple[int, ...] = (16, 24, 32, 48)
    # the voice
    speed: float = 0.5
    speeds: tuple[float, float] = (0.88, 1.12)
    # the editor
    cut: float = 0.3
    cut_seconds: tuple[float, float] = (1.2, 3.0)


class Augmenter:
    """Draws degradations in the order in which a recording meets them: voice, room, noise, microphone, line, editor."""

    def __init__(self, noises: Sequence[Samples], rooms: Sequence[Samples], chances: Chances | None = None) -> None:
        self.noises = noises
        self.rooms = rooms
        self.chances = chances or Chances()

    def __call__(self, x: Samples, random: np.random.Generator) -> Samples:
        chances = self.chances

        def drawn(probability: float) -> bool:
            return bool(random.random() < probability)

        if drawn(chances.cut):
            length = int(random.uniform(*chances.cut_seconds) * RATE)
            if length < len(x):
                start = int(random.integers(len(x) - length + 1))
                x = x[start : start + length]
        if drawn(chances.speed):
            x = change_speed(x, random.uniform(*chances.speeds))
        if (self.rooms or chances.made_up_room) and drawn(chances.room):
            made_up = chances.made_up_room and (not self.rooms or drawn(chances.made_up_room))
            x = reverberate(x, made_up_room(random) if made_up else self.rooms[int(random.integers(len(self.rooms)))])
        if self.noises and drawn(chances.noise):
            noise = self.noises[int(random.integers(len(self.noises)))]
            x = add_noise(x, noise, random.uniform(*chances.snr_db), int(random.integers(len(noise))))
        if drawn(chances.tilt):
            x = tilt(x, random.uniform(-chances.tilt_db, chances.tilt_db, size=int(random.integers(3, 7))))
        if drawn(chances.clip):
            x = gain(x / max(float(np.abs(x).max()), 1e-6), random.uniform(*chances.clip_db))
        line = random.random()
        kilobits = int(random.choice(chances.kilobits))
        if line < chances.telephone:
            x = telephone(x)
        elif line < chances.telephone + chances.mp3:
            x = mp3(x, kilobits)
        elif line < chances.telephone + chances.mp3 + chances.opus:
            x = opus(x, kilobits)
        return x
