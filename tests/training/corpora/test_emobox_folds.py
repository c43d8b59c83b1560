"""EmoBox's folds: by speaker as they are, by clip only under their name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training import paths
from training.corpora import CorpusError, Manifest, Utterance, emobox_folds, load


def speakers(name: str, count: int) -> Manifest:
    rows = [
        Utterance(name, f"{speaker}_{clip}.wav", f"s{speaker}", emotion=("sad", "happy")[clip % 2])
        for speaker in range(count)
        for clip in range(10)
    ]
    return Manifest(tuple(rows), Path())


@pytest.fixture
def file(tmp_path):
    listed = {
        "apart": {
            "speaker_independent": True,
            "rule": "by speaker",
            "folds": {str(number): {"test_speakers": [f"s{number}"]} for number in range(6, -1, -1)},
        },
        "mixed": {
            "speaker_independent": False,
            "rule": "a random quarter",
            "folds": {"1": {"test_speakers": ["s0", "s1"], "test_keys": ["mixed-0-3", "mixed-1-4"]}},
        },
    }
    path = tmp_path / "folds.json"
    path.write_text(json.dumps({"corpora": listed}))
    return path


def test_folds_by_speaker(file):
    folds = emobox_folds.folds(speakers("apart", 7), file)
    assert [fold.test.speakers for fold in folds] == [(f"apart/s{number}",) for number in range(7)]
    for fold in folds:
        assert fold.as_published == "" and fold.shared_speakers == ()
        assert len(fold.validation.speakers) == 1 and len(fold.train.speakers) == 5


def test_legacy_validation_shares_speakers_with_training_only(file):
    for fold in emobox_folds.folds(speakers("apart", 7), file, legacy=True):
        assert len(fold.validation) == 12 and len(fold.train) == 48
        assert fold.shared_speakers and not set(fold.shared_speakers) & set(fold.test.speakers)
        assert fold.as_published == "EmoBox apart: train and validation share speakers"


def test_folds_by_clip_are_there_only_as_published(file):
    manifest = speakers("mixed", 4)
    with pytest.raises(CorpusError, match=r"a random quarter.*legacy"):
        emobox_folds.folds(manifest, file)
    (fold,) = emobox_folds.folds(manifest, file, legacy=True)
    assert [item.path for item in fold.test] == ["0_3.wav", "1_4.wav"]
    assert len(fold.validation) == round(0.2 * 38)
    assert "train, validation and test share speakers" in fold.as_published
    assert emobox_folds.folds(manifest, file, seed=1, legacy=True)[0].validation != fold.validation


def test_what_emobox_does_not_have(file):
    with pytest.raises(CorpusError, match='"nemo"; it has apart, mixed'):
        emobox_folds.folds(speakers("nemo", 4), file)
    with pytest.raises(CorpusError, match="one corpus"):
        emobox_folds.folds(Manifest.join([speakers("apart", 4), speakers("mixed", 4)]), file)
    with pytest.raises(CorpusError, match="none of the 2 test clips"):
        emobox_folds.folds(Manifest((Utterance("mixed", "other.wav", "s1"),), Path()), file, legacy=True)
    with pytest.raises(CorpusError, match="no such speakers: apart/s2"):
        emobox_folds.folds(speakers("apart", 2), file)


@pytest.fixture
def real_file():
    try:
        return paths.emobox_folds()
    except paths.MissingInputError:
        pytest.skip("no EmoBox folds at hand (EMOSER_EMOBOX_FOLDS)")


def test_real_folds_have_the_published_sizes(corpora, real_file):
    ravdess = emobox_folds.folds(load("ravdess", corpora), real_file)
    assert [len(fold.test) for fold in ravdess] == [240, 240, 240, 239, 240, 240]  # one clip of 1440 is not in the packed corpus
    assert [sum(int(voice[-2:]) % 2 for voice in fold.test.speakers) for fold in ravdess] == [3, 0, 3, 3, 1, 2]
    emovo = emobox_folds.folds(load("emovo", corpora), real_file)
    assert [fold.test.speakers[0] for fold in emovo] == [f"emovo/{name}" for name in ("f2", "m3", "m2", "f3", "f1", "m1")]
    assert all(len(fold.test) == 98 for fold in emovo)
    emodb = emobox_folds.folds(load("emodb", corpora), real_file, legacy=True)
    assert [len(fold.test) for fold in emodb] == [107] * 5
    assert all(len(fold.shared_speakers) == 10 for fold in emodb)
    (ased,) = emobox_folds.folds(load("ased", corpora), real_file, legacy=True)
    assert 610 <= len(ased.test) <= 616
