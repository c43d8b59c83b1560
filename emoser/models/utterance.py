"""One emotion for one clip: a runtime's outputs -> `Prediction` or `Embedding`."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from emoser.audio import AudioInput, Channel, Clip, check_channel, is_silent, load_audio, source_name
from emoser.batching import BATCH_SECONDS, GROUP_SECONDS, groups, load_ahead, plan_batches
from emoser.checkpoints import Description
from emoser.errors import CheckpointError, EmoserError, UsageError
from emoser.models.pooling import calibrated, equal_windows, padded, weighted_mean
from emoser.results import Embedding, Failure, Prediction
from emoser.runtimes import Runtime

Kind = Literal["predict", "embed"]
Mono = int | Literal["mix"]
Each = Literal["each"]
Result = Prediction | Embedding
Activity = Callable[[NDArray[np.float32]], float]

LEAST_SPEECH = 0.1  # seconds: with less, the clip is warned about


class UtteranceModel:
    """A checkpoint, ready to use. `model(x)` is `model.predict(x)`; made by `emoser.load`.

    checkpoint: what the model knows about itself: a `Checkpoint` of the registry, or the `Description` that a single file carries.
    activity: waveform (samples,) at the model's rate -> the share of it that is speech, from 0 to 1; None leaves `no_speech` out.
    """

    def __init__(
        self,
        checkpoint: Description,
        runtime: Runtime,
        *,
        sha256: str,
        precision: str | None = None,
        activity: Activity | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.name = checkpoint.name
        self.labels = checkpoint.labels
        self.sha256 = sha256
        self.precision = precision
        self.runtime = runtime.name
        self.device = runtime.device
        self.threads = runtime.threads
        self._runtime = runtime
        self._activity = activity

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
        return self._answer(x, "predict", sample_rate, channel, batch_size, min_confidence)

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
        return self._answer(x, "embed", sample_rate, channel, batch_size, None)

    def stream(
        self,
        inputs: Iterable[AudioInput],
        *,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        batch_size: int | None = None,
        min_confidence: float | None = None,
        kind: Kind = "predict",
    ) -> Generator[Result | Failure, None, None]:
        """Results in input order while `inputs` is read, with a `Failure` in the place of each input that could not be processed.

        Any number of inputs in bounded memory: they are decoded ahead in threads, and run in batches of like length. With channel="each" an
        input gives one result for each channel.
        """
        _check_options(kind, channel, batch_size, min_confidence)
        return _flat(self._answers(inputs, kind, sample_rate, channel, batch_size, min_confidence))

    def _answer(
        self, x: Any, kind: Kind, sample_rate: int | None, channel: Channel, batch_size: int | None, min_confidence: float | None
    ) -> Any:
        _check_options(kind, channel, batch_size, min_confidence)
        if not isinstance(x, list):
            clips = self._load(x, sample_rate=sample_rate, channel=channel)
            results = self._run([clips], kind, batch_size, min_confidence)[0]
            return results if channel == "each" else results[0]
        answers = []
        for answer in self._answers(x, kind, sample_rate, channel, batch_size, min_confidence):
            if isinstance(answer, Failure):
                raise answer.error
            answers.append(answer)
        return answers if channel == "each" else [answer[0] for answer in answers]

    def _answers(
        self,
        inputs: Iterable[AudioInput],
        kind: Kind,
        sample_rate: int | None,
        channel: Channel,
        batch_size: int | None,
        min_confidence: float | None,
    ) -> Generator[list[Result] | Failure, None, None]:
        budget = GROUP_SECONDS * self.checkpoint.sample_rate
        load = partial(self._load, sample_rate=sample_rate, channel=channel)
        with closing(load_ahead(load, inputs, size=_samples, budget=budget, catch=EmoserError)) as loaded:
            for group in groups(loaded, size=lambda item: _samples(item.result or []), budget=budget):
                results = iter(self._run([item.result for item in group if item.result is not None], kind, batch_size, min_confidence))
                for item in group:
                    yield next(results) if item.error is None else Failure(item.error, source_name(item.source))

    def _load(self, x: AudioInput, *, sample_rate: int | None, channel: Channel) -> list[Clip]:
        clips = load_audio(x, sample_rate=sample_rate, target_rate=self.checkpoint.sample_rate, channel=channel)
        return [replace(clip, warnings=(*clip.warnings, *self._heard(clip))) for clip in clips]

    def _heard(self, clip: Clip) -> tuple[str, ...]:
        if is_silent(clip.waveform):
            return ("silence",)
        if self._activity is not None and self._activity(clip.waveform) * clip.duration < LEAST_SPEECH:
            return ("no_speech",)
        return ()

    def _run(self, inputs: Sequence[list[Clip]], kind: Kind, batch_size: int | None, min_confidence: float | None) -> list[list[Result]]:
        """The results of each input's clips."""
        rate = self.checkpoint.sample_rate
        clips = [clip for each in inputs for clip in each]
        longest = math.floor(self.checkpoint.longest_window * rate)
        windows = [(i, start, stop) for i, clip in enumerate(clips) for start, stop in equal_windows(len(clip.waveform), longest)]
        rows: dict[int, NDArray[np.float32]] = {}
        for batch in plan_batches([stop - start for _, start, stop in windows], batch_size=batch_size, budget=BATCH_SECONDS * rate):
            waveform, lengths = padded([clips[i].waveform[start:stop] for i, start, stop in (windows[index] for index in batch)])
            outputs = self._runtime.run(waveform, lengths)
            found = outputs["logits"] if kind == "predict" else outputs["embedding"]
            self._check(found, len(batch), kind)
            rows.update(zip(batch, found, strict=True))
        of_clip: list[list[int]] = [[] for _ in clips]
        for index, (i, _, _) in enumerate(windows):
            of_clip[i].append(index)
        results = iter(
            self._result(clip, [rows[i] for i in own], [windows[i][2] - windows[i][1] for i in own], kind, min_confidence)
            for clip, own in zip(clips, of_clip, strict=True)
        )
        return [[next(results) for _ in each] for each in inputs]

    def _result(self, clip: Clip, rows: list[NDArray[np.float32]], lengths: list[int], kind: Kind, min_confidence: float | None) -> Result:
        pooled = weighted_mean(np.stack(rows), np.array(lengths, np.float64))
        warnings = (*clip.warnings, *(("windowed",) if len(rows) > 1 else ()))
        if kind == "embed":
            return Embedding(pooled.astype(np.float32), clip.duration, clip.file, clip.channel, warnings)
        if "silence" in clip.warnings:
            pooled = np.zeros_like(pooled)
        scores = dict(zip(self.labels, map(float, calibrated(pooled, self.checkpoint.temperature)), strict=True))
        best = max(scores, key=scores.__getitem__)
        if "silence" in clip.warnings and "neutral" in scores:
            best = "neutral"  # all are equal: the least surprising word
        if min_confidence is not None and scores[best] < min_confidence:
            warnings = (*warnings, "low_confidence")
        return Prediction(best, scores[best], scores, clip.duration, clip.file, clip.channel, warnings)

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


def _check_options(kind: object, channel: object, batch_size: object, min_confidence: object) -> None:
    check_channel(channel)
    if kind not in ("predict", "embed"):
        raise UsageError(f'kind is {kind!r}; allowed: "predict", "embed"')
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise UsageError(f"batch_size is {batch_size!r}; a whole number from 1 is needed, or None")
    if min_confidence is not None and not (isinstance(min_confidence, int | float) and 0 <= min_confidence <= 1):
        raise UsageError(f"min_confidence is {min_confidence!r}; a number from 0 to 1 is needed, or None")
