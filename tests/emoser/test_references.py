"""References of emotions over time: what each format says, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emoser.diarization.references import Reference, read_references
from emoser.errors import UsageError

SEGMENTS = ((0.5, 1.25, "happy"), (1.5, 2.0, "sad"))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def test_zed_holds_any_number_of_segments_below_the_folder_of_the_recordings(tmp_path: Path) -> None:
    emotion = [{"emo": "sad", "start": 1.5, "end": 2.0}, {"emo": "Joy", "start": 0.5, "end": 1.25}]
    entries = {
        "a": {"wav": "datafolder/s1/a.wav", "duration": 3.0, "emotion": emotion, "transcription": "x", "speaker": "s1"},
        "b": {"wav": "datafolder/s2/b.wav", "duration": 3.0, "emotion": [], "speaker": "s2"},
    }
    path = written(tmp_path / "ZED.json", json.dumps(entries))
    first, second = read_references(path, renamed={"joy": "happy"})
    assert first == Reference(str(tmp_path / "s1" / "a.wav"), SEGMENTS, "s1")
    assert second == Reference(str(tmp_path / "s2" / "b.wav"), (), "s2")
    assert read_references(path, Path("elsewhere"))[1].file == str(Path("elsewhere", "s2", "b.wav"))


def test_zed_may_name_a_recording_twice(tmp_path: Path) -> None:
    entries = {
        name: {"wav": "a.wav", "emotion": [{"emo": "sad", "start": start, "end": start + 1}]} for name, start in (("x", 0), ("y", 2))
    }
    (found,) = read_references(written(tmp_path / "ZED.json", json.dumps(entries)))
    assert found.segments == ((0.0, 1.0, "sad"), (2.0, 3.0, "sad"))


def test_rttm_finds_recordings_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "calls/my call.flac", "b.mp3")
    lines = [
        "SPKR-INFO my_call 1 <NA> <NA> <NA> unknown happy <NA> <NA>",
        "SPEAKER my_call 1 0.5 0.75 <NA> <NA> happy 0.9 <NA>",
        "SPEAKER b 1 0 1 <NA> <NA> sad <NA> <NA>",
        "SPEAKER my_call 1 1.5 0.5 <NA> <NA> sad <NA> <NA>",
        "SPEAKER gone 1 0 1 <NA> <NA> sad <NA> <NA>",
    ]
    found = read_references(written(tmp_path / "truth.rttm", "\n".join(lines)))
    assert found[0] == Reference(str(tmp_path / "calls" / "my call.flac"), SEGMENTS)
    assert [each.file for each in found[1:]] == [str(tmp_path / "b.mp3"), str(tmp_path / "gone")]  # reading the last will say so


@pytest.mark.parametrize("suffix", [".caf", ".AU", ".w64", ".mov", ".mkv", ".wma"])
def test_references_find_what_the_command_line_takes_for_audio(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"calls/call{suffix}", "calls/call.txt")
    path = written(tmp_path / "x.rttm", "SPEAKER call 1 0 1 <NA> <NA> sad <NA> <NA>\n")
    assert [each.file for each in read_references(path)] == [str(tmp_path / "calls" / f"call{suffix}")]


def test_rttm_channels(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    path = written(tmp_path / "a.rttm", "SPEAKER a 1 0 1 <NA> <NA> sad <NA> <NA>\nSPEAKER a 2 0.5 1 <NA> <NA> happy <NA> <NA>\n")
    with pytest.raises(UsageError, match="2 channels"):
        read_references(path)
    assert read_references(path, channel=1)[0].segments == ((0.5, 1.5, "happy"),)


LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3 ! in seconds: "3"
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "TextTier"
        name = "notes"
        xmin = 0
        xmax = 3
        points: size = 1
        points [1]:
            number = 1
            mark = "he says ""sad"" 7"
    item [2]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 3
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 3
            text = "so
glad"
    item [3]:
        class = "IntervalTier"
        name = "Emotion"
        xmin = 0
        xmax = 3
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.25
            text = "happy?"
        intervals [3]:
            xmin = 1.25
            xmax = 1.5
            text = " "
        intervals [4]:
            xmin = 1.5
            xmax = 2
            text = "sad"
"""
SHORT = '"ooTextFile"\n"TextGrid"\n0\n3\n<exists>\n1\n"IntervalTier"\n"any"\n0\n3\n2\n0.5\n1.25\n"happy"\n1.5\n2\n"sad"\n'


