"""Emotions over time from whole models: a stream is the whole, whatever the pieces; and what goes wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import miniature
import numpy as np
import pytest
import soundfile
from timelines import cover, in_pieces

import emoser
from emoser import decoding
from emoser.audio import load_audio
from emoser.diarization.activity import SpeechActivity
from emoser.diarization.stream import DiarizationStream
from emoser.errors import AudioDecodeError, AudioTooShort, AudioValueError, CheckpointError, Interrupted, UsageError
from emoser.models.diarizing import Diarizing
from emoser.results import SILENCE, Diarization, Failure
from emoser.settings import DEFAULTS
from training.paths import corpora_root

RATE = 16_000
HOP = 0.1
CLIP = Path(__file__).parents[2] / "examples" / "clip.wav"
CUTS = [1, 2, 7, 1000]


# Models


@pytest.fixture
def model(checkpoint_folder: Path) -> Diarizing:
    return emoser.load(checkpoint_folder)


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """Speech, silence, noise and a tone, 20 s at 16 kHz."""
    speech = soundfile.read(CLIP, dtype="float32")[0]
    noise = np.random.default_rng(0).normal(0, 0.05, 3 * RATE).astype(np.float32)
    parts = [
        np.zeros(RATE, np.float32),
        speech,
        noise,
        np.zeros_like(speech),
        miniature.tone(),
        speech,
        np.zeros(2 * RATE, np.float32),
        speech,
    ]
    return np.concatenate(parts)[: 20 * RATE]


def same(a: Diarization, b: Diarization) -> None:
    assert a.segments == b.segments
    assert (a.duration, a.warnings, a.transcript) == (b.duration, b.warnings, b.transcript)
    np.testing.assert_array_equal(a.frames.scores, b.frames.scores)
    np.testing.assert_array_equal(a.frames.speech, b.frames.speech)


@pytest.mark.parametrize("size", [37, 512, 16_000, 10**9])
def test_a_stream_is_the_whole_exactly(model: Diarizing, talk: np.ndarray, size: int) -> None:
    whole = model.diarize(talk)
    cover(whole)
    stream = model.stream()
    settled = [segment for piece in in_pieces(talk, size) for segment in stream.push(piece)]
    settled += stream.finish()
    assert tuple(settled) == whole.segments
    same(stream.result(), whole)


def test_latency_is_kept(model: Diarizing, talk: np.ndarray) -> None:
    """The label of each moment is known `latency` seconds later: a segment that ended before then was given, or shows as unsettled."""
    whole, stream, given = model.diarize(talk), model.stream(), 0.0
    for piece in in_pieces(talk, 1600):
        for segment in stream.push(piece):
            given = segment.end
        known = max([given, *(segment.end for segment in stream.unsettled)])
        assert known >= stream.duration - stream.latency - whole.frames.hop
        assert known <= stream.duration
    assert stream.latency < 8


@pytest.mark.parametrize("block", [1000, 4096, 1 << 16])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.opus", "a.mp3"])
def test_the_size_of_blocks_changes_nothing(model: Diarizing, wav, talk: np.ndarray, monkeypatch, block: int, name: str) -> None:
    rate = 48_000 if name.endswith(".opus") else 44_100 if name.endswith(".flac") else RATE
    path = wav(name, np.repeat(talk, 3)[: 12 * rate] if rate > RATE else talk, rate)
    whole = model.diarize(path)
    monkeypatch.setattr(decoding, "BLOCK", block)
    same(model.diarize(path), whole)
    cover(whole)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_progress_is_told_and_may_end_a_recording(model: Diarizing, wav, talk: np.ndarray, name: str) -> None:
    told: list[tuple[float, float | None]] = []
    path = wav(name, talk)
    (whole,) = model.diarize_each([path], progress=lambda *place: told.append(place))
    assert told[0] == (pytest.approx(4.096), pytest.approx(len(talk) / RATE, abs=0.1)) and len(told) == 5
    assert [place[0] for place in told] == sorted(place[0] for place in told) and told[-1][0] == whole.duration

    def until(seconds: float, length: float | None) -> None:
        if seconds > 10:
            raise Interrupted("enough")

    (part,) = model.diarize_each([path], progress=until)
    assert isinstance(part, Diarization) and isinstance(part.error, Interrupted)
    assert part.duration == pytest.approx(12.288)
    cover(part)
    same(replace(part, error=None), model.diarize(load_audio(path)[0].waveform[: 3 << 16]))


def test_a_list_and_channels_are_as_if_alone(model: Diarizing, talk: np.ndarray, wav) -> None:
    left, right = talk[: 8 * RATE], talk[8 * RATE : 16 * RATE]
    path = wav("two.wav", np.stack([left, right], 1), subtype="FLOAT")
    first, second = model.diarize(path, channel="each")
    assert (first.channel, second.channel, first.file) == (0, 1, str(path))
    same(first, model.diarize(left)), same(second, model.diarize(right))
    same(model.diarize(path, channel=1), second)
    same(model.diarize([left, path], channel="each")[1][1], second)
    mixed, again = model.diarize([path, left])
    same(mixed, model.diarize((left + right) / np.float32(2))), same(again, first)


def test_other_rates_in_pieces(model: Diarizing, talk: np.ndarray) -> None:
    loud = np.repeat(talk[: 10 * RATE], 3)
    stream = model.stream(sample_rate=48_000)
    for piece in in_pieces(loud, 4800):
        stream.push(piece)
    cover(stream.result())
    assert stream.result().duration == 10.0
    same(stream.result(), model.diarize(loud, sample_rate=48_000))
    integers = (talk[: 5 * RATE] * 32767).astype(np.int16)
    assert model.stream().push(integers[:100]) == []
    same(model.diarize(integers), model.diarize(integers.astype(np.float32) / 32768))


def test_speech_gets_an_emotion_and_nothing_else_does(model: Diarizing, talk: np.ndarray) -> None:
    result = model.diarize(talk, settings=replace(DEFAULTS, shortest=0.2))
    length = len(soundfile.read(CLIP)[0]) / RATE
    spoken = [segment for segment in result.segments if segment.speech]
    assert spoken[0].start + 0.2 > 1.0 and spoken[0].end < 1 + length + 0.2
    quiet = [(1 + length + 0.3, 1 + 2 * length + 5 - 0.3)]  # noise, silence, tone
    assert not [each for each in spoken if each.start < quiet[0][1] and each.end > quiet[0][0]]
    assert model.diarize(np.zeros(3 * RATE, np.float32)).warnings == ("silence",)
    noise = model.diarize(np.random.default_rng(1).normal(0, 0.05, 3 * RATE).astype(np.float32))
    assert (noise.warnings, [each.label for each in noise.segments]) == (("no_speech",), [SILENCE])


def test_confidence_is_said_and_changes_no_label(model: Diarizing, talk: np.ndarray) -> None:
    plain, strict = model.diarize(talk), model.diarize(talk, min_confidence=1.0)
    assert [each.label for each in plain.segments] == [each.label for each in strict.segments]
    assert strict.warnings == ("low_confidence",) and plain.warnings == ()
    assert {each.warnings for each in strict.segments if each.speech} == {("low_confidence",)}


def test_settings_of_the_registry(tmp_path: Path) -> None:
    folder = miniature.write_folder(tmp_path / "own", diarization={"smoothing": 0.4, "window": 2.0})
    model = emoser.load(folder)
    assert model.checkpoint.diarization == replace(DEFAULTS, smoothing=0.4, window=2.0)
    assert model.stream().latency < emoser.load(miniature.write_folder(tmp_path / "plain")).stream().latency
    miniature.write_folder(tmp_path / "wrong", diarization={"smoothnig": 0.4})
    with pytest.raises(CheckpointError, match='unknown field "smoothnig", near "smoothing"'):
        emoser.load(tmp_path / "wrong")


# What goes wrong


def test_what_broke_off_keeps_what_came_before(model: Diarizing, wav, talk: np.ndarray) -> None:
    for name in ("cut.wav", "cut.flac"):
        path = wav(name, talk, subtype="PCM_16")
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
        with pytest.raises(AudioDecodeError, match="truncated"):
            model.diarize(path)
        (part,) = model.diarize_each([path])
        assert isinstance(part, Diarization) and isinstance(part.error, AudioDecodeError)
        cover(part)
        heard = soundfile.read(wav(f"whole{path.suffix}", talk, subtype="PCM_16"), dtype="float32")[0][: round(part.duration * RATE)]
        assert part.duration > 10
        assert part.segments == model.diarize(heard).segments


def test_a_header_that_was_never_finished(model: Diarizing, wav, talk: np.ndarray) -> None:
    path = wav("open.wav", talk, subtype="PCM_16")
    whole = model.diarize(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    (part,) = model.diarize_each([path])
    assert isinstance(part, Diarization) and "did not finish the file" in str(part.error)
    assert part.segments == whole.segments


def test_one_bad_input_among_others(model: Diarizing, talk: np.ndarray) -> None:
    bad = talk.copy()
    bad[5 * RATE] = np.nan
    results = list(model.diarize_each([talk, "missing.wav", bad, talk[:100]]))
    assert [type(result) for result in results] == [Diarization, Failure, Diarization, Failure]
    assert results[2].duration == 5.0 and isinstance(results[2].error, AudioValueError)
    assert isinstance(results[3].error, AudioTooShort)


def test_a_stream_refuses_what_it_cannot_take(model: Diarizing) -> None:
    stream = model.stream()
    with pytest.raises(AudioValueError, match=r"\(2, 100\)"):
        stream.push(np.zeros((2, 100), np.float32))
    with pytest.raises(AudioValueError, match="NaN"):
        stream.push(np.full(10, np.nan, np.float32))
    for given, kind in (([0.1] * 1600, "list"), (b"\0\0", "bytes"), ("a.wav", "str"), (np.float32(0.1), "float32"), (None, "NoneType")):
        with pytest.raises(AudioValueError, match=rf"^{kind} is no array; .*use np\.asarray\(samples\)"):
            stream.push(given)
    assert stream.result().segments == ()
    with pytest.raises(UsageError, match="finished"):
        stream.push(np.zeros(10, np.float32))
    with pytest.raises(AudioValueError, match="sampling rate"):
        model.stream(sample_rate=5)


def test_a_stream_takes_tensors(model: Diarizing, talk: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    stream = model.stream()
    stream.push(torch.from_numpy(talk).requires_grad_())
    same(stream.result(), model.diarize(talk))


def test_any_source_of_frames_will_do(model: Diarizing, talk: np.ndarray) -> None:
    """What a transducer brings: its own frames, and words."""
    from emoser.results import Word

    class Halves:
        frame, delay = 8000, 8000

        def __init__(self) -> None:
            self.words: list[Word] | None = []
            self._samples = 0

        def push(self, samples: np.ndarray) -> np.ndarray:
            before, self._samples = self._samples // 8000, self._samples + len(samples)
            return np.tile(np.float32([0.25, 0.75]), (self._samples // 8000 - before, 1))

        def finish(self) -> np.ndarray:
            assert self.words is not None
            self.words.append(Word("hello", 0.1, 0.5, "sad"))
            return np.tile(np.float32([0.25, 0.75]), (int(self._samples % 8000 > 0), 1))

    stream = DiarizationStream(Halves(), SpeechActivity(), DEFAULTS, ("angry", "sad"))
    for piece in in_pieces(talk[:-1], 1234):
        stream.push(piece)
    result = stream.result()
    cover(result)
    assert {segment.label for segment in result.segments} == {"silence", "sad"}
    assert result.transcript is not None and result.transcript.text == "hello"


# Real speech


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    root = corpora_root()
    found = [] if root is None else [path for name in ("emodb", "nemo") for path in sorted((root / name).rglob("*.opus"))[::97][:2]]
    noises = [] if root is None else sorted((root / "esc10").rglob("*.opus"))[::60][:1]
    if not found:
        pytest.skip("needs the corpora emodb and nemo (EMOSER_CORPORA)")
    parts: list[np.ndarray] = []
    for path in found:
        parts += [emoser.load_audio(path)[0].waveform, np.zeros(RATE // 2, np.float32)]
    return np.concatenate([*parts, *(emoser.load_audio(path)[0].waveform for path in noises)])


def test_real_audio_live_and_offline(real: np.ndarray) -> None:
    model = emoser.load("shiftcnn", threads=1)
    whole = model.diarize(real)
    cover(whole)
    assert sum(each.end - each.start for each in whole.segments if each.speech) > 3
    for size in (701, 48_000):
        stream = model.stream()
        for piece in in_pieces(real, size):
            stream.push(piece)
        same(stream.result(), whole)
