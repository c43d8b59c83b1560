"""No speaker on two sides, the same draw on every machine, and parts that look like the whole."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from training.corpora import (
    CorpusError,
    Manifest,
    SpeakerOverlapError,
    Split,
    Utterance,
    by_column,
    by_fraction,
    by_speakers,
    k_folds,
    leave_one_speaker_out,
    session_folds,
    speaker_groups,
)

LABELS = ("neutral", "happy", "angry")


def corpus(speakers: int, name: str = "demo", clips: int = 6, uneven: bool = False) -> Manifest:
    """Women have odd numbers. Uneven: speaker k has k more clips, and every third says only one label."""
    rows = []
    for number in range(1, speakers + 1):
        for clip in range(clips + (number if uneven else 0)):
            label = LABELS[number % 3] if uneven and number % 3 == 0 else LABELS[clip % 3]
            rows.append(
                Utterance(name, f"{number:02d}-{clip}.wav", f"{number:02d}", "fm"[number % 2 == 0], emotion=label, session=str(number // 2))
            )
    return Manifest(tuple(rows), Path())


def parts_of(split: Split) -> list[set[str]]:
    return [set(part.speakers) for part in split.parts.values()]


def assert_apart(split: Split, manifest: Manifest) -> None:
    for one, other in itertools.combinations(parts_of(split), 2):
        assert not one & other
    assert set().union(*parts_of(split)) == set(manifest.speakers)
    assert sum(len(part) for part in split.parts.values()) == len(manifest)


def test_a_split_that_shares_a_speaker_cannot_be_made():
    manifest = corpus(3)
    empty = manifest.filter(lambda item: False)
    first, second = (manifest.filter(lambda item, odd=odd: (int(item.path[3]) % 2) == odd) for odd in (0, 1))
    for arrangement in ((first, empty, second), (first, second, empty), (empty, first, second)):
        with pytest.raises(SpeakerOverlapError, match="demo/01, demo/02, demo/03"):
            Split(*arrangement)
    named = Split(first, empty, second, as_published="by clip, as they did it")
    assert named.shared_speakers == ("demo/01", "demo/02", "demo/03")
    with pytest.raises(SpeakerOverlapError, match="clip stands in two"):
        Split(manifest, empty, first, as_published="by clip")


def test_same_id_in_two_corpora_is_not_the_same_speaker():
    one, two = corpus(2), corpus(2, "other")
    assert Split(one, two.filter(lambda item: False), two).shared_speakers == ()


def test_unknown_speakers_cannot_be_split():
    manifest = corpus(4)
    unknown = Manifest((*manifest.utterances, Utterance("demo", "x.wav", emotion="sad")), Path())
    with pytest.raises(SpeakerOverlapError, match="1 clips have no speaker"):
        by_speakers(unknown, test=["01"])
    nobody = manifest.filter(lambda item: False)
    assert len(Split(nobody, nobody, unknown).test) == 25  # a corpus that is only a test set needs no speakers


def test_by_speakers():
    manifest = corpus(4)
    split = by_speakers(manifest, validation=["02"], test=["demo/01"])
    assert parts_of(split) == [{"demo/03", "demo/04"}, {"demo/02"}, {"demo/01"}]
    assert_apart(split, manifest)
    assert parts_of(by_speakers(manifest, train=["04"], test=["01"])) == [{"demo/04"}, set(), {"demo/01"}]
    with pytest.raises(CorpusError, match=r"demo/09; there are demo/01, demo/02"):
        by_speakers(manifest, test=["09"])
    with pytest.raises(SpeakerOverlapError):
        by_speakers(manifest, validation=["01"], test=["01"])
    with pytest.raises(CorpusError, match="no such speakers: 01"):
        by_speakers(Manifest.join([manifest, corpus(4, "other")]), test=["01"])


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_by_fraction_is_apart_complete_and_repeatable(uneven, seed):
    manifest = corpus(20, uneven=uneven)
    split = by_fraction(manifest, 0.2, 0.15, seed)
    assert_apart(split, manifest)
    assert [len(voices) for voices in parts_of(split)] == [13, 4, 3]
    again = by_fraction(Manifest(manifest.utterances[::-1], Path()), 0.2, 0.15, seed)
    assert parts_of(again) == parts_of(split)


def test_by_fraction_balances_gender_and_labels():
    manifest = corpus(20, uneven=True)
    drawn = [by_fraction(manifest, 4, 4, seed) for seed in range(5)]
    assert len({tuple(sorted(split.test.speakers)) for split in drawn}) > 1
    whole = {label: count / len(manifest) for label, count in manifest.count("emotion").items()}
    for split in drawn:
        for part in (split.validation, split.test):
            women = sum(int(voice[-2:]) % 2 for voice in part.speakers)
            assert women == 2
            shares = {label: count / len(part) for label, count in part.count("emotion").items()}
            assert all(abs(shares[label] - share) < 0.12 for label, share in whole.items())
            assert abs(len(part) / 4 / (len(manifest) / 20) - 1) < 0.2


def test_held_out_speakers_have_all_labels_where_enough_do():
    """Eight of twelve speakers have all labels; the three held out are among them."""
    rows = [item for item in corpus(12) if int(item.speaker) <= 8 or item.emotion == "happy"]
    split = by_fraction(Manifest(tuple(rows), Path()), 2, 1)
    assert all(int(voice[-2:]) <= 8 for part in (split.validation, split.test) for voice in part.speakers)


def test_by_fraction_with_too_few_speakers():
    with pytest.raises(CorpusError, match="at least one has to be left"):
        by_fraction(corpus(3), 2, 1)
    with pytest.raises(CorpusError, match="too few"):
        by_fraction(corpus(3), 0.1, 0.4)
    assert parts_of(by_fraction(corpus(3), 0, 1))[1] == set()


def test_speaker_groups_and_their_folds():
    manifest = corpus(14)
    groups = speaker_groups(manifest, 4)
    assert sorted(len(group) for group in groups) == [3, 3, 4, 4]
    assert sorted(itertools.chain(*groups)) == list(manifest.speakers)
    folds = k_folds(manifest, 4)
    assert [fold.test.speakers for fold in folds] == groups
    assert [fold.validation.speakers for fold in folds] == [*groups[1:], groups[0]]
    for fold in folds:
        assert_apart(fold, manifest)
    assert all(not len(fold.validation) for fold in k_folds(manifest, 4, validation=False))
    for impossible in (1, 15):
        with pytest.raises(CorpusError, match="groups"):
            speaker_groups(manifest, impossible)


def test_groups_balance_gender():
    for group in speaker_groups(corpus(12), 3):
        assert sum(int(voice[-2:]) % 2 for voice in group) == 2


def test_leave_one_speaker_out():
    folds = leave_one_speaker_out(corpus(5))
    assert [fold.test.speakers for fold in folds] == [(f"demo/0{number}",) for number in range(1, 6)]
    assert folds[4].validation.speakers == ("demo/01",)
    assert all(len(fold.train.speakers) == 3 for fold in folds)


def test_session_folds_refuse_sessions_that_share_speakers():
    manifest = corpus(6)
    assert [fold.test.speakers for fold in session_folds(manifest)][1] == ("demo/02", "demo/03")
    rows = tuple(dataclasses.replace(item, session=item.path[3]) for item in manifest)
    with pytest.raises(SpeakerOverlapError):
        session_folds(Manifest(rows, Path()))


def test_by_column_checks_the_makers_partitions():
    def parted(name_of) -> Manifest:
        return Manifest(tuple(dataclasses.replace(item, split=name_of(item)) for item in corpus(4)), Path())

    split = by_column(parted(lambda item: {"01": "test", "02": "validation"}.get(item.speaker, "train")))
    assert parts_of(split) == [{"demo/03", "demo/04"}, {"demo/02"}, {"demo/01"}]
    by_clip = parted(lambda item: "test" if item.path.endswith("-0.wav") else "train")
    with pytest.raises(SpeakerOverlapError):
        by_column(by_clip)
    assert len(by_column(by_clip, as_published="the makers' lists").shared_speakers) == 4


def test_description_names_every_part():
    description = by_speakers(corpus(3), test=["01"]).describe()
    assert description["test"] == {"clips": 6, "speakers": ["demo/01"], "checksum": corpus(3).where(speaker="01").checksum()}
    assert description["validation"]["clips"] == 0
