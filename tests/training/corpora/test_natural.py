"""Readers of IEMOCAP, MSP-Podcast and ZED, on trees in their official layouts, and IEMOCAP's folds."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from training.corpora import CorpusError, SpeakerOverlapError, by_column, iemocap, msp_podcast, session_folds, zed

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\t{0}_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\t{0}_M000\t{1}\t[2.5000, 2.5000, 2.5000]
"""


@pytest.fixture
def iemocap_tree(root, audio, text):
    """Five sessions of one improvised and one scripted dialogue; the second clip of each dialogue has another label."""
    labels = iter(["exc", "ang", "sad", "hap", "xxx", "fru", "sur", "oth", "fea", "dis"])
    for session in range(1, 6):
        for dialogue in (f"Ses0{session}F_impro01", f"Ses0{session}M_script01_1"):
            home = f"Session{session}/dialog"
            text(f"{home}/EmoEvaluation/{dialogue}.txt", EVALUATION.format(dialogue, next(labels)))
            text(f"{home}/EmoEvaluation/._{dialogue}.txt", "\0\0 no text")
            text(f"{home}/EmoEvaluation/Categorical/{dialogue}_e2_cat.txt", f"{dialogue}_F000 :Anger; ()")
            text(
                f"{home}/transcriptions/{dialogue}.txt",
                f"{dialogue}_F000 [006.2901-008.2357]: Excuse me. [LAUGHTER]\n{dialogue}_MXX0 [008.0-009.0]: um\nM: what\n",
            )
            audio([f"Session{session}/sentences/wav/{dialogue}/{dialogue}_{letter}000.wav" for letter in "FM"])
    return root


def test_iemocap_reads_speaker_and_session_off_the_clip(iemocap_tree):
    manifest = iemocap.read(iemocap_tree)
    assert len(manifest) == 20
    first, second = manifest[0], manifest[1]
    assert first.path == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert (first.speaker, first.gender, first.session, first.emotion, first.label) == ("Ses01F", "f", "Ses01", "neutral", "neu")
    assert (first.text, first.duration) == ("Excuse me. [LAUGHTER]", 1.9456)
    assert (second.speaker, second.emotion, second.label, second.text) == ("Ses01M", "happy", "exc", "")
    assert len(manifest.speakers) == 10
    assert manifest.dropped == {} and manifest.missing == ()


def test_iemocap_labels(iemocap_tree):
    manifest = iemocap.read(iemocap_tree)
    others = {item.label: item.emotion for item in manifest if item.label != "neu"}
    assert others == {
        "exc": "happy",
        "hap": "happy",
        "ang": "angry",
        "sad": "sad",
        "sur": "surprise",
        "fea": "fear",
        "dis": "disgust",
        "xxx": None,
        "fru": None,
        "oth": None,
    }
    four = manifest.with_emotions(iemocap.FOUR)
    assert four.count("emotion") == {"neutral": 10, "happy": 2, "angry": 1, "sad": 1}
    assert {item.label for item in four} == {"neu", "hap", "exc", "ang", "sad"}


