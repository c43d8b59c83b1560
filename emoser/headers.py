"""Where a file holds more or less audio than its header says. Decoders give what fits both and keep silent; here it is found out."""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO, NamedTuple

# What counts as audio inside a folder, behind a pattern or beside a reference. A file named by itself is tried whatever it is called.
AUDIO_SUFFIXES = frozenset((
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".m4a", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".aac", ".wma", ".3gp", ".amr",
))  # fmt: skip
JUNK = 4096  # bytes that may follow the audio without being any
TAGS = (b"TAG", b"ID3", b"APETAGEX")  # what programs append to any kind of file
OGG_PAGE = 65_307  # bytes, at most
W64_WAVE, W64_DATA = b"wave\xf3\xac\xd3\x11", b"data\xf3\xac\xd3\x11"  # the first half of Sony's identifiers
MP3_XING = {(1, 2): 36, (1, 1): 21, (2, 2): 21, (2, 1): 13}  # MPEG 1 or 2, channels -> bytes from a frame's start to its Xing header


class Mismatch(NamedTuple):
    """Bytes of audio there, and those promised (None: unknown, but it ends too early). `at`: where the promise stands, as four bytes in
    `order`, if mending it lets all be read."""

    there: int
    promised: int | None
    at: int | None = None
    order: str = "<"

    @property
    def short(self) -> bool:
        """There is less than promised."""
        return self.promised is None or self.promised > self.there

    @property
    def ratio(self) -> float | None:
        """Promised for one that is there."""
        return self.promised / self.there if self.promised and self.there else None


def mismatch(file: BinaryIO) -> Mismatch | None:
    """None where the two agree, as far as the header says anything: WAV, RF64, W64, AIFF and AU say the length of the audio, MP3 often that
    of the file, Ogg only that of each page."""
    magic = file.read(12)[:4]
    if magic in (b"RIFF", b"RF64", b"RIFX", b"FORM"):
        return _chunks(file, magic)
    if magic == b"OggS":
        return _ogg(file)
    if magic == b"riff":
        return _w64(file)
    if magic == b".snd":
        return _au(file)
    if magic[:3] == b"ID3" or magic[:2] in (b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2"):
        return _mp3(file)
    return None


class Mended(io.RawIOBase):
    """A file that says in its header as much as there is. Only what is read is changed."""

    def __init__(self, file: BinaryIO, found: Mismatch) -> None:
        self._file = file
        self._at, self._size = found.at or 0, struct.pack(found.order + "I", min(found.there, 0xFFFFFFFE))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):  # a place that cannot be, from a damaged header: the decoder finds itself where it was
            return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        start = self._file.tell()
        data = bytearray(self._file.read(len(buffer)))
        for place, value in enumerate(self._size, self._at - start):
            if 0 <= place < len(data):
                data[place] = value
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _chunks(file: BinaryIO, magic: bytes) -> Mismatch | None:
    order = "<" if magic in (b"RIFF", b"RF64") else ">"
    long_size = None
    while len(header := file.read(8)) == 8:
        chunk, size = struct.unpack(order + "4sI", header)
        if chunk == b"ds64":  # RF64 keeps the sizes that 32 bits cannot hold here
            after = file.tell() + size + size % 2
            body = file.read(min(size, 16))  # of the size there is nothing to trust
            long_size = struct.unpack_from("<Q", body, 8)[0] if len(body) == 16 else None
            file.seek(after)
        elif chunk in (b"data", b"SSND"):
            start = file.tell()
            there = file.seek(0, io.SEEK_END) - start
            # Programs that write into a pipe cannot go back to fill in the size and leave one of these.
            streamed = size >= 0xFFFFFF00 or 0x7FFFF000 <= size <= 0x80000000
            promised = long_size if streamed and long_size is not None else None if streamed else size
            if promised is None:
                return None
            unfinished = promised == 0 and there > 1 and magic != b"FORM"
            if promised > there + 1 or unfinished or _goes_on(file, start + promised, order):
                return Mismatch(there, promised, start - 4, order)
            return None
        else:
            file.seek(size + size % 2, io.SEEK_CUR)
    return None


