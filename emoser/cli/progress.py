"""A progress bar on a terminal's standard error, and nothing anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

PAUSE = 0.3  # seconds the bar stays away after results appeared on the same terminal
AT_ONCE = 1.0  # seconds in which a single input may be done without a bar


class Bar:
    """Counts inputs, and says how far the work is in one that takes long.

    Shown only if `wanted`, standard error is a terminal, and there is more than one input or `within` is told of it; `step_aside()` clears
    it for a moment.
    """

    def __init__(self, total: int, wanted: bool) -> None:
        self._progress: Progress | None = None
        self._total, self._done = total, 0
        self._shown = False
        self._not_before = time.monotonic() + AT_ONCE if total == 1 else 0.0
        if wanted and total > 0 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            count: list[ProgressColumn] = [MofNCompleteColumn()] if total > 1 else []
            self._progress = Progress(
                BarColumn(),
                *count,
                TextColumn("{task.description}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=Console(stderr=True),
                transient=True,
                # Results on the same terminal go out by themselves, through step_aside().
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task: TaskID = self._progress.add_task("", total=total if total > 1 else None)

    def __enter__(self) -> Self:
        if self._total > 1:
            self._show()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.step_aside()

    def advance(self) -> None:
        """One more input is done."""
        if self._progress is not None:
            self._done += 1
            self._progress.update(self._task, completed=self._done, description="")
            if self._total > 1:
                self._show_again()

    def within(self, seconds: float, length: float | None) -> None:
        """Of the input at hand, `seconds` of `length` are done; None where that is not known."""
        if self._progress is not None:
            share = min(1.0, seconds / length) if length else 0.0
            place = clock(seconds) + (f" of {clock(length)}" if length else "")
            # Without a total the bar only says that something goes on.
            total = self._total if length or self._total > 1 else None
            self._progress.update(self._task, completed=self._done + share, total=total, description=place)
            self._show_again()

    def step_aside(self) -> None:
        if self._progress is not None:
            if self._shown:
                self._progress.stop()
            self._shown = False
            self._not_before = time.monotonic() + PAUSE

    def _show_again(self) -> None:
        if not self._shown and time.monotonic() > self._not_before:
            self._show()

    def _show(self) -> None:
        if self._progress is not None:
            self._progress.start()
            self._shown = True


def clock(seconds: float) -> str:
    """
    >>> clock(63.4), clock(7205)
    ('1:03', '2:00:05')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
