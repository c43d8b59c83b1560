"""Speech activity on the frames of a model, and the decision where speech is: silence, noise and music get no emotion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emoser.diarization.activity import CHUNK, RUN, SpeechActivity, SpeechStream
from emoser.diarization.rows import Rows
from emoser.settings import DiarizationSettings


class SpeechFrames:
    """Samples at 16 kHz -> a probability of speech for each frame: the mean of the chunks of 32 ms that it touches, by overlap."""

    def __init__(self, activity: SpeechActivity, frame: int) -> None:
        """frame: samples."""
        self._stream = SpeechStream(activity)
        self._frame = frame
        self.delay = (RUN + 1) * CHUNK + frame  # samples after the first one of a frame by which it is given, at most
        self._chunks = Rows(())
        self._first_chunk = 0  # of those kept
        self._next = 0  # frame
        self._samples = 0

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (samples,) -> (frames,) that are settled by them."""
        self._samples += len(samples)
        self._chunks.append(self._stream.push(samples))
        return self._settle((self._first_chunk + len(self._chunks)) * CHUNK // self._frame)

    def finish(self) -> NDArray[np.float32]:
        """The remaining frames: in all, as many as it takes to cover every sample."""
        self._chunks.append(self._stream.finish())
        return self._settle(-(-self._samples // self._frame))

    def _settle(self, stop: int) -> NDArray[np.float32]:
        frames = np.arange(self._next, max(stop, self._next))
        start = frames * self._frame
        first = start // CHUNK
        sums, weights = np.zeros(len(frames)), np.zeros(len(frames))
        there = self._first_chunk + len(self._chunks)
        for step in range(-(-self._frame // CHUNK) + 1):
            chunk = first + step
            overlap = np.minimum((chunk + 1) * CHUNK, start + self._frame) - np.maximum(chunk * CHUNK, start)
            weight = np.where(chunk < there, np.maximum(overlap, 0), 0)
            sums += weight * self._chunks.all[np.minimum(chunk, there - 1) - self._first_chunk]
            weights += weight
        if len(frames):
            self._next = int(frames[-1]) + 1
            kept = self._next * self._frame // CHUNK
            self._chunks.take(kept - self._first_chunk)
            self._first_chunk = min(kept, there)
        return (sums / np.maximum(weights, 1)).astype(np.float32)


class SpeechGate:
    """Probabilities -> decisions. Speech begins at `speech_on`, ends below `speech_off`; a pause shorter than `shortest_pause` belongs to
    it, and speech shorter than `shortest_speech` is none."""

    def __init__(self, settings: DiarizationSettings, hop: float) -> None:
        """hop: seconds from frame to frame."""
        self._on, self._off = settings.speech_on, settings.speech_off
        self._least, self._pause = round(settings.shortest_speech / hop), max(1, round(settings.shortest_pause / hop))
        self.delay = self._least + self._pause  # frames
        self._speaking = self._confirmed = False
        self._run = 0  # frames since speech began, pauses included
        self._quiet = 0  # frames since the pause began that may end it
        self._held = 0  # frames not decided

    def push(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(frames,) -> the decisions (frames,) that are settled by them, in order."""
        decided: list[bool] = []
        for probability in probabilities.tolist():
            self._held += 1
            if not self._speaking:
                if probability < self._on:
                    self._decide(decided, False, 1)
                    continue
                self._speaking, self._confirmed, self._run, self._quiet = True, False, 0, 0
            self._run += 1
            if probability >= self._on:
                self._quiet = 0
            elif probability < self._off or self._quiet:
                self._quiet += 1
            self._confirmed = self._confirmed or self._run - self._quiet >= self._least
            if self._quiet >= self._pause:
                self._end(decided)
            elif self._confirmed:
                self._decide(decided, True, self._held - self._quiet)
        return np.array(decided, np.bool_)

    def finish(self) -> NDArray[np.bool_]:
        decided: list[bool] = []
        if self._speaking:
            self._end(decided)
        return np.array(decided, np.bool_)

    def _end(self, decided: list[bool]) -> None:
        self._decide(decided, self._confirmed, self._held - self._quiet)
        self._decide(decided, False, self._quiet)
        self._speaking = False

    def _decide(self, decided: list[bool], speech: bool, count: int) -> None:
        decided.extend([speech] * count)
        self._held -= count
