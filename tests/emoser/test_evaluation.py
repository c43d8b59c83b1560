"""Scores of labelled clips: what is counted, over what intervals are drawn, and how two checkpoints are compared."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from emoser.errors import UsageError
from emoser.evaluation import Labelled, Scores, evaluate, groups_of, known_to_all
from emoser.formats.evaluation import as_csv, as_markdown, as_table
from emoser.metrics import bootstrap_interval, macro_f1
from emoser.plots import PlotError, confusion_plot, reliability_diagram

LABELS = ("neutral", "happy", "angry")


def clips(count: int = 60, speakers: int = 6, corpora: int = 2) -> list[Labelled]:
    return [Labelled(f"{index}.wav", LABELS[index % 3], f"s{index % speakers}", f"c{index % speakers % corpora}") for index in range(count)]


def scores_for(found: list[Labelled], right: float, labels: tuple[str, ...] = LABELS, seed: int = 0) -> np.ndarray:
    """Probabilities of 0.7 for one label; it is the true one in a share `right` of the clips."""
    random = np.random.default_rng(seed)
    values = np.full((len(found), len(labels)), 0.3 / (len(labels) - 1))
    for row, clip in zip(values, found, strict=True):
        true = labels.index(clip.label)
        row[true if random.random() < right else (true + 1) % len(labels)] = 0.7
    return values


def test_figures_are_those_of_the_metrics() -> None:
    found = clips()
    values = scores_for(found, 0.6)
    truth = [LABELS.index(clip.label) for clip in found]
    scores = Scores.of(truth, values, [clip.speaker for clip in found])
    guess = values.argmax(1)
    assert scores.wa.value == pytest.approx(np.mean(guess == truth))
    assert scores.macro_f1.value == macro_f1(truth, guess)
    assert scores.macro_f1.interval == bootstrap_interval(macro_f1, truth, guess, [clip.speaker for clip in found])
    assert scores.ece == pytest.approx(abs(0.7 - scores.wa.value))
    assert scores.confusion.sum() == scores.clips == 60 and scores.groups == 6


def test_one_speaker_has_no_interval_and_an_absent_label_no_recall() -> None:
    scores = Scores.of([0, 0, 1], [[0.8, 0.1, 0.1]] * 3, ["anna"] * 3)
    assert scores.uar.value == 0.5 and scores.uar.interval is None
    assert scores.recalls == (1.0, 0.0, None)
    assert scores.to_dict(LABELS)["recalls"] == {"neutral": 1.0, "happy": 0.0, "angry": None}


def test_speakers_of_all_clips_or_of_none() -> None:
    named = [Labelled("a", "sad", "1", "x"), Labelled("b", "sad", "1", "y")]
    assert groups_of(named) == (["x/1", "y/1"], "speakers")  # two people
    nameless = [Labelled("a", "sad"), Labelled("b", "sad")]
    assert groups_of(nameless) == (["0", "1"], "clips")
    with pytest.raises(UsageError, match="1 of 2 clips have no speaker"):
        groups_of([named[0], nameless[0]])


def test_labels_that_not_every_checkpoint_knows_are_left_out_and_counted() -> None:
    found = [Labelled("a", "happy"), Labelled("b", "bored"), Labelled("c", "calm"), Labelled("d", "bored")]
    kept, left_out = known_to_all(found, {"four": ("happy", "sad"), "eight": ("happy", "sad", "calm")})
    assert [clip.file for clip in kept] == ["a"] and left_out == {"bored": 2, "calm": 1}
    with pytest.raises(UsageError, match="no clip has a label that can be told"):
        known_to_all(found[1:2], {"four": ("happy", "sad")})


def test_checkpoints_are_compared_on_the_same_draws_whatever_the_order_of_their_labels() -> None:
    found = clips(300)
    other = ("angry", "calm", "happy", "neutral")
    values = scores_for(found, 0.6)
    same = np.stack([values[:, 2], np.zeros(300), values[:, 1], values[:, 0]], axis=1)
    result = evaluate(
        found,
        {"first": values, "same": same, "better": scores_for(found, 0.9)},
        {"first": LABELS, "same": other, "better": LABELS},
        repeats=200,
    )
    assert list(result.scores["first"]) == ["c0", "c1", "pooled"]
    by_name = {(item.second, item.corpus, item.metric): item for item in result.comparisons}
    equal, better = by_name["same", "pooled", "uar"], by_name["better", "pooled", "uar"]
    assert equal.difference == 0.0 and equal.p_value == 1.0
    assert better.difference > 0.15 and better.interval[0] > 0 and better.p_value < 0.05
    assert {item.first for item in result.comparisons} == {"first"}


def test_no_corpus_is_called_as_all_together() -> None:
    found = [Labelled(clip.file, clip.label, clip.speaker, "pooled" if clip.corpus == "c0" else clip.corpus) for clip in clips()]
    with pytest.raises(UsageError, match='a corpus is called "pooled"'):
        evaluate(found, {"a": scores_for(found, 0.6)}, {"a": LABELS})


def test_a_corpus_by_itself_is_not_shown_twice() -> None:
    found = clips(corpora=1)
    result = evaluate(found, {"m": scores_for(found, 0.5)}, {"m": LABELS}, repeats=50)
    assert list(result.scores["m"]) == ["pooled"] and result.comparisons == ()


def test_formats_say_the_same() -> None:
    found = clips()
    both = {"one": scores_for(found, 0.5), "two": scores_for(found, 0.8)}
    result = evaluate(found, both, {"one": LABELS, "two": LABELS}, {"bored": 3}, repeats=100)
    rows = list(csv.DictReader(io.StringIO(as_csv(result, []))))
    assert [(row["checkpoint"], row["corpus"]) for row in rows] == [(name, part) for name in both for part in ("c0", "c1", "pooled")]
    pooled = result.scores["two"]["pooled"].uar
    assert float(rows[-1]["uar"]) == pytest.approx(pooled.value, abs=1e-6)
    assert pooled.interval is not None
    shown = f"{100 * pooled.value:.1f} [{100 * pooled.interval[0]:.1f}, {100 * pooled.interval[1]:.1f}]"
    for text in (as_markdown(result, []), as_table(result, [])):
        assert shown in text and "3 bored" in text and "two - one" in text and "over speakers" in text


def test_plots_are_written(tmp_path) -> None:
    found = clips()
    scores = evaluate(found, {"m": scores_for(found, 0.5)}, {"m": LABELS}, repeats=10).scores["m"]["pooled"]
    reliability_diagram({"m": (scores.reliability, scores.ece)}, tmp_path / "r.png")
    confusion_plot(scores.confusion, LABELS, tmp_path / "c.png", "m")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("r.png", "c.png"))
    with pytest.raises(PlotError, match="could not write"):
        confusion_plot(scores.confusion, LABELS, tmp_path / "no" / "c.png")
