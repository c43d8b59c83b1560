"""The live timeline of `listen`: on a terminal's standard error, and nothing anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

    from emoser.diarization.stream import DiarizationStream
    from emoser.results import Segment

SHOWN_SECONDS = 60.0
PER_SECOND = 4  # refreshes


class Display:
    """The last minute as a strip, with the segment that is growing. Segments that are settled scroll by above."""

    def __init__(self, stream: DiarizationStream, labels: Sequence[str], *, wanted: bool) -> None:
        self._stream, self._labels = stream, labels
        self._recent: list[Segment] = []
        self._live: Live | None = None
        if wanted:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            self._live = Live(console=console, refresh_per_second=PER_SECOND, transient=True, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, settled: list[Segment]) -> None:
        if self._live is None:
            return
        self._recent = [each for each in (*self._recent, *settled) if each.end > self._stream.duration - SHOWN_SECONDS]
        for segment in settled:
            if segment.speech:
                self._live.console.print(self._line(segment))
        self._live.update(self._picture())

    def _line(self, segment: Segment) -> Any:
        from rich.text import Text

        from emoser.formats import cells

        hue = cells.HUES.get(segment.label, "")
        return Text.assemble(f"{segment.start:8.2f} {segment.end:8.2f}  ", (f"{segment.label:<9}", hue), f" {segment.confidence:.2f}")

    def _picture(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        from emoser.formats import timeline

        now, unsettled = self._stream.duration, self._stream.unsettled
        start = max(0.0, now - SHOWN_SECONDS)
        shown = [*self._recent, *unsettled]
        moved = [{**each.to_dict(), "start": max(0.0, each.start - start), "end": each.end - start} for each in shown if each.end > start]
        assert self._live is not None
        lines = timeline.strip({"duration": SHOWN_SECONDS, "segments": moved}, self._labels, self._live.console.width)
        known = f"{unsettled[-1].label}, known up to {unsettled[-1].end:.1f} s of {now:.1f} s" if unsettled else f"listening, {now:.1f} s"
        return Group(*(line[timeline.PLACE :] for line in lines), timeline.legend(self._labels), Text(known))