@pytest.mark.parametrize(("text", "encoding"), [(LONG, "utf-8"), (LONG, "utf-16"), (LONG, "utf-8-sig"), (SHORT, "utf-8")])
def test_textgrid_in_the_forms_that_praat_writes(tmp_path: Path, text: str, encoding: str) -> None:
    touch(tmp_path, "a.wav")
    path = written(tmp_path / "a.TextGrid", text, encoding)
    assert read_references(path) == [Reference(str(tmp_path / "a.wav"), SEGMENTS)]


def test_textgrid_agrees_with_an_independent_reader(tmp_path: Path) -> None:
    textgrid = pytest.importorskip("textgrid")
    made = textgrid.TextGrid(maxTime=3)
    tier = textgrid.IntervalTier(name="emotion", maxTime=3)
    for start, end, label in SEGMENTS:
        tier.add(start, end, label)
    made.append(tier)
    touch(tmp_path, "a.wav")
    made.write(str(tmp_path / "a.TextGrid"))
    assert read_references(tmp_path / "a.TextGrid")[0].segments == SEGMENTS


def test_csv_in_seconds_or_as_audformat_writes_times(tmp_path: Path) -> None:
    text = "file,start,end,label,speaker\na.wav,1.5,2,sad,s1\na.wav,0.5,1.25,happy,s2\nb/c.wav,0,1,neutral,s3\n"
    found = read_references(written(tmp_path / "t.csv", text))
    assert found[0] == Reference(str(tmp_path / "a.wav"), SEGMENTS, "s1 + s2") and found[1].speaker == "s3"
    text = (
        "path\temotion\tstart\tend\na.wav\thappy\t0 days 00:00:00.500000\t0 days 00:00:01.250000\na.wav\tsad\t0 days 00:00:01.5\t00:00:02\n"
    )
    assert read_references(written(tmp_path / "t.tsv", text))[0].segments == SEGMENTS


@pytest.mark.parametrize("prefix", ["calls", "more/calls"])
@pytest.mark.parametrize("folder", ["more/calls", "more/../more/calls"])
def test_a_folder_that_the_paths_of_a_table_repeat_counts_once(tmp_path: Path, prefix: str, folder: str) -> None:
    touch(tmp_path, "more/calls/a.wav", "more/calls/b/c.wav")
    path = written(
        tmp_path / "t.csv", f"file,start,end,label\n{prefix}/a.wav,0,1,sad\n{prefix}/b/c.wav,0,1,sad\n{prefix}/gone.wav,0,1,sad\n"
    )
    found = read_references(path, tmp_path / folder)
    assert [each.file for each in found] == [str(tmp_path / folder / name) for name in ("a.wav", "b/c.wav", "gone.wav")]


def test_a_table_that_lies_among_its_recordings_may_name_their_folder(tmp_path: Path) -> None:
    touch(tmp_path, "calls/a.wav")
    path = written(tmp_path / "calls" / "t.tsv", "file\tstart\tend\tlabel\ncalls/a.wav\t0\t1\tsad\n")
    assert [each.file for each in read_references(path)] == [str(tmp_path / "calls" / "a.wav")]


def test_what_repeats_the_name_of_the_folder_may_be_below_it(tmp_path: Path) -> None:
    touch(tmp_path, "calls/calls/a.wav")
    path = written(tmp_path / "t.csv", "file,start,end,label\ncalls/a.wav,0,1,sad\n")
    assert [each.file for each in read_references(path, tmp_path / "calls")] == [str(tmp_path / "calls" / "calls" / "a.wav")]


