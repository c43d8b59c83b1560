"""The manifest: what it holds, what it refuses, and that nothing is lost on the way to disk and back."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from training.corpora import CorpusError, Manifest, Utterance, load, measured
from training.corpora.labels import LabelMap

FULL = Utterance(
    corpus="demo",
    path="ordner/ä b.wav",
    speaker="07",
    gender="f",
    language="de",
    emotion="happy",
    label="Freude",
    text='Sie sagt: "ja, ja",\nund geht; später — 你好.',
    session="3",
    start=0.1,
    end=1.0 / 3.0 + 1,
    channel=0,
    duration=2.0,
    sha256="ab" * 32,
    split="train",
    segments=((0.1, 0.7, "happy"), (0.7, 1.25, "not agreed on")),
)
BARE = Utterance("demo", "b.wav")


def test_csv_round_trip_loses_nothing(tmp_path):
    manifest = Manifest((FULL, BARE), tmp_path)
    manifest.to_csv(tmp_path / "m.csv")
    assert Manifest.from_csv(tmp_path / "m.csv") == manifest
    assert load(str(tmp_path / "m.csv")) == manifest
    assert Manifest.from_csv(tmp_path / "m.csv", root="elsewhere").file(BARE).as_posix() == "elsewhere/b.wav"
    header = (tmp_path / "m.csv").read_bytes().split(b"\n")[0].decode()
    assert header.split(",") == [field.name for field in dataclasses.fields(Utterance)]


def test_csv_of_a_spreadsheet_and_of_another_tool(tmp_path):
    file = tmp_path / "m.csv"
    file.write_text("path,corpus,comment,emotion\r\na.wav,demo,x,sad\r\n", encoding="utf-8-sig")
    assert Manifest.from_csv(file).utterances == (Utterance("demo", "a.wav", emotion="sad"),)
    file.write_text("file,corpus\na.wav,demo\n")
    with pytest.raises(CorpusError, match="path"):
        Manifest.from_csv(file)


def test_a_clip_twice_and_an_unknown_emotion_are_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"twice.*demo b\.wav"):
        Manifest((BARE, dataclasses.replace(BARE, speaker="1")), tmp_path)
    parts = (dataclasses.replace(BARE, start=0.0, end=1.0), dataclasses.replace(BARE, start=1.0, end=2.0))
    assert len(Manifest(parts, tmp_path)) == 2
    with pytest.raises(CorpusError, match="boredom"):
        Manifest((dataclasses.replace(BARE, emotion="boredom"),), tmp_path)


def sample(root) -> Manifest:
    rows = [
        Utterance("one", "a.wav", "1", "f", emotion="calm", label="calm"),
        Utterance("one", "b.wav", "1", "f", emotion="sad", label="sad"),
        Utterance("one", "c.wav", "2", "m", emotion=None, label="boredom"),
        Utterance("two", "d.wav", "1", "m", emotion="sad", label="tri"),
        Utterance("two", "e.wav", "", "", emotion="happy", label="gio"),
    ]
    return Manifest(tuple(rows), root)


def test_speakers_are_told_apart_by_corpus_and_unknown_ones_do_not_count(tmp_path):
    assert sample(tmp_path).speakers == ("one/1", "one/2", "two/1")
    assert sample(tmp_path).corpora == ("one", "two")
    assert sample(tmp_path)[4].voice == ""


def test_where_filter_and_count(tmp_path):
    manifest = sample(tmp_path)
    assert [item.path for item in manifest.where(corpus="one", emotion=["sad", "calm"])] == ["a.wav", "b.wav"]
    assert [item.path for item in manifest.where(emotion=None)] == ["c.wav"]
    assert [item.path for item in manifest.where(voice=("two/1",))] == ["d.wav"]
    assert [item.path for item in manifest.filter(lambda item: item.gender == "f")] == ["a.wav", "b.wav"]
    assert manifest.count("emotion") == {"sad": 2, "calm": 1, "happy": 1, "": 1}
    with pytest.raises(CorpusError, match="speakr"):
        manifest.where(speakr="1")


def test_mapping_goes_by_emotion_else_by_the_own_label(tmp_path):
    manifest = sample(tmp_path)
    mapped = manifest.mapped({"calm": "neutral", "boredom": "sad", "happy": None, "tri": "fear"})
    assert [item.emotion for item in mapped] == ["neutral", "sad", "sad", "sad", None]
    assert [item.label for item in mapped] == [item.label for item in manifest]
    assert [item.path for item in manifest.with_emotions(["neutral"], {"calm": "neutral"})] == ["a.wav"]
    with pytest.raises(CorpusError, match="bored"):
        manifest.mapped({"calm": "bored"})


def test_join_keeps_every_file_reachable(tmp_path):
    parts = []
    for name in ("one", "two"):
        folder = tmp_path / name / "audio"
        folder.mkdir(parents=True)
        (folder / "x.wav").write_bytes(name.encode())
        parts.append(Manifest((Utterance(name, "x.wav"),), folder))
    joined = Manifest.join(parts)
    assert joined.root == tmp_path.resolve()
    assert [joined.file(item).read_text() for item in joined] == ["one", "two"]
    with pytest.raises(CorpusError, match="no manifest"):
        Manifest.join([])


def test_checksum_is_of_the_rows_alone(tmp_path):
    manifest = Manifest((FULL, BARE), tmp_path)
    assert manifest.checksum() == Manifest((BARE, FULL), tmp_path / "elsewhere").checksum()
    for name, value in {"speaker": "08", "emotion": "sad", "text": "", "start": 0.2, "split": "test"}.items():
        assert manifest.checksum() != Manifest((dataclasses.replace(FULL, **{name: value}), BARE), tmp_path).checksum()


def test_measured_fills_in_what_is_unknown(root, audio):
    audio(["a.wav", "b.wav"], rate=8000, samples=4000)
    rows = (Utterance("demo", "a.wav"), Utterance("demo", "b.wav", start=0.1, end=0.3, sha256="known"))
    first, second = measured(Manifest(rows, root))
    assert (first.duration, second.duration) == (0.5, 0.2)
    assert first.sha256 == hashlib.sha256((root / "a.wav").read_bytes()).hexdigest()
    assert second.sha256 == "known"


def test_label_map_reports_all_unknown_labels_at_once():
    labels = LabelMap("demo", {"joy": "happy", "boredom": None})
    assert [labels[word] for word in ("joy", "boredom", "rage", "rage", "awe")] == ["happy", None, None, None, None]
    with pytest.raises(CorpusError, match=r'"awe" \(1 clips\), "rage" \(2 clips\)'):
        labels.check()
    with pytest.raises(CorpusError, match="bored"):
        LabelMap("demo", {"x": "bored"})
