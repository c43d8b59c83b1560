"""Stages of the timeline: golden values and properties; and that what comes out depends neither on blocks nor on pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import miniature
import numpy as np
import pytest
import soundfile

import emoser
from emoser import decoding
from emoser.audio import load_audio
from emoser.diarization.activity import CHUNK, SpeechActivity, SpeechStream
from emoser.diarization.segments import segments_of
from emoser.diarization.smoothing import NOBODY, Labeller, Smoother
from emoser.diarization.speech import SpeechFrames, SpeechGate
from emoser.diarization.stream import DiarizationStream
from emoser.diarization.windows import WindowedFrames
from emoser.errors import AudioDecodeError, AudioTooShort, AudioValueError, CheckpointError, Interrupted, UsageError
from emoser.models.diarizing import Diarizing
from emoser.records import RecordError, read_record
from emoser.results import SILENCE, Diarization, Failure, Frames
from emoser.settings import DEFAULTS, DiarizationSettings
from training.paths import corpora_root

RATE = 16_000
HOP = 0.1
CLIP = Path(__file__).parents[2] / "examples" / "clip.wav"
CUTS = [1, 2, 7, 1000]


def in_pieces(array: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(array), size):
        yield array[start : start + size]


# Speech


def gate(probabilities: list[float], cut: int = 1000, **settings: float) -> str:
    made = SpeechGate(replace(DEFAULTS, **settings), HOP)
    decided = [made.push(piece) for piece in in_pieces(np.array(probabilities, np.float32), cut)]
    return "".join("s" if speech else "-" for speech in np.concatenate([*decided, made.finish()]))


@pytest.mark.parametrize("cut", CUTS)
def test_where_speech_is(cut: int) -> None:
    on, off, between = 0.9, 0.1, 0.4
    settings = {"shortest_speech": 0.3, "shortest_pause": 0.3}
    assert gate([off, between, on, on, on, between, off, off, off, between], cut, **settings) == "--ssss----"  # hysteresis
    assert gate([on, on, off, off, on, off], cut, **settings) == "sssss-"  # a short pause, and one at the end
    assert gate([off, on, on, off, off, off, on], cut, **settings) == "-------"  # too short, twice
    assert gate([on, on, off, off, off, off, on, on, on], cut, **settings) == "------sss"
    assert gate([], cut) == ""


@pytest.mark.parametrize("frame", [160, 320, 640, 1000])
@pytest.mark.parametrize("samples", [1, 511, 16_000, 33_333])
def test_speech_of_frames_is_the_mean_of_their_chunks(frame: int, samples: int) -> None:
    waveform = soundfile.read(CLIP, dtype="float32")[0][:samples]
    chunks = SpeechActivity().speech_probabilities(waveform)
    made = SpeechFrames(SpeechActivity(), frame)
    found = np.concatenate([*(made.push(piece) for piece in in_pieces(waveform, 700)), made.finish()])
    by_sample = np.repeat(chunks, CHUNK)
    expected = [by_sample[start : start + frame].mean() for start in range(0, len(waveform), frame)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_speech_in_pieces_is_exactly_that_of_the_whole() -> None:
    waveform = soundfile.read(CLIP, dtype="float32")[0]

    def cut(size: int) -> np.ndarray:
        stream = SpeechStream(SpeechActivity())
        return np.concatenate([*(stream.push(piece) for piece in in_pieces(waveform, size)), stream.finish()])

    whole = cut(len(waveform))
    np.testing.assert_allclose(whole, SpeechActivity().speech_probabilities(waveform), atol=1e-5)
    for size in (100, 512, 5000):
        np.testing.assert_array_equal(cut(size), whole)


# Smoothing


@pytest.mark.parametrize("cut", CUTS)
def test_the_mean_over_neighbours_stays_within_a_stretch_of_speech(cut: int) -> None:
    scores = np.array([[1, 0], [0, 1], [0, 1], [1, 0], [1, 0], [1, 0]], np.float32)
    speech = np.array([True, True, False, True, True, True])
    made = Smoother(replace(DEFAULTS, smoothing=0.2), HOP, 2)
    pieces = zip(in_pieces(scores, cut), in_pieces(speech, cut), strict=True)
    found = np.concatenate([*itertools.starmap(made.push, pieces), made.finish()])
    assert found[:, 0].tolist() == [0.5, 0.5, 0.0, 1.0, 1.0, 1.0]


def labels(text: str, cut: int = 1000, **settings: float) -> str:
    """Frames as letters, a capital where it leads by little; `-` is silence."""
    rows = np.array([{"a": (0.9, 0.1), "A": (0.52, 0.48), "b": (0.1, 0.9), "B": (0.48, 0.52), "-": (0.5, 0.5)}[each] for each in text])
    made = Labeller(replace(DEFAULTS, **{"shortest": 0.3, "margin": 0.1} | settings), HOP)
    speech = np.array([each != "-" for each in text])
    pieces = zip(in_pieces(rows, cut), in_pieces(speech, cut), strict=True)
    found = [*itertools.chain.from_iterable(itertools.starmap(made.push, pieces)), *made.finish()]
    return "".join("-" if label == NOBODY else "ab"[label] for label in found)


@pytest.mark.parametrize("cut", CUTS)
def test_hysteresis_and_the_shortest_duration(cut: int) -> None:
    assert labels("aaaaabbbbb", cut) == "aaaaabbbbb"
    assert labels("aaaaabbaaa", cut) == "aaaaaaaaaa"  # too short to interrupt
    assert labels("aaaaaBBBBB", cut) == "aaaaaaaaaa"  # leads by too little
    assert labels("aaaaabBBBB", cut) == "aaaaabbbbb"  # led by enough when it began
    assert labels("abbbbaaaaa", cut) == "bbbbbaaaaa"  # opens with what leads over the first frames
    assert labels("--a-bb--bbbaaa", cut) == "--a-bb--bbbaaa"  # stretches stand by themselves
    assert labels("aaabb", cut) == "aaaaa"  # two frames at the end are too few
    assert labels("", cut) == ""


# Segments


def frames(text: str) -> Frames:
    rows = {"a": (0.9, 0.1), "b": (0.2, 0.8), "-": (0.5, 0.5)}
    scores = np.array([rows[each] for each in text], np.float32).reshape(-1, 2)
    return Frames(HOP, ("angry", "sad"), scores, np.array([0.05 if each == "-" else 0.95 for each in text], np.float32))


PLAIN = DiarizationSettings(smoothing=0, shortest=0.3, shortest_pause=0.2, shortest_speech=0.2, min_confidence=0.85)


def test_segments_of_frames() -> None:
    found = segments_of(frames("---aaaabbbb-----bbb"), PLAIN, 1.87)
    assert [(each.label, round(each.start, 6), round(each.end, 6)) for each in found] == [
        ("silence", 0, 0.3),
        ("angry", 0.3, 0.7),
        ("sad", 0.7, 1.1),
        ("silence", 1.1, 1.6),
        ("sad", 1.6, 1.87),
    ]
    silence, angry, sad, *_ = found
    assert silence.confidence == pytest.approx(0.95) and silence.scores == {"angry": 0.5, "sad": 0.5}
    assert angry.confidence == angry.scores["angry"] == pytest.approx(0.9)
    assert (angry.warnings, sad.warnings) == ((), ("low_confidence",))
    assert segments_of(frames(""), PLAIN, 0.0) == ()


def test_the_best_label_of_a_segment_is_its_label_and_neighbours_of_one_label_are_one() -> None:
    text = "aaaa" + "b" * 4 + "a" * 4
    merged = segments_of(frames(text), replace(PLAIN, smoothing=1.6), 1.2)
    assert [each.label for each in merged] == ["angry"]
    assert merged[0].scores["angry"] == pytest.approx((8 * 0.9 + 4 * 0.2) / 12)


def cover(result: Diarization) -> None:
    """What holds of every diarization."""
    edges = [0.0, *(segment.end for segment in result.segments)]
    assert [segment.start for segment in result.segments] == edges[:-1]
    assert edges[-1] == result.duration
    for segment, after in itertools.pairwise(result.segments):
        assert segment.label != after.label
    for segment in result.segments:
        assert segment.end > segment.start
        assert list(segment.scores) == list(result.frames.labels)
        assert sum(segment.scores.values()) == pytest.approx(1)
        if segment.label != SILENCE:
            assert segment.confidence == segment.scores[segment.label] == max(segment.scores.values())
    count = -(-round(result.duration * RATE) // round(result.frames.hop * RATE))
    assert abs(len(result.frames.scores) - count) <= 1
    assert len(result.frames.scores) == len(result.frames.speech)
    np.testing.assert_allclose(result.frames.scores.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_random_frames_make_a_cover(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet([0.3] * 3, 400).astype(np.float32)
    speech = np.repeat(rng.random(40), 10).astype(np.float32)
    given = Frames(0.04, ("happy", "angry", "sad"), scores, speech)
    for settings in (DEFAULTS, DiarizationSettings(smoothing=0, margin=0, shortest=0, shortest_pause=0, shortest_speech=0)):
        found = segments_of(given, settings, 16.0)
        cover(Diarization(found, given, 16.0))
    lengths = [each.end - each.start for each in segments_of(given, DEFAULTS, 16.0) if each.label == SILENCE][1:-1]
    assert all(length >= DEFAULTS.shortest_pause - 1e-9 for length in lengths)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hop": 5.0}, "hop"),
        ({"speech_off": 0.9}, "speech_off"),
        ({"margin": 2.0}, "margin"),
        ({"window": 0.0}, "window"),
        ({"window": -1}, "window: must be above zero and finite, got -1"),
        ({"smoothing": float("inf")}, "smoothing"),
        ({"shortest": float("nan")}, "shortest"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):  # of a caller
        DiarizationSettings(**change)
    with pytest.raises(RecordError, match=f"entry 1, .*{words.partition(':')[0]}") as raised:  # of a registry entry, which stands before it
        read_record(DiarizationSettings, change, "entry 1")
    assert not isinstance(raised.value, UsageError)


# Windows


def windowed(run: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], **settings: object) -> WindowedFrames:
    chosen = DiarizationSettings(window=1.0, hop=0.5, **settings)
    return WindowedFrames(run, chosen, classes=2, frame=1600, sample_rate=RATE, longest=20.0, temperature=1.0)


@pytest.mark.parametrize("cut", [333, 8000, 10**6])
@pytest.mark.parametrize(("samples", "lengths"), [(8000, [8000]), (16_000, [16_000]), (16_001, [16_000, 8001]), (40_000, [16_000] * 4)])
def test_windows_stand_on_a_grid(samples: int, lengths: list[int], cut: int) -> None:
    seen = []

    def run(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(len(waveform))
        return np.zeros(2), np.ones((-(-len(waveform) // 1600), 2))

    made = windowed(run)
    found = [*(made.push(piece) for piece in in_pieces(np.full(samples, 0.1, np.float32), cut)), made.finish()]
    assert len(np.concatenate(found)) == -(-samples // 1600)
    assert seen == lengths


def test_windows_are_weighted_by_their_triangles_and_silent_frames_have_no_say() -> None:
    numbers = iter([1.0, 3.0])

    def run(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = np.zeros((10, 2))
        found[:, 0] = next(numbers)
        found[7] = 0  # cut off by the graph
        return np.array([0.0, 5.0]), found

    made = windowed(run)
    scores = np.concatenate([made.push(np.full(24_000, 0.1, np.float32)), made.finish()])
    logits = np.log(scores[:, 0] / scores[:, 1])
    inside = [(1 * w + 3 * v) / (w + v) for w, v in zip((4.5, 3.5, 2.5, 1.5, 0.5), (0.5, 1.5, 2.5, 3.5, 4.5), strict=True)]
    inside[2] = 3.0  # the first window cut this frame off
    np.testing.assert_allclose(logits, [*[1.0] * 5, *inside, 3.0, 3.0, 0.0, 3.0, 3.0], atol=1e-5)


def test_the_logits_of_windows_in_place_of_frames() -> None:
    made = windowed(lambda waveform: (np.array([2.0, 0.0]), np.ones((10, 2))), posteriors="windows")
    scores = np.concatenate([made.push(np.full(24_000, 0.1, np.float32)), made.finish()])
    np.testing.assert_allclose(np.log(scores[:, 0] / scores[:, 1]), 2.0, atol=1e-5)


def test_a_graph_with_another_frame_is_refused() -> None:
    with pytest.raises(CheckpointError, match="12 frames for 16000 samples"):
        windowed(lambda waveform: (np.zeros(2), np.ones((12, 2)))).push(np.full(16_000, 0.1, np.float32))


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
    assert stream.result().segments == ()
    with pytest.raises(UsageError, match="finished"):
        stream.push(np.zeros(10, np.float32))
    with pytest.raises(AudioValueError, match="sampling rate"):
        model.stream(sample_rate=5)


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
