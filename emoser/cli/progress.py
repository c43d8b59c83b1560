"""A progress bar on a terminal's standard error, and nothing anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PAUSE = 0.3  # seconds the bar stays away after results appeared on the same terminal


class Bar:
    """Counts inputs. Shown only if `wanted` and standard error is a terminal; `step_aside()` clears it for a moment."""

    def __init__(self, total: int, wanted: bool) -> None:
        self._progress: Progress | None = None
        self._shown = False
        self._cleared = 0.0
        if wanted and total > 1 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

            self._progress = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=Console(stderr=True),
                transient=True,
                # Results on the same terminal go out by themselves, through step_aside().
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task: TaskID = self._progress.add_task("", total=total)

    def __enter__(self) -> Self:
        self._show()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.step_aside()

    def advance(self) -> None:
        if self._progress is not None:
            self._progress.advance(self._task)
            if not self._shown and time.monotonic() - self._cleared > PAUSE:
                self._show()

    def step_aside(self) -> None:
        if self._progress is not None:
            if self._shown:
                self._progress.stop()
            self._shown = False
            self._cleared = time.monotonic()

    def _show(self) -> None:
        if self._progress is not None:
            self._progress.start()
            self._shown = True
