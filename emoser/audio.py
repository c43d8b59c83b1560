"""Anything a user has -> `Clip`: float32 mono at the model's rate, with what is worth a warning. The contract: docs/architecture.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, cast

import numpy as np
import soxr
from numpy.typing import NDArray

from emoser.decoding import Reader, open_source
from emoser.errors import AudioDecodeError, AudioError, AudioTooShort, AudioValueError, UsageError

BYTES = "the audio bytes"  # what messages call an input that has no name
SAMPLE_RATE = 16_000  # Hz, what every model takes and what a bare array is taken for
SHORTEST = 0.1  # seconds
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # Hz: outside of this a sampling rate is a mistake
MOST_CHANNELS = 8  # of an array: with more, rows are as likely a batch of clips
SILENT_PEAK = 1e-4  # -80 dBFS: below this, there is nothing to hear
LOUDEST = 1e9  # beyond it is what no recording holds, and the power of which fp32 cannot add up
FULL_SCALE, CLIPPED_RUN = 0.99, 3  # samples beyond it are clipped where so many stand together
CLIPPED_SHARE = 0.001  # of the samples, from which on clipping is worth a warning

Channel = int | Literal["mix", "each"]
Progress = Callable[[float, float | None], None]


class Readable(Protocol):
    """A binary file, or whatever else gives its bytes at once."""

    def read(self) -> bytes: ...


class ArrayLike(Protocol):
    """NumPy arrays, torch tensors, and whatever else turns into an array."""

    def __array__(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Clip:
    """One channel of one input, ready for a model.

    waveform: float32 (samples,), at `sample_rate` Hz. duration: seconds, of the source. file: as the caller named it, None for arrays and
    bytes. channel: the source's channel, counted from 0, None where channels were mixed.
    """

    waveform: NDArray[np.float32] = field(repr=False)
    sample_rate: int
    file: str | None
    channel: int | None
    duration: float
    warnings: tuple[str, ...]
    source_rate: int
    source_channels: int


AudioInput = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | ArrayLike | tuple[ArrayLike, int] | Clip


def load_audio(x: AudioInput, *, sample_rate: int | None = None, target_rate: int = SAMPLE_RATE, channel: Channel = "mix") -> list[Clip]:
    """One `Clip`, or with channel="each" one for each channel.

    x: a path; the bytes of a file, or a binary file object; an array or tensor, mono (samples,), or (channels, samples) or
        (samples, channels) with at most eight channels; a pair (array, sample_rate); or a Clip, returned as it is.
    sample_rate: Hz, of arrays (16,000 if not given); a file says its own.
    target_rate: Hz, of the clips.
    channel: "mix" (the mean of all), "each", or one channel counted from 0.

    Raises AudioDecodeError, AudioTooShort (under 100 ms), AudioValueError, MissingExtra, and UsageError for options that cannot be right.
    """
    if isinstance(x, Clip):
        return [_at_rate(x, target_rate)]
    with open_audio(x, sample_rate=sample_rate, target_rate=target_rate, channel=channel) as stream:
        waveforms = np.concatenate(list(stream)).T
    return [
        Clip(np.ascontiguousarray(waveform), target_rate, stream.file, lane, stream.duration, stream.warnings, stream.rate, stream.channels)
        for waveform, lane in zip(waveforms, stream.lanes, strict=True)
    ]


def open_audio(x: AudioInput, *, sample_rate: int | None = None, target_rate: int = SAMPLE_RATE, channel: Channel = "mix") -> AudioStream:
    """The same in blocks, so that an input of any length is never held whole. Arguments and errors as in `load_audio`."""
    channel = check_channel(channel)
    if isinstance(x, Clip):
        clip = _at_rate(x, target_rate)
        samples = clip.waveform[:, None]
        return AudioStream([samples], target_rate, 1, target_rate, "mix", clip.file, "the clip", frames=len(samples), given=clip)
    name = source_name(x)
    if isinstance(x, str | os.PathLike):
        return _from_file(seekable(x, name), name, name, target_rate, channel)
    if isinstance(x, bytes | bytearray | memoryview):
        return _from_file(bytes(x), BYTES, None, target_rate, channel)
    if hasattr(x, "read") and not isinstance(x, tuple):
        label = name or "the file object"
        data = _bytes_of(x, label)
        if not data:
            raise AudioDecodeError(f"{label} gave no bytes: empty, or read to its end already; rewind it with seek(0)")
        return _from_file(data, label, name, target_rate, channel)
    array, rate = _array_and_rate(x, sample_rate)
    samples = float_samples(array)
    return AudioStream([samples], rate, samples.shape[1], target_rate, channel, None, "the array", frames=len(samples))


def source_name(x: object) -> str | None:
    """What an input is called in results: the path as given, or a file object's name; None for arrays and bytes."""
    if isinstance(x, Clip):
        return x.file
    if isinstance(x, str | os.PathLike):
        return str(os.fspath(x))
    name = getattr(x, "name", None) if hasattr(x, "read") else None
    return name if isinstance(name, str) else None


