"""Scores of time lines: those of the metrics, over speakers, and compared."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from emoser.errors import UsageError
from emoser.formats.timelines import as_csv, as_markdown, as_table
from emoser.metrics import eder, frame_uar
from emoser.metrics.diarization import Segment
from emoser.timelines import METRICS, Recording, TimelineEvaluation, evaluate, folded

EMOTIONS = ("angry", "happy", "sad")


def recordings(count: int = 24, speakers: int = 6) -> list[Recording]:
    """Neutral, an emotion from 1 to 2.5 s, and neutral again from 2.5 to 4 s."""
    return [Recording(f"{n}.wav", 4.0, ((1.0, 2.5, EMOTIONS[n % 3]),), f"s{n % speakers}") for n in range(count)]


def shifted(found: list[Recording], by: float, wrong_every: int = 0) -> list[list[Segment]]:
    """The truth with its boundaries `by` s late; the emotion of some is another one."""
    made = []
    for index, each in enumerate(found):
        ((start, end, label),) = each.segments
        wrong = wrong_every and index % wrong_every == 0
        label = EMOTIONS[(EMOTIONS.index(label) + 1) % 3] if wrong else label
        made.append([(0.0, start + by, "silence"), (start + by, end + by, label), (end + by, each.duration, "neutral")])
    return made


def test_the_truth_is_scored_as_such() -> None:
    found = recordings()
    scores = evaluate(found, {"truth": shifted(found, 0.0)}).scores["truth"]
    values = {name: figure.value for name, figure in scores.metrics.items() if figure is not None}
    assert values == pytest.approx({"eder": 0, "frame_uar": 1, "segment_f1": 1, "boundary_error": 0})
    assert scores.frames.sum() == 24 * 400 and np.count_nonzero(scores.frames - np.diag(np.diag(scores.frames))) == 0
    assert scores.recordings == 24 and scores.groups == 6 and scores.seconds == 96


def test_figures_are_those_of_the_metrics() -> None:
    found = recordings()
    guess = shifted(found, 0.2, wrong_every=4)
    scores = evaluate(found, {"late": guess}).scores["late"]
    pairs = [(folded(a), each.segments, 4.0) for a, each in zip(guess, found, strict=True)]
    rates = [eder(*pair).rate for pair in pairs]
    assert scores.metrics["eder"].value == pytest.approx(np.mean(rates)) == pytest.approx(sum(scores.parts.values()))
    assert scores.metrics["frame_uar"].value == pytest.approx(frame_uar(pairs, ["neutral", *EMOTIONS]))
    assert scores.metrics["segment_f1"].value == pytest.approx(0.75)  # every fourth has another emotion
    assert scores.metrics["boundary_error"].value == pytest.approx(0.2)
    assert scores.parts == pytest.approx({"false_alarm": 0.05, "missed": 0.05, "confusion": 1.3 / 4 / 4, "uncovered": 0})
    for name in METRICS:
        low, high = scores.metrics[name].interval
        assert low <= scores.metrics[name].value <= high


def test_intervals_are_drawn_over_speakers() -> None:
    """A speaker's recordings are drawn together: with all of one speaker wrong the interval is wider than over recordings."""
    found = recordings(24, 4)
    guess = [line if each.speaker != "s0" else [(0.0, 4.0, "neutral")] for line, each in zip(shifted(found, 0), found, strict=True)]
    nameless = [Recording(each.file, each.duration, each.segments) for each in found]
    by_speaker, by_recording = evaluate(found, {"x": guess}), evaluate(nameless, {"x": guess})
    assert (by_speaker.unit, by_recording.unit) == ("speakers", "recordings")
    widths = [np.ptp(each.scores["x"].metrics["eder"].interval) for each in (by_speaker, by_recording)]
    assert widths[0] > 1.5 * widths[1]
    with pytest.raises(UsageError, match="1 of 25 recordings have no speaker"):
        evaluate([*found, nameless[0]], {"x": [*guess, guess[0]]})


def test_systems_are_compared_on_the_same_draws() -> None:
    found = recordings()
    result = evaluate(found, {"good": shifted(found, 0.1), "bad": shifted(found, 0.5), "same": shifted(found, 0.1)})
    differences = {(item.second, item.metric): item.found for item in result.comparisons}
    assert differences["bad", "eder"].difference == pytest.approx(0.2)
    assert differences["bad", "eder"].interval[0] > 0 and differences["bad", "eder"].p_value < 0.01
    assert differences["bad", "boundary_error"].difference == pytest.approx(0.4)
    assert all(found.difference == 0 and found.p_value == 1 for (name, _), found in differences.items() if name == "same")


def test_splitting_a_segment_changes_nothing() -> None:
    found = recordings()
    whole = shifted(found, 0.3)
    split = [[a, (b[0], 2.0, b[2]), (2.0, b[1], b[2]), c] for a, b, c in whole]
    assert evaluate(found, {"x": whole}).scores["x"].to_dict() == evaluate(found, {"x": split}).scores["x"].to_dict()


def test_where_there_is_nothing_to_measure() -> None:
    """Neutral throughout: no boundary to be found. One speaker: no interval."""
    quiet = [Recording("a.wav", 2.0, (), "anna"), Recording("b.wav", 2.0, ((0.0, 2.0, "neutral"),), "anna")]
    result = evaluate(
        quiet, {"x": [[(0.0, 2.0, "neutral")], [(0.0, 1.0, "sad"), (1.0, 2.0, "neutral")]], "y": [[(0.0, 2.0, "silence")]] * 2}
    )
    scores = result.scores["x"]
    assert scores.metrics["boundary_error"] is None and scores.metrics["segment_f1"].value == 0
    assert scores.metrics["eder"].value == 0.25 and scores.metrics["eder"].interval is None
    assert result.scores["y"].metrics["segment_f1"].value == 1 and result.comparisons == ()


def some() -> TimelineEvaluation:
    found = recordings()
    return evaluate(found, {"a": shifted(found, 0.2), "b": shifted(found, 0.4)}, {"fear": 2})


def test_formats_say_the_same() -> None:
    found = some()
    rows = list(csv.DictReader(io.StringIO(as_csv(found, []))))
    assert [row["checkpoint"] for row in rows] == ["a", "b"]
    for row in rows:
        figure = found.scores[row["checkpoint"]].metrics["eder"]
        assert [float(row[name]) for name in ("eder", "eder_low", "eder_high")] == pytest.approx([figure.value, *figure.interval])
    table, page = as_table(found, []), as_markdown(found, [])
    for text in (table, page):
        assert "10.0 [10.0, 10.0]" in text and "0.20 s" in text and "over speakers" in text and "2 with fear" in text
        assert "b - a" in text and "+10.0" in text and "seconds; rows said" in text
    assert page.startswith("| checkpoint | recordings | speakers | EDER |")
