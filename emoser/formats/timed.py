"""What the formats of segments share: which segments they show, and how they call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from emoser.errors import UsageError
from emoser.formats.base import Header, Kind, Record, Writer
from emoser.results import SILENCE

Result = dict[str, Any]


class OneRecording(Writer):
    """A format that tells of one recording, with as many channels as it has: written when all are there."""

    kinds: ClassVar[tuple[Kind, ...]] = ("diarize",)
    one_recording = True

    def open(self, stream: BinaryIO, header: Header) -> None:
        super().open(stream, header)
        self._results: list[Result] = []

    def write(self, record: Record) -> None:
        result = record.to_dict()
        if "segments" not in result:  # a failure: the format has no place for it, standard error and the exit code tell
            return
        if self._results and self._results[-1]["file"] != result["file"]:
            raise UsageError(f"{type(self).__name__} holds one recording; for several give a folder: -o FOLDER/")
        self._results.append(result)

    def close(self) -> None:
        self.put(self.document(self._results))

    def document(self, results: list[Result]) -> str:
        """The channels of one recording, none where it failed, as text."""
        raise NotImplementedError


def spoken(result: Result) -> list[Result]:
    """The segments in which somebody speaks."""
    return [segment for segment in result["segments"] if segment["label"] != SILENCE]


def caption(segment: Result) -> str:
    """What a segment is called where people read it; `?` marks one below --min-confidence.

    >>> caption({"label": "happy"}), caption({"label": "sad", "speaker": "Anna", "warnings": ["low_confidence"]})
    ('happy', 'Anna: sad?')
    """
    label = segment["label"] + "?" * ("low_confidence" in segment.get("warnings", ()))
    return f"{segment['speaker']}: {label}" if segment.get("speaker") else label


def recording_id(file: str | None) -> str:
    """The name of a recording without folder and suffix, and without blanks, which separate fields.

    >>> recording_id("calls/my call.wav"), recording_id("-")
    ('my_call', '-')
    """
    return "_".join(Path(file or "-").stem.split()) or "-"


def clock(seconds: float, mark: str) -> str:
    """Hours, minutes, seconds and, after `mark`, milliseconds.

    >>> clock(3723.5, ",")
    '01:02:03,500'
    """
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{thousandths:03}"
