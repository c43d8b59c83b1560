"""Files that `diarize` writes beside its results: frames, a plot, a page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emoser.cli.folder import Names, is_folder
from emoser.cli.output import Identity, begun, identities
from emoser.errors import MissingExtra, OutputError, UsageError

if TYPE_CHECKING:
    from emoser.audio import Progress
    from emoser.results import Diarization

SUFFIXES = {"frames": (".npz", ".csv"), "plot": (".png", ".pdf", ".svg"), "html": (".html", ".htm")}


class Extras:
    """Each is a file, or a folder with one for each recording, in the first suffix that its option knows."""

    def __init__(self, frames: str | None, plot: str | None, html: str | None) -> None:
        given = {"frames": frames, "plot": plot, "html": html}
        self._wanted = {option: value for option, value in given.items() if value is not None}
        self._names = {option: Names(value) for option, value in self._wanted.items() if is_folder(value)}
        for option, value in self._wanted.items():
            if option not in self._names and not value.lower().endswith(SUFFIXES[option]):
                raise UsageError(f"--{option} {value}: give a file that ends in {', '.join(SUFFIXES[option])}, or a folder: {value}/")
        if plot is not None:
            try:
                import matplotlib  # noqa: F401
            except ImportError:
                raise MissingExtra("--plot", "plot") from None

    def check(self, inputs: Sequence[str], *, by_channel: bool) -> None:
        """Raises UsageError where a single file is asked for and there is more than one result."""
        for option, value in self._wanted.items():
            if option in self._names:
                self._names[option].reserve(inputs)
                self._names[option].make()
            elif len(inputs) > 1 or by_channel:
                many = f"there are {len(inputs)} inputs" if len(inputs) > 1 else "with --channel each there is one for each channel"
                raise UsageError(f"--{option} {value} holds one recording, {many}; give a folder: --{option} {value}/")

    def check_targets(self, inputs: Iterable[str], results: Iterable[Path], read: frozenset[Identity], *, by_channel: bool) -> None:
        """Raises UsageError where a file would be written over: one that is read, one of the `results`, or that of another option."""
        taken = {path.resolve(): "-o" for path in results}
        for file in dict.fromkeys(inputs):
            for option in self._wanted:
                path = self._path(option, file, 0 if by_channel else None)
                if identities([str(path)]) & read:
                    raise UsageError(f"--{option} {path} is one of the files that are read; give another one")
                other = taken.setdefault(path.resolve(), f"--{option}")
                if other != f"--{option}":
                    raise UsageError(f"--{option} {path} is where {other} writes too; give another file")

    def go_on_after(self, done: Iterable[str], *, by_channel: bool) -> None:
        """`done` are the inputs that an earlier run left complete. Raises UsageError where a file of one is not there: the run that skips
        the input would never write it."""
        for file in done:
            for option in self._wanted:
                path = self._path(option, file, 0 if by_channel else None)
                if not path.exists():
                    raise UsageError(
                        f"--{option}: {file} is done already, and {path}, which comes with it, is not there; give another file with -o"
                    )

    def write(self, result: Diarization, audio: str, progress: Progress) -> None:
        """`audio` is the path at which the recording can be read once more, as `progress` is told. An old file stays until the new one is
        whole. Raises OutputError."""
        for option in self._wanted:
            path = self._path(option, result.file, result.channel)
            target = path.resolve()
            device = target.exists() and not target.is_file()
            part = path if device else begun(target.with_name(f".{os.getpid()}.{path.name}"))
            try:
                _write(option, part, result, audio, progress)
                if not device:
                    part.replace(target)
            except OSError as error:
                raise OutputError(f"could not write {path}: {error.strerror or error}") from error
            finally:
                if not device:
                    part.unlink(missing_ok=True)

    def _path(self, option: str, file: str | None, channel: int | None) -> Path:
        if option not in self._names:
            return Path(self._wanted[option])
        return self._names[option].path(file, ("" if channel is None else f".{channel}") + SUFFIXES[option][0])


def _write(option: str, path: Path, result: Diarization, audio: str, progress: Progress) -> None:
    if option == "frames":
        from emoser.formats.frames import write_frames

        write_frames(path, result)
    elif option == "plot":
        from emoser.formats.plot import write_plot

        write_plot(path, result, audio, progress)
    else:
        from emoser.formats.html import write_page

        write_page(path, result, audio, progress)
