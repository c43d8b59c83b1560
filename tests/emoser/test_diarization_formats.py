"""Formats of segments, each read by software that is not ours where there is some; and what the caller brings along: turns, subtitles."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emoser.diarization.subtitles import read_cues, with_cues
from emoser.diarization.turns import Turn, read_turns, turns_of, with_speakers
from emoser.errors import AudioDecodeError, UsageError
from emoser.formats import Header, writer
from emoser.formats.envelope import envelope, thinned
from emoser.formats.frames import write_frames
from emoser.formats.html import write_page
from emoser.formats.timeline import strip
from emoser.results import Diarization, Failure, Frames, Segment, Transcript, Word
from emoser.settings import DEFAULTS

LABELS = ("happy", "sad")
HEADER = Header("diarize", {"name": "m", "labels": list(LABELS), "sha256": "0" * 64, "runtime": "onnx", "device": "cpu"})


def segment(start: float, end: float, label: str, score: float = 0.75, **more: Any) -> Segment:
    scores = dict.fromkeys(LABELS, 0.5) if label == "silence" else {each: score if each == label else 1 - score for each in LABELS}
    return Segment(start, end, label, score, scores, **more)


def diarization(**changes: Any) -> Diarization:
    """Half a second each of silence, happy, sad, and sad once more of another speaker; 0.1 s a frame."""
    scores = np.repeat(np.array([[0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [0.25, 0.75]], np.float32), 5, axis=0)
    frames = Frames(0.1, LABELS, scores, np.repeat(np.float32([0.1, 0.9, 0.9, 0.9]), 5))
    segments = (segment(0, 0.5, "silence"), segment(0.5, 1.0, "happy"), segment(1.0, 2.0, "sad", warnings=("low_confidence",)))
    return replace(Diarization(segments, frames, 2.0, file="calls/a b.wav"), **changes)


def written(name: str, *results: Diarization | Failure) -> str:
    made, stream = writer(name), io.BytesIO()
    made.open(stream, HEADER)
    for result in results:
        made.write(result)
    made.close()
    return stream.getvalue().decode()


WORDS = Transcript(
    "so <b> & glad", (Word("so <b> &", 0.5, 0.75, "happy"), Word("glad", 0.8, 1.0, "happy"), Word("hm", 1.9, 2.5, "silence"))
)
SPOKEN = [(0.5, 1.0, "happy"), (1.0, 2.0, "sad")]
FAILED = Failure(AudioDecodeError("b.wav is empty"), "b.wav")


def test_rttm() -> None:
    text = written("rttm", diarization(), FAILED, diarization(channel=1, file="c.wav"))
    fields = [line.split(" ") for line in text.splitlines()]
    assert {len(each) for each in fields} == {10}
    found = [(each[1], each[2], float(each[3]), float(each[3]) + float(each[4]), each[7]) for each in fields]
    assert found == [("a_b", "1", *each) for each in SPOKEN] + [("c", "2", *each) for each in SPOKEN]
    assert fields[0] == ["SPEAKER", "a_b", "1", "0.500", "0.500", "<NA>", "<NA>", "happy", "0.7500", "<NA>"]


def test_textgrid(tmp_path: Path) -> None:
    textgrid = pytest.importorskip("textgrid")
    named = segment(0.5, 1.0, "happy", speaker='Anna "A"')
    left = diarization(channel=0, transcript=WORDS, segments=(segment(0, 0.5, "silence"), named, segment(1.0, 2.0, "sad")))
    text = written("textgrid", left, diarization(channel=1))
    (tmp_path / "a.TextGrid").write_text(text, encoding="utf-8")
    found = textgrid.TextGrid.fromFile(str(tmp_path / "a.TextGrid"))
    assert [tier.name for tier in found] == ["emotion 0", "speaker 0", "words 0", "emotion 1"]
    assert (found.minTime, found.maxTime) == (0, 2)
    for tier in found:
        edges = [0.0, *(float(interval.maxTime) for interval in tier)]
        assert [float(interval.minTime) for interval in tier] == edges[:-1] and edges[-1] == 2.0
    assert [(float(each.minTime), float(each.maxTime), each.mark) for each in found[0]] == [(0.0, 0.5, ""), *SPOKEN]
    assert [each.mark for each in found[1]] == ["", 'Anna "A"', ""]
    assert [each.mark for each in found[2]] == ["", "so <b> &", "", "glad", "", "hm"]
    assert [each.mark for each in found[3]] == ["", "happy", "sad?"]


def test_srt() -> None:
    srt = pytest.importorskip("srt")
    found = list(srt.parse(written("srt", diarization()), ignore_errors=False))
    assert [(each.start.total_seconds(), each.end.total_seconds(), each.content) for each in found] == [
        (0.5, 1.0, "[happy]"),
        (1.0, 2.0, "[sad?]"),
    ]
    found = list(srt.parse(written("srt", diarization(transcript=WORDS)), ignore_errors=False))
    assert [each.content for each in found] == ["[happy] so <b> &", "[happy] glad", "hm"]
    assert written("srt", FAILED) == ""


def test_vtt() -> None:
    webvtt = pytest.importorskip("webvtt")
    found = list(webvtt.from_string(written("vtt", diarization(transcript=WORDS))))
    assert [(each.start, each.end) for each in found] == [
        ("00:00:00.500", "00:00:00.750"),
        ("00:00:00.800", "00:00:01.000"),
        ("00:00:01.900", "00:00:02.500"),
    ]
    assert found[0].raw_text == "<c.happy>[happy] so &lt;b&gt; &amp;</c>"
    assert [each.text for each in webvtt.from_string(written("vtt", diarization()))] == ["[happy]", "[sad?]"]


def test_audacity() -> None:
    rows = list(csv.reader(io.StringIO(written("audacity", diarization(channel=0), diarization(channel=1))), delimiter="\t"))
    assert [(float(start), float(end), label) for start, end, label in rows] == [
        (0.5, 1.0, "[0] happy"),
        (0.5, 1.0, "[1] happy"),
        (1.0, 2.0, "[0] sad?"),
        (1.0, 2.0, "[1] sad?"),
    ]


def test_audformat(tmp_path: Path) -> None:
    audformat = pytest.importorskip("audformat")
    path = tmp_path / "table.csv"
    path.write_text(written("audformat", diarization(), FAILED))
    table = audformat.utils.read_csv(str(path))
    assert audformat.is_segmented_index(table.index)
    starts, ends = (table.index.get_level_values(edge).total_seconds() for edge in ("start", "end"))
    assert list(zip(starts, ends, table["emotion"], strict=True)) == SPOKEN
    assert set(table.index.get_level_values("file")) == {"calls/a b.wav"}
    assert list(table["confidence"]) == [0.75, 0.75]


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_a_row_a_segment(name: str, delimiter: str) -> None:
    broken = diarization(file="c.wav", channel=1, error=AudioDecodeError("it broke off"))
    rows = list(csv.DictReader(io.StringIO(written(name, diarization(), FAILED, broken)), delimiter=delimiter))
    assert [row["label"] for row in rows] == ["silence", "happy", "sad", "", "silence", "happy", "sad", ""]
    assert [float(row["end"]) for row in rows[:3]] == [0.5, 1.0, 2.0]
    assert (rows[1]["happy"], rows[2]["warnings"], rows[4]["channel"]) == ("0.75", "low_confidence", "1")
    assert [row["error"] for row in rows if row["error"]] == ["AudioDecodeError: b.wav is empty", "AudioDecodeError: it broke off"]


@pytest.mark.parametrize("name", ["srt", "vtt", "textgrid", "audacity"])
def test_formats_of_one_recording_refuse_another(name: str) -> None:
    with pytest.raises(UsageError, match="give a folder"):
        written(name, diarization(), diarization(file="other.wav"))


def test_the_table_shows_a_strip_and_a_list() -> None:
    text = written("table", diarization(), FAILED)
    lines = text.splitlines()
    assert lines[0].startswith("calls/a b.wav  2.0 s")
    assert lines[1].split("s", 1)[1].strip() == "h" * 25 + "s" * 50
    assert any(line.split() == ["1.00", "2.00", "sad", "0.75", "happy", "0.25", "low_confidence"] for line in lines)
    assert "AudioDecodeError" in text


@pytest.mark.parametrize(("duration", "lines"), [(5.0, 1), (600.0, 1), (3600.0, 12), (6 * 3600.0, 12)])
def test_a_long_recording_has_a_strip_of_few_lines(duration: float, lines: int) -> None:
    result = diarization(duration=duration, segments=(segment(0, duration / 2, "happy"), segment(duration / 2, duration, "sad")))
    found = strip(result.to_dict(), LABELS, 120)
    assert len(found) == lines
    text = "".join(line.plain[9:] for line in found)
    assert set(text) == {"h", "s"} and abs(text.count("h") - text.count("s")) <= 2


def test_frames(tmp_path: Path) -> None:
    result = diarization(channel=1)
    write_frames(tmp_path / "f.npz", result)
    with np.load(tmp_path / "f.npz") as arrays:
        np.testing.assert_array_equal(arrays["scores"], result.frames.scores)
        np.testing.assert_array_equal(arrays["speech"], result.frames.speech)
        assert (float(arrays["hop"]), arrays["labels"].tolist(), int(arrays["channel"])) == (0.1, list(LABELS), 1)
    write_frames(tmp_path / "F.NPZ", result)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["F.NPZ", "f.npz"]
    with np.load(tmp_path / "F.NPZ") as arrays:
        np.testing.assert_array_equal(arrays["scores"], result.frames.scores)
    write_frames(tmp_path / "f.csv", result)
    rows = list(csv.DictReader((tmp_path / "f.csv").open()))
    assert len(rows) == 20
    assert rows[7] == {"start": "0.7", "end": "0.8", "happy": "0.75", "sad": "0.25", "speech": "0.9"}


# What the caller brings along


def test_turns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "turns.rttm"
    path.write_text(
        ";; a comment\nSPKR-INFO a 1 <NA> <NA> <NA> unknown bert <NA> <NA>\n"
        "SPEAKER a 1 1.5 2.0 <NA> <NA> bert <NA> <NA>\nSPEAKER a 2 0 1 <NA> <NA> anna <NA> <NA>\nSPEAKER b 1 0 9 <NA> <NA> carl 0.9 <NA>\n"
    )
    turns = read_turns(path)
    assert turns["a"] == [Turn(0.0, 1.0, "anna", 1), Turn(1.5, 3.5, "bert", 0)]
    assert turns_of(turns, "x/a.wav", None) == turns["a"]
    assert [turn.speaker for turn in turns_of(turns, "a.wav", 1)] == ["anna"]
    assert turns_of(turns, "other.wav", None) == []
    assert turns_of({"a": turns["a"]}, "other.wav", None) == turns["a"]
    wrong = [f"SPEAKER a 1 {times} <NA> <NA> anna <NA> <NA>\n" for times in ("zero 1", "nan 1", "1 -5", "0 inf")]
    for text, words in (*((line, "line 1") for line in wrong), ("", "no SPEAKER line")):
        path.write_text(text)
        with pytest.raises(UsageError, match=words):
            read_turns(path)


@pytest.mark.parametrize("file", ["my call.wav", "calls/my  call.wav", "my_call.wav", "my call"])
def test_turns_know_a_name_with_blanks(tmp_path: Path, file: str) -> None:
    (tmp_path / "turns.rttm").write_text("SPEAKER my_call 1 0 1 <NA> <NA> anna <NA> <NA>\nSPEAKER b 1 0 1 <NA> <NA> bert <NA> <NA>\n")
    assert [turn.speaker for turn in turns_of(read_turns(tmp_path / "turns.rttm"), file, None)] == ["anna"]


def test_turns_are_found_for_what_our_own_rttm_calls_a_recording(tmp_path: Path) -> None:
    (tmp_path / "turns.rttm").write_text(written("rttm", diarization(), diarization(file="c.wav")))
    turns = read_turns(tmp_path / "turns.rttm")
    assert turns_of(turns, "calls/a b.wav", None) == turns["a_b"]


def test_turns_of_one_recording_are_not_those_of_another_among_several() -> None:
    turns = {"a": [Turn(0.0, 1.0, "anna", 0)]}
    assert turns_of(turns, "b.wav", None) == turns_of(turns, "a.wav", None, alone=False) == turns["a"]
    assert turns_of(turns, "b.wav", None, alone=False) == []


def test_segments_are_cut_at_turns() -> None:
    turns = [Turn(0.0, 1.45, "anna", 0), Turn(1.45, 1.9, "bert", 0)]
    found = with_speakers(diarization(), turns, DEFAULTS).segments
    assert [(each.start, each.end, each.label, each.speaker) for each in found] == [
        (0, 0.5, "silence", None),
        (0.5, 1.0, "happy", "anna"),
        (1.0, 1.45, "sad", "anna"),
        (1.45, 2.0, "sad", "bert"),  # 0.1 s without a turn is too short a piece
    ]
    assert all(each.scores["sad"] == pytest.approx(0.75) for each in found[2:])
    same = with_speakers(diarization(), [Turn(0.0, 9.0, "anna", 0)], DEFAULTS)
    assert [(each.start, each.end) for each in same.segments] == [(each.start, each.end) for each in diarization().segments]


SRT = "1\r\n00:00:00,000 --> 00:00:00,400\r\n<i>Hm</i>\r\n\r\n3\r\n00:00:00,900 --> 00:00:01,500 X1:2\r\n{\\an8}Well,\r\nyes\r\n"
VTT = "WEBVTT\n\nNOTE x\n\n00:00.000 --> 00:00.400\n<v Anna>Hm\n\nid\n00:00.900 --> 00:01.500 align:start\nWell,\nyes\n"


@pytest.mark.parametrize("text", [SRT, VTT, "\ufeff" + SRT])
def test_subtitles_get_their_emotions(tmp_path: Path, text: str) -> None:
    path = tmp_path / "talk.srt"
    path.write_text(text, encoding="utf-8", newline="")
    result = with_cues(diarization(), read_cues(path))
    assert result.transcript is not None
    assert result.transcript.text == "Hm Well, yes"
    assert [(word.word, word.start, word.end, word.label) for word in result.transcript.words] == [
        ("Hm", 0.0, 0.4, "silence"),
        ("Well, yes", 0.9, 1.5, "sad"),
    ]


ENTITIES = "WEBVTT\n\n00:00.500 --> 00:01.000\n<v Anna>Tom &amp; Jerry,&nbsp;1 &lt; 2 &amp;amp;\n\n00:01.000 --> 00:02.000\n&nbsp;\n"


@pytest.mark.parametrize("name", ["talk.vtt", "talk.VTT", "talk.txt"])
def test_entities_of_webvtt_are_read_and_written_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(ENTITIES)
    result = with_cues(diarization(), read_cues(path))
    assert result.transcript is not None and result.transcript.text == "Tom & Jerry, 1 < 2 &amp;"
    again = written("vtt", result)
    assert "<c.happy>[happy] Tom &amp; Jerry, 1 &lt; 2 &amp;amp;</c>" in again
    path.write_text(again)
    assert [cue.text for cue in read_cues(path)] == ["[happy] Tom & Jerry, 1 < 2 &amp;"]
    assert "[happy] Tom & Jerry, 1 < 2 &amp;\n" in written("srt", result)


def test_subrip_has_no_entities(tmp_path: Path) -> None:
    (tmp_path / "talk.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nTom &amp; Jerry\n")
    assert [cue.text for cue in read_cues(tmp_path / "talk.srt")] == ["Tom &amp; Jerry"]


def test_subtitles_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "talk.srt"
    path.write_text("just text\n")
    with pytest.raises(UsageError, match="holds no cue"):
        read_cues(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read the subtitles"):
        read_cues(path)


# Pictures


def test_the_envelope_holds_every_extreme(wav: Any) -> None:
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, 32_000).astype(np.float32)
    path = wav("a.wav", samples, subtype="FLOAT")
    heard: list[np.ndarray] = []
    low, high = envelope(diarization(), str(path), 100, heard.append)
    rows = samples.reshape(100, 320)
    np.testing.assert_array_equal(low, np.minimum(rows.min(1), 0))
    np.testing.assert_array_equal(high, np.maximum(rows.max(1), 0))
    np.testing.assert_array_equal(np.concatenate(heard), samples)
    assert thinned(np.ones((7, 2), np.float32), 3).shape == (3, 2)


def test_the_page_is_one_file_with_everything_in_it(wav: Any, tmp_path: Path) -> None:
    path = wav("a.wav")
    odd = diarization(file="</script><b>.wav", transcript=WORDS)
    write_page(tmp_path / "page.html", odd, str(path))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "{{" not in text and "http:" not in text and "https:" not in text
    assert text.count("</script>") == 3
    data = json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])
    assert data["segments"] == odd.to_dict()["segments"] and data["name"] == odd.file
    import base64

    import soundfile

    sound = base64.b64decode(text.split('id="sound">', 1)[1].split("</script>", 1)[0])
    decoded, rate = soundfile.read(io.BytesIO(sound))
    assert rate == 16_000 and abs(len(decoded) / rate - 2.0) < 0.2
    frames = np.frombuffer(base64.b64decode(data["frames"]), np.uint8).reshape(3, 20)
    assert frames[:, 7].tolist() == [191, 64, 230]


def test_a_name_like_a_place_of_the_template_stays_a_name(wav: Any, tmp_path: Path) -> None:
    name = "{{audio}} {{data}} {{title}}.wav"
    write_page(tmp_path / "page.html", diarization(file=name), str(wav("a.wav")))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<title>{name} - emotions</title>" in text
    assert json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])["name"] == name
    assert text.count("{{") == 3 * 3  # the title, and `file` and `name` of the data


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_plot(wav: Any, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    from emoser.formats.plot import write_plot

    write_plot(tmp_path / f"p{suffix}", diarization(file="a $x^2$ \udcff.wav"), str(wav("a.wav")))
    data = (tmp_path / f"p{suffix}").read_bytes()
    assert data.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])
