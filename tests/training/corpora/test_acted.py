"""Readers of the open acted corpora, on trees in their official layouts."""

from __future__ import annotations

import pytest

from training.corpora import CorpusError, ased, cremad, emodb, emovo, emozionalmente, esd, nemo, ravdess, tess


def brief(manifest, *columns):
    return [tuple(getattr(item, column) for column in columns) for item in manifest]


def test_ravdess(root, audio):
    audio(
        [
            "Actor_01/03-01-05-02-01-02-01.wav",
            "Actor_02/03-01-08-01-02-01-02.wav",
            "Actor_02/03-02-04-01-01-01-02.wav",  # a song
            "Actor_02/01-01-04-01-01-01-02.wav",  # the sound of a video
            "audio_speech_actors_01-24/Actor_01/03-01-05-02-01-02-01.wav",  # the second copy in a well-known mirror
            "Actor_01/notes.wav",
        ]
    )
    manifest = ravdess.read(root)
    assert brief(manifest, "path", "speaker", "gender", "emotion", "text") == [
        ("Actor_01/03-01-05-02-01-02-01.wav", "01", "m", "angry", "Kids are talking by the door."),
        ("Actor_02/03-01-08-01-02-01-02.wav", "02", "f", "surprise", "Dogs are sitting by the door."),
    ]
    assert sum(manifest.dropped.values()) == 4
    assert manifest.dropped["not audio-only speech"] == 2
    assert manifest.missing == ()


def test_ravdess_with_an_unknown_emotion(root, audio):
    audio(["Actor_01/03-01-09-01-01-01-01.wav", "Actor_01/03-01-12-01-01-01-01.wav", "Actor_01/03-01-01-01-01-01-01.wav"])
    with pytest.raises(CorpusError, match=r'ravdess: unknown labels "09" \(1 clips\), "12" \(1 clips\)'):
        ravdess.read(root)


@pytest.mark.parametrize("reader", [ravdess, tess, emodb, emovo, ased, esd])
def test_a_wrong_folder_is_an_error(root, audio, reader):
    audio(["music/track.wav"])
    with pytest.raises(CorpusError, match="official archive"):
        reader.read(root)


def test_tess_with_its_misspelt_file(root, audio):
    audio(["OAF_angry/OAF_back_angry.wav", "OAF_neutral/OA_bite_neutral.wav", "YAF_pleasant_surprised/YAF_back_ps.wav"])
    assert brief(tess.read(root), "speaker", "emotion", "label", "text", "gender") == [
        ("OAF", "angry", "angry", "Say the word back.", "f"),
        ("OAF", "neutral", "neutral", "Say the word bite.", "f"),
        ("YAF", "surprise", "ps", "Say the word back.", "f"),
    ]


def test_emodb(root, audio):
    audio(["wav/03a01Fa.wav", "wav/08b10Lb.wav", "wav/16a02Wc.wav", "wav/16a02N.wav"])
    assert brief(emodb.read(root), "speaker", "gender", "emotion", "label", "text") == [
        ("03", "m", "happy", "F", "Der Lappen liegt auf dem Eisschrank."),
        ("08", "f", None, "L", "Die wird auf dem Platz sein, wo wir sie immer hinlegen."),
        ("16", "f", "neutral", "N", "Das will sie am Mittwoch abgeben."),
        ("16", "f", "angry", "W", "Das will sie am Mittwoch abgeben."),
    ]


def test_emovo(root, audio):
    audio(["f1/rab-f1-b1.wav", "m3/gio-m3-n5.wav"])
    assert brief(emovo.read(root), "speaker", "gender", "emotion", "text") == [
        ("f1", "f", "angry", "Gli operai si alzano presto."),
        ("m3", "m", "happy", "Uno quarantatré dieci mille cinquantasette venti."),
    ]


def test_nemo_counts_listed_files_that_are_missing(root, audio, text):
    audio(["samples/KS0_anger_1.wav", "samples/EB0_surprised_2.wav"])
    text(
        "data.tsv",
        "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
        "KS0_anger_1.wav\tanger\tLubię czytać, przed snem.\tlubię\tKS0\tmale\t24\n"
        "EB0_surprised_2.wav\tsurprised\tMożemy?\tmożemy\tEB0\tfemale\t31\n"
        "EB0_fear_9.wav\tfear\tNie ma.\tnie ma\tEB0\tfemale\t31\n",
    )
    manifest = nemo.read(root)
    assert brief(manifest, "path", "speaker", "gender", "emotion", "text") == [
        ("samples/EB0_surprised_2.wav", "EB0", "f", "surprise", "Możemy?"),
        ("samples/KS0_anger_1.wav", "KS0", "m", "angry", "Lubię czytać, przed snem."),
    ]
    assert manifest.missing == ("samples/EB0_fear_9.wav",)