def check_channel(channel: object) -> Channel:
    """What it is in Python's own types, or UsageError."""
    if isinstance(channel, str) and channel in ("mix", "each"):
        return cast(Literal["mix", "each"], channel)
    if isinstance(channel, int | np.integer) and not isinstance(channel, bool) and channel >= 0:
        return int(channel)
    raise UsageError(f'channel is {channel!r}; allowed: "mix", "each", or a channel counted from 0')


def check_rate(rate: Any) -> int:
    """A sampling rate in Hz, or AudioValueError."""
    number = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not number or not LOWEST_RATE <= rate <= HIGHEST_RATE or rate % 1:
        raise AudioValueError(f"the sampling rate is {rate!r}; a whole number of Hz from {LOWEST_RATE} to {HIGHEST_RATE} is needed")
    return int(rate)


def is_silent(waveform: NDArray[np.float32]) -> bool:
    """Nothing to hear: no sample beyond -80 dBFS."""
    return bool(np.abs(waveform).max(initial=0.0) < SILENT_PEAK)


def tone() -> NDArray[np.float32]:
    """The golden input `tone` of the registry: two seconds at 16 kHz, float32 (32000,)."""
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    turn = 2 * np.pi
    x = 0.3 * np.sin(turn * 220 * t) + 0.2 * np.sin(turn * 440 * t + 0.5) * (0.5 + 0.5 * np.sin(turn * 3 * t))
    x += 0.1 * np.sin(turn * 1234 * t) + 0.05 * np.sin(turn * (500 * t + 400 * t**2))
    return x.astype(np.float32)


