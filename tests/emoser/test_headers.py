"""Files that hold more or less than their headers say, and those that only look so."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoser.audio import load_audio, open_audio
from emoser.errors import AudioDecodeError, AudioError, MissingExtra
from emoser.headers import Mended, Mismatch, mismatch

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


@pytest.mark.parametrize("size", [2**64 - 1, 2**63 + 40, 2**63 - 1, 2**40, 24, 0])
@pytest.mark.parametrize("name", [b"fmt ", b"data"])
def test_sizes_of_w64_that_cannot_be(size: int, name: bytes, tmp_path: Path) -> None:
    """Neither in a file nor in bytes another error than one of ours."""
    data = bytearray(encoded("W64"))
    at = data.index(name + bytes.fromhex("f3acd311")) + 16
    data[at : at + 8] = struct.pack("<Q", size)
    path = tmp_path / "a.w64"
    path.write_bytes(data)
    for given in (path, bytes(data)):
        with contextlib.suppress(AudioError):
            load_audio(given)


@pytest.mark.parametrize("place", [-1, 2**63 - 1])
def test_a_mended_file_stays_where_it_is_for_a_place_that_cannot_be(place: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100))
    for file in (io.BytesIO(bytes(100)), (tmp_path / "a").open("rb")):
        with Mended(file, Mismatch(10, 20, 4)) as mended:
            mended.seek(7)
            assert mended.seek(place, io.SEEK_CUR if place > 0 else io.SEEK_SET) == 7


def test_sizes_of_a_ds64_chunk_are_not_believed() -> None:
    data = bytearray(encoded("RF64"))
    at = data.index(b"ds64") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)

    class Measured(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1) -> bytes:
            self.most = max(self.most, len(data) if size is None or size < 0 else size)
            return super().read(size)

    file = Measured(data)
    assert mismatch(file) is None
    assert file.most <= 16


@pytest.mark.parametrize("form", ["WAV", "RF64", "W64", "AIFF", "AU", "OGG", "MP3", "FLAC", "CAF"])
def test_a_header_with_any_four_bytes_at_their_most_can_be_looked_at(form: str, tmp_path: Path) -> None:
    """Never another error than one of ours."""
    whole, path = encoded(form)[:4000], tmp_path / "damaged"
    for at in range(0, 120, 2):
        path.write_bytes(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :])
        with contextlib.suppress(AudioError, MissingExtra):
            load_audio(path)


@pytest.mark.parametrize("form", ["WAV", "RF64", "W64", "AIFF", "AU", "OGG", "MP3", "FLAC"])
def test_any_beginning_of_a_file_can_be_looked_at(form: str, tmp_path: Path) -> None:
    """Never another error than one of ours."""
    data, path = encoded(form), tmp_path / "beginning"
    for length in [*range(200), 300, 1000, 5000]:
        path.write_bytes(data[:length])
        with pytest.raises(AudioError):
            load_audio(path)
