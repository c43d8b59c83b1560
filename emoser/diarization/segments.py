"""Frames over time -> segments. `Timeline` takes them as they come; `segments_of` makes the segments of frames at hand, for instance with
other settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emoser.diarization.rows import Rows
from emoser.diarization.smoothing import NOBODY, Labeller, Smoother
from emoser.diarization.speech import SpeechGate
from emoser.results import SILENCE, Frames, Segment
from emoser.settings import DiarizationSettings


@dataclass
class _Run:
    """Frames [start, stop) of one label, or of silence; sums of their scores and of their probabilities of speech."""

    start: int
    stop: int
    label: int
    sums: list[float]
    speech: float

    def best(self) -> int:
        return NOBODY if self.label == NOBODY else self.sums.index(max(self.sums))


class Timeline:
    """Frames in, settled segments out; what it gives does not depend on how the frames were cut into pieces.

    A segment is settled when the next one is. `delay` (s): how long after a frame came its label is settled, at most.
    """

    def __init__(self, settings: DiarizationSettings, labels: tuple[str, ...], hop: float) -> None:
        """hop: seconds from frame to frame."""
        self._settings, self._labels, self._hop = settings, labels, hop
        self._gate = SpeechGate(settings, hop)
        self._smoother = Smoother(settings, hop, len(labels))
        self._labeller = Labeller(settings, hop)
        self.delay = (self._gate.delay + self._smoother.delay + self._labeller.delay) * hop
        self._scores, self._speech, self._decided = Rows((len(labels),)), Rows(()), Rows(())
        self._unsmoothed, self._undecided = Rows((len(labels),)), Rows(())
        self._frames = 0
        self._run: _Run | None = None  # growing
        self._last: _Run | None = None  # complete, but the one that grows may yet turn out to be of the same label

    def push(self, scores: NDArray[np.float32], speech: NDArray[np.float32]) -> list[Segment]:
        """Calibrated posteriors (frames, labels) and probabilities of speech (frames,) -> the segments that are settled by them."""
        return self._take(scores, speech, last=False)

    def finish(self, duration: float) -> list[Segment]:
        """The remaining segments, of which the last ends at `duration` (s)."""
        segments = self._take(np.zeros((0, len(self._labels)), np.float32), np.zeros(0, np.float32), last=True)
        segments += self._close()
        if self._last is not None:
            segments.append(self._segment(self._last))
            self._last = None
        # The last frame may begin where resampling has rounded the duration up.
        segments = [segment for segment in segments if segment.start < duration]
        if segments:
            segments[-1] = replace(segments[-1], end=duration)
        return segments

    @property
    def unsettled(self) -> list[Segment]:
        """What comes after the settled segments, as far as its labels are known: the last may still grow, and be joined to the other."""
        return [self._segment(run) for run in (self._last, self._run) if run is not None]

    def _take(self, scores: NDArray[np.float32], speech: NDArray[np.float32], *, last: bool) -> list[Segment]:
        self._scores.append(scores)
        self._speech.append(speech)
        self._decided.append(self._gate.push(speech).astype(np.float32))
        if last:
            self._decided.append(self._gate.finish().astype(np.float32))
        known = min(len(self._decided), len(self._scores))
        decided = self._decided.take(known) > 0
        self._undecided.append(decided.astype(np.float32))
        self._unsmoothed.append(self._scores.all[:known])
        smoothed = self._smoother.push(self._scores.take(known), decided)
        if last:
            smoothed = np.concatenate([smoothed, self._smoother.finish()])
        labels = self._labeller.push(smoothed, self._undecided.take(len(smoothed)) > 0)
        if last:
            labels += self._labeller.finish()
        rows, voices = self._unsmoothed.take(len(labels)).tolist(), self._speech.take(len(labels)).tolist()
        settled: list[Segment] = []
        for label, row, voice in zip(labels, rows, voices, strict=True):
            settled += self._grow(label, row, voice)
        return settled

    def _grow(self, label: int, row: list[float], speech: float) -> list[Segment]:
        run, at = self._run, self._frames
        self._frames += 1
        if run is not None and run.label == label:
            run.stop += 1
            run.sums = [total + score for total, score in zip(run.sums, row, strict=True)]
            run.speech += speech
            return []
        settled = self._close()
        if self._last is not None and (self._last.label == NOBODY) != (label == NOBODY):
            settled.append(self._segment(self._last))  # nothing can join it any more
            self._last = None
        self._run = _Run(at, at + 1, label, row, speech)
        return settled

    def _close(self) -> list[Segment]:
        """The run is complete. Its label becomes the best by its own scores; if that is the one before's, both are one."""
        run, last = self._run, self._last
        self._run = None
        if run is None:
            return []
        if last is not None and last.best() == run.best():
            last.stop, last.speech = run.stop, last.speech + run.speech
            last.sums = [a + b for a, b in zip(last.sums, run.sums, strict=True)]
            return []
        self._last = run
        return [] if last is None else [self._segment(last)]

    def _segment(self, run: _Run) -> Segment:
        return make_segment(
            self._labels, run.start * self._hop, run.stop * self._hop, run.sums, run.speech, run.stop - run.start, self._settings,
            silent=run.label == NOBODY,
        )  # fmt: skip


def make_segment(
    labels: tuple[str, ...],
    start: float,
    end: float,
    sums: list[float],
    speech: float,
    count: int,
    settings: DiarizationSettings,
    *,
    silent: bool,
) -> Segment:
    """A segment from the sums, over its `count` frames, of scores (labels,) and of probabilities of speech; start and end in seconds."""
    if silent:
        return Segment(start, end, SILENCE, 1 - speech / count, dict.fromkeys(labels, 1 / len(labels)))
    total = sum(sums)
    scores = {label: value / total for label, value in zip(labels, sums, strict=True)}
    best = max(scores, key=scores.__getitem__)
    warnings = ("low_confidence",) if scores[best] < settings.min_confidence else ()
    return Segment(start, end, best, scores[best], scores, None, warnings)


def segments_of(frames: Frames, settings: DiarizationSettings, duration: float) -> tuple[Segment, ...]:
    """The segments of all frames of a recording of `duration` seconds."""
    timeline = Timeline(settings, frames.labels, frames.hop)
    return (*timeline.push(frames.scores, frames.speech), *timeline.finish(duration))
