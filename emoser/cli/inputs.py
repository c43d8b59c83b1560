"""Arguments -> the recordings they stand for: files, folders, patterns, `@list.txt`, `-`."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from emoser.errors import AudioError, OutputError, UsageError
from emoser.headers import AUDIO_SUFFIXES as SUFFIXES
from emoser.results import Failure

STDIN = "-"


def expand(arguments: tuple[str, ...]) -> tuple[list[str], list[Failure]]:
    """(paths in order, what was named but holds no audio). `-` stays as it is and stands for the bytes on standard input.

    Raises UsageError for a list that cannot be read and for `-` given twice or with nothing behind it.
    """
    paths: list[str] = []
    failures: list[Failure] = []
    for argument in arguments:
        entries = _listed(argument[1:]) if argument.startswith("@") and not os.path.lexists(argument) else [argument]
        for entry in entries:
            for found in _found(entry):
                if isinstance(found, Failure):
                    failures.append(found)
                else:
                    paths.append(found)
    if paths.count(STDIN) > 1:
        raise UsageError("- (standard input) can be given once only")
    if STDIN in paths:
        check_stdin("audio", "emoser predict - < clip.wav")
    return paths, failures


def check_stdin(what: str, instance: str) -> None:
    """Raises UsageError where no `what` can come from standard input; `instance` is how it can."""
    if sys.stdin is None or sys.stdin.isatty():
        found = "closed" if sys.stdin is None else "this keyboard"
        raise UsageError(f"- means {what} on standard input, and that is {found}; for instance: {instance}")


def _listed(name: str) -> list[str]:
    """The lines of a list file; `@-` reads the list from standard input. Empty lines do not count."""
    if name == STDIN and sys.stdin is None:
        raise UsageError("@-: standard input is closed; for instance: find calls/ -name '*.wav' | emoser predict @-")
    try:
        data = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"@{name}: cannot read the list {name}: {error.strerror}") from None
    text = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf"))
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    names = [line for line in lines if line.strip()]
    if not names:
        raise UsageError(f"@{name}: the list is empty; it holds one path a line")
    return names


def _found(entry: str) -> Iterator[str | Failure]:
    if entry == STDIN:
        yield entry
    elif os.path.isdir(entry):  # noqa: PTH112  Path's raises for a name that is too long, and for one in a folder without access
        yield from _walk(entry)
    elif not os.path.lexists(entry) and glob.has_magic(entry):
        yield from _matching(entry)
    else:
        yield entry  # a file, or a name of nothing: reading it will say so


def _walk(folder: str) -> Iterator[str | Failure]:
    """The audio below a folder, sorted; hidden files are left out (macOS leaves a `._clip.wav` beside each clip)."""
    unreadable: list[OSError] = []
    any_found = False
    for path in _audio_below(folder, unreadable):
        any_found = True
        yield path
    yield from map(_failure, unreadable)
    if not any_found and not unreadable:
        yield Failure(AudioError(f"{folder}: no audio in this folder or below; audio ends in {', '.join(sorted(SUFFIXES))}"), folder)


def _audio_below(folder: str, unreadable: list[OSError]) -> Iterator[str]:
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if is_audio(name):
                yield os.path.join(parent, name)  # noqa: PTH118  pathlib would turn ./a into a


def _failure(unreadable: OSError) -> Failure:
    name = os.fsdecode(unreadable.filename)
    return Failure(AudioError(f"{name}: cannot read this folder: {unreadable.strerror}"), name)


def _matching(pattern: str) -> Iterator[str | Failure]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  keeps the name as the user wrote it
    folders = [match for match in matches if os.path.isdir(match)]  # noqa: PTH112  Path's raises
    kept = {match for match in matches if is_audio(match)}.difference(folders)
    unreadable = _passed_over(pattern)
    for folder in folders if not pattern.endswith("**") else ():
        kept.update(_audio_below(folder, unreadable))
    failures = {failure.file: failure for failure in map(_failure, unreadable)}  # once each, though found from several folders
    if not kept and not failures:
        yield Failure(AudioError(f"{pattern}: {'no audio file' if matches else 'nothing'} matches this pattern"), pattern)
    yield from failures.values()
    yield from sorted(kept)


def _passed_over(pattern: str) -> list[OSError]:
    """Folders that a pattern looks into and that cannot be read; glob says nothing of them."""
    unreadable: list[OSError] = []
    parts = pattern.split("/")
    for index, part in enumerate(parts):
        if glob.has_magic(part):
            looked_into = "/".join([*parts[: index + (part == "**")], ""])
            for folder in glob.glob(looked_into, recursive=True):  # noqa: PTH207
                try:
                    os.scandir(folder.rstrip("/") or "/").close()
                except OSError as error:
                    unreadable.append(error)
    return unreadable


def source(path: str) -> str | bytes:
    """What to give to a model for a path of `expand`."""
    return sys.stdin.buffer.read() if path == STDIN else path


@contextlib.contextmanager
def on_disk(path: str) -> Iterator[str]:
    """Where a path of `expand` can be read more than once, and in blocks. A pipe, be it standard input or `<(ffmpeg ...)`, may be longer
    than memory: it waits in a temporary file. What cannot be opened stays as it is: reading it will say so."""
    with contextlib.ExitStack() as stack:
        pipe = stack.enter_context(_pipe(path))
        if pipe is None:
            yield path
            return
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="emoser-"))
        copy = Path(folder, "recording")
        try:
            with copy.open("wb") as file:
                shutil.copyfileobj(pipe, file)
        except OSError as error:
            message = f"what comes through the pipe could not be kept in {folder}: {error.strerror}; TMPDIR names another place"
            raise OutputError(message) from error
        yield str(copy)


def _pipe(path: str) -> contextlib.AbstractContextManager[BinaryIO | None]:
    """Standard input or a pipe, opened; None for anything else, and for what cannot be opened."""
    if path == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb") if is_pipe(path) else contextlib.nullcontext()
    except OSError:
        return contextlib.nullcontext()


def is_pipe(path: str) -> bool:
    """Whether what is at `path` can be read once only."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):  # ValueError: a zero byte in the path
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def is_audio(name: str) -> bool:
    """
    >>> is_audio("a.WAV"), is_audio("._a.wav"), is_audio("notes.txt")
    (True, False, False)
    """
    name = os.path.basename(name)  # noqa: PTH119
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122
