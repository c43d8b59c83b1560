"""Inputs come from the flag, then the variable, then beside the clone; a missing one says where to get it."""

from __future__ import annotations

import re

import pytest

from training import paths
from training.corpora import CORPORA, CorpusError, load


def test_order_of_flag_variable_and_neighbour(monkeypatch, tmp_path):
    for name in ("flag", "variable", "shared/corpora"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(paths, "BESIDE", tmp_path / "shared")
    monkeypatch.delenv("EMOSER_CORPORA", raising=False)
    assert paths.corpora_root() == tmp_path / "shared" / "corpora"
    monkeypatch.setenv("EMOSER_CORPORA", str(tmp_path / "variable"))
    assert paths.corpora_root() == tmp_path / "variable"
    assert paths.corpora_root(tmp_path / "flag") == tmp_path / "flag"


def test_a_place_that_was_named_but_is_not_there_is_not_replaced_by_another(monkeypatch, tmp_path):
    (tmp_path / "shared" / "corpora" / "ravdess").mkdir(parents=True)
    monkeypatch.setattr(paths, "BESIDE", tmp_path / "shared")
    with pytest.raises(paths.MissingInputError, match="mistyped"):
        load("ravdess", tmp_path / "mistyped")


def test_nothing_at_all(no_inputs):
    assert paths.corpora_root() is None
    assert paths.weights_root() is None
    with pytest.raises(paths.MissingInputError, match=r"EMOSER_EMOBOX_FOLDS.*github\.com/emo-box"):
        paths.emobox_folds()


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_a_missing_corpus_names_source_and_licence(no_inputs, name):
    with pytest.raises(paths.MissingInputError) as caught:
        load(name)
    message = str(caught.value)
    assert CORPORA[name].source in message
    assert CORPORA[name].licence in message
    assert "EMOSER_CORPORA" in message


@pytest.mark.parametrize("name", sorted(paths.WEIGHTS))
def test_missing_weights_name_source_and_licence(no_inputs, tmp_path, name):
    for given in (None, tmp_path):
        with pytest.raises(paths.MissingInputError, match=f"{re.escape(paths.WEIGHTS[name].source)}.*{paths.WEIGHTS[name].licence}"):
            paths.weights(name, given)


def test_weights_and_folds_that_are_there(monkeypatch, tmp_path):
    file = tmp_path / paths.WEIGHTS["silero-vad"].file
    file.touch()
    assert paths.weights("silero-vad", tmp_path) == file
    monkeypatch.setenv("EMOSER_EMOBOX_FOLDS", str(file))
    assert paths.emobox_folds() == file
    with pytest.raises(KeyError, match="whisper-tiny-en"):
        paths.weights("whisper")


def test_an_unknown_corpus_lists_all_and_the_nearest(tmp_path):
    with pytest.raises(CorpusError, match=r'mean "ravdess"\?.*tess'):
        load("ravdes", tmp_path)


def test_folder_names_of_official_archives(tmp_path):
    (tmp_path / "CREMA-D").mkdir()
    assert paths.corpus("cremad", "source", "licence", tmp_path, CORPORA["cremad"].folders) == tmp_path / "CREMA-D"
    (tmp_path / "cremad").mkdir()
    assert paths.corpus("cremad", "source", "licence", tmp_path, CORPORA["cremad"].folders) == tmp_path / "cremad"
