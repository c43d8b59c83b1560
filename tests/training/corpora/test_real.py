"""The packed corpora, where they are at hand: counts as documented, every file there, and readers that agree on names."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.corpora import CORPORA, Manifest, ased, emodb, emovo, load, nemo, ravdess, tess

CLIPS = {"ravdess": 1439, "tess": 1400, "emodb": 535, "emovo": 588, "nemo": 4481, "ased": 2470, "emospeech-in": 2018}


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_packed_corpora(corpora, name):
    manifest = load(name, corpora)
    assert len(manifest) == CLIPS[name]
    assert manifest.missing == ()
    assert len(manifest.speakers) == CORPORA[name].speakers
    assert set(manifest.count("language")) - {""} == set(CORPORA[name].languages)
    assert all(item.duration and len(item.sha256) == 64 for item in manifest)


def test_a_manifest_of_all_survives_the_disk(corpora, tmp_path):
    manifest = Manifest.join(load(name, corpora) for name in CLIPS)
    manifest.to_csv(tmp_path / "all.csv")
    again = Manifest.from_csv(tmp_path / "all.csv", manifest.root)
    assert again == manifest and again.checksum() == manifest.checksum()


@pytest.mark.parametrize("module", [ravdess, tess, emodb, emovo, ased], ids=lambda module: module.__name__.rpartition(".")[2])
def test_official_names_give_the_same_rows_as_the_packed_metadata(corpora, tmp_path, module):
    """The packed files keep the official names, so the official reader has to find the same speaker, gender, emotion and text."""
    name = module.__name__.rpartition(".")[2]
    real = load(name, corpora)
    for item in real:
        path = (tmp_path / item.path).with_suffix(".wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = {Path(item.path).stem: item for item in module.read(tmp_path)}
    assert len(found) == len(real)
    for item in real:
        twin = found[Path(item.path).stem]
        assert (twin.speaker, twin.gender, twin.language, twin.emotion) == (item.speaker, item.gender, item.language, item.emotion)
        assert twin.text == item.text


def test_nemo_labels_cover_the_official_names(corpora):
    for item in load("nemo", corpora):
        assert nemo.LABELS[Path(item.path).stem.split("_")[1]] == item.emotion
