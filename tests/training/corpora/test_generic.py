"""Readers that are told what is in a file: CSV, Kaldi folders, EmoBox's lists; and the packed layout."""

from __future__ import annotations

import json

import pytest

from training.corpora import CorpusError, emobox, kaldi, listing, load, packed

LABELS = {"joy": "happy", "anger": "angry", "ennui": None}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_listing_finds_the_delimiter(root, audio, text, delimiter):
    audio(["wav/a.wav", "wav/b.wav"])
    rows = [
        ["class_id", "file", "actor", "sex", "from", "to"],
        ["joy", "wav/a.wav", "7", "Female", "0.5", "2"],
        ["ennui", "wav/b.wav", "8", "x", "", ""],
    ]
    file = text("list.csv", "\n".join(delimiter.join(row) for row in rows))
    columns = {"path": "file", "label": "class_id", "speaker": "actor", "gender": "sex", "start": "from", "end": "to"}
    manifest = listing.read(file, columns, LABELS, corpus="own", language="fr")
    found = [(item.path, item.speaker, item.gender, item.emotion, item.label, item.start, item.end, item.language) for item in manifest]
    assert found == [
        ("wav/a.wav", "7", "f", "happy", "joy", 0.5, 2.0, "fr"),
        ("wav/b.wav", "8", "", None, "ennui", None, None, "fr"),
    ]
    assert manifest.where(emotion="happy")[0].corpus == "own"


def test_listing_refuses_unknown_labels_and_columns(root, audio, text):
    audio(["a.wav"])
    file = text("list.csv", "file,emo\na.wav,rage\n")
    with pytest.raises(CorpusError, match='own: unknown labels "rage"'):
        listing.read(file, {"path": "file", "label": "emo"}, LABELS, corpus="own")
    with pytest.raises(CorpusError, match="lacks the columns who"):
        listing.read(file, {"path": "file", "label": "emo", "speaker": "who"}, LABELS, corpus="own")
    for columns in ({"path": "file"}, {"path": "file", "label": "emo", "emotion": "emo"}):
        with pytest.raises(CorpusError, match="must name path and label"):
            listing.read(file, columns, LABELS, corpus="own")
    with pytest.raises(CorpusError, match="there is no"):
        listing.read(root / "nothing.csv", {"path": "file", "label": "emo"}, LABELS, corpus="own")


def test_kaldi(root, audio, text):
    audio(["audio/u1.wav", "audio/u2.wav"])
    text("wav.scp", f"u1 audio/u1.wav\nu2 {root}/audio/u2.wav\nu3 audio/u3.wav\n")
    text("utt2spk", "u1 anna\nu2 bo\nu3 bo\n")
    text("utt2emo", "u1 joy\nu2 anger\nu3 joy\n")
    text("text", "u1 ça va bien\n")
    text("spk2gender", "anna f\nbo m\n")
    manifest = kaldi.read(root, LABELS, corpus="own")
    assert [(item.path, item.speaker, item.gender, item.emotion, item.text) for item in manifest] == [
        ("audio/u1.wav", "anna", "f", "happy", "ça va bien"),
        ("audio/u2.wav", "bo", "m", "angry", ""),
    ]
    assert manifest.missing == ("audio/u3.wav",)


def test_kaldi_segments_are_parts_of_recordings(root, audio, text):
    audio(["r.wav"])
    text("wav.scp", "rec r.wav\n")
    text("segments", "u2 rec 2.5 -1\nu1 rec 0.25 2.5\n")
    text("utt2spk", "u1 anna\nu2 bo\n")
    text("utt2emo", "u2 joy\nu1 anger\n")
    manifest = kaldi.read(root, LABELS, corpus="own")
    assert [(item.speaker, item.start, item.end, item.duration) for item in manifest] == [
        ("anna", 0.25, 2.5, 2.25),
        ("bo", 2.5, None, None),
    ]


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("wav.scp", "u1 sox a.wav -t wav - |\n", "commands are not run"),
        ("wav.scp", "other a.wav\n", r"u1 .* not in wav\.scp"),
        ("utt2spk", "other anna\n", "u1 .* not in utt2spk"),
        ("segments", "other a 0 1\n", "u1 .* not in segments"),
        ("utt2emo", "u1 rage\n", "unknown labels"),
    ],
)
def test_kaldi_refuses(root, audio, text, file, content, message):
    audio(["a.wav"])
    for name, usual in {"wav.scp": "u1 a.wav\n", "utt2spk": "u1 anna\n", "utt2emo": "u1 joy\n", file: content}.items():
        text(name, usual)
    with pytest.raises(CorpusError, match=message):
        kaldi.read(root, LABELS, corpus="own")


