"""A long recording put together from real speech, silence, noise and made-up music, with the truth about where somebody speaks.

    python -m benchmarks.long.mixture OUT.wav --seconds 3600 [--seed 0]

Writes OUT.wav (16 kHz, 16 bit, mono) and OUT.json: [[start, end, kind], ...] in seconds, kinds speech, silence, noise and music. Speech is
the corpora's, each clip from the first to the last 20 ms within 35 dB of its loudest; noise is ESC-10. There is no music in the corpora:
here it is chords of decaying partials over a drum, made by this file. Written piece by piece, for any length.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from emoser.audio import load_audio
from training.paths import corpora_root

RATE = 16_000
SPEECH = ("ravdess", "nemo", "emovo", "emodb", "ased", "emospeech-in", "speechocean762")
NOISE = ("esc10",)
SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
SHARES = {"speech": 0.6, "silence": 0.2, "noise": 0.1, "music": 0.1}  # of the pieces
FLOOR = 35.0  # dB below the loudest 20 ms: beyond it, the ends of a clip are no speech
BACKGROUND = 3e-4  # of full scale: nothing recorded is ever quite silent
SCALE = (0, 3, 5, 7, 8, 12)  # semitones

Waveform = NDArray[np.float32]


def files(names: tuple[str, ...]) -> list[Path]:
    root = corpora_root()
    found = [] if root is None else [path for name in names for path in sorted((root / name).rglob("*")) if path.suffix in SUFFIXES]
    if not found:
        raise SystemExit(f"needs the corpora {', '.join(names)} (EMOSER_CORPORA)")
    return found


def pieces(seed: int) -> Iterator[tuple[str, Waveform]]:
    """Without end: a kind and its samples."""
    rng = np.random.default_rng(seed)
    speech, noise = files(SPEECH), files(NOISE)
    while True:
        kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        if kind == "speech":
            for _ in range(int(rng.integers(1, 6))):
                yield kind, trimmed(loaded(speech[rng.integers(len(speech))]))
                yield "silence", background(rng, float(rng.uniform(0.2, 1.2)))
        elif kind == "silence":
            yield kind, background(rng, float(rng.uniform(1, 20)))
        elif kind == "noise":
            yield kind, loaded(noise[rng.integers(len(noise))])
        else:
            yield kind, music(rng, float(rng.uniform(4, 15)))


def loaded(path: Path) -> Waveform:
    return load_audio(path)[0].waveform


def trimmed(waveform: Waveform) -> Waveform:
    count = len(waveform) // 320
    power = np.square(waveform[: count * 320]).reshape(count, 320).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-FLOOR / 10))
    return waveform[loud[0] * 320 : (loud[-1] + 1) * 320]


def background(rng: np.random.Generator, seconds: float) -> Waveform:
    return rng.normal(0, BACKGROUND, int(seconds * RATE)).astype(np.float32)


def music(rng: np.random.Generator, seconds: float) -> Waveform:
    found = np.zeros(int(seconds * RATE))
    beat = int(RATE * rng.uniform(0.25, 0.6))
    root = rng.uniform(110, 220)
    for number, start in enumerate(range(0, len(found), beat)):
        t = np.arange(min(2 * beat, len(found) - start)) / RATE
        for semitones in rng.choice(SCALE, 3, replace=False):
            pitch = root * 2 ** (semitones / 12)
            found[start : start + len(t)] += sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 6)) * np.exp(-3 * t)
        if number % 2 == 0:
            found[start : start + len(t)] += rng.normal(0, 1, len(t)) * np.exp(-40 * t)
    return (0.3 * found / np.abs(found).max()).astype(np.float32)


def write(path: Path, seconds: float, seed: int = 0) -> list[tuple[float, float, str]]:
    """The file, cut at exactly `seconds`; what it holds."""
    truth: list[tuple[float, float, str]] = []
    at, end = 0, round(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for kind, samples in pieces(seed):
            samples = samples[: end - at]
            file.write(np.clip(samples, -1, 1))
            truth.append((at / RATE, (at + len(samples)) / RATE, kind))
            at += len(samples)
            if at >= end:
                break
    path.with_suffix(".json").write_text(json.dumps(truth))
    return truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    truth = write(options.out, options.seconds, options.seed)
    for kind in SHARES:
        print(f"{kind}: {sum(end - start for start, end, each in truth if each == kind):.0f} s")


if __name__ == "__main__":
    main()
