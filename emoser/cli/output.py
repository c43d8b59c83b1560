"""Where results go: standard output, a file that is replaced when done, or a .jsonl that goes on where it stopped."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from emoser.cli.interrupts import uninterrupted
from emoser.cli.resume import take_up
from emoser.errors import OutputError, UsageError
from emoser.formats import Header, Record, Writer, for_suffix, writer
from emoser.results import Failure

DESCRIPTOR = re.compile(r"/dev/(?:(stdout|stderr)|fd/(\d+))")
Identity = tuple[int, int]  # of a file: its device and its number there


def identities(paths: Iterable[str]) -> frozenset[Identity]:
    """Those of `paths` that are regular files."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError, ValueError):  # what cannot be read will be said by whoever reads it
            about = os.stat(path)  # noqa: PTH116  ten thousand of them
            if stat.S_ISREG(about.st_mode):
                found.add((about.st_dev, about.st_ino))
    return frozenset(found)


def check_target(path: str | None, read: frozenset[Identity]) -> None:
    """Raises UsageError where -o names a file that the run reads, or a folder that is not there."""
    if path is None or path == "-":
        return
    if identities([path]) & read:
        raise UsageError(f"-o {path} is one of the files that are read; give another one")
    if path.endswith(("/", os.sep)):
        raise UsageError(f"-o {path} ends like a folder; give a file")
    if not Path(path).parent.is_dir():
        raise OutputError(f"could not write {path}: {os.strerror(errno.ENOENT)}")


def check_suffix(path: str | None, format: str | None, *, known: bool) -> None:
    """Raises UsageError where the format follows from the name after -o, and its suffix is that of none."""
    if path is not None and format is None and not known and (suffix := Path(path).suffix):
        raise UsageError(f"-o {path}: no format is known by {suffix}; say with -f what it is to be")


def replace_text(path: str, text: str) -> None:
    """Writes `text` beside the file, and then in its place. Raises OutputError."""
    target = Path(path).resolve()
    part = _beside(target)
    try:
        if stream := _descriptor(path):
            with stream:
                stream.write(text.encode("utf-8", "surrogateescape"))
            return
        if target.exists() and not target.is_file():  # a device or a named pipe
            target.write_text(text, encoding="utf-8", errors="surrogateescape")
            return
        part.write_text(text, encoding="utf-8", errors="surrogateescape")
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except BrokenPipeError:
        raise
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"could not write {path}: {error.strerror}") from error


def _descriptor(path: str) -> BinaryIO | None:
    """What `/dev/stdout`, `/dev/stderr`, `/dev/fd/N` and `>(command)` stand for, as a stream of its own: behind the name may be a pipe,
    which has none, or a file that the shell writes to as well, which must not be replaced."""
    found = DESCRIPTOR.fullmatch(path)
    if found is None:
        return None
    number = {"stdout": 1, "stderr": 2}.get(found[1]) or int(found[2])
    try:
        return os.fdopen(os.dup(number), "wb")
    except OverflowError:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None


def _beside(target: Path) -> Path:
    return begun(target.with_name(f".{target.name}.{os.getpid()}.part"))


_unfinished: set[Path] = set()


def begun(part: Path) -> Path:
    """`part`, a file that stands for another until it is whole: `remove_unfinished` knows it from here on."""
    _unfinished.add(part)
    return part


def remove_unfinished() -> None:
    for part in _unfinished:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


