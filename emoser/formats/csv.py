"""CSV and TSV: one row a result (of a diarization: one row a segment), for spreadsheets and data frames."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import Any, BinaryIO

from emoser.formats.base import Header, Record, Writer

SEGMENT = ("start", "end", "label", "confidence")


class Csv(Writer):
    """RFC 4180 with a header row, UTF-8, lines ended by a newline only, as line tools and data frames expect.

    Lists (warnings, findings) are joined by a space. A failed input keeps its row: every column empty but `file` and `error`.
    """

    extension = ".csv"
    delimiter = ","

    def open(self, stream: BinaryIO, header: Header) -> None:
        super().open(stream, header)
        self._columns: list[str] | None = None
        self._waiting: list[dict[str, Any]] = []
        if header.kind == "predict":
            named = ["model"] if header.models else []
            said = ["transcript"] if header.transcripts else []
            self._start(["file", *named, "channel", "duration", "label", "confidence", *header.labels, *said, "warnings", "error"])
        elif header.kind == "diarize":
            self._start(["file", "channel", *SEGMENT, *header.labels, "speaker", "warnings", "error"])
        elif header.kind == "check":
            from emoser.quality import Quality

            self._start([*(field.name for field in dataclasses.fields(Quality)), "error"])

    def write(self, record: Record) -> None:
        result = record.to_dict()
        if "segments" in result:
            self._put_segments(result)
            return
        row = _flat(result)
        if self._columns is None:
            # How many columns an embedding has is known with the first one; failures before it wait.
            if "embedding" not in result:
                self._waiting.append(row)
                return
            self._start_embeddings(len(result["embedding"]))
        self._put(row)

    def close(self) -> None:
        if self._columns is None:
            self._start_embeddings(0)
        self.stream.flush()

    def _start_embeddings(self, dim: int) -> None:
        self._start(["file", "channel", "duration", "warnings", "error", *(f"e{index}" for index in range(dim))])
        for waiting in self._waiting:
            self._put(waiting)
        self._waiting.clear()

    def _put_segments(self, result: dict[str, Any]) -> None:
        """A row for each segment; the warnings are those of the segment. What broke the recording off has a row of its own, the last."""
        of_file = {"file": result["file"], "channel": result["channel"]}
        for segment in result["segments"]:
            self._put(_flat({**of_file, "warnings": [], **segment}))
        if "error" in result:
            self._put(_flat({**of_file, "error": result["error"]}))

    def _start(self, columns: list[str]) -> None:
        self._columns = columns
        self._line(columns)

    def _put(self, row: dict[str, Any]) -> None:
        assert self._columns is not None
        self._line([row.get(name, "") for name in self._columns])

    def _line(self, cells: list[Any]) -> None:
        text = io.StringIO()
        csv.writer(text, delimiter=self.delimiter, lineterminator="\n").writerow(cells)
        self.put(text.getvalue())


class Tsv(Csv):
    """The same separated by tabs."""

    extension = ".tsv"
    delimiter = "\t"


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """A result as one row.

    >>> _flat({"file": "a", "channel": None, "scores": {"sad": 0.25}, "warnings": ["silence", "windowed"]})
    {'file': 'a', 'channel': '', 'sad': 0.25, 'warnings': 'silence windowed'}
    """
    row: dict[str, Any] = {}
    for name, value in record.items():
        match name:
            case "scores":
                row.update({label: round(score, 6) for label, score in value.items()})
            case "confidence":
                row[name] = round(value, 6)
            case "embedding":
                # Nine digits give a float32 back exactly.
                row.update({f"e{index}": f"{number:.9g}" for index, number in enumerate(value)})
            case "error":
                row[name] = f"{value['type']}: {value['message']}"
            case "model":
                row[name] = value["name"]
            case "warnings":
                row[name] = " ".join(value)
            case "findings":
                row[name] = " ".join(finding["code"] for finding in value)
            case _:
                row[name] = "" if value is None else value
    return row
