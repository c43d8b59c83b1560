"""Speech activity: Silero VAD (https://github.com/snakers4/silero-vad, MIT), an ONNX file of 0.6 MB that comes with emoser.

The file is made by `training/encoders/silero.py`, which documents the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoser.audio import SAMPLE_RATE
from emoser.digests import sha256
from emoser.errors import AudioValueError, CheckpointError, ChecksumMismatch
from emoser.runtimes.onnx import ERRORS, import_onnxruntime

CHUNK = 512  # samples, 32 ms: one probability each
CHUNK_SECONDS = CHUNK / SAMPLE_RATE
CONTEXT = 64  # samples before a chunk that it also sees
STATE = (2, 1, 128)  # of the LSTM: hidden and cell
BLOCK = 1024  # chunks in one run, 33 s: about 12 MB of activations, however long the recording
RUN = 32  # chunks in one run of a stream, 1.02 s
THRESHOLD = 0.5  # above it a chunk is speech
LEAST_SPEECH = 0.1  # seconds: with less, a clip holds no speech
LOUDEST_SECONDS = 1.0  # heard first

FILE = Path("checkpoints", "onnx", "silero-vad.onnx")
SHA256 = "c4a0a05f73a83b9479a108c40eb0f367f640969297a1ea00941403e8034971c4"


def bundled_file() -> Path:
    """The model inside the installed package, or that of the clone that the package stands in."""
    package = Path(__file__).parents[1]
    bundled = package / "bundled" / FILE
    return bundled if bundled.is_file() else package.parent / FILE


class SpeechActivity:
    """Probabilities of speech, one for each 32 ms of mono audio at 16 kHz. Nothing is read before the first use."""

    def __init__(self, *, threads: int = 1, block: int = BLOCK) -> None:
        """threads: more do not help, the model is small. block: chunks a run; it bounds memory and does not change results."""
        self.threads = threads
        self.block = block

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), threads=self.threads, block=self.block), ()

    def speech_probabilities(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """`waveform` float32 (samples,) at 16 kHz in [-1, 1] -> (chunks,), of which the last is filled up with zeros. Empty gives empty."""
        waveform = np.asarray(waveform, dtype=np.float32)
        if waveform.ndim != 1:
            raise AudioValueError(f"speech activity takes one channel, an array (samples,); this one has the shape {waveform.shape}")
        probabilities = list(self._each_block(waveform))
        return np.concatenate(probabilities) if probabilities else np.zeros(0, dtype=np.float32)

    def holds_speech(self, waveform: NDArray[np.float32]) -> bool:
        """Whether `LEAST_SPEECH` seconds of it are speech.

        The loudest second is heard first, since it nearly always has the answer; then, where it
        has not, the whole, up to the block that settles it.
        """
        loudest = loudest_stretch(waveform, round(LOUDEST_SECONDS * SAMPLE_RATE))
        if len(loudest) < len(waveform) and np.sum(self.speech_probabilities(loudest) > THRESHOLD) * CHUNK_SECONDS >= LEAST_SPEECH:
            return True
        found = 0
        for block in self._each_block(np.asarray(waveform, dtype=np.float32)):
            found += int(np.sum(block > THRESHOLD))
            if found * CHUNK_SECONDS >= LEAST_SPEECH:
                return True
        return False

    def _each_block(self, waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        state = np.zeros(STATE, dtype=np.float32)
        for samples in self._blocks(waveform):
            block, state = self.run(samples, state)
            yield block

    def run(self, samples: NDArray[np.float32], state: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One step of a recording: (64 + 512 n,) samples, the first 64 of them the end of what came before, and the state (zeros of `STATE`
        at the start) -> (n,) probabilities and the state after them."""
        probabilities, state = self._session.run(["probabilities", "state_after"], {"samples": samples, "state": state})
        return probabilities, state

    def _blocks(self, waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Whole chunks with the 64 samples before them: zeros before the recording and, in the last chunk, after it."""
        step = self.block * CHUNK
        for start in range(0, len(waveform), step):
            piece = waveform[max(0, start - CONTEXT) : start + step]
            before = CONTEXT if start == 0 else 0
            yield np.pad(piece, (before, (CONTEXT - before - len(piece)) % CHUNK))

    @cached_property
    def _session(self) -> Any:
        path = bundled_file()
        if not path.is_file():
            raise CheckpointError(f"The speech activity model is not at {path}; install emoser again, or get the file from its repository")
        digest = sha256(path)
        if digest != SHA256:
            raise ChecksumMismatch(f"{path} is damaged or from another version: sha256 {digest}; expected {SHA256}. Install emoser again")
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = ERRORS
        options.intra_op_num_threads = self.threads
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class SpeechStream:
    """The same probabilities for audio that comes in pieces, exactly the same however it is cut: the model always takes `RUN` chunks."""

    def __init__(self, activity: SpeechActivity) -> None:
        self._activity = activity
        self._state = np.zeros(STATE, dtype=np.float32)
        self._buffer = np.zeros(CONTEXT + RUN * CHUNK, dtype=np.float32)
        self._filled = CONTEXT

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (samples,) at 16 kHz -> the probabilities (chunks,) that are settled by them."""
        settled: list[NDArray[np.float32]] = []
        while len(samples):
            taken = samples[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            samples = samples[len(taken) :]
            if self._filled == len(self._buffer):
                settled.append(self._run(self._buffer))
                self._buffer[:CONTEXT] = self._buffer[-CONTEXT:]
                self._filled = CONTEXT
        return np.concatenate(settled) if settled else np.zeros(0, dtype=np.float32)

    def finish(self) -> NDArray[np.float32]:
        """The rest, of which the last chunk is filled up with zeros."""
        chunks = -(-(self._filled - CONTEXT) // CHUNK)
        self._buffer[self._filled :] = 0
        self._filled = CONTEXT
        return self._run(self._buffer[: CONTEXT + chunks * CHUNK]) if chunks else np.zeros(0, dtype=np.float32)

    def _run(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        probabilities, self._state = self._activity.run(samples, self._state)
        return probabilities


def loudest_stretch(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """The `samples` in a row with the most energy, to within a chunk; all of a shorter waveform."""
    chunks = samples // CHUNK
    energy = np.square(waveform[: len(waveform) // CHUNK * CHUNK]).reshape(-1, CHUNK).sum(1, dtype=np.float64)
    if len(energy) <= chunks:
        return waveform
    sums = np.cumsum(np.concatenate([[0.0], energy]))
    start = int(np.argmax(sums[chunks:] - sums[:-chunks])) * CHUNK
    return waveform[start : start + samples]
