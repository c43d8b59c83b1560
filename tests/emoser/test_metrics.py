"""Values worked by hand, properties, and agreement with scikit-learn and with a bootstrap written the slow way."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from emoser import metrics
from emoser.errors import UsageError

# Three classes, ten clips. Rows of the confusion matrix: class 0 [3, 1, 0], class 1 [1, 2, 1], class 2 [0, 0, 2].
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
PREDICTIONS = np.array([0, 0, 0, 1, 0, 1, 1, 2, 2, 2])
SPEAKERS = np.array(["ada", "ada", "bo", "bo", "ada", "cy", "bo", "cy", "cy", "ada"])


def random_case(seed: int, clips: int = 120, classes: int = 4, speakers: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, clips)
    predictions = np.where(rng.random(clips) < 0.5, labels, rng.integers(0, classes, clips))
    return labels, predictions, rng.integers(0, speakers, clips)


def test_confusion_matrix_by_hand():
    matrix = metrics.confusion_matrix(LABELS, PREDICTIONS, classes=3)
    assert matrix.tolist() == [[3, 1, 0], [1, 2, 1], [0, 0, 2]]
    assert metrics.confusion_matrix(LABELS, PREDICTIONS, classes=4).shape == (4, 4)


def test_label_metrics_by_hand():
    assert metrics.recalls(LABELS, PREDICTIONS).tolist() == [0.75, 0.5, 1.0]
    assert metrics.unweighted_average_recall(LABELS, PREDICTIONS) == 0.75
    assert metrics.weighted_accuracy(LABELS, PREDICTIONS) == 0.7
    # F1 = 2 hits / (labels + predictions): 6/8, 4/7, 4/5
    assert metrics.macro_f1(LABELS, PREDICTIONS) == pytest.approx((6 / 8 + 4 / 7 + 4 / 5) / 3)


def test_a_class_without_clips_does_not_count_in_uar():
    labels, predictions = [0, 0, 2, 2], [0, 1, 2, 2]
    assert metrics.unweighted_average_recall(labels, predictions) == 0.75
    found = metrics.recalls(labels, predictions, classes=5)
    assert found[[0, 2]].tolist() == [0.5, 1.0]
    assert np.isnan(found[[1, 3, 4]]).all()
    # F1 of class 1, predicted but never true, is 0 and counts: (2/3 + 0 + 1) / 3
    assert metrics.macro_f1(labels, predictions) == pytest.approx(5 / 9)


@pytest.mark.parametrize(
    "counts, wa, uar", [([192] * 7 + [96], 13.33, 12.5), ([84] * 7, 14.29, 14.29), ([127, 81, 79, 71, 69, 62, 46], 23.74, 14.29)]
)
def test_majority_class_of_ravdess_emovo_and_emodb(counts, wa, uar):
    labels = np.repeat(np.arange(len(counts)), counts)
    predictions = np.zeros_like(labels)
    assert round(100 * metrics.weighted_accuracy(labels, predictions), 2) == wa
    assert round(100 * metrics.unweighted_average_recall(labels, predictions), 2) == uar


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn(seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    labels, predictions, _ = random_case(seed)
    labels[labels == 2] = 0  # class 2 is predicted only
    assert (
        metrics.confusion_matrix(labels, predictions, 4).tolist() == sklearn.confusion_matrix(labels, predictions, labels=range(4)).tolist()
    )
    assert metrics.weighted_accuracy(labels, predictions) == pytest.approx(sklearn.accuracy_score(labels, predictions))
    assert metrics.macro_f1(labels, predictions) == pytest.approx(sklearn.f1_score(labels, predictions, average="macro", zero_division=0))
    uar = sklearn.recall_score(labels, predictions, labels=np.unique(labels), average="macro")
    assert metrics.unweighted_average_recall(labels, predictions) == pytest.approx(uar)


def test_ccc():
    x = np.array([0.0, 1.0, 2.0, 5.0])
    assert metrics.ccc(x, x) == pytest.approx(1.0)
    assert metrics.ccc(x, 4 - x) == pytest.approx(-1.0)  # same mean and variance, reversed
    # truth 1 2 3, predicted 2 4 6: cov 4/3, variances 2/3 and 8/3, means 2 apart: (8/3) / (10/3 + 4)
    assert metrics.ccc([1, 2, 3], [2, 4, 6]) == pytest.approx(8 / 22)
    assert metrics.ccc([1, 2, 3], [2, 2, 2]) == 0.0
    assert math.isnan(metrics.ccc([2, 2], [2, 2]))
    with pytest.raises(UsageError, match="one length"):
        metrics.ccc([1, 2], [1, 2, 3])


def test_reliability_by_hand():
    probabilities = [[0.55, 0.45], [0.6, 0.4], [0.05, 0.95], [1.0, 0.0]]
    found = metrics.reliability(probabilities, [0, 1, 1, 0], bins=10)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]  # 0.6 closes the bin (0.5, 0.6]
    assert found.centres.tolist() == pytest.approx([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95])
    assert found.accuracy[[5, 9]].tolist() == [0.5, 1.0]
    assert found.confidence[[5, 9]].tolist() == pytest.approx([0.575, 0.975])
    assert np.isnan(found.accuracy[0]) and np.isnan(found.confidence[0])
    ece = metrics.expected_calibration_error(probabilities, [0, 1, 1, 0], bins=10)
    assert ece == pytest.approx(0.5 * 0.075 + 0.5 * 0.025)


def test_calibrated_by_construction_has_small_error_and_overconfident_has_its_gap():
    rng = np.random.default_rng(0)
    top = rng.uniform(0.5, 1.0, 200_000)
    labels = (rng.random(len(top)) > top).astype(int)  # class 0 with probability `top`
    assert metrics.expected_calibration_error(np.stack([top, 1 - top], axis=1), labels) < 0.01
    certain = np.tile([1.0, 0.0], (len(top), 1))
    assert metrics.expected_calibration_error(certain, labels) == pytest.approx(np.mean(labels))


def test_logits_are_refused_as_probabilities():
    with pytest.raises(UsageError, match="softmax"):
        metrics.reliability([[2.0, -1.0]], [0])
    with pytest.raises(UsageError, match=r"0\.\.1"):
        metrics.reliability([[0.5, 0.5]], [2])


LABEL_METRICS = [metrics.unweighted_average_recall, metrics.weighted_accuracy, metrics.macro_f1]


@pytest.mark.parametrize("metric", LABEL_METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_fast_bootstrap_equals_the_slow_one_on_the_same_draws(metric, seed):
    labels, predictions, speakers = random_case(seed, clips=60)
    if seed == 2:  # every speaker has one label only, so draws lack classes
        labels = speakers % 4
    fast = metrics.bootstrap_interval(metric, labels, predictions, speakers, repeats=200, seed=seed)

    names = np.unique(speakers)
    rng = np.random.default_rng(seed)
    values = []
    for picks in rng.integers(0, len(names), size=(200, len(names))):
        chosen = np.concatenate([np.flatnonzero(speakers == names[pick]) for pick in picks])
        values.append(metric(labels[chosen], predictions[chosen]))
    assert fast == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    # an unknown function takes the general path: the same figures
    general = metrics.bootstrap_interval(lambda a, b: metric(a, b), labels, predictions, speakers, repeats=200, seed=seed)
    assert general == pytest.approx(fast)


@pytest.mark.parametrize("seed", range(5))
def test_interval_holds_the_point_value_narrows_with_confidence_and_is_repeatable(seed):
    labels, predictions, speakers = random_case(seed)
    point = metrics.unweighted_average_recall(labels, predictions)
    wide, narrow = (
        metrics.bootstrap_interval(metrics.unweighted_average_recall, labels, predictions, speakers, confidence=level, seed=seed)
        for level in (0.95, 0.5)
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert wide[0] <= point <= wide[1]
    assert wide == metrics.bootstrap_interval(metrics.unweighted_average_recall, labels, predictions, speakers, seed=seed)
    assert wide != metrics.bootstrap_interval(metrics.unweighted_average_recall, labels, predictions, speakers, seed=seed + 1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Twenty speakers whose accuracies differ: the 90 % interval covers the mean accuracy in 75 to 100 % of 100 worlds."""
    rng = np.random.default_rng(0)
    hits = 0
    speakers = np.repeat(np.arange(20), 10)
    for world in range(100):
        skill = rng.beta(6, 4, 20)  # mean 0.6
        predictions = (rng.random(200) > skill[speakers]).astype(int)
        low, high = metrics.bootstrap_interval(
            metrics.weighted_accuracy, np.zeros(200, int), predictions, speakers, repeats=300, confidence=0.9, seed=world
        )
        hits += low <= 0.6 <= high
    assert 75 <= hits < 100


