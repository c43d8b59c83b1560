"""Frames with words: windows on the grid of `WindowedFrames`, each of which is also written down; where two overlap, each word is taken
from the window in which it stands further from the edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emoser.audio import SAMPLE_RATE
from emoser.diarization.windows import WindowedFrames
from emoser.results import Word
from emoser.settings import DiarizationSettings

# A window's waveform (samples,) -> what `windows.Graph` gives, and its words with times from the window's start.
Writer = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32], list[Word]]]


class WrittenFrames(WindowedFrames):
    """`WindowedFrames` of a model that writes what is said. `words` are settled when the next window has been heard, or at the end."""

    def __init__(
        self,
        writer: Writer,
        settings: DiarizationSettings,
        *,
        classes: int,
        frame: int,
        sample_rate: int,
        longest: float,
        temperature: float,
    ) -> None:
        """As `WindowedFrames`; sample_rate must be that of times (16 kHz, which diarization works at)."""
        super().__init__(
            self._write, settings, classes=classes, frame=frame, sample_rate=sample_rate, longest=longest, temperature=temperature
        )
        self._writer = writer
        self._settled: list[Word] = []
        self.words = self._settled
        self._open: list[Word] = []  # of the last window: those that the next one may hear better
        self._begins = 0  # samples before the window that is heard next
        self._ends = 0.0  # s, where the last one ended

    def finish(self) -> NDArray[np.float32]:
        rest = super().finish()
        self._settled += self._open
        self._open = []
        return rest

    def _settle(self, samples: int) -> NDArray[np.float32]:
        self._begins += samples
        return super()._settle(samples)

    def _write(self, waveform: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, frames, heard = self._writer(waveform)
        begin = self._begins / SAMPLE_RATE
        # Half way through what both windows heard; after a pause that no window was asked about there is nothing of the kind.
        meeting = (begin + max(begin, self._ends)) / 2
        self._settled += [word for word in self._open if (word.start + word.end) / 2 < meeting]
        if self._settled:
            meeting = max(meeting, self._settled[-1].end)  # what reaches across is not written twice
        moved = [replace(word, start=begin + word.start, end=begin + word.end) for word in heard]
        self._open = [word for word in moved if (word.start + word.end) / 2 >= meeting]
        self._ends = begin + len(waveform) / SAMPLE_RATE
        return logits, frames