def test_absolute_paths_of_a_table_are_what_they_say(tmp_path: Path) -> None:
    touch(tmp_path, "calls/a.wav")
    path = written(tmp_path / "t.csv", f"file,start,end,label\n{tmp_path}/calls/a.wav,0.5,1.25,happy\na.wav,1.5,2,sad\n")
    assert read_references(path, tmp_path / "calls") == [Reference(str(tmp_path / "calls" / "a.wav"), SEGMENTS)]


@pytest.mark.parametrize(("there", "words"), [(("calls/a.wav", "calls/calls/b.wav"), "recordings for each"), ((), "no recording for any")])
def test_which_recordings_a_table_means_is_not_guessed(tmp_path: Path, there: tuple[str, ...], words: str) -> None:
    touch(tmp_path, *there)
    path = written(tmp_path / "t.csv", "file,start,end,label\ncalls/a.wav,0,1,sad\ncalls/b.wav,0,1,sad\n")
    folder = tmp_path / "calls"
    with pytest.raises(UsageError, match=words) as raised:
        read_references(path, folder)
    assert f"{folder / 'calls' / 'a.wav'} or {folder / 'a.wav'}" in str(raised.value)


def test_a_folder_of_references(tmp_path: Path) -> None:
    touch(tmp_path, "audio/a.wav", "audio/b.wav")
    written(tmp_path / "truth" / "a.TextGrid", SHORT)
    written(tmp_path / "truth" / "b.rttm", "SPEAKER b 1 0 1 <NA> <NA> sad <NA> <NA>\n")
    written(tmp_path / "truth" / "readme.txt", "x")
    found = read_references(tmp_path / "truth", tmp_path / "audio")
    assert [(Path(each.file).name, len(each.segments)) for each in found] == [("a.wav", 2), ("b.wav", 1)]
    written(tmp_path / "truth" / "more" / "a.TextGrid", SHORT)
    with pytest.raises(UsageError, match="in another file"):
        read_references(tmp_path / "truth", tmp_path / "audio")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "[]", "not in the form of ZED.json"),
        ("a.json", '{"x": {"wav": "a.wav", "emotion": [{"emo": "sad", "start": 0}]}}', "not in the form of ZED.json"),
        ("a.json", "{}", "no reference"),
        ("a.rttm", "SPEAKER a 1 0 much <NA> <NA> sad", "line 1"),
        ("a.rttm", "SPEAKER a 1 0 2 <NA> <NA> sad\nSPEAKER a 1 1 2 <NA> <NA> happy", "overlap"),
        ("a.csv", "file,start,label\n", "needed are file, start, end and label"),
        ("a.csv", "file,start,end,label\na.wav,0,soon,sad\n", "line 2"),
        ("a.csv", "file,start,end,label\na.wav,2,1,sad\n", "no length"),
        ("a.csv", "file,start,end,label\n" + 200_000 * "a" + ",0,1,sad\n", "cannot read it as a table"),
        ("a.TextGrid", LONG.replace('"Emotion"', '"feeling"'), "words, feeling; one must be called emotion"),
        ("a.TextGrid", LONG.replace('"Emotion"', '"emotion 0"'), "--channel"),
        ("a.TextGrid", LONG[:700], "breaks off"),
        ("a.TextGrid", "ooBinaryFile\x08TextGrid", "breaks off"),
        ("a.TextGrid", SHORT.replace('"IntervalTier"', '"Tier"'), "class 'Tier'"),
        ("a.xml", "<x/>", "unknown kind"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_references(written(tmp_path / name, text))


def test_recordings_that_cannot_be_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.wav", "y/a.flac")
    with pytest.raises(UsageError, match="may be"):
        read_references(written(tmp_path / "a.TextGrid", SHORT))
    with pytest.raises(UsageError, match="no such reference"):
        read_references(tmp_path / "nothing.rttm")
