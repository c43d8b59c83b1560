"""Where live audio comes from: a microphone through sounddevice (extra `live`), or samples on standard input."""

from __future__ import annotations

import io
import queue
import sys
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from emoser.audio import check_rate, float_samples
from emoser.cli.inputs import STDIN, check_stdin
from emoser.errors import AudioError, AudioValueError, MissingExtra, UsageError

TYPES = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4", "u8": "u1"}
BLOCK_SECONDS = 0.1
MOST_CHANNELS = 64

Blocks = Generator[NDArray[Any], None, None]


class Broken(AudioError):
    """The source ended in the middle of a sample, or failed."""


@dataclass(frozen=True)
class Capture:
    """`blocks` of mono samples at `rate` Hz. `endless`: only the listener ends it."""

    name: str
    rate: int
    blocks: Blocks
    endless: bool


def pipe(raw: str) -> Capture:
    """Standard input that holds `raw`, such as s16le:16000, or s16le:44100:2 for two channels, which are mixed. Raises UsageError."""
    parts = raw.split(":")
    if len(parts) not in (2, 3) or parts[0] not in TYPES or not all(part.isdecimal() for part in parts[1:]):
        raise UsageError(f"--raw {raw}: give TYPE:RATE or TYPE:RATE:CHANNELS, for instance s16le:16000; types: {', '.join(TYPES)}")
    channels = int(parts[2]) if len(parts) == 3 else 1
    if not 1 <= channels <= MOST_CHANNELS:
        raise UsageError(f"--raw {raw}: from 1 to {MOST_CHANNELS} channels, not {channels}")
    try:
        rate = check_rate(int(parts[1]))
    except AudioValueError as error:
        raise UsageError(f"--raw {raw}: {error}") from None
    check_stdin("samples", "arecord -q -f S16_LE -r 16000 |")
    return Capture(STDIN, rate, _samples(np.dtype(TYPES[parts[0]]), rate, channels), endless=False)


def _samples(dtype: np.dtype[Any], rate: int, channels: int) -> Blocks:
    size = dtype.itemsize * channels
    wanted = max(1, round(BLOCK_SECONDS * rate)) * size
    rest = b""
    stdin = cast(io.BufferedReader, sys.stdin.buffer)
    while data := stdin.read1(wanted):
        data = rest + data
        whole = len(data) // size * size
        rest = data[whole:]
        frames = np.frombuffer(data[:whole], dtype).reshape(-1, channels)
        yield frames[:, 0] if channels == 1 else _mixed(frames)
    if rest:
        raise Broken(f"standard input broke off in the middle of a sample ({len(rest)} of {size} bytes)")


def _mixed(frames: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinity or NaN, which is an error with a place
        return np.asarray(np.mean([float_samples(lane)[:, 0] for lane in frames.T], axis=0, dtype=np.float32))


def microphone(device: str | None) -> Capture:
    """The system's microphone, or one by name or number. Raises MissingExtra, and UsageError where there is none."""
    try:
        import sounddevice
    except ImportError:
        raise MissingExtra("The microphone", "live") from None
    except OSError as error:  # the package is there, its library is not
        raise UsageError(f"no microphone can be used: {error}; install PortAudio, or use a pipe: --raw s16le:16000 -") from None
    chosen = int(device) if device is not None and device.isdecimal() else device
    try:
        about: Any = sounddevice.query_devices(chosen, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        raise UsageError(f"no such microphone: {error}. To list them: python -m sounddevice") from None
    rate = int(about["default_samplerate"])
    return Capture(str(about["name"]), rate, _recorded(sounddevice, chosen, rate), endless=True)


def _recorded(sounddevice: Any, device: str | int | None, rate: int) -> Blocks:
    blocks: queue.Queue[NDArray[np.float32]] = queue.Queue()

    def take(data: NDArray[np.float32], *_: object) -> None:
        blocks.put(data[:, 0].copy())

    with ExitStack() as stack:
        try:
            opened = stack.enter_context(
                sounddevice.InputStream(samplerate=rate, channels=1, dtype="float32", device=device, callback=take)
            )
        except sounddevice.PortAudioError as error:  # another program has it, or it does not do what it says
            raise UsageError(f"the microphone cannot be used: {error}; another one: --input-device") from None
        while opened.active:
            try:
                yield blocks.get(timeout=1.0)
            except queue.Empty:
                continue
    raise Broken("the microphone stopped")
