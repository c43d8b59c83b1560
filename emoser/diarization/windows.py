"""Samples -> posteriors of frames. `FrameSource` is what the timeline needs; here, that of the utterance graphs: windows on a fixed grid,
overlapped and added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emoser.audio import SHORTEST, is_silent
from emoser.errors import CheckpointError
from emoser.pooling import calibrated
from emoser.results import Word
from emoser.settings import DiarizationSettings

NOTHING = 1e-6  # logits of a frame that are all smaller say nothing: the graph cut it off, and an ensemble's mean of zeros is nearly zero
# A window's waveform (samples,) -> its logits (classes,) and those of its frames (frames, classes), raw.
Graph = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


class FrameSource(Protocol):
    """Frame i covers samples [i * frame, (i + 1) * frame). Each frame is given once, in order, and does not depend on how the samples were
    cut into pieces.

    frame: samples. delay: samples after its first one by which a frame is given, at most. words: those recognised so far, in order; None
    where the model writes none.
    """

    frame: int
    delay: int
    words: list[Word] | None

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (samples,) -> calibrated posteriors (frames, classes) of the frames that are settled by them; rows sum to 1."""
        ...

    def finish(self) -> NDArray[np.float32]:
        """The remaining frames: in all, as many as it takes to cover every sample."""
        ...


class WindowedFrames:
    """A `FrameSource` over a graph of the utterance interface (docs/architecture.md).

    Windows of `settings.window` stand every `settings.hop`; the last ends with the recording, and a recording that is no longer than a
    window is one. A frame's logits are the mean over its windows, weighted by a triangle, so that a frame counts most where it has context
    on both sides. Frames without evidence (silence that the graph cut off) have equal posteriors.
    """

    words: list[Word] | None = None

    def __init__(
        self, graph: Graph, settings: DiarizationSettings, *, classes: int, frame: int, sample_rate: int, longest: float, temperature: float
    ) -> None:
        """frame: samples. longest: seconds, of a window that the graph takes. Probabilities are softmax(logits / temperature)."""
        self._graph, self._settings, self._temperature = graph, settings, temperature
        self.frame = frame
        self._window = max(1, round(min(settings.window, longest) * sample_rate / frame)) * frame
        self._hop = min(max(1, round(settings.hop * sample_rate / frame)) * frame, self._window)
        self.delay = self._window
        self._shortest = round(SHORTEST * sample_rate)
        self._buffer = np.zeros(self._window, np.float32)
        self._filled = 0
        self._covered = 0  # samples at the front of the buffer that a window held already
        self._sums = np.zeros((self._window // frame, classes))
        self._weights = np.zeros(self._window // frame)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        settled = [np.zeros((0, self._sums.shape[1]), np.float32)]
        while len(samples):
            taken = samples[: self._window - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            samples = samples[len(taken) :]
            if self._filled == self._window:
                self._add(self._buffer)
                settled.append(self._settle(self._hop))
        return np.concatenate(settled)

    def finish(self) -> NDArray[np.float32]:
        if self._filled > self._covered:
            self._add(self._buffer[: self._filled])
        return self._settle(self._filled)

    def _add(self, waveform: NDArray[np.float32]) -> None:
        count = -(-len(waveform) // self.frame)
        if is_silent(waveform) or len(waveform) < self._shortest:
            return
        logits, frames = self._graph(waveform)
        if not 0 <= count - len(frames) <= 1:
            raise CheckpointError(f"the graph gave {len(frames)} frames for {len(waveform)} samples; {count} of {self.frame} are expected")
        heard = np.pad(frames, ((0, count - len(frames)), (0, 0)))
        place = np.arange(count) + 0.5
        weights = np.minimum(place, count - place) * (np.abs(heard) > NOTHING).any(axis=1)
        if self._settings.posteriors == "windows":
            heard = np.broadcast_to(logits, heard.shape)
        self._sums[:count] += weights[:, None] * heard
        self._weights[:count] += weights

    def _settle(self, samples: int) -> NDArray[np.float32]:
        """Gives the first frames and moves all else to the front."""
        count = -(-samples // self.frame)
        sums, weights = self._sums[:count].copy(), self._weights[:count]
        sums /= np.where(weights > 0, weights, 1)[:, None]
        for array in (self._sums, self._weights):
            array[: -count or None] = array[count:]
            array[len(array) - count :] = 0
        self._buffer[: self._filled - samples] = self._buffer[samples : self._filled].copy()
        self._filled -= samples
        self._covered = self._filled
        return calibrated(sums, self._temperature).astype(np.float32)