def test_kaldi_needs_its_files(root):
    with pytest.raises(CorpusError, match=r"there is no .*wav\.scp"):
        kaldi.read(root, LABELS, corpus="own")


def emobox_line(key, wav, label, **more):
    entry = {"key": key, "dataset": "emovo", "wav": f"downloads/emovo/{wav}", "type": "raw", "length": 2.0, "emo": label, "channel": 1}
    return entry | more


@pytest.fixture
def emobox_tree(root, audio, text):
    audio(["downloads/emovo/f2/gio-f2-b2.wav", "downloads/emovo/m1/long.wav"])
    lines = [
        emobox_line("emovo-gio-f2-b2", "f2/gio-f2-b2.wav", "gio"),
        emobox_line("emovo-x", "m1/long.wav", "Bored", start_time=1.5, end_time=3.5, channel=2),
    ]
    text("data/emovo/emovo.jsonl", "\n".join(map(json.dumps, lines)) + "\n")
    text("data/emovo/fold_1/emovo_test_fold_1.json", json.dumps({line["key"]: line for line in lines[:1]}))
    text("data/emovo/label_map.json", json.dumps({"gio": "Happy", "bored": "Boredom"}))
    text("data/emovo/data.seg.wrd.stm", "emovo-gio-f2-b2 1 f2 0 2.005 <id=emovo-gio-f2-b2,lang=en,spk=f2,emotion=gio> gio\n")
    return root


def test_emobox_lists(emobox_tree):
    manifest = emobox.read(emobox_tree / "data" / "emovo", emobox_tree / "downloads")
    first, second = manifest
    assert (first.corpus, first.path, first.speaker, first.emotion) == ("emovo", "emovo/f2/gio-f2-b2.wav", "f2", "happy")
    assert (first.channel, first.duration, first.start) == (0, 2.0, None)
    assert (second.speaker, second.emotion, second.label) == ("", None, "Bored")  # a label in another case than the map's
    assert (second.start, second.end, second.channel) == (1.5, 3.5, 1)
    fold = emobox.read(emobox_tree / "data" / "emovo", emobox_tree / "downloads", part="fold_1/emovo_test_fold_1.json")
    assert fold.utterances == (first,)


def test_emobox_refuses_names_it_does_not_know(emobox_tree, text):
    folder = emobox_tree / "data" / "emovo"
    with pytest.raises(CorpusError, match="fold_9"):
        emobox.read(folder, emobox_tree / "downloads", part="fold_9/x.jsonl")
    text("data/emovo/label_map.json", json.dumps({"gio": "Happiness"}))
    with pytest.raises(CorpusError, match='"happiness"'):
        emobox.read(folder, emobox_tree / "downloads")
    text("data/emovo/label_map.json", json.dumps({"gio": "Happy"}))
    with pytest.raises(CorpusError, match='"Bored"'):
        emobox.read(folder, emobox_tree / "downloads")
    (folder / "label_map.json").unlink()
    with pytest.raises(CorpusError, match="label_map"):
        emobox.read(folder, emobox_tree / "downloads")


PACKED = "path,speaker,gender,language,emotion,intensity,text,session,duration,sha256\n"


def test_packed(root, audio, text):
    audio(["a.wav", "b.wav"])
    text(
        "metadata.csv", PACKED + 'a.wav,03,m,de,calm,,"Ja, gut.",,1.898,aa\nb.wav,03,m,de,boredom,,,,1.5,bb\nc.wav,03,m,de,sad,,,,1.5,cc\n'
    )
    assert packed.is_packed(root)
    manifest = load("emodb", folder=root)
    first, second = manifest
    assert (first.emotion, first.label, first.text, first.duration, first.sha256) == ("calm", "calm", "Ja, gut.", 1.898, "aa")
    assert (second.emotion, second.label) == (None, "boredom")
    assert manifest.missing == ("c.wav",)
    with pytest.raises(CorpusError, match='"boredom"'):
        load("emovo", folder=root)


def test_a_folder_with_another_metadata_csv_is_read_in_its_official_layout(root, audio, text):
    audio(["wav/03a01Fa.wav"])
    text("metadata.csv", "path\tclass_id\tactor\n")
    assert load("emodb", folder=root)[0].emotion == "happy"
    with pytest.raises(CorpusError, match="has not the columns"):
        load("emospeech-in", folder=root)
