"""Stages of the timeline: golden values and properties; and that what comes out depends neither on blocks nor on pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from timelines import cover, in_pieces

from emoser.diarization.activity import CHUNK, SpeechActivity, SpeechStream
from emoser.diarization.segments import segments_of
from emoser.diarization.smoothing import NOBODY, Labeller, Smoother
from emoser.diarization.speech import SpeechFrames, SpeechGate
from emoser.diarization.windows import WindowedFrames
from emoser.errors import CheckpointError, UsageError
from emoser.records import RecordError, read_record
from emoser.results import SILENCE, Diarization, Frames
from emoser.settings import DEFAULTS, DiarizationSettings

RATE = 16_000
HOP = 0.1
CLIP = Path(__file__).parents[2] / "examples" / "clip.wav"
CUTS = [1, 2, 7, 1000]


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
        ({"posteriors": "x"}, "posteriors: must be one of frames, windows, got 'x'"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], words: str) -> None:
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
