"""Results in a folder, a file for each recording."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from emoser.cli.output import Identity, Output, identities
from emoser.errors import OutputError
from emoser.formats import Header, Record, writer


def is_folder(path: str | None) -> bool:
    """Whether what stands after an option names a folder: one that is there, or a name that ends in a slash.

    >>> is_folder("out/"), is_folder("out.srt"), is_folder(None)
    (True, False, False)
    """
    return path is not None and (path.endswith(("/", os.sep)) or Path(path).is_dir())


class Names:
    """recording -> a path in the folder, named like it; a number is added where two are of the same name, in the order in which they are
    reserved or asked for."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._stems: dict[str, str] = {}

    def reserve(self, files: Iterable[str]) -> None:
        """So that a name does not depend on which of them come to be written."""
        for file in files:
            self._stem(file)

    def path(self, file: str | None, extension: str) -> Path:
        return self._folder / (self._stem(file) + extension)

    def _stem(self, file: str | None) -> str:
        if str(file) not in self._stems:
            plain = "stdin" if file in (None, "-") else Path(str(file)).stem
            taken, number, found = set(self._stems.values()), 1, plain
            while found in taken:
                number += 1
                found = f"{plain}-{number}"
            self._stems[str(file)] = found
        return self._stems[str(file)]

    def make(self) -> None:
        """Raises OutputError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"could not make the folder {self._folder}: {error.strerror}") from error


class Folder:
    """Does for a folder what `Output` does for a file; each file of it replaces the old one when its recording is done."""

    def __init__(self, path: str, format: str | None, header: Header, read: frozenset[Identity] = frozenset()) -> None:
        self.path = path
        self.format = format or "json"
        self.done: Counter[str] = Counter()
        self._header, self._names, self._read = header, Names(path), read
        self._extension = writer(self.format).extension
        self._open: Output | None = None
        self._file: str | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._names.make()
        return self

    def targets(self, files: Iterable[str]) -> list[Path]:
        """Where results of `files` go, which have their names from here on."""
        return [self._names.path(file, self._extension) for file in files]

    def step_aside_with(self, step_aside: Callable[[], None]) -> None:
        """Nothing is shown on a terminal."""

    def write(self, record: Record) -> None:
        file: Any = getattr(record, "file", None)
        if self._open is None or file != self._file:
            self._stack.close()
            path = self._names.path(file, self._extension)
            if self.format == "jsonl" and not identities([str(path)]) & self._read:
                path.unlink(missing_ok=True)  # which would go on from what is there
            self._file, self._open = file, self._stack.enter_context(Output(str(path), self.format, self._header, read=self._read))
        self._open.write(record)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)
