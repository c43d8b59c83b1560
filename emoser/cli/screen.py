"""What commands that print one thing need of the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 10_000  # nothing limits the width of a pipe or a file: let no cell be cut


def wants_table(format: str | None) -> bool:
    """What -f says, else whether standard output is a terminal."""
    return format == "table" or (format is None and sys.stdout.isatty())


def screen() -> Console:
    """Standard output. What is printed is text as it stands: square brackets are no markup."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            """Rich would end with exit code 1, and a reader that has seen enough is no failure."""
            raise BrokenPipeError

    unlimited = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Screen(width=PIPE_WIDTH if unlimited else None, highlight=False, markup=False)


def grid(*titles: str, wrap: int = -1) -> Table:
    """A table without lines, in the manner of `ls`. Where the terminal is narrow, column `wrap` gives way and the others stay whole."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_header=any(titles))
    for index, title in enumerate(titles):
        table.add_column(title, overflow="fold", no_wrap=index != wrap % len(titles))
    return table
