"""`python -m training corpora`."""

from __future__ import annotations

import pytest

from training.corpora import CORPORA, Manifest, describe, load
from training.corpora.report import main


@pytest.fixture
def emovo(root, audio):
    audio(["emovo/f1/rab-f1-b1.wav", "emovo/f1/gio-f1-b1.wav", "emovo/m1/gio-m1-b1.wav", "emovo/x.wav"])
    return root


def test_description(emovo):
    lines = describe("emovo", emovo).splitlines()
    assert lines[0] == "emovo (it)"
    assert str(emovo / "emovo") in lines[1]
    assert lines[2].strip() == "3 clips, 2 speakers"
    assert lines[3].strip() == "happy 2, angry 1"
    assert lines[4].strip() == "1 dropped: name is not one of the corpus"
    assert CORPORA["emovo"].licence in lines[5] and CORPORA["emovo"].source in lines[6]


def test_all_corpora_are_listed_whether_found_or_not(emovo, capsys):
    assert main(["--corpora", str(emovo)]) == 0
    out = capsys.readouterr().out
    assert out.count("not found") == len(CORPORA) - 1
    assert all(f"\n{name} (" in f"\n{out}" for name in CORPORA)
    assert main(["--corpora", str(emovo), "--found"]) == 0
    assert capsys.readouterr().out == describe("emovo", emovo) + "\n"


def test_a_corpus_that_cannot_be_read_says_why(root, audio, capsys):
    audio(["ravdess/notes.wav"])
    assert main(["ravdess", "--corpora", str(root)]) == 0
    assert "not readable: ravdess: no clips" in capsys.readouterr().out


def test_missing_files_are_reported(root, text, audio):
    audio(["nemo/samples/a.wav"])
    header = "file_id\temotion\traw_text\tspeaker_id\tgender\n"
    text("nemo/data.tsv", header + "a.wav\tanger\tx\tKS0\tmale\nb.wav\tanger\tx\tKS0\tmale\n")
    assert "1 listed files are missing, the first: samples/b.wav" in describe("nemo", root)


def test_an_unknown_name_is_a_usage_error(capsys):
    assert main(["emov"]) == 2
    assert 'did you mean "emovo"?' in capsys.readouterr().err


def test_manifest_to_csv(emovo, tmp_path, capsys):
    file = tmp_path / "m.csv"
    assert main(["emovo", "--corpora", str(emovo), "--csv", str(file)]) == 0
    assert "3 clips" in capsys.readouterr().out
    assert Manifest.from_csv(file, emovo / "emovo") == Manifest(load("emovo", emovo).utterances, emovo / "emovo")


def test_manifest_of_all_that_is_there(emovo, tmp_path, capsys):
    file = tmp_path / "m.csv"
    assert main(["--corpora", str(emovo), "--csv", str(file)]) == 0
    assert "3 clips" in capsys.readouterr().out and len(Manifest.from_csv(file, emovo)) == 3


def test_what_is_not_there_is_said_and_no_file_is_left(emovo, tmp_path, capsys):
    file = tmp_path / "m.csv"
    assert main(["emodb", "--corpora", str(emovo), "--csv", str(file)]) == 3
    assert 'corpus "emodb"' in capsys.readouterr().err and not file.exists()
    with pytest.raises(SystemExit, match="2"):
        main(["--corpora", str(emovo / "nowhere")])
    assert "no such folder" in capsys.readouterr().err
