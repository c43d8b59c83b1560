"""The fixed split: the file that is checked in, and what reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from training.corpora import CORPORA, CorpusError, Manifest, Utterance, by_session, default_split, defaults, load
from training.corpora.report import main

LISTS = yaml.safe_load(defaults.FILE.read_text(encoding="utf-8"))["default"]


def test_the_file_lists_every_speaker_once():
    assert set(LISTS) == {*defaults.HELD_OUT, *defaults.READ_SPEECH}
    for name, parts in LISTS.items():
        speakers = [speaker for part in ("train", "validation", "test") for speaker in parts[part]]
        assert all(isinstance(speaker, str) for speaker in speakers)
        assert len(speakers) == len(set(speakers)) == CORPORA[name].speakers
        if name in defaults.HELD_OUT:
            assert (len(parts["validation"]), len(parts["test"])) == defaults.HELD_OUT[name]


def test_every_held_out_set_of_several_has_both_sexes():
    """By the corpora's own speaker ids: RAVDESS odd is male, EMO-DB and EMOVO by their documentation."""
    male = {
        "ravdess": lambda speaker: int(speaker) % 2 == 1,
        "emodb": lambda speaker: speaker in {"03", "10", "11", "12", "15"},
        "emovo": lambda speaker: speaker.startswith("m"),
    }
    for name, is_male in male.items():
        for part in ("validation", "test"):
            speakers = LISTS[name][part]
            if len(speakers) > 1:
                assert sum(map(is_male, speakers)) == len(speakers) / 2


def test_read_speech_keeps_its_makers_test_speakers(corpora):
    """Transducers are tested on them: what pre-training hears must not be theirs. The split of the shipped transducers is this one."""
    for name in defaults.READ_SPEECH:
        manifest = load(name, corpora)
        split = default_split(manifest)
        assert {part: own.speakers for part, own in split.parts.items()} == {
            part: own.speakers for part, own in by_session(manifest).parts.items()
        }
        assert set(split.test.count("session")) == ({"test-adult"} if name == "speechocean762" else set())
        assert not any(clip.emotion for clip in manifest)


def test_default_split_of_several_corpora():
    rows = [Utterance(name, f"{name}/{part}.wav", LISTS[name][part][0]) for name in ("ravdess", "nemo") for part in LISTS[name]]
    split = default_split(Manifest(tuple(rows), Path()))
    for name, part in split.parts.items():
        assert part.speakers == tuple(sorted(f"{corpus}/{LISTS[corpus][name][0]}" for corpus in ("nemo", "ravdess")))


def test_default_split_refuses_what_no_list_holds(tmp_path):
    with pytest.raises(CorpusError, match=r"speakers .* does not list: ravdess/25"):
        default_split(Manifest((Utterance("ravdess", "a.wav", "25"),), Path()))
    with pytest.raises(CorpusError, match="no lists for own"):
        default_split(Manifest((Utterance("own", "a.wav", "1"),), Path()))
    with pytest.raises(CorpusError, match='no split "other"; it has default'):
        default_split(Manifest((Utterance("ravdess", "a.wav", "01"),), Path()), "other")


def test_the_file_is_what_the_command_draws(corpora, capsys):
    assert main(["--draw-splits", "--corpora", str(corpora)]) == 0
    assert capsys.readouterr().out == defaults.FILE.read_text(encoding="utf-8")


def test_held_out_parts_of_the_real_corpora(corpora):
    """Every label in validation and test, and shares of clips near the shares of speakers."""
    for name, (validation, test) in defaults.HELD_OUT.items():
        manifest = load(name, corpora)
        split = default_split(manifest)
        assert sum(map(len, split.parts.values())) == len(manifest)
        for part, speakers in ((split.validation, validation), (split.test, test)):
            if speakers:
                assert set(part.count("emotion")) == set(manifest.count("emotion"))
                assert abs(len(part) / len(manifest) - speakers / len(manifest.speakers)) < 0.05
