"""A table for people, on a terminal."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from emoser.formats import cells, timeline
from emoser.formats.base import Header, Record, Writer

PAGE = 200  # rows shown at once; the first page settles the widths
GAP = 2  # columns of a terminal between two cells
NARROWEST_FILE = 16
NARROWEST_NOTE = 24
EXAMPLES = 3  # files named for each finding under the table of `check`
UNBOUNDED = 10_000  # width where nothing has one: a file or a pipe


class Table(Writer):
    """Aligned columns, rounded numbers, colours where the terminal has them. Not for programs: they take json or csv.

    Rows are shown in pages, so that memory stays flat and the widths fit what is there. A file name that does not fit loses its
    beginning, since the end is what tells names apart.
    """

    extension = ".txt"

    def open(self, stream: BinaryIO, header: Header) -> None:
        super().open(stream, header)
        self._columns = cells.columns(header)
        self._rows: list[list[Text]] = []
        self._widths: list[int] | None = None
        self._findings: dict[str, _Group] = {}
        if stream is getattr(sys.stdout, "buffer", None) and stream.isatty():
            self._console, self._page = Console(highlight=False), None
        else:
            self._page = io.StringIO()
            # A wide page of its own, so that nothing is cut where nothing limits the width.
            self._console = Console(file=self._page, width=_width(), highlight=False)

    def write(self, record: Record) -> None:
        result = record.to_dict()
        if "segments" in result:
            self._show_timeline(result)
            return
        self._rows.append(cells.row(self.header, result))
        for finding in result.get("findings", ()):
            group = self._findings.setdefault(finding["code"], _Group(finding["severity"], finding["advice"]))
            group.add(result["file"], finding["message"])
        if len(self._rows) >= PAGE:
            self._show()

    def close(self) -> None:
        if self._rows:
            self._show()
        order = list(cells.SEVERITIES)
        for code, group in sorted(self._findings.items(), key=lambda item: (order.index(item[1].severity), -item[1].count)):
            self._show_findings(code, group)
        self._findings.clear()
        self.stream.flush()

    def _show(self) -> None:
        rows, self._rows = self._rows, []
        first = self._widths is None
        if self._widths is None:
            self._widths = self._measure(rows)
        table = RichTable(box=None, show_header=first, padding=(0, GAP, 0, 0), header_style="bold", pad_edge=False)
        for index, (column, width) in enumerate(zip(self._columns, self._widths, strict=True)):
            last = index == len(self._widths) - 1
            table.add_column(column.title, justify="right" if column.right else "left", width=width, no_wrap=not last)
        for row in rows:
            table.add_row(_keep_end(row[0], self._widths[0]), *row[1:])
        self._print(table)

    def _show_timeline(self, result: dict[str, Any]) -> None:
        self._print(Text("  ").join(cells.row(self.header, result)))
        if "error" in result:
            self._print(Text(f"broken off: {result['error']['type']}", "red"))
        width = min(self._console.width, timeline.WIDEST + timeline.PLACE)
        for line in timeline.strip(result, self.header.labels, width):
            self._print(line)
        self._print(timeline.legend(self.header.labels))
        self._print(timeline.rows(result))
        self._print(Text(""))

    def _measure(self, rows: list[list[Text]]) -> list[int]:
        widths = [max(len(column.title), *(row[index].cell_len for row in rows)) for index, column in enumerate(self._columns)]
        spare = self._console.width - sum(widths) - GAP * (len(widths) - 1)
        # What is too wide comes off the last column first (notes wrap), then off the file names.
        for index, least in ((len(widths) - 1, NARROWEST_NOTE), (0, NARROWEST_FILE)):
            if spare < 0 and widths[index] > least:
                taken = min(-spare, widths[index] - least)
                widths[index] -= taken
                spare += taken
        return widths

    def _show_findings(self, code: str, group: _Group) -> None:
        files = "1 file" if group.count == 1 else f"{group.count} files"
        self._print(Text.assemble("\n", (code, f"bold {cells.SEVERITIES[group.severity]}"), f"  {group.severity}, {files}"))
        for file, message in group.examples:
            self._print(Padding(Text.assemble(cells.name(file), f": {message}"), (0, 0, 0, 2)))
        if group.count > len(group.examples):
            self._print(Padding(Text(f"and {group.count - len(group.examples)} more"), (0, 0, 0, 2)))
        self._print(Padding(Text(f"-> {group.advice}"), (0, 0, 0, 2)))

    def _print(self, what: RichTable | Padding | Text) -> None:
        if self.step_aside is not None:
            self.step_aside()
        self._console.print(what)
        if self._page is not None:
            text = self._page.getvalue()
            self._page.seek(0)
            self._page.truncate()
            self.put("".join(line.rstrip() + "\n" for line in text.splitlines()))


@dataclass
class _Group:
    severity: str
    advice: str
    count: int = 0
    examples: list[tuple[str | None, str]] = field(default_factory=list)

    def add(self, file: str | None, message: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append((file, message))


def _width() -> int:
    """COLUMNS, if it is a number above zero."""
    columns = os.environ.get("COLUMNS", "")
    return (int(columns) if columns.isdecimal() else 0) or UNBOUNDED


def _keep_end(text: Text, width: int) -> Text:
    """Cut at the beginning, so that it fits.

    >>> _keep_end(Text("folder/clip.wav"), 9).plain
    '…clip.wav'
    """
    if text.cell_len <= width:
        return text
    kept = text.copy()
    while kept.cell_len > width - 1:
        kept = kept[1:]
    return Text("…") + kept
