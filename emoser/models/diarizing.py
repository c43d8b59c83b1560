"""Emotions over time: what every model does with recordings of any length, on top of frames that its own kind of graph gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from emoser.audio import SAMPLE_RATE, AudioInput, Channel, Progress, open_audio, source_name
from emoser.checkpoints import Description
from emoser.errors import AudioError, CheckpointError, MissingExtra
from emoser.models.options import Each, Mono, Options, check_many
from emoser.results import Diarization, Failure

if TYPE_CHECKING:
    from emoser.diarization.activity import SpeechActivity
    from emoser.diarization.stream import DiarizationStream
    from emoser.diarization.windows import FrameSource
    from emoser.settings import DiarizationSettings


class Diarizing(ABC):
    """`diarize`, `diarize_each` and `listen` for a model that says where its frames come from."""

    checkpoint: Description
    name: str
    labels: tuple[str, ...]
    _speech: SpeechActivity | None

    @abstractmethod
    def _frames(self, settings: DiarizationSettings) -> FrameSource:
        """A new source of frames for one recording."""

    @overload
    def diarize(
        self,
        x: list[Any],
        *,
        sample_rate: int | None = ...,
        channel: Each,
        min_confidence: float | None = ...,
        settings: DiarizationSettings | None = ...,
    ) -> list[list[Diarization]]: ...
    @overload
    def diarize(
        self,
        x: list[Any],
        *,
        sample_rate: int | None = ...,
        channel: Mono = ...,
        min_confidence: float | None = ...,
        settings: DiarizationSettings | None = ...,
    ) -> list[Diarization]: ...
    @overload
    def diarize(
        self,
        x: AudioInput,
        *,
        sample_rate: int | None = ...,
        channel: Each,
        min_confidence: float | None = ...,
        settings: DiarizationSettings | None = ...,
    ) -> list[Diarization]: ...
    @overload
    def diarize(
        self,
        x: AudioInput,
        *,
        sample_rate: int | None = ...,
        channel: Mono = ...,
        min_confidence: float | None = ...,
        settings: DiarizationSettings | None = ...,
    ) -> Diarization: ...
    def diarize(
        self,
        x: Any,
        *,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        min_confidence: float | None = None,
        settings: DiarizationSettings | None = None,
    ) -> Any:
        """A `Diarization`: who felt what when, of a recording of any length, in memory that hardly grows with it.

        x, sample_rate (Hz) and channel: as in `emoser.audio.load_audio`; a list of inputs gives a list, channel="each" a list (one for each
        channel) in place of each. min_confidence: below it, a segment carries the warning `low_confidence`. settings: those of the
        checkpoint if not given.

        Raises AudioError and its kinds, naming the input, also where a recording breaks off. To keep what came before: `diarize_each`.
        """
        options = _options(sample_rate, channel, min_confidence)
        settings = self._settings(settings, min_confidence)
        answers = []
        for each in x if isinstance(x, list) else [x]:
            found = list(self._diarize(each, options, settings))
            for result in found:
                if result.error is not None:
                    raise result.error
            answers.append(found if channel == "each" else found[0])
        return answers if isinstance(x, list) else answers[0]

    def diarize_each(
        self,
        inputs: Iterable[AudioInput],
        *,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        min_confidence: float | None = None,
        settings: DiarizationSettings | None = None,
        progress: Progress | None = None,
    ) -> Generator[Diarization | Failure, None, None]:
        """A `Diarization` for each input, in order, and for each channel with channel="each". A recording that breaks off gives what came
        before, with the `error`; one of which nothing can be used, a `Failure`. Options as in `diarize`.

        progress(seconds, length) is called every few seconds of audio: how much of a recording is done, and its length where that is known.
        Where it raises `emoser.errors.Interrupted`, the recording ends there, as if it broke off.
        """
        options = _options(sample_rate, channel, min_confidence)
        settings = self._settings(settings, min_confidence)
        check_many(inputs)
        for each in inputs:
            try:
                yield from self._diarize(each, options, settings, progress)
            except (AudioError, MissingExtra) as error:
                yield Failure(error, source_name(each))

    def listen(
        self, *, sample_rate: int = SAMPLE_RATE, min_confidence: float | None = None, settings: DiarizationSettings | None = None
    ) -> DiarizationStream:
        """A stream to `push` mono samples at `sample_rate` Hz to, in pieces of any size; `stream()` without inputs is the same."""
        from emoser.diarization.stream import DiarizationStream

        _options(sample_rate, "mix", min_confidence)
        chosen = self._settings(settings, min_confidence)
        return DiarizationStream(self._frames(chosen), self._speech_activity(), chosen, self.labels, sample_rate=sample_rate)

    def _diarize(
        self, x: AudioInput, options: Options, settings: DiarizationSettings, progress: Progress | None = None
    ) -> list[Diarization]:
        with open_audio(x, sample_rate=options.sample_rate, channel=options.channel) as audio:
            audio.progress = progress
            streams = [self.listen(settings=settings) for _ in audio.lanes]
            error: AudioError | None = None
            try:
                for block in audio:
                    for lane, stream in enumerate(streams):
                        stream.push(block[:, lane])
            except AudioError as broken:
                if not audio.usable:
                    raise
                error = broken
            for stream in streams:
                stream.finish(audio.duration)
            return [
                replace(result, file=audio.file, channel=channel, warnings=(*audio.warnings, *result.warnings), error=error)
                for result, channel in zip((stream.result() for stream in streams), audio.lanes, strict=True)
            ]

    def _settings(self, settings: DiarizationSettings | None, min_confidence: float | None) -> DiarizationSettings:
        chosen = settings or self.checkpoint.diarization
        return chosen if min_confidence is None else replace(chosen, min_confidence=float(min_confidence))

    def _speech_activity(self) -> SpeechActivity:
        if self.checkpoint.sample_rate != SAMPLE_RATE:
            raise CheckpointError(
                f'"{self.name}" works at {self.checkpoint.sample_rate} Hz; diarization needs a checkpoint at {SAMPLE_RATE} Hz'
            )
        if self._speech is None:
            raise MissingExtra("Telling speech from silence, noise and music", "cpu")
        return self._speech


def _options(sample_rate: int | None, channel: Channel, min_confidence: float | None) -> Options:
    return Options("predict", sample_rate, channel, None, min_confidence)
