"""Files and bytes -> blocks of samples. soundfile reads what it can, PyAV (extra "media") the rest; what is cut off is an error, raised
after what is there was given."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from emoser.errors import AudioDecodeError, MissingExtra
from emoser.headers import Mended, Mismatch, mismatch

BLOCK = 1 << 16  # frames read at a time: 4 s at 16 kHz, which is also how often progress is told and Ctrl-C is heard
STEP = 1 << 10  # frames of a block asked for at a time: no more than these are lost before damage
UNKNOWN = 1 << 62  # libsndfile's frame count where the header has none
MALFORMED = 3  # libsndfile's code for a known format that breaks its own rules
COPY_AGAIN = "Copy it again; to use what is there: ffmpeg -i FILE mended.wav"
HEAD = 512  # bytes looked at to say what a file is
DELAY = 4096  # samples that a lossy file's header may promise beyond what decodes: the encoder's delay and padding

# Containers that libsndfile does not read, by their first bytes: (offset, bytes, what it is).
CONTAINERS = (
    (4, b"ftyp", "MP4 or M4A"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (0, b"\xff\xf1", "AAC (ADTS)"),
    (0, b"\xff\xf9", "AAC (ADTS)"),
    (0, b"0&\xb2u", "WMA or WMV"),
    (0, b"#!AMR", "AMR"),
    (0, b"FLV\x01", "FLV"),
    (8, b"AVI ", "AVI"),
    (0, b"\x00\x00\x01\xba", "MPEG video"),
)


class Reader(Protocol):
    """An opened source: `rate` in Hz; `frames` as many as its header says, None where it does not; `lossy` where decoded samples are not
    those encoded.

    Iterating gives float32 blocks (frames, channels) up to where the source breaks off, and raises AudioDecodeError there.
    """

    rate: int
    channels: int
    frames: int | None
    lossy: bool

    def __iter__(self) -> Iterator[NDArray[np.float32]]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def open_source(source: Path | bytes, name: str) -> Reader:
    """A path, or the bytes of a file. `name` stands in messages. Raises AudioDecodeError, or MissingExtra for what only PyAV reads."""
    head, size = _head(source, name)
    if size == 0:
        raise AudioDecodeError(f"{name} is empty (0 bytes)")
    try:
        return SoundfileReader(source, name)
    except soundfile.LibsndfileError as error:
        reason = _reason(error)
        if error.code == MALFORMED:  # FFmpeg would read what there is, and say nothing
            raise AudioDecodeError(f"{name} is damaged or truncated ({reason}). {COPY_AGAIN}") from error
    except TypeError:  # from soundfile, for a name that ends in .raw
        reason = "headerless PCM"
    with _raw(source) as raw:
        if (found := mismatch(raw)) is not None and found.short:
            raise AudioDecodeError(f"{name} is truncated so early that nothing of it can be read. {COPY_AGAIN}")
    if text := _text(head):
        raise AudioDecodeError(f"{name} is text, not audio: it starts with {text!r}")
    kind = next((kind for offset, magic, kind in CONTAINERS if head[offset : offset + len(magic)] == magic), None)
    try:
        import av  # noqa: F401
    except ImportError:
        if kind is not None:
            raise MissingExtra(f"{name} is {kind}; reading it", "media") from None
        raise AudioDecodeError(
            f"{name} is no audio that soundfile reads ({reason}): it starts with the bytes {head[:8].hex(' ')}. "
            'wav, flac, ogg, opus, mp3 and aiff are read as they are; more through: pip install "emoser[media]"; '
            "headerless PCM as (array, sample_rate)"
        ) from None
    return MediaReader(source, name, kind)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # soundfile comes without types
    """After each read, soundfile seeks to where it is; the MP3 decoder loses its thread over it, and FLAC files that are cut off refuse."""

    def seekable(self) -> bool:
        return False


class SoundfileReader:
    """What libsndfile reads: wav, flac, ogg, opus, mp3, aiff and more."""

    def __init__(self, source: Path | bytes, name: str) -> None:
        with _raw(source) as raw:  # before it is opened: of a file that grows meanwhile, too little is found rather than too much
            found = mismatch(raw)
        self._file = _Forward(_native(source) if isinstance(source, Path) else io.BytesIO(source))
        self._name = name
        self.rate, self.channels = int(self._file.samplerate), int(self._file.channels)
        self.lossy = self._file.format in ("MP3", "OGG")
        self._codec = f"{self._file.format} {self._file.subtype}"
        self._error: AudioDecodeError | None = None  # raised at the end: what is there comes first
        if found is not None:
            self._mend(source, found)
        self.frames = self._file.frames if self._file.frames < UNKNOWN else None

    def _mend(self, source: Path | bytes, found: Mismatch) -> None:
        name, codec = self._name, self._codec
        if found.short:
            self._error = _truncated(name, codec, self._file.frames / self.rate, found.ratio)
        elif found.at is None:
            self._error = AudioDecodeError(
                f"{name} ({codec}) is several recordings one after another; the first can be read, {self._file.frames / self.rate:.2f} s. "
                "Make one of them: ffmpeg -i FILE mended.wav"
            )
        else:
            self._error = AudioDecodeError(
                f"{name} ({codec}): its header says {found.promised} bytes of audio, {found.there} bytes follow: the recorder did not "
                "finish the file. Mend it with: ffmpeg -ignore_length 1 -i FILE mended.wav"
            )
            if found.promised or self._file.frames == 0:
                self._file.close()
                self._file = _Forward(io.BufferedReader(Mended(_raw(source), found)))

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        promised, read, full = self.frames, 0, True
        while full:
            block, damage = self._block()
            read += len(block)
            full = len(block) == BLOCK
            if len(block):
                yield block
            if damage is not None:
                raise self._error or _broken_off(self._name, self._codec, read / self.rate, damage) from damage
        if self._error is not None:
            raise self._error
        if promised is not None and read + (DELAY if self.lossy else 0) < promised:
            raise _truncated(self._name, self._codec, read / self.rate, promised / read if read else None)

    def _block(self) -> tuple[NDArray[np.float32], soundfile.LibsndfileError | None]:
        """The next frames, `BLOCK` of them unless the end or damage comes before; and the damage."""
        block = np.empty((BLOCK, self.channels), np.float32)
        filled = 0
        while filled < len(block):
            try:
                found = len(self._file.read(out=block[filled : filled + STEP]))
            except soundfile.LibsndfileError as damage:
                return block[:filled], damage
            if found == 0:
                break
            filled += found
        return block[:filled], None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


class MediaReader:
    """What FFmpeg reads, through PyAV: the first audio stream."""

    lossy = True

    def __init__(self, source: Path | bytes, name: str, kind: str | None) -> None:
        import av

        self._av: Any = av
        self._name = name
        try:
            self._container: Any = av.open(str(source) if isinstance(source, Path) else io.BytesIO(source), "r", metadata_errors="ignore")
        except (av.error.FFmpegError, ValueError) as error:
            what = f"{kind}, but damaged or truncated" if kind else "no audio that soundfile or FFmpeg knows, or damaged"
            raise AudioDecodeError(f"{name} is {what} ({_reason(error)}). Copy or encode it again") from error
        if not self._container.streams.audio:
            self._container.close()
            raise AudioDecodeError(f"{name} ({self._container.format.name}) holds no audio stream")
        self._stream: Any = self._container.streams.audio[0]
        context = self._stream.codec_context
        if context is None:  # FFmpeg found a stream and no way to decode it
            self._container.close()
            raise AudioDecodeError(f"{name} ({self._container.format.name}) is damaged, or of a codec that FFmpeg does not know")
        self.rate, self.channels = int(context.sample_rate), int(context.channels)
        self._codec = f"{self._container.format.name}, {context.name}"
        ticks = self._container.duration  # guessed from the bit rate where the container does not say
        self.frames = None if ticks is None else round(ticks / av.time_base * self.rate)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        convert = self._av.AudioResampler(format="fltp", layout=self._stream.layout, rate=self.rate)
        read = 0
        try:
            for frame in self._container.decode(self._stream):
                for part in convert.resample(frame):
                    read += part.samples
                    yield np.ascontiguousarray(part.to_ndarray().T, dtype=np.float32)
            for part in convert.resample(None):
                read += part.samples
                yield np.ascontiguousarray(part.to_ndarray().T, dtype=np.float32)
        except (self._av.error.FFmpegError, ValueError) as error:  # ValueError: the format changes on the way
            raise _broken_off(self._name, self._codec, read / self.rate, error) from error
        # Only these say how long they are; for the others FFmpeg guesses from the bit rate.
        if "mp4" in self._container.format.name and self._stream.duration is not None:
            promised = float(self._stream.duration * self._stream.time_base) * self.rate
            if read + DELAY < promised:
                raise _truncated(self._name, self._codec, read / self.rate, promised / read if read else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._container.close()


def _native(path: Path) -> str | bytes:
    """On POSIX a name is bytes, and need not be text in any encoding."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _raw(source: Path | bytes) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)


