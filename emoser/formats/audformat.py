"""CSV as the package audformat reads it: a segmented table."""

from __future__ import annotations

import csv
import io
from typing import BinaryIO, ClassVar

from emoser.formats.base import Header, Kind, Record, Writer
from emoser.formats.timed import spoken


class Audformat(Writer):
    """file, start and end make the index, the times as pandas writes a Timedelta; emotion and confidence are the columns. Segments of
    speech only; any number of recordings, channels of the same file one after the other."""

    extension = ".csv"
    kinds: ClassVar[tuple[Kind, ...]] = ("diarize",)

    def open(self, stream: BinaryIO, header: Header) -> None:
        super().open(stream, header)
        self.put("file,start,end,emotion,confidence\n")

    def write(self, record: Record) -> None:
        result = record.to_dict()
        for segment in spoken(result) if "segments" in result else []:
            text = io.StringIO()
            times = (_timedelta(segment[edge]) for edge in ("start", "end"))
            csv.writer(text, lineterminator="\n").writerow([result["file"], *times, segment["label"], round(segment["confidence"], 6)])
            self.put(text.getvalue())

    def close(self) -> None:
        self.stream.flush()


def _timedelta(seconds: float) -> str:
    """
    >>> _timedelta(90061.25)
    '1 days 01:01:01.250000'
    """
    whole, millionths = divmod(round(seconds * 1_000_000), 1_000_000)
    days, whole = divmod(whole, 86_400)
    return f"{days} days {whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{millionths:06}"
