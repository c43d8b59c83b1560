"""Runtime outputs -> results: calibration, windows, batches, streams, warnings."""

from __future__ import annotations

import io
import itertools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest

import emoser
from emoser import Embedding, Failure, Prediction, UtteranceModel
from emoser.audio import load_audio
from emoser.errors import AudioDecodeError, AudioTooShort, AudioValueError, CheckpointError, UsageError
from emoser.models.utterance import UtteranceModel as Model
from emoser.runtimes import open_runtime

RATE = miniature.RATE


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory):
    """(runtime, description) of the miniature."""
    from emoser.checkpoints import describe

    path = miniature.write_onnx(tmp_path_factory.mktemp("model") / "miniature.onnx")
    runtime = open_runtime(path, "onnx", device="cpu", threads=1)
    return runtime, describe(runtime.metadata, str(path))


@pytest.fixture
def model(parts) -> UtteranceModel:
    runtime, description = parts
    return Model(description, runtime, sha256="0" * 64)


def clips(count: int, seed: int = 0) -> list[np.ndarray]:
    """Noise of 0.1 to 2.9 s at very different levels: no two alike."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1600, int(2.9 * RATE), count)
    return [(draw.standard_normal(n) * draw.uniform(0.01, 0.3)).astype(np.float32).clip(-1, 1) for n in lengths]


def expected_scores(waveform: np.ndarray) -> np.ndarray:
    logits = miniature.reference(waveform)["logits"] / miniature.TEMPERATURE
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


# One clip


def test_scores_are_the_calibrated_softmax(model: UtteranceModel, tone: np.ndarray) -> None:
    result = model(tone)
    assert isinstance(result, Prediction)
    assert tuple(result.scores) == miniature.LABELS
    np.testing.assert_allclose(list(result.scores.values()), expected_scores(tone), atol=1e-6)
    assert sum(result.scores.values()) == pytest.approx(1.0, abs=1e-12)
    assert result.label == max(result.scores, key=result.scores.get) and result.confidence == result.scores[result.label]
    assert (result.duration, result.file, result.channel, result.warnings) == (2.0, None, None, ())
    assert model.predict(tone) == result


def test_embedding(model: UtteranceModel, tone: np.ndarray) -> None:
    result = model.embed(tone)
    assert isinstance(result, Embedding) and result.vector.dtype == np.float32
    np.testing.assert_allclose(result.vector, miniature.reference(tone)["embedding"], atol=1e-6)


def test_a_file_and_its_samples_agree(model: UtteranceModel, wav: Callable[..., Path], tone: np.ndarray) -> None:
    path = wav("a.wav", tone, subtype="FLOAT")
    by_path, by_bytes, by_pair = model([str(path), path.read_bytes(), (tone, RATE)])
    assert by_path.file == str(path) and by_bytes.file is None
    for other in (by_bytes, by_pair):
        assert other.scores == pytest.approx(by_path.scores, abs=1e-6)
    assert model(load_audio(path)[0]) == model(path), "a Clip is taken too"
    assert model(tone, sample_rate=32_000).duration == 1.0


def test_the_repr_says_what_one_wants_to_know(model: UtteranceModel) -> None:
    shown = repr(model)
    for part in (
        "miniature",
        "waveform float32 (batch, samples)",
        "embedding float32 (batch, 3)",
        "neutral, happy, angry, sad",
        "16000 Hz mono, windows up to 3 s",
        "Apache-2.0",
        "onnx on cpu, 1 thread\n",
    ):
        assert part in shown


# Batches, channels


def test_a_batch_gives_what_each_clip_gives_alone(model: UtteranceModel) -> None:
    inputs = clips(60)
    together = model(inputs)
    assert len({len(x) for x in inputs}) > 50 and np.ptp([result.scores["sad"] for result in together]) > 0.05
    for x, result in zip(inputs, together, strict=True):
        alone = model(x)
        np.testing.assert_allclose(list(result.scores.values()), list(alone.scores.values()), atol=1e-5)
        np.testing.assert_allclose(list(result.scores.values()), expected_scores(x), atol=1e-5)
        assert result.label == alone.label and result.duration == alone.duration
    for vector, x in zip(model.embed(inputs, batch_size=7), inputs, strict=True):
        np.testing.assert_allclose(vector.vector, model.embed(x).vector, atol=1e-5)


def test_both_runtimes_agree(tmp_path: Path, tone: np.ndarray) -> None:
    pytest.importorskip("torch")
    folder = miniature.write_folder(tmp_path / "both", torchscript=True)
    inputs = [tone, *clips(5)]
    onnx, torchscript = (emoser.load(folder, runtime=runtime)(inputs) for runtime in ("onnx", "torchscript"))
    for a, b in zip(onnx, torchscript, strict=True):
        np.testing.assert_allclose(list(a.scores.values()), list(b.scores.values()), atol=1e-5)


def test_channels(model: UtteranceModel, wav: Callable[..., Path], tone: np.ndarray) -> None:
    stereo = np.stack([tone, 0.1 * tone], axis=1)
    left, right = model(stereo, channel="each")
    assert (left.channel, right.channel) == (0, 1) and left.scores != right.scores
    np.testing.assert_allclose(list(left.scores.values()), list(model(tone).scores.values()), atol=1e-6)
    assert model(stereo, channel=1) == right
    path = wav("stereo.wav", stereo)
    each = model([path, tone], channel="each")
    assert [[result.channel for result in results] for results in each] == [[0, 1], [0]]
    flat = list(model.stream([path, "none.wav", tone], channel="each"))
    assert [(type(r).__name__, r.file, getattr(r, "channel", None)) for r in flat] == [
        ("Prediction", str(path), 0),
        ("Prediction", str(path), 1),
        ("Failure", "none.wav", None),
        ("Prediction", None, 0),
    ]


@pytest.mark.parametrize("one", [np.zeros(16_000, np.float32), (np.zeros(16_000, np.float32), 16_000), io.BytesIO(b"RIFF"), b"RIFF"])
def test_one_recording_is_no_stream(model: UtteranceModel, one: Any) -> None:
    with pytest.raises(UsageError, match="put it into a list"):
        next(model.stream(one))


def test_arrays_of_paths_and_batches_of_clips_are_streams(model: UtteranceModel, wav: Callable[..., Path]) -> None:
    paths = np.array([str(wav("a.wav")), str(wav("b.wav"))])
    assert [result.file for result in model.stream(paths)] == list(paths)
    assert len(list(model.stream(np.stack([miniature.tone(), miniature.tone()])))) == 2


def test_an_empty_list(model: UtteranceModel) -> None:
    assert model([]) == [] and model.embed([]) == [] and list(model.stream([])) == []


class Recorder:
    """A runtime that notes the shapes of its batches."""

    def __init__(self, runtime) -> None:
        self._runtime, self.batches = runtime, []

    def __getattr__(self, name: str):
        return getattr(self._runtime, name)

    def run(self, waveform, lengths):
        self.batches.append(waveform.shape)
        return self._runtime.run(waveform, lengths)


def test_batches_are_bounded_by_count_and_by_padded_samples(parts) -> None:
    runtime, description = parts
    recorder = Recorder(runtime)
    model = Model(description, recorder, sha256="")
    model(clips(200))
    assert max(rows * samples for rows, samples in recorder.batches) <= 20 * RATE
    assert max(rows for rows, _ in recorder.batches) > 8
    recorder.batches.clear()
    model(clips(10), batch_size=3)
    assert sum(rows for rows, _ in recorder.batches) == 10 and max(rows for rows, _ in recorder.batches) == 3


# Long, silent, loud, quiet


def test_a_long_clip_is_windowed_and_pooled(model: UtteranceModel) -> None:
    """7.5 s at a longest window of 3 s: three windows of 2.5 s, the mean of their logits."""
    long = np.concatenate([0.05 * miniature.tone()[: int(1.5 * RATE)], np.tile(miniature.tone(), 3)])
    assert len(long) == 7.5 * RATE
    windows = long.reshape(3, -1)
    result = model(long)
    assert result.warnings == ("windowed",) and result.duration == 7.5
    logits = np.mean([miniature.reference(window)["logits"] for window in windows], axis=0) / miniature.TEMPERATURE
    np.testing.assert_allclose(list(result.scores.values()), np.exp(logits) / np.exp(logits).sum(), atol=1e-5)
    embedding = np.mean([miniature.reference(window)["embedding"] for window in windows], axis=0)
    np.testing.assert_allclose(model.embed(long).vector, embedding, atol=1e-5)
    assert model(long[: 3 * RATE]).warnings == ()
    assert model([long, miniature.tone()])[0].scores == pytest.approx(result.scores, abs=1e-5)


def test_silence_around_a_long_clip_is_not_heard(model: UtteranceModel, tone: np.ndarray) -> None:
    silence = np.zeros(4 * RATE, np.float32)
    result = model(np.concatenate([silence, tone, silence]))
    assert result.duration == 10 and result.warnings == ()
    assert result.scores == pytest.approx(model(tone).scores, abs=1e-5)


def test_windows_without_speech_do_not_count(parts, tone: np.ndarray) -> None:
    model = Model(parts[1], parts[0], sha256="", activity=lambda waveform: bool(np.abs(waveform).max() > 0.1))
    loud = np.tile(tone, 2)[: 3 * RATE]  # a window
    result = model(np.concatenate([loud, 0.05 * loud, loud]))
    assert result.scores == pytest.approx(model(loud).scores, abs=1e-5) and result.warnings == ("windowed",)
    assert model(np.concatenate([loud, 0.05 * loud])).warnings == (), "one window is left"
    assert model(np.tile(0.05 * loud, 2)).warnings == ("no_speech", "windowed"), "where nobody speaks all are heard"


def test_silence_is_no_emotion(parts, tone: np.ndarray) -> None:
    recorder = Recorder(parts[0])
    model = Model(parts[1], recorder, sha256="")
    silent = np.full(RATE, 5e-5, np.float32)
    result = model(silent, min_confidence=0.5)
    assert result.warnings == ("silence", "low_confidence") and result.label == "neutral"
    assert set(result.scores.values()) == {0.25}
    assert recorder.batches == []
    assert [r.warnings for r in model([silent, tone, silent])] == [("silence",), (), ("silence",)]
    assert model.embed(silent).warnings == ("silence",)
    assert model(np.zeros(10 * RATE, np.int16)).warnings == ("silence",)


def test_speech_activity_is_asked_and_told(parts, tone: np.ndarray) -> None:
    asked = []

    def activity(waveform: np.ndarray) -> bool:
        asked.append(waveform.shape)
        return len(waveform) > 40_000

    model = Model(parts[1], parts[0], sha256="", activity=activity)
    assert model(tone).warnings == ("no_speech",) and asked == [(32_000,)]
    assert model(np.tile(tone, 2)).warnings == ("windowed",)
    assert model(np.zeros(RATE, np.float32)).warnings == ("silence",), "silence is not asked about"


def test_the_loaded_model_knows_speech_from_a_tone(checkpoint_folder: Path, tone: np.ndarray) -> None:
    assert emoser.load(checkpoint_folder)(tone).warnings == ("no_speech",)


def test_warnings_of_the_audio_pass_through(model: UtteranceModel, tone: np.ndarray) -> None:
    assert model(3 * tone).warnings == ("clipped_range",)


def test_low_confidence(model: UtteranceModel, tone: np.ndarray) -> None:
    plain = model(tone)
    marked = model(tone, min_confidence=0.9)
    assert marked.warnings == ("low_confidence",) and marked.label == plain.label and marked.scores == plain.scores
    assert model(tone, min_confidence=plain.confidence).warnings == ()


# What goes wrong


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"channel": "left"}, "channel is 'left'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"min_confidence": 1.1}, "min_confidence is 1.1"),
        ({"min_confidence": "high"}, "min_confidence is 'high'"),
    ],
)
def test_options_are_checked_before_any_input(model: UtteranceModel, options: dict, says: str) -> None:
    inputs = iter(["none.wav"])
    for call in (model, model.stream):
        with pytest.raises(UsageError, match=says):
            call(inputs, **options)
    assert next(inputs) == "none.wav"
    with pytest.raises(UsageError, match="kind is 'x'"):
        model.stream(inputs, kind="x")


def test_a_bad_input_raises_in_a_list_and_is_a_failure_in_a_stream(model: UtteranceModel, wav: Callable[..., Path], tmp_path: Path) -> None:
    good = wav("good.wav")
    (tmp_path / "bad.wav").write_bytes(b"text")
    inputs = [good, tmp_path / "bad.wav", "none.wav", miniature.tone()[:100], good]
    with pytest.raises(AudioDecodeError, match=r"bad\.wav is text"):
        model(inputs)
    with pytest.raises(AudioTooShort):
        model(inputs[3])
    results = list(model.stream(inputs))
    assert [type(result) for result in results] == [Prediction, Failure, Failure, Failure, Prediction]
    assert [type(result.error) for result in results[1:4]] == [AudioDecodeError, AudioDecodeError, AudioTooShort]
    assert [result.file for result in results] == [str(good), str(tmp_path / "bad.wav"), "none.wav", None, str(good)]
    assert results[2].to_dict() == {"file": "none.wav", "error": {"type": "AudioDecodeError", "message": "none.wav: no such file"}}
    assert [type(result) for result in model.stream(inputs, kind="embed")][::4] == [Embedding, Embedding]


def test_a_number_in_a_list_says_how_to_give_samples(model: UtteranceModel) -> None:
    with pytest.raises(AudioValueError, match="samples go into one array"):
        model([0.1, 0.2])


def test_a_graph_that_does_not_fit_its_description(parts, tone: np.ndarray) -> None:
    from dataclasses import replace

    model = Model(replace(parts[1], labels=("a", "b")), parts[0], sha256="")
    with pytest.raises(CheckpointError, match=r"2 labels, its graph gave logits of shape \(1, 4\)"):
        model(tone)
    with pytest.raises(CheckpointError):
        list(model.stream([tone]))

    class Broken(Recorder):
        def run(self, waveform, lengths):
            outputs = super().run(waveform, lengths)
            outputs["logits"][...] = np.nan
            return outputs

    with pytest.raises(CheckpointError, match="NaN or infinity on cpu"):
        Model(parts[1], Broken(parts[0]), sha256="")(tone)


# Streams


def test_a_stream_is_lazy_in_order_and_bounded(model: UtteranceModel) -> None:
    """Thousands of clips of 1 s: inputs are read as results are taken, and only those of two groups are held."""
    taken = freed = most = 0

    def free() -> None:
        nonlocal freed
        freed += 1

    def inputs():
        nonlocal taken, most
        for number in itertools.count():
            waveform = np.full(RATE, 0.001 + 0.0001 * (number % 500), np.float32)
            weakref.finalize(waveform, free)
            taken += 1
            most = max(most, taken - freed)
            yield waveform

    stream = model.stream(inputs())
    assert taken == 0
    for number, result in enumerate(itertools.islice(stream, 5_000)):
        assert number > 0 or taken < 320
        if number % 499 == 0:
            wanted = expected_scores(np.full(RATE, 0.001 + 0.0001 * (number % 500)))
            np.testing.assert_allclose(list(result.scores.values()), wanted, atol=1e-5)
    stream.close()
    assert number == 4_999 and most < 600


def test_a_stream_of_every_length(model: UtteranceModel) -> None:
    inputs = [*clips(300, seed=1), np.tile(miniature.tone(), 10), *clips(30, seed=2)]
    results = list(model.stream(iter(inputs)))
    assert len(results) == 331 and results[300].warnings == ("windowed",)
    for x, result in zip(inputs, results, strict=True):
        assert result.duration == len(x) / RATE
        if "windowed" not in result.warnings:
            np.testing.assert_allclose(list(result.scores.values()), expected_scores(x), atol=1e-5)