def test_intervals_are_wider_over_speakers_than_over_clips():
    speakers = np.repeat(np.arange(8), 25)
    labels = np.zeros(200, int)
    predictions = (speakers % 2).astype(int)  # a speaker is either always right or always wrong
    by_speaker = metrics.bootstrap_interval(metrics.weighted_accuracy, labels, predictions, speakers)
    by_clip = metrics.bootstrap_interval(metrics.weighted_accuracy, labels, predictions, np.arange(200))
    assert by_speaker[1] - by_speaker[0] > 3 * (by_clip[1] - by_clip[0])


def test_paired_bootstrap():
    labels, worse, speakers = random_case(1, clips=400, speakers=20)
    better = np.where(np.random.default_rng(2).random(400) < 0.5, labels, worse)
    found = metrics.paired_bootstrap(metrics.unweighted_average_recall, labels, worse, better, speakers)
    expected = metrics.unweighted_average_recall(labels, better) - metrics.unweighted_average_recall(labels, worse)
    assert found.difference == pytest.approx(expected)
    assert 0 < found.interval[0] < expected < found.interval[1]
    assert found.p_value == pytest.approx(2 / 1001)

    swapped = metrics.paired_bootstrap(metrics.unweighted_average_recall, labels, better, worse, speakers)
    assert swapped.difference == -found.difference
    assert swapped.interval == pytest.approx((-found.interval[1], -found.interval[0]))
    assert swapped.p_value == found.p_value

    same = metrics.paired_bootstrap(metrics.macro_f1, labels, worse, worse, speakers)
    assert same == metrics.Difference(0.0, (0.0, 0.0), 1.0)