def seekable(source: str | os.PathLike[str], name: str | None) -> Path | bytes:
    """The file at a path. A pipe (`<(ffmpeg ...)`) cannot be sought in: its bytes. Raises AudioDecodeError."""
    if not os.fspath(source):  # Path("") is the folder one stands in
        raise AudioDecodeError("the path of the audio is empty; give that of a file")
    path = Path(source)
    try:
        return path.read_bytes() if path.is_fifo() or path.is_char_device() else path
    except (OSError, ValueError) as error:
        raise AudioDecodeError(f"{name!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def open_file(source: Path | bytes, label: str) -> Reader:
    """A file, or the bytes of one, at a rate that can be. Raises AudioDecodeError and MissingExtra."""
    reader = open_source(source, label)
    if not LOWEST_RATE <= reader.rate <= HIGHEST_RATE:  # at 1 Hz a second is one sample, and would be resampled to thousands
        reader.__exit__(None, None, None)
        possible = f"{LOWEST_RATE} to {HIGHEST_RATE} Hz are possible"
        raise AudioDecodeError(f"{label} has a sampling rate of {reader.rate} Hz in its header, which must be wrong: {possible}")
    return reader


def _bytes_of(file: Any, label: str) -> bytes:
    text = f'{label} was opened as text; open it with "rb"'
    try:
        data: object = file.read()
    except UnicodeDecodeError as error:
        raise AudioValueError(text) from error
    except Exception as error:  # it is the caller's, and may raise anything: one input that cannot be read
        raise AudioDecodeError(f"{label} cannot be read: {str(error) or type(error).__name__}") from error
    if not isinstance(data, bytes):
        raise AudioValueError(text)
    return data


def _from_file(source: Path | bytes, label: str | None, file: str | None, target_rate: int, channel: Channel) -> AudioStream:
    label = label or "the audio"
    reader = open_file(source, label)
    return AudioStream(
        reader, reader.rate, reader.channels, target_rate, channel, file, label, lossy=reader.lossy, frames=reader.frames, reader=reader
    )


def _at_rate(clip: Clip, rate: int) -> Clip:
    if clip.sample_rate != rate:
        raise AudioValueError(f"the Clip is at {clip.sample_rate} Hz, {rate} Hz is needed: load it with target_rate={rate}")
    return clip


def _array_and_rate(x: Any, sample_rate: int | None) -> tuple[NDArray[Any], int]:
    rate: Any = sample_rate
    if isinstance(x, tuple):
        if len(x) == 2 and isinstance(x[0], str | os.PathLike | bytes):
            raise AudioValueError("a pair is (array, sample_rate); a file says its own sampling rate: give it alone")
        if len(x) != 2 or not isinstance(x[1], int | float | np.number):
            order = "; (sample_rate, array) is the other way round" if len(x) == 2 and isinstance(x[0], int | float | np.number) else ""
            raise AudioValueError(f"a tuple is a pair (array, sample_rate), got {len(x)} values{order}")
        x, rate = x
        if sample_rate is not None and sample_rate != rate:
            raise AudioValueError(f"the pair says {rate} Hz, sample_rate={sample_rate}: leave one out")
    rate = check_rate(SAMPLE_RATE if rate is None else rate)
    if isinstance(x, list):
        raise AudioValueError("a list is a list of inputs; for samples, or a batch, use np.asarray(samples) or a list of arrays")
    if not is_array(x):
        raise AudioValueError(
            f"{type(x).__name__} is no audio: a path, bytes, a binary file, an array, or (array, sample_rate) is; "
            "samples go into one array, many inputs into a list or into stream()"
        )
    return to_numpy(x), rate


def is_array(x: object) -> bool:
    """Whether it can be given to `to_numpy`: a NumPy array, a torch tensor and the like, but no single number."""
    return hasattr(x, "__array__") and not isinstance(x, np.generic)


def to_numpy(x: Any) -> NDArray[Any]:
    """An array or tensor of any library, on any device, as NumPy has it. Raises AudioValueError."""
    if hasattr(x, "detach"):  # a torch tensor with a gradient, or on a GPU, refuses to become an array, and NumPy has no bfloat16
        x = x.detach().cpu()
        x = x.float() if x.dtype.is_floating_point else x
    try:
        return np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:  # what array libraries raise when they refuse
        raise AudioValueError(f"{type(x).__name__} does not become a NumPy array: {error}") from error


def float_samples(array: NDArray[Any]) -> NDArray[np.float32]:
    """Samples of any type and layout that the audio contract allows -> float32 (frames, channels); integer PCM is scaled."""
    if array.ndim == 1:
        array = array[:, None]
    elif array.ndim != 2:
        raise AudioValueError(f"an array of shape {array.shape} is no clip: (samples,), (channels, samples) or (samples, channels)")
    else:
        if 0 in array.shape:
            raise AudioValueError(f"an array of shape {array.shape} holds no samples")
        few = [size <= MOST_CHANNELS for size in array.shape]
        if few == [True, False]:
            array = array.T
        elif few != [False, True]:
            raise AudioValueError(
                f"an array of shape {array.shape} is ambiguous: one side must be channels, at most {MOST_CHANNELS}, the other samples. "
                "For a batch, give a list of clips"
            )
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "iu" and size <= 4:
        scaled = array.astype(np.float32) / np.float32(2 ** (8 * size - 1))
        return scaled if kind == "i" else scaled - np.float32(1)  # unsigned PCM stands around its middle
    if kind != "f" and array.dtype.name != "bfloat16":
        raise AudioValueError(f"an array of {array.dtype} is no audio: float in [-1, 1], or integer PCM of 8, 16 or 32 bits")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity, which is an error with a place
        return array.astype(np.float32)


class AudioStream:
    """An opened input: iterate once for float32 blocks (frames, lanes) at `target_rate` Hz. A context, which closes the source.

    file: as the caller named it. lanes: the source's channel of each lane, None where channels are mixed. rate, channels: of the source.
    `duration` (s, of the source) and `warnings` tell of what was read so far. A source that breaks off raises its AudioError after all that
    came before; so do samples that are not finite, and a source shorter than 100 ms.

    length: seconds of the whole source, as its header says; None where it does not. progress: where set, it is told after each block
    how many seconds were read, and the length; an AudioError that it raises breaks the source off there.
    """

    def __init__(
        self,
        blocks: Iterable[NDArray[np.float32]],
        rate: int,
        channels: int,
        target_rate: int,
        channel: Channel,
        file: str | None,
        label: str,
        *,
        lossy: bool = False,
        frames: int | None = None,
        reader: Reader | None = None,
        given: Clip | None = None,
    ) -> None:
        self._reader = reader
        if isinstance(channel, int) and channel >= channels:
            self.close()
            raise AudioValueError(f"{label} has {channels} channel{'s' * (channels > 1)}, counted from 0; there is no channel {channel}")
        self.file, self.rate, self.channels = file, rate, channels
        self.lanes: tuple[int | None, ...] = tuple(range(channels)) if channel == "each" else (channel if channel != "mix" else None,)
        if given is not None:
            self.lanes, self.rate, self.channels = (given.channel,), given.source_rate, given.source_channels
        self._blocks, self._channel = blocks, channel
        self._block_rate, self._target_rate, self._label, self._lossy, self._given = rate, target_rate, label, lossy, given
        self._frames, self._clipped, self._measured, self._peak = 0, 0, 0, 0.0
        self.length = None if frames is None else frames / rate
        self.progress: Progress | None = None

    @property
    def duration(self) -> float:
        return self._frames / self._block_rate if self._given is None else self._given.duration

    @property
    def usable(self) -> bool:
        """Whether what was read so far is enough to say anything about it."""
        return self._frames >= SHORTEST * self._block_rate

    @property
    def warnings(self) -> tuple[str, ...]:
        if self._given is not None:
            return self._given.warnings
        # What an encoder was given at full scale decodes to a little more: no mistake of the caller's.
        # Samples beyond ±1 were not cut off there, whatever else is wrong with them.
        share = self._clipped / max(1, self._measured)
        found = {"clipped_range": self._peak > 1.0 and not self._lossy, "clipping": self._peak <= 1.0 and share > CLIPPED_SHARE}
        return tuple(code for code, seen in found.items() if seen)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        rate, lanes = self._block_rate, len(self.lanes)
        stream = soxr.ResampleStream(rate, self._target_rate, lanes, dtype="float32") if rate != self._target_rate else None
        broken: AudioError | None = None
        try:
            for block in self._finite():
                yield stream.resample_chunk(block) if stream else block
        except AudioError as error:
            broken = error
        if broken is None and not self.usable:
            length = f"{1000 * self._frames / rate:.0f} ms long ({self._frames} samples at {rate} Hz)"
            raise AudioTooShort(f"{self._label} is {length}; at least 100 ms are needed")
        if stream:
            yield stream.resample_chunk(np.zeros((0, lanes), np.float32), last=True)
        if broken is not None:
            raise broken

    def _finite(self) -> Iterator[NDArray[np.float32]]:
        """The blocks, counted and measured, up to the first sample that is not finite, or so large that its power is not."""
        for block in self._blocks:
            heard = block[:, self._channel : self._channel + 1] if isinstance(self._channel, int) else block
            good = (np.abs(heard) <= LOUDEST).all(axis=1)  # NaN is not
            whole = bool(good.all())
            kept = heard if whole else heard[: int(np.argmin(good))]
            self._frames += len(kept)
            self._measured += kept.size
            # Of the channels before they are mixed, which would hide that one of them was clipped.
            self._peak = max(self._peak, float(np.abs(kept).max(initial=0.0)))
            self._clipped += clipped_samples(kept) if self._peak >= FULL_SCALE else 0
            if len(kept):
                yield kept.mean(axis=1, keepdims=True, dtype=np.float32) if self._channel == "mix" and kept.shape[1] > 1 else kept
            if not whole:
                at, sample = self._frames, heard[len(kept)]
                what = f"a sample of {np.abs(sample).max():.0e}, where 1 is full scale" if np.isfinite(sample).all() else "NaN or infinity"
                raise AudioValueError(f"{self._label} holds {what}, first at {at / self._block_rate:.3f} s (sample {at})")
            if self.progress is not None:
                self.progress(self.duration, self.length)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.__exit__(None, None, None)


def clipped_samples(block: NDArray[np.float32]) -> int:
    """Samples of `block` (frames, channels) in runs of three or more beyond full scale.

    >>> clipped_samples(np.array([[0.0], [1.0], [1.0], [1.0], [0.5], [1.0]], np.float32))
    3
    """
    over = np.abs(block) >= FULL_SCALE
    if not over.any() or len(block) < CLIPPED_RUN:
        return 0
    runs = over[:-2] & over[1:-1] & over[2:]
    marked = np.zeros_like(over)
    for shift in range(CLIPPED_RUN):
        marked[shift : len(block) - CLIPPED_RUN + 1 + shift] |= runs
    return int(marked.sum())
