"""Ctrl-C where what was begun can still be brought to a good end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self


class Interruption:
    """As a context, takes note of Ctrl-C (`asked`) in place of raising KeyboardInterrupt, for work that looks at it from time to time. A
    second Ctrl-C is raised at once. Where interrupts are ignored, as in the background of a shell script, they stay ignored."""

    def __init__(self) -> None:
        self.asked = False
        self._noting = False

    def __enter__(self) -> Self:
        if _on_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._noting = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._noting:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._noting = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """For the moment in which a document is ended: a second Ctrl-C in it would lose what the first one left."""
    if not _on_main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _on_main_thread() -> bool:
    """Only that one may set handlers, and is interrupted."""
    return threading.current_thread() is threading.main_thread()
