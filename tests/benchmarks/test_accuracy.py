"""The accuracy benchmarks' own arithmetic, on made-up clips."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("av")

from benchmarks import redraw
from benchmarks.accuracy import baselines, conditions, evaluate, robustness, scoring, table
from benchmarks.accuracy import clips as data
from benchmarks.accuracy.clips import Clip
from training import data as data_of_training
from training.paths import corpora_root


def made_up(count: int = 80, corpora: tuple[str, ...] = ("one", "two")) -> list[Clip]:
    random = np.random.default_rng(3)
    return [
        Clip(
            corpus := corpora[index % len(corpora)],
            Path(f"{index}.wav"),
            f"{index}.wav",
            f"{corpus}/{random.integers(5)}",
            int(random.integers(4)),
            ("train", "train", "validation", "test")[int(random.integers(4))],
        )
        for index in range(count)
    ]


def test_predictions_survive_packing() -> None:
    guess = np.random.default_rng(1).integers(0, 4, 50)
    assert np.array_equal(scoring.unpacked(scoring.packed(guess)), guess)


def test_scores_of_a_perfect_and_of_a_constant_system() -> None:
    truth = scoring.Truth(made_up())
    perfect = scoring.score(truth, truth.labels)
    assert perfect["pooled"]["uar"] == perfect["mean_of_corpora"]["uar"] == 1.0
    constant = np.zeros_like(truth.labels)
    found = scoring.score(truth, constant)
    assert found["pooled"]["uar"] == pytest.approx(0.25)
    assert set(found["corpora"]) == {"one", "two"}
    better = scoring.compare(truth, constant, truth.labels)
    assert better["pooled"]["difference"] == pytest.approx(0.75)
    assert better["mean_of_corpora"]["interval"][0] > 0.5
    assert better["pooled"]["p"] < 0.01


def test_a_system_against_itself_differs_by_nothing() -> None:
    truth = scoring.Truth(made_up())
    guess = np.roll(truth.labels, 1)
    found = scoring.compare(truth, guess, guess)
    assert found["pooled"] == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}


def test_corpora_of_as_many_speakers_are_drawn_apart() -> None:
    """Three corpora of two speakers, of whom one is always understood and one never: all six at their best is a chance of 1 in 64."""
    corpora = np.repeat(["one", "two", "three"], 8)
    speakers = np.array([f"{corpus}/{index % 8 // 4}" for index, corpus in enumerate(corpora)])
    truth = scoring.Truth.of(np.tile([0, 1, 2, 3], 6), corpora, speakers)
    guess = np.where(np.arange(24) % 8 < 4, truth.labels, (truth.labels + 1) % 4)
    found = scoring.score(truth, guess)
    assert {tuple(part["interval"]) for part in found["corpora"].values()} == {(0.0, 1.0)}
    assert found["mean_of_corpora"] == {"uar": 0.5, "interval": [0.1667, 0.8333]}
    gain = scoring.compare(truth, guess, truth.labels)["mean_of_corpora"]
    assert gain == {"difference": 0.5, "interval": [0.1667, 0.8333]}


def test_classes_of_a_corpus_weigh_the_same_and_corpora_by_their_clips() -> None:
    clips = made_up(90, ("one", "two", "one"))
    weights = baselines.weights_of(clips)
    for corpus in ("one", "two"):
        of_class = [sum(w for w, clip in zip(weights, clips, strict=True) if (clip.corpus, clip.label) == (corpus, k)) for k in range(4)]
        assert np.ptp(of_class) < 1e-9
        assert sum(of_class) == pytest.approx(sum(clip.corpus == corpus for clip in clips))


@pytest.mark.parametrize("classifier", list(baselines.CLASSIFIERS))
def test_every_classifier_learns_what_is_in_the_features(classifier: str) -> None:
    clips = made_up(240)
    random = np.random.default_rng(0)
    values = (np.eye(4)[[clip.label for clip in clips]] + 0.1 * random.standard_normal((len(clips), 4))).astype(np.float32)
    parameter, tried = baselines.choose(classifier, values, clips)
    assert tried[f"{parameter:g}"] == max(tried.values())
    baseline = baselines.Baseline("b", "f", classifier, "")
    assert baselines.by_speakers(baseline, values, clips)["scores"]["pooled"]["uar"] > 0.95


def test_conditions_change_what_they_name() -> None:
    speech = np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    hiss = 1e-3 * np.random.default_rng(1).standard_normal(3_200).astype(np.float32)
    clip = np.concatenate([hiss, speech])
    assert np.array_equal(conditions.noise_floor(clip), hiss)
    assert len(conditions.noise_floor(speech)) == conditions.BLOCK
    after = conditions.after_floor(clip)
    assert np.array_equal(after[16_000:], clip)
    assert 0 < np.abs(after[:16_000]).max() <= np.abs(hiss).max()
    assert np.array_equal(conditions.in_silence(clip)[16_000:-16_000], clip)
    assert len(conditions.middle(clip)) == 32_000


def test_result_files_keep_lists_of_numbers_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "RESULTS", tmp_path)
    record = {"a": [[1, 2], [3, 4]], "b": {"c": [0.1, 0.2]}, "d": ["x y", "z"], "e": []}
    text = scoring.write("r", record).read_text(encoding="utf-8")
    assert json.loads(text) == record
    assert "[0.1, 0.2]" in text


def test_tables_say_what_the_scores_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "RESULTS", tmp_path)
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    truth = scoring.Truth(made_up())
    scores = scoring.score(truth, np.zeros_like(truth.labels))
    scoring.write("baselines", {"systems": [{"name": "constant", "scores": scores}]})
    assert table.accuracy("unseen") == ""
    row = table.accuracy("speakers").splitlines()[2]
    assert row.startswith("| constant | 25.0 (25.0 to 25.0) | 25.0 (")
    scoring.write("mine", {"scores": scores})
    scoring.write("mine-robustness", {"conditions": []})
    assert table.evaluated() == table.evaluated("-robustness") == ["mine"]
    assert table.accuracy("speakers").splitlines()[2].startswith("| **mine** |")


def test_intervals_are_drawn_anew_from_what_was_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "RESULTS", tmp_path)
    clips = made_up(160)
    test = [clip for clip in clips if clip.part == "test"]
    truth, what = scoring.Truth(test), data.described(test)
    guess = np.roll(truth.labels, 1)
    system = {"name": "classifier", "scores": scoring.score(truth, guess), "predictions": scoring.packed(guess)}
    baseline = {"protocol": "speakers", **what, "systems": [system]}
    scoring.write("baselines", baseline)
    right = evaluate.record("speakers", "baselines", test, np.eye(4)[truth.labels], {"name": "mine"})
    stale = right | {"scores": scoring.score(truth, guess), "minus_baselines": {}}
    assert redraw.labels(stale, clips) == right
    assert redraw.labels(baseline | {"systems": [system | {"scores": {}}]}, clips) == baseline
    with pytest.raises(SystemExit, match="other clips"):
        redraw.labels(stale, clips[:80])


def test_conditions_keep_what_an_interval_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness, "degraded", lambda clips, condition: [condition.degrade(np.ones(1, np.float32), None)] * len(clips))
    clips = made_up(160)
    truth = scoring.Truth(clips)
    tried = [conditions.Condition(name, "", lambda x, random, value=value: value * x) for name, value in (("clean", 1), ("quiet", 0.1))]
    right = robustness.measure("m", lambda waves: truth.labels if waves[0][0] == 1 else np.roll(truth.labels, 1), clips, tried)
    kept = ("name", "how", "predictions", "same_label")
    stale = [{**{name: each[name] for name in kept}, **{name: {} for name in each if name not in kept}} for each in right]
    assert redraw.conditions(stale, truth) == right
    earlier = [{name: value for name, value in each.items() if name != "predictions"} for each in right]
    without = redraw.conditions(earlier, truth)
    assert [each["scores"]["mean_of_corpora"]["interval"] for each in without] == [None, None]
    assert without[1]["minus_clean"]["mean_of_corpora"]["interval"] is None and right[1]["minus_clean"]["mean_of_corpora"]["interval"]
    assert without[1]["scores"]["corpora"] == right[1]["scores"]["corpora"]


@pytest.mark.skipif(corpora_root() is None, reason="needs the corpora (EMOSER_CORPORA)")
def test_most_responses_are_of_rooms_that_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """What conditions.py and the pages say of them: whoever holds rooms out whole has to change those words too."""
    monkeypatch.setattr(data_of_training, "read", lambda file: file.parent.name)  # the room's folder in the place of its sound
    counts = {part: Counter(data_of_training.rooms(None, part)) for part in ("train", "test")}
    assert {place: (counts["test"][place], counts["train"][place]) for place in ("warehouse", "pori", "house")} == {
        "warehouse": (4, 13),
        "pori": (2, 10),
        "house": (2, 8),
    }
    assert counts["test"].total() == 10 and table.PLACES in table.ROBUSTNESS.format(places=table.PLACES)