class Output:
    """A writer and the place it writes to.

    As a context it ends the document however the block ends: results that were written before an interruption or an error stay. An
    unfinished file is thrown away, and an earlier one left as it is, where writing itself failed, where an error or Ctrl-C ended the run
    before anything was written, and where a format of one recording has none to hold. `done` counts, by file, the inputs that an
    interrupted run over the same `inputs` left complete in the same .jsonl. `read` are the files that must not be written over.
    `accept` is told the inputs that are done before the file is touched, and may raise.
    """

    def __init__(
        self,
        path: str | None,
        format: str | None,
        header: Header,
        inputs: Collection[str] = (),
        read: frozenset[Identity] = frozenset(),
        accept: Callable[[Collection[str]], None] = lambda done: None,
    ) -> None:
        self.path = None if path in (None, "-") else path
        self.on_terminal = self.path is None and sys.stdout.isatty()
        # A folder, or a file that is read, is refused for that, which matters more.
        if not (self.path and (Path(self.path).is_dir() or self.path.endswith(("/", os.sep)) or identities([self.path]) & read)):
            check_suffix(self.path, format, known=self.path is None or for_suffix(self.path) is not None)
        self.format = format or (for_suffix(self.path) if self.path else None) or ("table" if self.on_terminal else "json")
        self.done: Counter[str] = Counter()
        self._header = header
        self._writer: Writer = writer(self.format)
        self.one_recording = self._writer.one_recording
        self._broken = False  # nothing more can be written
        self._written = 0
        self._inputs, self._read, self._accept = inputs, read, accept
        self._part: Path | None = None
        self._target: Path | None = None
        if header.kind not in self._writer.kinds:
            raise UsageError(f"the format {self.format} is for {' and '.join(self._writer.kinds)} only; take -f json, jsonl, csv or table")
        if self._writer.binary and self.on_terminal:
            raise UsageError(f"{self.format} is not for a terminal: give a file with -o, for instance -o out{self._writer.extension}")

    def __enter__(self) -> Self:
        try:
            self._stream = self._open()
            try:
                self._writer.open(self._stream, self._header)
            except BaseException:
                self._discard()
                raise
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._error(error) from error
        return self

    def targets(self, files: Iterable[str]) -> list[Path]:
        """Where results of `files` go: here one place, whatever they are, and none where that is standard output."""
        return [] if self.path is None else [Path(self.path)]

    def step_aside_with(self, step_aside: Callable[[], None]) -> None:
        """Call this before anything is shown on the terminal that a progress bar may stand on."""
        if self.on_terminal:
            self._writer.step_aside = step_aside

    def write(self, record: Record) -> None:
        """Raises OutputError; BrokenPipeError where the reader of a pipe has gone."""
        if self.one_recording and isinstance(record, Failure) and self._part is not None:
            return  # said on standard error; an empty document would say that nothing was found in it
        try:
            self._writer.write(record)
            self._written += 1
        except BrokenPipeError:
            self._broken = True
            raise
        except OSError as error:
            self._broken = True
            raise self._error(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._broken or (not self._written and self._part is not None and (kind is not None or self.one_recording)):
            self._discard()
            return
        try:
            with uninterrupted():
                self._finish()
        except BrokenPipeError:
            # Ctrl-C ends a whole pipeline: that the reader has gone too is no news.
            if not isinstance(error, KeyboardInterrupt):
                raise

    def _finish(self) -> None:
        try:
            self._writer.close()
            if self._stream is not _stdout():
                self._stream.close()
            if self._part is not None and self._target is not None:
                self._part.replace(self._target)
        except BrokenPipeError:
            self._discard()
            raise
        except OSError as failed:
            self._discard()
            raise self._error(failed) from failed

    def _open(self) -> BinaryIO:
        if self.path is None:
            return _stdout()
        path = Path(self.path)
        if path.is_dir():
            raise UsageError(f"-o {self.path} is a folder; give a file, for instance -o {path / ('out' + self._writer.extension)}")
        check_target(self.path, self._read)
        if stream := _descriptor(self.path):
            return stream
        self._target = path.resolve()  # through a symbolic link: the file behind it is replaced, not the link
        exists = self._target.exists()
        if exists and not stat.S_ISREG(self._target.stat().st_mode):
            return self._target.open("wb")  # a device or a named pipe
        if self.format == "jsonl":
            if exists:
                self.done = take_up(self._target, self._header, self._inputs, self._accept)
            return self._target.open("ab")
        self._part = _beside(self._target)
        stream = self._part.open("wb")
        if exists:
            shutil.copymode(self._target, self._part)
        return stream

    def _discard(self) -> None:
        if self._stream is not _stdout():
            with contextlib.suppress(OSError):  # the same full disk again; already being reported
                self._stream.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"could not write {self.path or 'to standard output'}: {error.strerror}")


def _stdout() -> BinaryIO:
    return sys.stdout.buffer
