"""EDER against the published function's worked examples, its properties, and the other metrics of time lines and transcripts by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from emoser.errors import UsageError
from emoser.metrics import (
    DiarizationErrors,
    SegmentMatches,
    boundary_errors,
    character_error_rate,
    covering,
    eder,
    edits,
    frame_confusion,
    frame_uar,
    labels_at,
    mean_eder,
    published_frame_labels,
    segment_matches,
    segments_of_frames,
    word_error_rate,
)

NAMES = {"n": "neutral", "a": "angry", "h": "happy", "s": "sad"}


def words(letters: str) -> list[str]:
    return [NAMES[letter] for letter in letters]


NINE = [(0.25, 0.65, "happy"), (0.95, 1.55, "sad")]
GOLDEN = [  # frames, window, hop, duration, reference, EDER, its four parts, EDER with the last frame extended to the end
    ("nnnaaa", 0.2, 0.2, 1.22, [(0.39, 1.10, "angry")], 0.270492, (0.081967, 0.172131, 0, 0.016393), None),
    ("nnaaan", 0.2, 0.2, 1.2, [(0.4, 1.0, "angry")], 0, (0, 0, 0, 0), 0),
    ("nnaan", 0.2, 0.2, 1.1, [(0.4, 0.8, "angry")], 0.090909, (0, 0, 0, 0.090909), 0),
    ("hhhhhn", 0.2, 0.2, 1.2, [(0.2, 1.0, "angry")], 0.833333, (0.166667, 0, 0.666667, 0), 0.833333),
    ("nanahhna", 0.2, 0.2, 1.6, [(0.2, 1.2, "angry")], 0.5, (0.125, 0.125, 0.25, 0), 0.5),
    ("nnnnn", 0.2, 0.2, 1.0, [(0.0, 1.0, "sad")], 1, (0, 1, 0, 0), 1),
    ("nnaann", 0.4, 0.2, 1.4, [(0.5, 0.9, "angry")], 0, (0, 0, 0, 0), 0),
    ("n" * 50 + "h" * 75 + "n" * 24, 0.02, 0.02, 3.0, [(1.1, 2.4, "happy")], 0.073333, (0.066667, 0, 0, 0.006667), 0.066667),
    ("nhhnnsssnn", 0.2, 0.2, 2.0, NINE, 0.1, (0.05, 0.05, 0, 0), 0.1),
    ("nhhhssssnn", 0.2, 0.2, 2.0, [(0.2, 0.6, "happy"), (1.0, 1.6, "sad")], 0.2, (0.2, 0, 0, 0), 0.2),
    ("hhsssnnn", 0.2, 0.2, 1.6, [(0.0, 0.5, "happy"), (0.5, 1.1, "sad")], 0.125, (0, 0.0625, 0.0625, 0), 0.125),
    ("nhhaasssn", 0.2, 0.2, 2.0, NINE, 0.35, (0.2, 0, 0.05, 0.1), 0.25),
]


@pytest.mark.parametrize(("letters", "window", "hop", "duration", "reference", "rate", "parts", "extended"), GOLDEN)
def test_golden_eder(letters, window, hop, duration, reference, rate, parts, extended):
    found = eder(segments_of_frames(words(letters), hop, window), reference, duration)
    shares = [seconds / duration for seconds in (found.false_alarm, found.missed, found.confusion, found.uncovered)]
    assert found.rate == pytest.approx(rate, abs=1e-6)
    assert shares == pytest.approx(parts, abs=1e-6)
    if extended is not None:
        assert eder(segments_of_frames(words(letters), hop, window, duration), reference, duration).rate == pytest.approx(
            extended, abs=1e-6
        )


def random_time_line(seed: int, duration: float = 4.0) -> list[tuple[float, float, str]]:
    random = np.random.default_rng(seed)
    edges = [0.0, *sorted(random.uniform(0, duration, 5)), duration]
    return [(start, end, str(random.choice(list(NAMES.values())))) for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("seed", range(5))
def test_eder_is_a_share_of_time_0_on_the_reference_and_blind_to_how_a_segment_is_split(seed):
    reference, predicted = random_time_line(seed), random_time_line(seed + 100)
    assert eder(reference, reference, 4.0).rate == pytest.approx(0, abs=1e-12)
    found = eder(predicted, reference, 4.0)
    assert 0 <= found.rate <= 1
    split = [part for start, end, label in predicted for part in ((start, (start + end) / 2, label), ((start + end) / 2, end, label))]
    assert eder(split, reference, 4.0).rate == pytest.approx(found.rate)
    times = np.arange(0.0005, 4, 0.001)
    wrong = np.mean([a != b for a, b in zip(labels_at(predicted, times), labels_at(reference, times), strict=True)])
    assert found.rate == pytest.approx(wrong, abs=5e-3)
    longer = [*predicted, (4.0, 9.0, "sad")]
    assert eder(longer, reference, 4.0) == found  # beyond the file's end


def test_silence_counts_as_neutral():
    predicted = [(0.0, 0.5, "silence"), (0.5, 1.0, "sad")]
    assert eder(predicted, [(0.5, 1.0, "sad")], 1.0).rate == 0
    assert eder(predicted, [(0.5, 1.0, "sad")], 1.0, as_neutral=()).confusion == 0.0
    assert eder(predicted, [(0.5, 1.0, "sad")], 1.0, as_neutral=()).false_alarm == 0.5


def test_the_figure_of_a_corpus_is_the_mean_over_files():
    errors = [DiarizationErrors(1.0, 0.5, 0, 0, 0), DiarizationErrors(9.0, 0, 0, 0.9, 0)]
    assert mean_eder(errors) == pytest.approx(0.3)
    with pytest.raises(UsageError, match="no files"):
        mean_eder([])


@pytest.mark.parametrize(
    ("duration", "reference", "expected"),
    [
        (0.15, [(0.05, 0.11, "angry")], "nnnaannn"),
        (0.2, [(0.0, 0.2, "happy")], "h" * 11),
    ],
)
def test_golden_frame_labels_as_published(duration, reference, expected):
    assert published_frame_labels(reference, duration) == words(expected)


def test_golden_counts_of_frame_labels_as_published():
    labels = published_frame_labels([(0.39, 1.10, "angry")], 1.22)
    assert len(labels) == 61 and labels.count("neutral") == 26 and labels.count("angry") == 35


def test_segments_that_overlap_and_files_without_length_are_refused():
    with pytest.raises(UsageError, match="without overlap"):
        eder([(0.0, 1.0, "sad"), (0.5, 2.0, "sad")], [], 2.0)
    with pytest.raises(UsageError, match="longer than 0 s"):
        eder([], [], 0.0)
    with pytest.raises(UsageError, match="leave gaps"):
        segments_of_frames(["sad"], 0.2, 0.1)
    assert segments_of_frames([], 0.2, duration=1.0) == []


def test_a_reference_is_neutral_where_it_says_nothing():
    assert covering([], 1.0) == [(0.0, 1.0, "neutral")]
    assert covering([(0.0, 0.4, "sad"), (0.4, 1.2, "happy")], 1.0) == [(0.0, 0.4, "sad"), (0.4, 1.0, "happy")]


def test_frames_are_counted_over_all_files():
    labels = ["neutral", "happy", "sad"]
    files = [
        ([(0.0, 1.0, "sad")], [(0.5, 1.0, "sad")], 1.0),
        ([(0.0, 2.0, "neutral")], [(0.0, 1.0, "sad")], 2.0),
    ]
    assert frame_confusion(files, labels, hop=0.1).tolist() == [[10, 0, 5], [0, 0, 0], [10, 0, 5]]
    assert frame_uar(files, labels, hop=0.1) == pytest.approx((10 / 15 + 5 / 15) / 2)
    with pytest.raises(UsageError, match="sad are not among"):
        frame_uar(files, ["neutral"])
    with pytest.raises(UsageError, match="no files"):
        frame_uar([], labels)


def test_a_segment_is_found_by_one_of_its_label_that_shares_more_than_half():
    reference = [(0.0, 1.0, "sad"), (1.0, 2.0, "neutral"), (2.0, 3.0, "happy")]
    predicted = [(0.0, 0.6, "sad"), (0.6, 2.0, "neutral"), (2.0, 3.0, "angry"), (3.0, 4.0, "happy")]
    found = segment_matches(predicted, reference)
    assert found == SegmentMatches(1, 3, 2) and found.f1 == pytest.approx(0.4)
    assert segment_matches(predicted, reference, overlap=0.7).hits == 0
    assert segment_matches(predicted, reference, ignored=()).hits == 2
    assert (found + SegmentMatches(1, 1, 1)).f1 == pytest.approx(4 / 7) and segment_matches([], []).f1 == 1.0
    with pytest.raises(UsageError, match="found twice"):
        segment_matches([], [], overlap=0.3)


def test_what_lies_outside_of_the_file_does_not_count():
    beyond = [(0.0, 1.0, "sad"), (5.0, 6.0, "sad")]
    assert eder([(0.0, 6.0, "sad")], beyond, 3.0).rate == pytest.approx(2 / 3)
    assert eder(beyond, [(0.0, 6.0, "sad")], 3.0).rate == pytest.approx(2 / 3)
    assert covering(beyond, 3.0) == [(0.0, 1.0, "sad"), (1.0, 3.0, "neutral")]
    assert boundary_errors([(0.0, 2.0, "sad"), (2.0, 9.0, "happy"), (9.0, 10.0, "sad")], beyond, 3.0) == [1.0]


def test_boundaries():
    reference = [(0.5, 1.5, "sad")]
    assert boundary_errors([(0.0, 0.7, "neutral"), (0.7, 1.6, "sad"), (1.6, 2.0, "neutral")], reference, 2.0) == pytest.approx([0.2, 0.1])
    assert boundary_errors([(0.0, 2.0, "sad")], reference, 2.0) == [2.0, 2.0]
    assert boundary_errors([(0.0, 2.0, "sad")], [(0.0, 2.0, "sad")], 2.0) == []


# transcripts


def slow_distance(a: list[str], b: list[str]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(slow_distance(a[1:], b) + 1, slow_distance(a, b[1:]) + 1, slow_distance(a[1:], b[1:]) + (a[0] != b[0]))


def test_edits_are_the_fewest():
    random = np.random.default_rng(0)
    for _ in range(60):
        a, b = (list(random.choice(list("abc"), random.integers(0, 6))) for _ in range(2))
        found = edits(a, b)
        assert found.substitutions + found.deletions + found.insertions == slow_distance(a, b)
        assert found.length == len(a) and len(a) - found.deletions + found.insertions == len(b)


def test_error_rates_are_of_all_clips_together():
    references, hypotheses = ["KIDS ARE TALKING", "GO", "BY THE DOOR"], ["KIDS TALKING", "", "BY THE DOOR NOW"]
    assert word_error_rate(references, hypotheses) == pytest.approx(3 / 7)
    assert character_error_rate(["AB C"], ["ABC"]) == 0.25
    assert word_error_rate(["A"], ["A B C"]) == 2.0
    with pytest.raises(UsageError, match="a word at least"):
        word_error_rate([""], ["A"])
    with pytest.raises(ValueError, match="zip"):
        word_error_rate(["A"], [])


def test_error_rates_are_jiwers():
    jiwer = pytest.importorskip("jiwer")
    random = np.random.default_rng(1)
    pairs = [[" ".join(random.choice(["a", "bc", "d"], random.integers(1, 9))) for _ in range(2)] for _ in range(30)]
    references, hypotheses = (list(side) for side in zip(*pairs, strict=True))
    assert word_error_rate(references, hypotheses) == pytest.approx(jiwer.wer(references, hypotheses))
    assert character_error_rate(references, hypotheses) == pytest.approx(jiwer.cer(references, hypotheses))
