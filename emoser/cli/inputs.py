"""Arguments -> the recordings they stand for: files, folders, patterns, `@list.txt`, `-`."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from emoser.errors import AudioError, UsageError
from emoser.results import Failure

STDIN = "-"
# What counts as audio inside a folder or behind a pattern. A file named by itself is tried whatever it is called.
SUFFIXES = frozenset((
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".m4a", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".aac", ".wma", ".3gp", ".amr",
))  # fmt: skip


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
    if STDIN in paths and sys.stdin.isatty():
        raise UsageError("- means audio on standard input, and that is this keyboard; for instance: emoser predict - < clip.wav")
    return paths, failures


def _listed(name: str) -> list[str]:
    """The lines of a list file; `@-` reads the list from standard input. Empty lines do not count."""
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
    elif Path(entry).is_dir():
        yield from _walk(entry)
    elif not os.path.lexists(entry) and glob.has_magic(entry):
        yield from _matching(entry)
    else:
        yield entry  # a file, or a name of nothing: reading it will say so


def _walk(folder: str) -> Iterator[str | Failure]:
    """The audio below a folder, sorted; hidden files are left out (macOS leaves a `._clip.wav` beside each clip)."""
    unreadable: list[OSError] = []
    any_found = False
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if is_audio(name):
                any_found = True
                yield os.path.join(parent, name)  # noqa: PTH118  pathlib would turn ./a into a
    for error in unreadable:
        name = os.fsdecode(error.filename)
        yield Failure(AudioError(f"{name}: cannot read this folder: {error.strerror}"), name)
    if not any_found and not unreadable:
        yield Failure(AudioError(f"{folder}: no audio in this folder or below; audio ends in {', '.join(sorted(SUFFIXES))}"), folder)


def _matching(pattern: str) -> Iterator[str | Failure]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  keeps the name as the user wrote it
    kept = [match for match in matches if is_audio(match) and not Path(match).is_dir()]
    for folder in (match for match in matches if Path(match).is_dir() and not pattern.endswith("**")):
        kept.extend(path for path in _walk(folder) if isinstance(path, str))
    if not kept:
        yield Failure(AudioError(f"{pattern}: {'no audio file' if matches else 'nothing'} matches this pattern"), pattern)
    yield from sorted(set(kept))


def source(path: str) -> str | bytes:
    """What to give to a model for a path of `expand`."""
    return sys.stdin.buffer.read() if path == STDIN else path


@contextlib.contextmanager
def on_disk(path: str) -> Iterator[str]:
    """Where a path of `expand` can be read more than once, and in blocks. A pipe, be it standard input or `<(ffmpeg ...)`, may be longer
    than memory: it waits in a temporary file."""
    from emoser.cli.output import OutputError

    if path != STDIN and not (Path(path).is_fifo() or Path(path).is_char_device()):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="emoser-") as folder:
        copy = Path(folder, "recording")
        try:
            with contextlib.nullcontext(sys.stdin.buffer) if path == STDIN else Path(path).open("rb") as pipe, copy.open("wb") as file:
                shutil.copyfileobj(pipe, file)
        except OSError as error:
            message = f"what comes through the pipe could not be kept in {folder}: {error.strerror}; TMPDIR names another place"
            raise OutputError(message) from error
        yield str(copy)


def is_audio(name: str) -> bool:
    """
    >>> is_audio("a.WAV"), is_audio("._a.wav"), is_audio("notes.txt")
    (True, False, False)
    """
    name = os.path.basename(name)  # noqa: PTH119
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122