def test_a_table_that_lacks_a_column_or_a_cell(root, audio, text):
    audio(["samples/a.wav"])
    text("data.tsv", "file_id\temotion\na.wav\tanger\n")
    with pytest.raises(CorpusError, match="gender, raw_text, speaker_id"):
        nemo.read(root)
    text("data.tsv", "file_id\temotion\traw_text\tspeaker_id\tgender\na.wav\tanger\n")
    with pytest.raises(CorpusError, match="row 2"):
        nemo.read(root)
    (root / "data.tsv").unlink()
    with pytest.raises(CorpusError, match="there is no"):
        nemo.read(root)


def test_ased_with_its_capital_code_and_contradicting_gender(root, audio):
    audio(["Sad/S4-04-02-01-29.wav", "Sad/s4-01-02-02-09.wav", "Anger/a5-07-02-02-63.wav"])
    assert brief(ased.read(root), "speaker", "gender", "emotion", "session") == [
        ("63", "m", "angry", "02"),
        ("29", "f", "sad", "02"),
        ("09", "f", "sad", "02"),  # its name says 02, male; all others of speaker 09 say female
    ]


def test_cremad(root, audio, text):
    audio(
        [
            "AudioWAV/1001_DFA_ANG_XX.wav",
            "AudioWAV/1040_ITH_SAD_X.wav",  # one X short, officially
            "AudioWAV/1076_MTI_SAD_XX.wav",
            "AudioWAV/1064_IEO_DIS_MD.wav",
        ]
    )
    text("VideoDemographics.csv", "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n1040,42,Female,Asian,Hispanic\n")
    manifest = cremad.read(root)
    assert brief(manifest, "speaker", "gender", "emotion", "text") == [
        ("1001", "m", "angry", "Don't forget a jacket."),
        ("1040", "f", "sad", "I think I have a doctor's appointment."),
    ]
    assert list(manifest.dropped.values()) == [2]


def test_emozionalmente(root, audio, text):
    audio(["audio/1613840532900.wav", "audio/1614251417932.wav"])
    text("metadata/users.csv", "username,age,gender\nanna,30,female\nugo,44,male\nkim,20,other\n")
    text(
        "metadata/samples.csv",
        "actor,file_name,emotion_expressed\nugo,1613840532900.wav,joy\nkim,1614251417932,neutrality\nanna,1614680733939.wav,fear\n",
    )
    manifest = emozionalmente.read(root)
    assert brief(manifest, "speaker", "gender", "emotion") == [("ugo", "m", "happy"), ("kim", "", "neutral")]
    assert manifest.missing == ("audio/1614680733939.wav",)


def test_esd_takes_the_emotion_from_the_folder_and_reads_every_encoding(root, audio, text):
    audio(
        [
            "0001/Angry/0001_000351.wav",
            "0011/Surprise/evaluation/0011_000001.wav",  # by its number it would be neutral
            "0012/Sad/0012_001051.wav",
            "0016/Neutral/0016_000002.wav",
        ]
    )
    text("0001/0001.txt", "0001_000351\t打远一看\t生气\n", "gb2312")
    text("0011/0011.txt", "0011_000001\tThe nine the eggs.\tSurprise\n")
    text("0012/0012.txt", "0012_001051\tAt the roundhouse.\tSad\r\n", "utf-16-le")
    text("0016/0016.txt", "0016_000002\tIt\u2019s true.\tNeutral\n", "cp1252")
    text("ReadMe.txt", "0001_000351\tnot a transcript\n")
    assert brief(esd.read(root), "speaker", "gender", "language", "emotion", "text", "session") == [
        ("0001", "f", "zh", "angry", "打远一看", ""),
        ("0011", "m", "en", "surprise", "The nine the eggs.", "evaluation"),
        ("0012", "m", "en", "sad", "At the roundhouse.", ""),
        ("0016", "f", "en", "neutral", "It\u2019s true.", ""),
    ]


def test_esd_has_five_of_each_sex_in_both_languages():
    mandarin = {f"{number:04d}" for number in range(1, 11)}
    assert len(esd.FEMALE & mandarin) == len(esd.FEMALE - mandarin) == 5