def _head(source: Path | bytes, name: str) -> tuple[bytes, int]:
    if isinstance(source, bytes):
        return source[:HEAD], len(source)
    try:
        with source.open("rb") as file:
            return file.read(HEAD), source.stat().st_size
    except FileNotFoundError:
        hint = " (emoser opens files, not addresses: download it first)" if "://" in name else ""
        raise AudioDecodeError(f"{name}: no such file{hint}") from None
    except IsADirectoryError:
        raise AudioDecodeError(f"{name} is a directory, not an audio file") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise AudioDecodeError(f"{name!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _broken_off(name: str, codec: str, seconds: float, error: Exception) -> AudioDecodeError:
    return AudioDecodeError(
        f"{name} ({codec}) is damaged or truncated: decoding broke off after {seconds:.2f} s ({_reason(error)}). {COPY_AGAIN}"
    )


def _truncated(name: str, codec: str, seconds: float, ratio: float | None) -> AudioDecodeError:
    promised = f" of the {seconds * ratio:.2f} s that its header promises" if ratio is not None else ""
    return AudioDecodeError(f"{name} ({codec}) is truncated: {seconds:.2f} s{promised} can be read. {COPY_AGAIN}")


def _text(head: bytes) -> str | None:
    """The first words, where the bytes are text.

    >>> _text(b"not audio\\n"), _text(b"RIFF\\x00\\x01")
    ('not audio', None)
    """
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a letter cut in two at the end is still text
            return None
        text = head[: error.start].decode("utf-8")
    if not text.strip() or any(not letter.isprintable() and not letter.isspace() for letter in text):
        return None
    return " ".join(text.split())[:40]


def _reason(error: Exception) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return text.rsplit(": ", 1)[-1].rstrip(".") or type(error).__name__