def test_paired_p_value_of_chance_differences_is_not_small():
    labels, _, speakers = random_case(3, clips=400, speakers=20)
    rng = np.random.default_rng(4)
    first, second = (np.where(rng.random(400) < 0.6, labels, rng.integers(0, 4, 400)) for _ in range(2))
    assert metrics.paired_bootstrap(metrics.weighted_accuracy, labels, first, second, speakers).p_value > 0.05


def test_score():
    score = metrics.Score.of(LABELS, PREDICTIONS, SPEAKERS, classes=4)
    assert (score.uar, score.wa, score.clips, score.speakers) == (0.75, 0.7, 10, 3)
    assert score.macro_f1 == metrics.macro_f1(LABELS, PREDICTIONS)
    assert score.interval == metrics.bootstrap_interval(metrics.unweighted_average_recall, LABELS, PREDICTIONS, SPEAKERS)
    assert score.confusion == ((3, 1, 0, 0), (1, 2, 1, 0), (0, 0, 2, 0), (0, 0, 0, 0))
    assert score.recalls[:3] == (0.75, 0.5, 1.0) and math.isnan(score.recalls[3])
    assert json.loads(json.dumps(score.to_dict()))["confusion"][0] == [3, 1, 0, 0]
    assert hash(score) == hash(metrics.Score.of(LABELS, PREDICTIONS, SPEAKERS, classes=4))


def test_one_speaker_has_no_interval():
    assert metrics.Score.of([0, 1], [0, 1], ["ada", "ada"]).interval is None
    with pytest.raises(UsageError, match="at least two"):
        metrics.bootstrap_interval(metrics.weighted_accuracy, [0, 1], [0, 1], ["ada", "ada"])


@pytest.mark.parametrize(
    "labels, predictions, message",
    [
        ([0, 1], [0], "one prediction for each"),
        ([], [], "at least one"),
        ([[0, 1]], [[0, 1]], "shape"),
        ([0.0, 1.0], [0, 1], "integer class indices"),
        (["happy"], ["sad"], "integer class indices"),
        ([0, -1], [0, 1], "must lie in"),
    ],
)
def test_unusable_input_is_refused(labels, predictions, message):
    with pytest.raises(UsageError, match=message):
        metrics.unweighted_average_recall(labels, predictions)


def test_classes_speakers_and_options_are_checked():
    with pytest.raises(UsageError, match=r"0\.\.1"):
        metrics.confusion_matrix([0, 2], [0, 1], classes=2)
    with pytest.raises(UsageError, match="name of its speaker"):
        metrics.bootstrap_interval(metrics.weighted_accuracy, [0, 1, 1], [0, 1, 1], ["ada", "bo"])
    with pytest.raises(UsageError, match="confidence"):
        metrics.bootstrap_interval(metrics.weighted_accuracy, [0, 1], [0, 1], ["ada", "bo"], confidence=95)
    with pytest.raises(UsageError, match="draw"):
        metrics.bootstrap_interval(metrics.weighted_accuracy, [0, 1], [0, 1], ["ada", "bo"], repeats=0)
    with pytest.raises(UsageError, match="bin"):
        metrics.reliability([[1.0, 0.0]], [0], bins=0)
