"""Folds by kind: who is tested, who validates, and what the published ones share."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.corpora import CorpusError, Manifest, SpeakerOverlapError, Split, Utterance
from training.folds import KINDS, folds_of, selected_on_test


def manifest(corpus: str = "demo", speakers: int = 6, path: str = "{session}/{speaker}-{emotion}.wav") -> Manifest:
    clips = [
        Utterance(corpus, path.format(session=number // 2, speaker=f"s{number}", emotion=emotion), f"s{number}", "fm"[number % 2],
                  emotion=emotion, label=emotion, session=str(number // 2))
        for number in range(speakers)
        for emotion in ("happy", "sad")
    ]  # fmt: skip
    return Manifest(tuple(clips), Path())


@pytest.mark.parametrize(("kind", "count", "tested"), [("speakers", 3, 2), ("leave-one-speaker-out", 6, 1), ("sessions", 3, 2)])
def test_every_speaker_is_tested_once_and_validation_is_taken_from_training(kind: str, count: int, tested: int) -> None:
    whole = manifest()
    folds = folds_of(whole, kind, groups=3)
    assert len(folds) == count == len({fold.name for fold in folds})
    assert sorted(voice for fold in folds for voice in fold.split.test.speakers) == sorted(whole.speakers)
    for fold in folds:
        parts = [set(part.speakers) for part in fold.split.parts.values()]
        assert len(parts[2]) == tested and parts[1] and parts[0]
        assert set.union(*parts) == set(whole.speakers) and sum(map(len, parts)) == 6


def test_names_say_who_is_tested() -> None:
    assert [fold.name for fold in folds_of(manifest(), "leave-one-speaker-out")][:2] == ["1-s0", "2-s1"]
    assert [fold.name for fold in folds_of(manifest(), "sessions")] == ["1", "2", "3"]


def test_folds_are_the_same_every_time() -> None:
    first, second = folds_of(manifest(), "speakers", groups=2), folds_of(manifest(), "speakers", groups=2)
    assert [fold.split.describe() for fold in first] == [fold.split.describe() for fold in second]


def test_dialogue_folds_get_validation_and_keep_saying_that_they_share_speakers() -> None:
    path = "Session1/sentences/wav/Ses0{session}F_impro01/Ses0{session}F_impro01_{speaker}{emotion}.wav"
    iemocap = manifest("iemocap", 8, path)
    folds = folds_of(iemocap, "iemocap-dialogues-as-published")
    assert len(folds) == 4 and all(fold.split.as_published and len(fold.split.validation) for fold in folds)
    with pytest.raises(CorpusError, match="folds are of iemocap"):
        folds_of(manifest(), "iemocap-dialogues-as-published")


def test_selection_on_test_trains_on_everybody_else() -> None:
    split = folds_of(manifest(), "leave-one-speaker-out")[0].split
    published = selected_on_test(split)
    assert len(published.validation) == 0 and published.test == split.test
    assert set(published.train.speakers) == {*split.train.speakers, *split.validation.speakers}
    with pytest.raises(SpeakerOverlapError):
        Split(published.train, split.test, published.test)


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(CorpusError, match="leave-one-speaker-out"):
        folds_of(manifest(), "random")
    assert all(kind.text for kind in KINDS.values())
