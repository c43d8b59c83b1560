"""Samples in pieces of any size -> segments as they settle. A file is read through the same stream: live and offline are equal."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from emoser.audio import SAMPLE_RATE, ArrayLike, check_rate, float_samples, is_array, is_silent, to_numpy
from emoser.diarization.activity import SpeechActivity
from emoser.diarization.rows import Rows
from emoser.diarization.segments import Timeline
from emoser.diarization.speech import SpeechFrames
from emoser.diarization.windows import FrameSource
from emoser.errors import AudioValueError, UsageError
from emoser.results import Diarization, Frames, Segment, Transcript
from emoser.settings import DiarizationSettings


class DiarizationStream:
    """`push` samples, get the segments that they settle; `finish` gives the rest, `result` all of it. Made by a model's `stream()`.

    What comes out does not depend on the size of the pieces. `latency` (s): after that time the emotion of a moment is settled; its segment
    is given when it has ended, and where another emotion follows at once, when it is settled that they differ. Memory grows by the frames
    kept for the result, 20 bytes each or so.
    """

    def __init__(
        self,
        source: FrameSource,
        activity: SpeechActivity,
        settings: DiarizationSettings,
        labels: tuple[str, ...],
        *,
        sample_rate: int = SAMPLE_RATE,
    ) -> None:
        """sample_rate: Hz, of what is pushed."""
        rate = check_rate(sample_rate)
        self._source, self._labels = source, labels
        self._hop = source.frame / SAMPLE_RATE
        self._speech = SpeechFrames(activity, source.frame)
        self._timeline = Timeline(settings, labels, self._hop)
        self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") if rate != SAMPLE_RATE else None
        self.latency = max(source.delay, self._speech.delay) / SAMPLE_RATE + self._timeline.delay
        self._rate = rate
        self._given = 0  # samples pushed
        self._duration: float | None = None
        self._silent = True
        self._waiting_scores, self._waiting_speech = Rows((len(labels),)), Rows(())
        self._scores: list[NDArray[np.float32]] = []
        self._activity: list[NDArray[np.float32]] = []
        self._segments: list[Segment] = []
        self._finished = False

    @property
    def duration(self) -> float:
        """Seconds pushed so far."""
        return self._given / self._rate if self._duration is None else self._duration

    @property
    def unsettled(self) -> list[Segment]:
        """What follows the segments given so far, as far as it is known; the last of these may still grow."""
        return self._timeline.unsettled

    def push(self, samples: ArrayLike) -> list[Segment]:
        """Mono samples, an array or tensor (n,), float in [-1, 1] or integer PCM, of any number -> the segments that are settled by them,
        in order.

        Raises AudioValueError for what is no array, another shape, NaN or infinity, and UsageError after `finish`.
        """
        if self._finished:
            raise UsageError("the stream is finished; stream() begins another")
        if not is_array(samples):
            raise AudioValueError(f"{type(samples).__name__} is no array; a stream takes one channel of samples: use np.asarray(samples)")
        array = to_numpy(samples)
        if array.ndim != 1:
            raise AudioValueError(f"a stream takes one channel, an array (samples,); this one has the shape {array.shape}")
        waveform = float_samples(array)[:, 0]
        if not np.isfinite(waveform).all():
            raise AudioValueError(f"NaN or infinity among the samples, after {self.duration:.3f} s")
        self._given += len(waveform)
        return self._take(self._resampler.resample_chunk(waveform) if self._resampler else waveform)

    def finish(self, duration: float | None = None) -> list[Segment]:
        """No more samples come: the remaining segments. Those of all calls cover the time from 0 to `duration`, which the caller gives
        (s) where what was pushed was resampled, and so rounded, before."""
        if self._finished:
            return []
        self._duration = duration
        settled = self._take(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)) if self._resampler else []
        self._finished = True
        settled += self._settle(self._source.finish(), self._speech.finish())
        ended = self._timeline.finish(self.duration)
        self._segments += ended
        return settled + ended

    def result(self) -> Diarization:
        """All segments with their frames; finishes the stream."""
        self.finish()
        scores = np.concatenate(self._scores) if self._scores else np.zeros((0, len(self._labels)), np.float32)
        speech = np.concatenate(self._activity) if self._activity else np.zeros(0, np.float32)
        spoken = any(segment.speech for segment in self._segments)
        warnings = ("silence",) if self._silent else () if spoken else ("no_speech",)
        if any(segment.warnings for segment in self._segments):
            warnings = (*warnings, "low_confidence")
        words = self._source.words
        transcript = None if words is None else Transcript(" ".join(word.word for word in words), tuple(words))
        frames = Frames(self._hop, self._labels, scores, speech)
        return Diarization(tuple(self._segments), frames, self.duration, transcript, warnings=warnings)

    def _take(self, waveform: NDArray[np.float32]) -> list[Segment]:
        self._silent = self._silent and is_silent(waveform)
        return self._settle(self._source.push(waveform), self._speech.push(waveform))

    def _settle(self, scores: NDArray[np.float32], speech: NDArray[np.float32]) -> list[Segment]:
        self._waiting_scores.append(scores)
        self._waiting_speech.append(speech)
        count = min(len(self._waiting_scores), len(self._waiting_speech))
        if count == 0:
            return []
        scores, speech = self._waiting_scores.take(count), self._waiting_speech.take(count)
        self._scores.append(scores)
        self._activity.append(speech)
        settled = self._timeline.push(scores, speech)
        self._segments += settled
        return settled
