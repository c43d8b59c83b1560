"""Files that hold more or less than their headers say, and those that only look so."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoser.audio import load_audio, open_audio
from emoser.errors import AudioDecodeError, AudioError
from emoser.headers import mismatch

RATE = 16_000
SECONDS = 4
SAMPLES = np.random.default_rng(0).normal(0, 0.1, SECONDS * RATE).astype(np.float32)


def encoded(form: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, SAMPLES, RATE, format=form, subtype=subtype)
    return buffer.getvalue()


def claiming(size: int, after: bytes = b"") -> bytes:
    """A WAV whose header says that it holds so many bytes of audio."""
    data = bytearray(encoded("WAV", "PCM_16"))
    at = data.index(b"data") + 4
    return bytes(data[:at] + struct.pack("<I", size) + data[at + 4 :]) + after


@pytest.mark.parametrize("size", [0, 2 * RATE, 2 * RATE + 1])
def test_a_header_that_says_too_little(size: int) -> None:
    """All that is there is given, then the error."""
    heard: list[np.ndarray] = []
    with pytest.raises(AudioDecodeError, match=rf"says {size} bytes of audio, {SECONDS * 2 * RATE} bytes follow.*ignore_length"):
        heard.extend(open_audio(claiming(size)))
    assert sum(map(len, heard)) == SECONDS * RATE


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "after",
    [
        chunk(b"LIST", bytes(range(256)) * 40),
        b"\0" + chunk(b"LIST", bytes(range(256)) * 40),
        b"ID3\x04" + bytes(range(256)) * 40,
        b"TAG" + b"artist" * 20,
        bytes(100_000),
        b"what some recorder left" * 99,
    ],
    ids=["chunk", "chunk after a pad", "ID3", "short tag", "zeros", "a little"],
)
def test_what_may_follow_the_audio(after: bytes) -> None:
    assert load_audio(claiming(SECONDS * 2 * RATE, after))[0].duration == SECONDS


@pytest.mark.parametrize(("form", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_recordings_one_after_another(form: str, subtype: str | None) -> None:
    once, again = encoded(form, subtype), encoded(form, subtype)
    assert load_audio(once + (b"TAG" + bytes(125) if form == "MP3" else b""))[0].duration == SECONDS
    tag = b"ID3\x04\0\0\0\0\x02\x00" + bytes(256) if form == "MP3" else b""
    with pytest.raises(AudioDecodeError, match=r"several recordings one after another; the first can be read, 4\.00 s"):
        load_audio(tag + once + tag + again)


@pytest.mark.parametrize("form", ["WAV", "RF64", "W64", "AIFF", "AU", "OGG"])
@pytest.mark.parametrize("keep", [0.9, 0.3])
def test_a_header_that_says_too_much(form: str, keep: float) -> None:
    data = encoded(form)
    assert mismatch(io.BytesIO(data)) is None
    cut = data[: int(len(data) * keep)]
    found = mismatch(io.BytesIO(cut))
    assert found is not None and found.short
    with pytest.raises(AudioDecodeError, match="truncated"):
        load_audio(cut)


@pytest.mark.parametrize("form", ["WAV", "RF64", "W64", "AIFF", "AU", "OGG", "MP3", "FLAC"])
def test_any_beginning_of_a_file_can_be_looked_at(form: str, tmp_path: Path) -> None:
    """Never another error than one of ours."""
    data, path = encoded(form), tmp_path / "beginning"
    for length in [*range(200), 300, 1000, 5000]:
        path.write_bytes(data[:length])
        with pytest.raises(AudioError):
            load_audio(path)
