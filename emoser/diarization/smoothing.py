"""Posteriors of frames -> a label for each frame of speech: a mean over neighbours, then hysteresis with a shortest duration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emoser.diarization.rows import Rows
from emoser.settings import DiarizationSettings

NOBODY = -1  # the label of a frame without speech


class Smoother:
    """Each frame of speech becomes the mean of its neighbours within half of `smoothing` on both sides, of the same stretch of speech."""

    def __init__(self, settings: DiarizationSettings, hop: float, classes: int) -> None:
        """hop: seconds from frame to frame."""
        self._half = self.delay = round(settings.smoothing / 2 / hop)  # frames
        self._scores, self._speech = Rows((classes,)), Rows(())
        self._before = 0  # frames at the front that were given already, kept as neighbours

    def push(self, scores: NDArray[np.float32], speech: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(frames, classes) and (frames,) -> the smoothed scores (frames, classes) that are settled by them; without speech they are 0."""
        self._scores.append(scores)
        self._speech.append(speech.astype(np.float32))
        return self._settle(len(self._scores) - self._half)

    def finish(self) -> NDArray[np.float64]:
        return self._settle(len(self._scores))

    def _settle(self, stop: int) -> NDArray[np.float64]:
        start = self._before
        if stop <= start:
            return np.zeros((0, self._scores.all.shape[1]))
        # Sums by shift, not by np.convolve or cumsum: the same additions in the same order however the frames came.
        scores = np.pad(self._scores.all.astype(np.float64), ((self._half, self._half), (0, 0)))
        speech = np.pad(self._speech.all > 0, self._half)
        here = slice(start + self._half, stop + self._half)
        sums, counts = scores[here] * speech[here, None], speech[here].astype(np.float64)
        for direction in (-1, 1):
            joined = speech[here]
            for shift in range(1, self._half + 1):
                there = slice(here.start + direction * shift, here.stop + direction * shift)
                joined = joined & speech[there]
                sums = sums + scores[there] * joined[:, None]
                counts = counts + joined
        kept = max(0, stop - self._half)
        self._scores.take(kept)
        self._speech.take(kept)
        self._before = stop - kept
        return np.asarray(sums / np.maximum(counts, 1)[:, None])


class Labeller:
    """A stretch of speech begins with the emotion that leads over its first `shortest` seconds; another takes over where it leads by
    `margin` and then stays the best for `shortest` seconds. So only a stretch that is shorter itself gives a shorter segment."""

    def __init__(self, settings: DiarizationSettings, hop: float) -> None:
        """hop: seconds from frame to frame."""
        self._least = max(1, round(settings.shortest / hop))
        self.delay = self._least  # frames
        self._margin = settings.margin
        self._opening: list[list[float]] = []  # of a stretch, while its first label is not known
        self._label = NOBODY
        self._rival = NOBODY
        self._held = 0  # frames of the rival so far

    def push(self, scores: NDArray[np.float64], speech: NDArray[np.bool_]) -> list[int]:
        """(frames, classes) and (frames,) -> the labels that are settled by them, in order: a class, or -1 without speech."""
        labels: list[int] = []
        for row, speaking in zip(scores.tolist(), speech.tolist(), strict=True):
            if not speaking:
                self._end(labels)
                labels.append(NOBODY)
            elif self._label == NOBODY:
                self._opening.append(row)
                if len(self._opening) == self._least:
                    self._begin(labels)
            else:
                self._follow(row, labels)
        return labels

    def finish(self) -> list[int]:
        labels: list[int] = []
        self._end(labels)
        return labels

    def _begin(self, labels: list[int]) -> None:
        sums = [sum(column) for column in zip(*self._opening, strict=True)]
        self._label = sums.index(max(sums))
        opening, self._opening = self._opening, []
        for row in opening:
            self._follow(row, labels)

    def _follow(self, row: list[float], labels: list[int]) -> None:
        best = row.index(max(row))
        if best != self._rival:
            self._give_up(labels)
            if best != self._label and row[best] - row[self._label] >= self._margin:
                self._rival = best
        if self._rival == NOBODY:
            labels.append(self._label)
            return
        self._held += 1
        if self._held >= self._least:
            self._label = self._rival
            self._give_up(labels)

    def _give_up(self, labels: list[int]) -> None:
        """The frames held belong to the label, which is the rival's own where it has won."""
        labels.extend([self._label] * self._held)
        self._rival, self._held = NOBODY, 0

    def _end(self, labels: list[int]) -> None:
        if self._opening:
            self._begin(labels)
        self._give_up(labels)
        self._label = NOBODY
