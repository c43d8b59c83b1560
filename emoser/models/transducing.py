"""An emotion transducer among the other models: one emotion for one clip, emotions over time, and what is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emoser.audio import Clip
from emoser.checkpoints import Description
from emoser.errors import CheckpointError
from emoser.models.adapting import Learner
from emoser.models.options import Options
from emoser.models.transducer import Heard, Parts, hear, lattice, mean_over, pieces_of, posteriors, text_of, words_of
from emoser.models.utterance import SILENCE, Result, UtteranceModel
from emoser.pooling import on_clip_axis, weighted_mean
from emoser.results import Embedding, Word
from emoser.runtimes import INPUTS, OUTPUTS, Outputs, Port
from emoser.runtimes.parts import Graph

if TYPE_CHECKING:
    from emoser.diarization.windows import FrameSource
    from emoser.settings import DiarizationSettings

SMALLEST = 1e-9  # a posterior below it is taken for it, so that its logarithm is finite


class Decoder:
    """The opened parts of a transducer; a `Runtime` too, so that it may stand in an ensemble.

    Frames then have logits as those of other checkpoints do: softmax(logits / temperature) are the posteriors of the decoded text
    (`emoser.models.transducer.posteriors`, with a temperature of their own), zero where the encoder cut silence off.
    """

    inputs: tuple[Port, ...] = INPUTS
    outputs: tuple[Port, ...] = OUTPUTS
    alone = False

    def __init__(self, about: Description, graphs: Mapping[str, Graph]) -> None:
        """graphs: one for each of `emoser.checkpoints.ROLES`."""
        if about.state is None or about.symbols is None or about.frame_temperature is None:
            raise CheckpointError(f'"{about.name}" does not say what a transducer must: its symbols, state and frame_temperature')
        self._about, self.symbols, self._frame_temperature = about, about.symbols, about.frame_temperature
        self.frame = about.frame
        encoder = graphs["encoder"]
        self.name, self.device, self.threads = encoder.name, encoder.device, encoder.threads
        self.metadata: Mapping[str, Any] = encoder.metadata
        self._parts = Parts(**graphs, layers=about.state.layers, state=about.state.width)

    def hear(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> list[Heard]:
        """A batch as in `run`, decoded greedily. Raises CheckpointError where logits are not those of the labels, or not finite."""
        heard = hear(self._parts, waveform, lengths)
        for item in heard:
            if item.logits.shape != (len(self._about.labels),) or not (np.isfinite(item.logits).all() and np.isfinite(item.frames).all()):
                raise CheckpointError(
                    f'"{self._about.name}" gave logits of shape {item.logits.shape} for {len(self._about.labels)} labels, or NaN; '
                    "the checkpoint or the device is at fault"
                )
        return heard

    def posteriors(self, heard: Heard) -> NDArray[np.float64]:
        """(T, classes): calibrated, of the clip's own frames; rows sum to 1."""
        if not len(heard.frames):
            return np.zeros((0, len(self._about.labels)))
        return posteriors(lattice(self._parts, heard.frames, heard.hypothesis.tokens), self._frame_temperature)

    def on_axis(self, heard: Heard, probabilities: NDArray[np.float64], samples: int) -> NDArray[np.float32]:
        """`posteriors` -> logits (frames, classes) of the frames of the clip's own time axis, which has `samples` samples."""
        logits = np.log(np.maximum(probabilities, SMALLEST)) * self._about.temperature
        logits -= logits.mean(axis=1, keepdims=True)
        total = -(-samples // self.frame)
        counts, starts = np.array([len(logits)]), np.array([heard.start])
        placed: NDArray[np.float32] = on_clip_axis(logits[None].astype(np.float32), counts, starts, total)[0]
        return placed

    def words(self, heard: Heard, probabilities: NDArray[np.float64]) -> list[Word]:
        """What is said, with times in seconds of the clip's own axis; each word has the label of the mean of `posteriors` over its time."""
        words = words_of(pieces_of(heard.hypothesis, self.symbols))
        hop = self._about.frame_hop
        best = mean_over(words, probabilities).argmax(axis=1)
        return [
            Word(word.text, (heard.start + word.start) * hop, (heard.start + word.end) * hop, self._about.labels[index])
            for word, index in zip(words, best, strict=True)
        ]

    def run(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        heard = self.hear(waveform, lengths)
        rows = [self.on_axis(item, self.posteriors(item), int(samples)) for item, samples in zip(heard, lengths, strict=True)]
        counts = np.array([len(row) for row in rows], np.int64)
        frames = np.zeros((len(rows), int(counts.max()), len(self._about.labels)), np.float32)
        for line, row in zip(frames, rows, strict=True):
            line[: len(row)] = row
        return Outputs(
            logits=np.stack([item.logits for item in heard]).astype(np.float32),
            frames=frames,
            embedding=np.stack([item.embedding for item in heard]).astype(np.float32),
            frame_lengths=counts,
        )


class TransducerModel(UtteranceModel):
    """An `UtteranceModel`, over a `Decoder`, that writes what is said: `Prediction.transcript`, `Diarization.transcript`."""

    @property
    def _decoder(self) -> Decoder:
        """What it was made with (`emoser.load`)."""
        assert isinstance(self._runtime, Decoder)
        return self._runtime

    def _learners(self, shares: Mapping[str, float] | None) -> list[Learner]:
        raise CheckpointError(f'"{self.name}" is a transducer and cannot be adapted; checkpoints of the task utterance can')

    def answers(self, inputs: Sequence[list[Clip]], options: Options) -> list[list[Result]]:
        clips = [clip for each in inputs for clip in each if options.kind == "embed" or SILENCE not in clip.warnings]
        found = iter(self._windows(clips, options.batch_size, self._decoder.hear))

        def result(clip: Clip) -> Result:
            if options.kind == "predict" and SILENCE in clip.warnings:
                return replace(self._prediction(clip, np.zeros(len(self.labels)), (), options.min_confidence), transcript="")
            heard, lengths = next(found)
            warnings = ("windowed",) if len(heard) > 1 else ()
            if options.kind == "embed":
                vector = weighted_mean(np.stack([item.embedding for item in heard]), np.array(lengths))
                return Embedding(vector.astype(np.float32), clip.duration, clip.file, clip.channel, clip.warnings + warnings)
            logits = weighted_mean(np.stack([item.logits for item in heard]), np.array(lengths))
            texts = (text_of(item.hypothesis.tokens, self._decoder.symbols) for item in heard)
            prediction = self._prediction(clip, logits, warnings, options.min_confidence)
            return replace(prediction, transcript=" ".join(text for text in texts if text))

        return [[result(clip) for clip in each] for each in inputs]

    def _frames(self, settings: DiarizationSettings) -> FrameSource:
        from emoser.diarization.words import WrittenFrames

        about = self.checkpoint
        return WrittenFrames(
            self._written,
            settings,
            classes=len(self.labels),
            frame=self._decoder.frame,
            sample_rate=about.sample_rate,
            longest=about.longest_window,
            temperature=about.temperature,
        )

    def _written(self, waveform: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], list[Word]]:
        """(samples,) -> its logits (classes,), those of its frames (frames, classes), and its words."""
        (heard,) = self._decoder.hear(waveform[None], np.array([len(waveform)], np.int64))
        probabilities = self._decoder.posteriors(heard)
        frames = self._decoder.on_axis(heard, probabilities, len(waveform))
        return heard.logits.astype(np.float32), frames, self._decoder.words(heard, probabilities)
