"""The diarization benchmark on a handful of recordings: mixtures, figures, the search for settings, what is spliced, the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import miniature
import numpy as np
import pytest
import soundfile

pytest.importorskip("av")
pytest.importorskip("sklearn")
pytest.importorskip("torch")

import emoser
from benchmarks import measured, redraw
from benchmarks.accuracy.scoring import write_to
from benchmarks.diarization import adapting, evaluate, mixtures, scoring, speech, table, tune
from benchmarks.diarization.mixtures import Mixed
from emoser.adaptation import Reference
from emoser.results import Frames
from emoser.settings import DEFAULTS
from emoser.timelines import Recording
from training.paths import corpora_root

RATE = 16_000
CLIP = Path(__file__).parents[2] / "examples" / "clip.wav"


@pytest.fixture
def mixed(tmp_path: Path) -> list[Mixed]:
    """Two corpora of two speakers each: a clip, and the same louder."""
    samples = soundfile.read(CLIP, dtype="float32")[0]
    samples = samples[: 2 * RATE]
    duration = len(samples) / RATE
    found = []
    for index in range(8):
        path = tmp_path / f"{index}.wav"
        soundfile.write(path, np.concatenate([samples, (samples * (1 + index)).clip(-1, 1)]), RATE)
        segments = ((0.0, duration, "neutral"), (duration, 2 * duration, "angry"))
        corpus = ("ravdess", "emodb")[index // 4]
        found.append(Mixed(corpus, path, Recording(f"{corpus}/{index}", 2 * duration, segments, f"{corpus}-{index % 2}")))
    return found


@pytest.mark.skipif(corpora_root() is None, reason="needs the corpora (EMOSER_CORPORA)")
def test_mixtures_are_made_once_of_held_out_speakers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixtures, "CORPORA", ("emodb",))
    found = mixtures.mixtures("test", limit=2, cache=tmp_path)
    assert {each.recording.speaker for each in found} == {"emodb-10", "emodb-14"} and len(found) == 4
    for each in found:
        assert soundfile.info(each.path).duration == pytest.approx(each.recording.duration, abs=1e-3)
        assert each.recording.segments[0][0] == 0 and each.recording.segments[-1][1] == pytest.approx(each.recording.duration)
    monkeypatch.setattr(mixtures, "make", None)  # would fail
    again = mixtures.mixtures("test", limit=2, cache=tmp_path)
    assert mixtures.described(again) == mixtures.described(found)


def test_figures_of_constants_and_of_the_truth(mixed: list[Mixed]) -> None:
    found = evaluate.baselines(mixed)
    neutral = found["systems"]["neutral"]
    assert neutral["mean_of_corpora"]["eder"] == {"value": 0.5, "interval": [0.5, 0.5]}
    assert neutral["pooled"]["frame_uar"]["value"] == 0.5 and neutral["pooled"]["segment_f1"]["value"] == 0
    assert found["systems"]["sad"]["pooled"]["eder"]["value"] == 1
    truth = scoring.score(mixed, [list(each.recording.segments) for each in mixed])
    assert set(truth["corpora"]) == {"ravdess", "emodb"} and truth["rates"] == [0] * 8
    gain = scoring.difference(found["recordings"]["speakers"], found["recordings"]["corpora"], neutral["rates"], truth["rates"])
    assert gain == {"difference": -0.5, "interval": [-0.5, -0.5]}


def test_corpora_of_as_many_speakers_are_drawn_apart(mixed: list[Mixed]) -> None:
    """Three corpora of two speakers, of whom one is all right and one all wrong: all three means at their best is a chance of 1 in 64."""
    third = [Mixed("nemo", each.path, replace(each.recording, speaker=each.recording.speaker + "-n")) for each in mixed[:4]]
    three = [*mixed[:4], *third, *mixed[4:]]
    lines = [list(each.recording.segments) if index % 2 else [(0.0, 4.0, "sad")] for index, each in enumerate(three)]
    scores = scoring.score(three, lines)
    assert all(part["eder"]["interval"] == [0.0, 1.0] for part in scores["corpora"].values())
    assert scores["mean_of_corpora"]["eder"] == {"value": 0.5, "interval": [0.1667, 0.8333]}
    owners = {"speakers": [each.recording.speaker for each in three], "corpora": [each.corpus for each in three]}
    gain = scoring.difference(owners["speakers"], owners["corpora"], scores["rates"], [0.0] * 12)
    assert gain["interval"] == pytest.approx([-5 / 6, -1 / 6])

    stale = scores | {"mean_of_corpora": {name: figure | {"interval": [0, 1]} for name, figure in scores["mean_of_corpora"].items()}}
    anew = redraw.drawn_anew({"systems": {"diarize": stale}}, owners)["systems"]["diarize"]
    assert anew["mean_of_corpora"]["eder"] == scores["mean_of_corpora"]["eder"] and anew["corpora"] == scores["corpora"]
    assert anew["mean_of_corpora"]["frame_uar"] == scores["mean_of_corpora"]["frame_uar"] | {"interval": None}
    assert redraw.drawn_anew({"diarization": stale}, owners)["diarization"] == anew


def test_a_checkpoint_in_all_its_ways(mixed: list[Mixed], registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = emoser.load("miniature")
    record = evaluate.of_checkpoint(model, mixed)
    assert list(record["systems"]) == ["diarize", "windows", "stretched"]
    label = model(mixed[7].path).label
    expected = 1 - (0.5 if label in ("neutral", "angry") else 0.0)
    assert record["systems"]["stretched"]["rates"][7] == pytest.approx(expected, abs=1e-3)

    monkeypatch.setattr(scoring, "RESULTS", tmp_path)
    assert table.page() == table.overview() == table.differences() == table.speech() == ""
    common = {"tested": mixtures.described(mixed), "seed": {"mixtures": 12}}
    write_to(tmp_path / "baselines.json", {**common, **evaluate.baselines(mixed)})
    write_to(tmp_path / "shiftcnn.json", {**common, **record})
    write_to(tmp_path / "tuning-shiftcnn.json", {})
    assert json.loads((tmp_path / "shiftcnn.json").read_text())["systems"] == record["systems"]
    rows = table.overview().splitlines()[2:]
    assert len(rows) == 5 and any(row.startswith("| **shiftcnn** |") for row in rows)
    assert "| all neutral | 50.0 (50.0 to 50.0) |" in table.overview() and "best constant (angry)" in table.overview()
    own = record["systems"]["diarize"]["mean_of_corpora"]["eder"]["value"]
    assert f"| **shiftcnn** | {100 * (own - 0.5):+.1f} (" in table.differences()
    assert "8 of 4 speakers" in table.page()
    assert measured.EARLIER not in table.page()
    stale = {"name": "miniature", "sha256": "0" * 64}
    write_to(tmp_path / "shiftcnn.json", {**common, **record, "system": stale})
    write_to(tmp_path / "tuning-shiftcnn.json", stale)
    assert table.overview().count(f"| **shiftcnn** {measured.EARLIER} |") == 1 and f"windows {measured.EARLIER} |" in table.overview()
    assert f"| **shiftcnn** {measured.EARLIER} |" in table.differences() and table.overview().endswith(table.EARLIER)
    assert "settings of miniature were chosen with earlier files" in table.page()
    write_to(tmp_path / "shiftcnn.json", {**common, "tested": {"sha256": "other"}, **record})
    with pytest.raises(SystemExit, match="other mixtures"):
        table.overview()


def test_the_search_finds_what_is_best_on_its_grid(mixed: list[Mixed], registry: Path) -> None:
    model = emoser.load("miniature")
    fronts = [{"posteriors": "frames", "window": 2.0, "hop": 1.0}, {"posteriors": "windows", "window": 1.0, "hop": 0.5}]
    found = tune.tuned(model, mixed, fronts, {"smoothing": (0.0, 1.0), "shortest_pause": (0.4, 1.2)})
    assert len(found["fronts"]) == 2 and len(found["grid"]) == 8
    assert [row["eder"] for row in found["grid"]] == sorted(row["eder"] for row in found["grid"])
    best = {name: value for name, value in found["grid"][0].items() if name != "eder"}
    lines = evaluate.diarized(model, mixed, replace(DEFAULTS, **best))
    assert found["best"]["scores"] == scoring.score(mixed, lines)  # made of kept frames, the same as anew
    assert found["start"]["scores"] == scoring.score(mixed, evaluate.diarized(model, mixed))
    assert "| start |" in tune.shown(found)


def test_adapting_to_windows_speakers_and_corpora(mixed: list[Mixed], tmp_path: Path) -> None:
    means = 1 + np.eye(4, 3)  # far from what is heard here: adapting to it moves much
    reference = Reference(means, np.full(3, 0.1))
    model = emoser.load(miniature.write_folder(tmp_path / "base", reference=reference, diarization={"posteriors": "windows"}))
    assert [len(window) / RATE for window in adapting.windows_of(model, mixed[0], overlapping=False)] == [3.0]  # of 4 s
    found = adapting.compared(model, mixed)
    groups = {way: found[way]["adapted_to"]["groups"] for way in adapting.WAYS}
    assert groups == {"windows": 8, "apart": 8, "speaker": 4, "corpus": 2}
    assert found["plain"]["rates"] == scoring.score(mixed, evaluate.diarized(model, mixed))["rates"]
    assert len(found["corpus"]["rates"]) == 8 and found["corpus"]["rates"] != found["plain"]["rates"]
    assert "| corpus |" in adapting.shown(found, ["ravdess", "emodb"])
    write_to(tmp_path / "adapting-miniature.json", found)


def test_pieces_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "n.wav", np.full(RATE, 0.5, np.float32), RATE)
    found = speech.Material([CLIP], [("rain", tmp_path / "n.wav")])
    recording = speech.spliced(found, (1, 2), seconds=60)
    again = speech.spliced(found, (1, 2), seconds=60)
    assert np.array_equal(recording.samples, again.samples) and recording.pieces == again.pieces
    edges = [0.0, *(end for _, end, _, _ in recording.pieces)]
    assert [start for start, *_ in recording.pieces] == edges[:-1] and edges[-1] == len(recording.samples) / RATE >= 60
    assert {kind for _, _, kind, _ in recording.pieces} == set(speech.SHARES)
    for start, end, kind, which in recording.pieces:
        inside = recording.samples[round(start * RATE) + speech.FADE : round(end * RATE) - speech.FADE]
        assert (kind == "noise") == (which == "rain") == bool((inside == 0.5).all())
        assert kind != "silence" or np.abs(inside).max() < 0.01


def test_time_is_counted_by_kind() -> None:
    pieces = [(0.0, 2.0, "speech", ""), (2.0, 3.0, "noise", "rain"), (3.0, 4.0, "silence", "")]
    segments = [(0.0, 1.5, "sad"), (1.5, 2.0, "silence"), (2.0, 2.5, "neutral"), (2.5, 2.75, "sad"), (2.75, 4.0, "silence")]
    found = speech.shares([speech.counts(pieces, segments)])
    assert found["speech"]["emotion"]["value"] == 0.75 and found["silence"]["emotion"]["value"] == 0
    assert (
        found["noise: rain"]
        == found["noise"]
        == {
            "seconds": 1.0,
            "emotion": {"value": 0.75, "interval": None},
            "not_neutral": {"value": 0.25, "interval": None},
        }
    )
    assert found["other"]["emotion"]["value"] == 0.375
    twice = speech.shares([speech.counts(pieces, segments)] * 2)
    assert twice["other"]["emotion"] == {"value": 0.375, "interval": [0.375, 0.375]}


def test_a_gate_is_a_row(tmp_path: Path) -> None:
    """Frames in which somebody speaks with a probability of 0.55: above one threshold, below the others."""
    recording = speech.Spliced(np.zeros(4 * RATE, np.float32), ((0.0, 2.0, "speech", ""), (2.0, 4.0, "noise", "rain")))
    voice = np.where(np.arange(40) < 20, 0.9, 0.55).astype(np.float32)
    frames = Frames(0.1, ("neutral", "sad"), np.tile(np.float32([0.3, 0.7]), (40, 1)), voice)
    rows = [line.split(" | ") for line in speech.gates([recording], [(frames, 4.0)], DEFAULTS).splitlines()[2:]]
    by_threshold = {row[0].removeprefix("| "): float(row[4]) for row in rows}
    assert by_threshold["0.4"] == by_threshold["0.5"] == 100 and by_threshold["0.8"] == 0
    assert all(row[-1] == "0.0 |" for row in rows)


def test_the_page_of_speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "RESULTS", tmp_path)
    pieces = [(0.0, 2.0, "speech", ""), (2.0, 3.0, "noise", "rain"), (3.0, 4.0, "music", "")]
    shares = speech.shares([speech.counts(pieces, [(0.0, 1.5, "sad"), (1.5, 2.5, "neutral")])] * 2)
    write_to(tmp_path / "m-speech.json", {"system": {"name": "m", "sha256": "0"}, "shares": shares})
    row = "| **m** | 0.0 (0.0 to 0.0) | - | 50.0 (50.0 to 50.0) | 0.0 (0.0 to 0.0) | 25.0 (25.0 to 25.0) | 0.0 (0.0 to 0.0) |"
    assert row in table.speech() and "| rain | 2 | 50.0 |" in table.noises() and table.names() == []
