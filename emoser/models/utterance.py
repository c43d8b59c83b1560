"""One emotion for one clip: a runtime's outputs -> `Prediction` or `Embedding`."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from emoser.audio import SAMPLE_RATE, AudioInput, Channel, Clip, is_silent, load_audio, source_name
from emoser.batching import BATCH_SECONDS, GROUP_SECONDS, groups, load_ahead, plan_batches
from emoser.checkpoints import Description
from emoser.errors import AudioError, CheckpointError, MissingExtra, UsageError
from emoser.models.adapting import Adapting, Rows
from emoser.models.diarizing import Diarizing
from emoser.models.options import Each, Kind, Mono, Options, check_many
from emoser.pooling import calibrated, equal_windows, padded, sounding, weighted_mean
from emoser.resolving import Resolved
from emoser.results import Embedding, Failure, Prediction
from emoser.runtimes import Runtime

if TYPE_CHECKING:
    from emoser.diarization.activity import SpeechActivity
    from emoser.diarization.stream import DiarizationStream
    from emoser.diarization.windows import FrameSource
    from emoser.settings import DiarizationSettings

T = TypeVar("T")

Result = Prediction | Embedding
Activity = Callable[[NDArray[np.float32]], bool]

BAD_INPUT = (AudioError, MissingExtra)  # becomes a Failure in its place; anything else is no fault of one input
SILENCE, NO_SPEECH, NEUTRAL = "silence", "no_speech", "neutral"
BLOCK_SECONDS = 0.02  # in which silence at the ends is looked for


class UtteranceModel(Diarizing, Adapting):
    """A checkpoint, ready to use. `model(x)` is `model.predict(x)`; made by `emoser.load`.

    checkpoint: what the model knows about itself: a `Checkpoint` of the registry, or the `Description` that a single file carries.
    activity: waveform (samples,) at the model's rate -> whether it holds speech; None leaves `no_speech` out.
    speech: what tells speech from all else over time; None leaves diarization out.
    source: where it was loaded from, which saving an adapted copy needs.
    """

    def __init__(
        self,
        checkpoint: Description,
        runtime: Runtime,
        *,
        sha256: str,
        precision: str | None = None,
        activity: Activity | None = None,
        speech: SpeechActivity | None = None,
        source: Resolved | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.name = checkpoint.name
        self.labels = checkpoint.labels
        self.sha256 = sha256
        self.precision = precision
        self.runtime = runtime.name
        self.device = runtime.device
        self.threads = runtime.threads
        self.source = source
        self._runtime = runtime
        self._activity = activity
        self._speech = speech

    @property
    def opened(self) -> Runtime:
        """What computes: for ensembles."""
        return self._runtime

    def __repr__(self) -> str:
        own = self.checkpoint
        lines = {
            "inputs": ", ".join(map(str, self._runtime.inputs)),
            "outputs": ", ".join(map(str, self._runtime.outputs)),
            "labels": ", ".join(self.labels),
            "audio": f"{own.sample_rate} Hz mono, windows up to {own.longest_window:g} s",
            "encoder": own.encoder,
            "licence": own.license,
            "runtime": f"{self.runtime} on {self.device}, {self.threads} thread{'s' * (self.threads > 1)}",
            "weights": f"{self.precision or 'as in the file'}, sha256 {self.sha256[:12]}",
        }
        return f"{type(self).__name__} {self.name}: {own.summary}\n" + "\n".join(f"  {key + ':':<9}{value}" for key, value in lines.items())

    @overload
    def predict(
        self,
        x: list[Any],
        *,
        sample_rate: int | None = ...,
        channel: Each,
        batch_size: int | None = ...,
        min_confidence: float | None = ...,
    ) -> list[list[Prediction]]: ...
    @overload
    def predict(
        self,
        x: list[Any],
        *,
        sample_rate: int | None = ...,
        channel: Mono = ...,
        batch_size: int | None = ...,
        min_confidence: float | None = ...,
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self,
        x: AudioInput,
        *,
        sample_rate: int | None = ...,
        channel: Each,
        batch_size: int | None = ...,
        min_confidence: float | None = ...,
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self,
        x: AudioInput,
        *,
        sample_rate: int | None = ...,
        channel: Mono = ...,
        batch_size: int | None = ...,
        min_confidence: float | None = ...,
    ) -> Prediction: ...
    def predict(
        self,
        x: Any,
        *,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        batch_size: int | None = None,
        min_confidence: float | None = None,
    ) -> Any:
        """A `Prediction`; for a list of inputs a list; with channel="each" a list (one for each channel) in place of each.

        x, sample_rate (Hz) and channel: as in `emoser.audio.load_audio`. batch_size: clips that run together, at most; chosen by length if
        not given. min_confidence: below it, a prediction carries the warning `low_confidence`.

        Raises AudioError and its kinds, naming the input; for a list, the first input that fails. To go on past bad inputs: `stream`.
        """
        return self._answer(x, Options("predict", sample_rate, channel, batch_size, min_confidence))

    __call__ = predict

    @overload
    def embed(
        self, x: list[Any], *, sample_rate: int | None = ..., channel: Each, batch_size: int | None = ...
    ) -> list[list[Embedding]]: ...
    @overload
    def embed(
        self, x: list[Any], *, sample_rate: int | None = ..., channel: Mono = ..., batch_size: int | None = ...
    ) -> list[Embedding]: ...
    @overload
    def embed(self, x: AudioInput, *, sample_rate: int | None = ..., channel: Each, batch_size: int | None = ...) -> list[Embedding]: ...
    @overload
    def embed(self, x: AudioInput, *, sample_rate: int | None = ..., channel: Mono = ..., batch_size: int | None = ...) -> Embedding: ...
    def embed(
        self,
        x: Any,
        *,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        batch_size: int | None = None,
    ) -> Any:
        """An `Embedding`, the pooled hidden vector (dim,) before the classifier; lists, options and errors as in `predict`."""
        return self._answer(x, Options("embed", sample_rate, channel, batch_size))

    @overload
    def stream(self, inputs: None = ..., *, sample_rate: int | None = ..., min_confidence: float | None = ...) -> DiarizationStream: ...
    @overload
    def stream(
        self,
        inputs: Iterable[AudioInput],
        *,
        sample_rate: int | None = ...,
        channel: Channel = ...,
        batch_size: int | None = ...,
        min_confidence: float | None = ...,
        kind: Literal["predict"] = ...,
    ) -> Generator[Prediction | Failure, None, None]: ...
    @overload
    def stream(
        self,
        inputs: Iterable[AudioInput],
        *,
        sample_rate: int | None = ...,
        channel: Channel = ...,
        batch_size: int | None = ...,
        min_confidence: float | None = ...,
        kind: Literal["embed"],
    ) -> Generator[Embedding | Failure, None, None]: ...
    def stream(
        self,
        inputs: Iterable[AudioInput] | None = None,
        *,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        batch_size: int | None = None,
        min_confidence: float | None = None,
        kind: Kind = "predict",
    ) -> Any:
        """Results in input order while `inputs` is read, with a `Failure` in the place of each input that could not be processed.

        Any number of inputs in bounded memory: they are decoded ahead in threads, and run in batches of like length. With channel="each" an
        input gives one result for each channel.

        Without inputs, a stream to push samples to: emotions over time, live (`listen`).
        """
        options = Options(kind, sample_rate, channel, batch_size, min_confidence)
        if inputs is None:
            if (kind, channel, batch_size) != ("predict", "mix", None):
                raise UsageError("kind, channel and batch_size are for inputs; samples that are pushed are mono")
            return self.listen(sample_rate=SAMPLE_RATE if sample_rate is None else sample_rate, min_confidence=min_confidence)
        check_many(inputs)
        return _flat(self._answers(inputs, options))

    def _frames(self, settings: DiarizationSettings) -> FrameSource:
        from emoser.diarization.windows import WindowedFrames

        about = self.checkpoint
        return WindowedFrames(
            self._window,
            settings,
            classes=len(self.labels),
            frame=about.frame,
            sample_rate=about.sample_rate,
            longest=about.longest_window,
            temperature=about.temperature,
        )

    def _window(self, waveform: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(samples,) -> its logits (classes,) and those of its frames (frames, classes)."""
        outputs = self._runtime.run(*padded([waveform]))
        self._check(outputs["logits"], 1, "predict")
        frames = outputs["frames"][0, : int(outputs["frame_lengths"][0])]
        if frames.ndim != 2 or frames.shape[1] != len(self.labels) or not np.isfinite(frames).all():
            raise CheckpointError(f'"{self.name}" gave frames of shape {frames.shape}, or NaN; the checkpoint or the device is at fault')
        return outputs["logits"][0], frames

    def _answer(self, x: Any, options: Options) -> Any:
        each = options.channel == "each"
        if not isinstance(x, list):
            (results,) = self.answers([self._load(x, options)], options)
            return results if each else results[0]
        answers = []
        for answer in self._answers(x, options):
            if isinstance(answer, Failure):
                raise answer.error
            answers.append(answer)
        return answers if each else [answer[0] for answer in answers]

    def _answers(self, inputs: Iterable[AudioInput], options: Options) -> Generator[list[Result] | Failure, None, None]:
        """One list of results, or a Failure, for each input."""
        with closing(self.decoded(inputs, options)) as found:
            for group in found:
                results = iter(self.answers([item for item in group if not isinstance(item, Failure)], options))
                for item in group:
                    yield item if isinstance(item, Failure) else next(results)

    def decoded(self, inputs: Iterable[AudioInput], options: Options) -> Generator[list[list[Clip] | Failure], None, None]:
        """The inputs in groups that are run at once: the clips of each (its channels), or a Failure."""
        budget = GROUP_SECONDS * self.checkpoint.sample_rate
        with closing(load_ahead(partial(self._load, options=options), inputs, size=_samples, budget=budget, catch=BAD_INPUT)) as loaded:
            for group in groups(loaded, size=lambda item: _samples(item.result or []), budget=budget):
                yield [item.result or [] if item.error is None else Failure(item.error, source_name(item.source)) for item in group]

    def _spoken(
        self, inputs: Iterable[AudioInput], options: Options, rows: Rows, on_failure: Callable[[Failure], None] | None
    ) -> list[NDArray[np.float64]]:
        found: list[NDArray[np.float64]] = []
        with closing(self.decoded(inputs, options)) as decoded:
            for group in decoded:
                spoken: list[Clip] = []
                for item in group:
                    if not isinstance(item, Failure):
                        spoken += [clip for clip in item if not {SILENCE, NO_SPEECH} & set(clip.warnings)]
                    elif on_failure is None:
                        raise item.error
                    else:
                        on_failure(item)
                found += [vector for vector, _ in self._over_windows(spoken, options.batch_size, rows)]
        return found

    def _load(self, x: AudioInput, options: Options) -> list[Clip]:
        clips = load_audio(x, sample_rate=options.sample_rate, target_rate=self.checkpoint.sample_rate, channel=options.channel)
        return [replace(clip, warnings=(*clip.warnings, *self._heard(clip))) for clip in clips]

    def _heard(self, clip: Clip) -> tuple[str, ...]:
        if is_silent(clip.waveform):
            return (SILENCE,)
        if self._activity is not None and not self._activity(clip.waveform):
            return (NO_SPEECH,)
        return ()

    def answers(self, inputs: Sequence[list[Clip]], options: Options) -> list[list[Result]]:
        """The results of each input's clips."""
        clips = [clip for each in inputs for clip in each if options.kind == "embed" or SILENCE not in clip.warnings]
        pooled = iter(self._pooled(clips, options))

        def result(clip: Clip) -> Result:
            if options.kind == "embed":
                vector, warnings = next(pooled)
                return Embedding(vector.astype(np.float32), clip.duration, clip.file, clip.channel, clip.warnings + warnings)
            logits, warnings = (np.zeros(len(self.labels)), ()) if SILENCE in clip.warnings else next(pooled)
            return self._prediction(clip, logits, warnings, options.min_confidence)

        return [[result(clip) for clip in each] for each in inputs]

    def _pooled(self, clips: Sequence[Clip], options: Options) -> list[tuple[NDArray[np.float64], tuple[str, ...]]]:
        """Each clip's logits or embedding."""

        def rows(waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
            outputs = self._runtime.run(waveform, lengths)
            found = outputs["logits"] if options.kind == "predict" else outputs["embedding"]
            self._check(found, len(lengths), options.kind)
            return found

        return self._over_windows(clips, options.batch_size, rows)

    def _over_windows(self, clips: Sequence[Clip], batch_size: int | None, rows: Rows) -> list[tuple[NDArray[np.float64], tuple[str, ...]]]:
        """What `rows` gives for each clip, with the warning `windowed` where it is the mean over more than one window."""
        return [
            (weighted_mean(np.stack(found), np.array(lengths)), ("windowed",) if len(lengths) > 1 else ())
            for found, lengths in self._windows(clips, batch_size, rows)
        ]

    def _windows(
        self, clips: Sequence[Clip], batch_size: int | None, each: Callable[[NDArray[np.float32], NDArray[np.int64]], Iterable[T]]
    ) -> list[tuple[list[T], list[int]]]:
        """For each clip what `each` gives for its windows, in order, and their samples. `each` is asked about batches of like length."""
        rate = self.checkpoint.sample_rate
        longest = math.floor(self.checkpoint.longest_window * rate)
        windows = [(i, start, stop) for i, clip in enumerate(clips) for start, stop in self._spans(clip, longest)]
        lengths = [stop - start for _, start, stop in windows]
        found: dict[int, T] = {}
        if len(lengths) > 1 and self._runtime.alone:
            batch_size = 1
        for batch in plan_batches(lengths, batch_size=batch_size, budget=BATCH_SECONDS[self.device] * rate):
            waveform, samples = padded([clips[i].waveform[start:stop] for i, start, stop in (windows[w] for w in batch)])
            found.update(zip(batch, each(waveform, samples), strict=True))
        own: list[list[int]] = [[] for _ in clips]
        for w, (i, _, _) in enumerate(windows):
            own[i].append(w)
        return [([found[w] for w in ws], [lengths[w] for w in ws]) for ws in own]

    def _spans(self, clip: Clip, longest: int) -> list[tuple[int, int]]:
        """(start, stop) of the windows of a clip: one, or of a clip beyond `longest` samples those without its silent ends in which someone
        speaks, for an emotion would be heard in pauses too."""
        waveform = clip.waveform
        if len(waveform) <= longest:
            return [(0, len(waveform))]
        first, last = sounding(waveform, round(BLOCK_SECONDS * self.checkpoint.sample_rate))
        spans = [(first + start, first + stop) for start, stop in equal_windows(last - first, longest)]
        if len(spans) == 1 or self._activity is None or NO_SPEECH in clip.warnings:
            return spans
        return [(start, stop) for start, stop in spans if self._activity(waveform[start:stop])] or spans

    def _prediction(self, clip: Clip, logits: NDArray[np.float64], warnings: tuple[str, ...], min_confidence: float | None) -> Prediction:
        scores = dict(zip(self.labels, map(float, calibrated(logits, self.checkpoint.temperature)), strict=True))
        best = max(scores, key=scores.__getitem__)
        if SILENCE in clip.warnings and NEUTRAL in scores:
            best = NEUTRAL  # all scores are equal: the word that claims least
        if min_confidence is not None and scores[best] < min_confidence:
            warnings = (*warnings, "low_confidence")
        return Prediction(best, scores[best], scores, clip.duration, clip.file, clip.channel, clip.warnings + warnings)

    def _check(self, found: NDArray[np.float32], batch: int, kind: Kind) -> None:
        if kind == "predict" and found.shape != (batch, len(self.labels)):
            raise CheckpointError(f'"{self.name}" has {len(self.labels)} labels, its graph gave logits of shape {found.shape}')
        if not np.isfinite(found).all():
            raise CheckpointError(f'"{self.name}" gave NaN or infinity on {self.device}; the checkpoint or the device is at fault')


def _flat(answers: Generator[list[Result] | Failure, None, None]) -> Generator[Result | Failure, None, None]:
    with closing(answers):
        for answer in answers:
            if isinstance(answer, Failure):
                yield answer
            else:
                yield from answer


def _samples(clips: list[Clip]) -> int:
    return sum(len(clip.waveform) for clip in clips)
