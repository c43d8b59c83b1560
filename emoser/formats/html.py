"""A page that plays a recording and shows its emotions: one file, nothing fetched from anywhere (page.html is its template)."""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from emoser.audio import SAMPLE_RATE, Progress
from emoser.formats.colours import COLOURS, OTHER, letters
from emoser.formats.envelope import envelope, thinned
from emoser.formats.json import dumps
from emoser.results import SILENCE, Diarization

TEMPLATE = Path(__file__).with_name("page.html")
PLACE = re.compile(r"\{\{(\w+)\}\}")  # of the template, where something is put in
ENVELOPE_RATE = 100  # columns a second
MOST_COLUMNS = 60_000  # of the envelope; a longer recording gets wider ones
MOST_FRAMES = 100_000
COMPRESSION = 0.8  # of the MP3, from 0 to 1: about 40 kbit/s, 18 MB an hour
CHUNK = 3 << 16  # bytes; a multiple of three, so that pieces of base64 can stand one after the other


def write_page(path: Path, result: Diarization, audio: str, progress: Progress | None = None) -> None:
    """The page of `result`, with the recording at the path `audio` inside. Memory does not grow with the recording, but for its frames.
    progress: as in `Diarizing.diarize_each`, for the recording is read once more."""
    head, _, tail = TEMPLATE.read_text(encoding="utf-8").partition("{{audio}}")
    columns = int(min(MOST_COLUMNS, max(1, np.ceil(result.duration * ENVELOPE_RATE))))
    with tempfile.TemporaryFile() as encoded:
        file = _Telling(encoded)
        with soundfile.SoundFile(
            file, "w", SAMPLE_RATE, 1, "MPEG_LAYER_III", format="MP3", compression_level=COMPRESSION, bitrate_mode="CONSTANT"
        ) as mp3:

            def sink(samples: NDArray[np.float32]) -> None:
                mp3.write(np.clip(samples, -1, 1))
                file.check()

            waves = envelope(result, audio, columns, sink, progress)
        file.check()
        data = dumps(_data(result, waves)).replace("<", "\\u003c")  # which could end the script element
        values = {"title": escape(_name(result)), "data": data}
        with path.open("wb") as page:
            page.write(PLACE.sub(lambda place: values[place[1]], head).encode())  # in one pass: a name may hold such a place too
            _base64(encoded, page)
            page.write(tail.encode())


class _Telling:
    """A file for soundfile, which cannot pass on what is raised in one, a full disk or Ctrl-C: `check` raises the first."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: BaseException | None = None

    def write(self, data: bytes) -> int:
        return self._kept(lambda: self._file.write(data), len(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._kept(lambda: self._file.seek(offset, whence), offset)

    def tell(self) -> int:
        return self._kept(self._file.tell, 0)

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def _kept(self, act: Callable[[], int], otherwise: int) -> int:
        if self._error is None:
            try:
                return act()
            except BaseException as error:
                self._error = error
        return otherwise


def _data(result: Diarization, waves: NDArray[np.float32]) -> dict[str, Any]:
    labels = [*result.frames.labels, SILENCE]
    scores = thinned(np.column_stack([result.frames.scores, result.frames.speech]), MOST_FRAMES)
    return {
        **result.to_dict(),
        "name": _name(result),
        "labels": list(result.frames.labels),
        "colours": {label: COLOURS.get(label, OTHER) for label in labels},
        "letters": letters(result.frames.labels),
        "waves": _bytes(np.clip(np.round(waves * 127), -127, 127).astype(np.int8)),
        "frames": _bytes(np.round(scores.T * 255).astype(np.uint8)),
    }


def _name(result: Diarization) -> str:
    name = (result.file or "recording").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return name if result.channel is None else f"{name} [{result.channel}]"


def _bytes(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _base64(source: BinaryIO, target: BinaryIO) -> None:
    source.seek(0)
    while data := source.read(CHUNK):
        target.write(base64.b64encode(data))