def test_iemocap_missing_audio_is_counted_and_a_bad_name_is_an_error(iemocap_tree, text):
    (iemocap_tree / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav").unlink()
    assert iemocap.read(iemocap_tree).missing == ("Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav",)
    text("Session1/dialog/EmoEvaluation/Ses01F_impro02.txt", "[0.1000 - 0.2000]\tSes01_F000\tneu\t[1, 1, 1]")
    with pytest.raises(CorpusError, match="Ses01_F000"):
        iemocap.read(iemocap_tree)


def test_iemocap_folds_by_session(iemocap_tree):
    folds = session_folds(iemocap.read(iemocap_tree))
    assert [fold.test.speakers for fold in folds][:2] == [("iemocap/Ses01F", "iemocap/Ses01M"), ("iemocap/Ses02F", "iemocap/Ses02M")]
    assert [fold.validation.count("session") for fold in folds][-1] == {"Ses01": 4}
    assert all(len(fold.train) == 12 for fold in folds)
    assert all(len(fold.train) == 16 and not len(fold.validation) for fold in session_folds(iemocap.read(iemocap_tree), validation=False))


@pytest.mark.parametrize("partner, held", [("validation", 1), ("dropped", 0)])
def test_iemocap_folds_by_true_speaker_never_train_on_the_partner(iemocap_tree, partner, held):
    folds = iemocap.speaker_folds(iemocap.read(iemocap_tree), partner)
    assert len(folds) == 10
    for fold in folds:
        assert len(fold.test.speakers) == 1
        session = fold.test[0].session
        assert session not in fold.train.count("session")
        assert len(fold.train.speakers) == 8
        assert len(fold.validation.speakers) == held
    tested = Counter(voice for fold in folds for voice in fold.test.speakers)
    assert set(tested.values()) == {1}


def test_iemocap_folds_as_published_share_speakers_and_say_so(iemocap_tree):
    manifest = iemocap.read(iemocap_tree)
    folds = iemocap.dialogue_folds_as_published(manifest)
    assert len(folds) == 10
    for fold in folds:
        assert fold.test.speakers == fold.shared_speakers and len(fold.shared_speakers) == 2
        assert "overlap" in fold.as_published
        assert len(fold.train) + len(fold.test) == len(manifest)


MSP = {
    "MSP-PODCAST_0001_0008.wav": ("N", "127", "Male", "Train"),
    "MSP-PODCAST_0002_0033.wav": ("A", "8", "Female", "Development"),
    "MSP-PODCAST_0003_0100.wav": ("X", "9", "Female", "Test1"),
    "MSP-PODCAST_0003_0101.wav": ("C", "Unknown", "Unknown", "Test2"),
    "MSP-PODCAST_0004_0001.wav": ("U", "11", "Male", "Train"),  # its file is missing
}
HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"


@pytest.mark.parametrize("form", ["csv", "json"])
def test_msp_podcast(root, audio, text, form):
    audio([f"Audios/{name}" for name in list(MSP)[:4]])
    text("Transcripts/MSP-PODCAST_0001_0008.txt", "and then he left\n")
    if form == "csv":
        lines = [f"{name},{emotion},4.0,3.5,4.1,{speaker},{gender},{part}" for name, (emotion, speaker, gender, part) in MSP.items()]
        text("Labels/labels_consensus.csv", HEADER + "\n".join(lines))
    else:
        entries = {
            name: {
                "EmoClass": emotion,
                "EmoAct": 4.0,
                "SpkrID": int(speaker) if speaker.isdigit() else speaker,
                "Gender": gender,
                "Split_Set": part,
            }
            for name, (emotion, speaker, gender, part) in MSP.items()
        }
        text("Labels/labels_consensus.json", json.dumps(entries))
    manifest = msp_podcast.read(root)
    found = [(item.speaker, item.gender, item.emotion, item.label, item.split) for item in manifest]
    assert found == [
        ("127", "m", "neutral", "N", "train"),
        ("8", "f", "angry", "A", "validation"),
        ("9", "f", None, "X", "test1"),
        ("", "", None, "C", "test2"),
    ]
    assert manifest[0].text == "and then he left"
    assert manifest.missing == ("Audios/MSP-PODCAST_0004_0001.wav",)

    assert [len(part) for part in by_column(manifest, "test1").parts.values()] == [1, 1, 1]
    with pytest.raises(SpeakerOverlapError, match="no speaker"):
        by_column(manifest, "test2")
    assert len(by_column(manifest, "test2", as_published="MSP-Podcast Test2: speakers not all known").test) == 1
    with pytest.raises(CorpusError, match="test1, test2, train, validation"):
        by_column(manifest, "test3")


def test_msp_podcast_without_labels(root):
    with pytest.raises(CorpusError, match="labels_consensus"):
        msp_podcast.read(root)


def zed_entry(*segments):
    parts = [{"emo": emotion, "start": start, "end": end} for emotion, start, end in segments]
    return {"wav": "datafolder/clips/a.wav", "duration": 4.48, "emotion": parts, "transcription": "I won!"}


def test_zed(root, audio, text):
    audio(["clips/a.wav"])
    entries = {"utt_1": zed_entry(("happy", 1.94, 4.48)), "utt_2": zed_entry(("sad", 0.0, 1.0)) | {"wav": "datafolder/clips/b.wav"}}
    text("ZED.json", json.dumps(entries))
    manifest = zed.read(root)
    assert manifest.missing == ("clips/b.wav",)
    clip = manifest[0]
    assert (clip.path, clip.emotion, clip.duration, clip.text, clip.split) == ("clips/a.wav", "happy", 4.48, "I won!", "test")
    assert clip.segments == ((1.94, 4.48, "happy"),)
    assert (clip.start, clip.end, clip.speaker) == (None, None, "")


@pytest.mark.parametrize(
    "segments, message",
    [
        ([("happy", 1.0, 5.0)], "pass its 4.48 s"),
        ([("happy", 1.0, 3.0), ("sad", 2.0, 4.0)], "overlap"),
        ([("bored", 1.0, 3.0)], 'unknown labels "bored"'),
    ],
)
def test_zed_with_impossible_segments(root, audio, text, segments, message):
    audio(["clips/a.wav"])
    text("ZED.json", json.dumps({"utt_1": zed_entry(*segments)}))
    with pytest.raises(CorpusError, match=message):
        zed.read(root)


def test_zed_without_its_file(root):
    with pytest.raises(CorpusError, match=r"ZED\.json"):
        zed.read(root)