def _goes_on(file: BinaryIO, end: int, order: str) -> bool:
    """Whether what stands after the audio is neither a chunk, nor a tag, nor zeros, nor too little to matter."""
    size = file.seek(0, io.SEEK_END)
    if size - end <= JUNK:
        return False
    file.seek(end)
    after = file.read(JUNK)
    if after.startswith(TAGS) or not any(after):
        return False
    for pad in (0, 1):  # the byte that makes an odd length even is often forgotten, or there without need
        name, length = struct.unpack_from(order + "4sI", after, pad)
        if all(0x20 <= letter < 0x7F for letter in name) and end + pad + 8 + length <= size + 1:
            return False
    return True


def _w64(file: BinaryIO) -> Mismatch | None:
    end = file.seek(0, io.SEEK_END)
    if file.seek(24) != 24 or file.read(16)[:8] != W64_WAVE:
        return None
    while len(header := file.read(24)) == 24:
        size = struct.unpack_from("<Q", header, 16)[0] - 24  # which counts itself
        if header[:8] == W64_DATA:
            start = file.tell()
            there = end - start
            return Mismatch(there, size) if size > there else None
        if not 0 <= size <= end - file.tell():  # damaged: the decoder will say so
            return None
        file.seek(size + -size % 8, io.SEEK_CUR)
    return None


def _au(file: BinaryIO) -> Mismatch | None:
    file.seek(4)
    start, promised = struct.unpack(">II", file.read(8).ljust(8, b"\xff"))
    there = file.seek(0, io.SEEK_END) - start
    return Mismatch(there, promised) if 0 <= there < promised < 0xFFFFFFFF else None


def _ogg(file: BinaryIO) -> Mismatch | None:
    """Pages that end too early; and a stream after the end of another, which the decoder never reaches."""
    first = _first_streams(file)
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - OGG_PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    if len(page) < 27:
        return Mismatch(size, None)
    whole = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if whole > len(page):
        return Mismatch(size, None)
    return Mismatch(size, size - 1) if page[14:18] not in first else None


def _first_streams(file: BinaryIO) -> set[bytes]:
    """The serial numbers of the streams that begin with the file."""
    found = set()
    file.seek(0)
    while len(page := file.read(27)) == 27 and page[:4] == b"OggS" and page[5] & 2:
        found.add(page[14:18])
        file.seek(sum(file.read(page[26])), io.SEEK_CUR)
    return found


def _mp3(file: BinaryIO) -> Mismatch | None:
    """A file that goes on with another one, whose frames the first one's Xing header does not count."""
    start = _after_tag(file, 0)
    file.seek(start)
    frame = file.read(256)
    if len(frame) < 256 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return None
    at = MP3_XING[1 if frame[1] >> 3 & 3 == 3 else 2, 1 if frame[3] >> 6 == 3 else 2]
    if frame[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags = frame[at + 7]
    if not flags & 2:  # no count of bytes
        return None
    promised = struct.unpack_from(">I", frame, at + 8 + 4 * (flags & 1))[0]
    size = file.seek(0, io.SEEK_END)
    end = start + promised
    file.seek(end)
    if file.read(3) == b"TAG":
        end += 128
    file.seek(end := _after_tag(file, end))
    another = file.read(2)
    if size - end > JUNK and promised > 0 and len(another) == 2 and another[0] == 0xFF and another[1] & 0xE0 == 0xE0:
        return Mismatch(size - start, promised)
    return None


def _after_tag(file: BinaryIO, at: int) -> int:
    """The place after an ID3v2 tag, if one stands there."""
    file.seek(at)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return at
    size = 0
    for value in head[6:]:
        size = size << 7 | value & 0x7F
    return at + 10 + size
