"""Every writer: what it writes can be read back, is valid at every moment, and names survive."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from emoser.errors import AudioDecodeError
from emoser.formats import SCHEMA_FILE, SUFFIXES, WRITERS, Header, Writer, for_suffix, writer
from emoser.formats.json import dumps
from emoser.quality import Finding, Quality
from emoser.results import Diarization, Embedding, Failure, Frames, Prediction, Segment, Transcript, Word

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
VALID = jsonschema.Draft202012Validator(SCHEMA)

LABELS = ["happy", "sad"]
MODEL = {"name": "m", "labels": LABELS, "sha256": "0" * 64, "runtime": "onnx", "device": "cpu"}
ODD = os.fsdecode(b'caf\xc3\xa9 \xff, "quoted"\n.wav')  # UTF-8, a stray byte, and what CSV has to quote
PREDICTIONS = [
    Prediction("happy", 0.75, {"happy": 0.75, "sad": 0.25}, 1.5, "a.wav"),
    Failure(AudioDecodeError("b.wav is empty"), "b.wav"),
    Prediction("sad", 0.6, {"happy": 0.4, "sad": 0.6}, 2.0, ODD, 1, ("windowed", "low_confidence")),
]
VECTOR = np.array([0.1, -2.5e-8, 3e7], np.float32)
EMBEDDINGS = [
    Failure(AudioDecodeError("b.wav is empty"), "b.wav"),
    Embedding(VECTOR, 1.5, "a.wav"),
    Embedding(VECTOR * 2, 2.5, ODD, 0, ("silence",)),
]
QUALITIES = [
    Quality("a.wav", 1, 2.0, 16000, 7000.0, -20.0, -3.0, speech=0.9, snr=30.0),
    Quality(ODD, 2, 2.0, 8000, 3400.0, -20.0, -3.0, findings=(Finding("low_rate", "warning", "8 kHz", "record at 16 kHz"),)),
    Failure(AudioDecodeError("b.wav is empty"), "b.wav"),
]
SILENT = Segment(0.0, 0.5, "silence", 0.9, {"happy": 0.5, "sad": 0.5})
FRAMES = Frames(0.5, ("happy", "sad"), np.array([[0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [0.25, 0.75]], np.float32), np.ones(4, np.float32))
WORDS = Transcript("so <b> glad", (Word("so <b>", 0.5, 0.75, "happy"), Word("glad", 0.8, 1.0, "happy"), Word("hm", 1.9, 2.5, "silence")))
DIARIZATIONS = [
    Diarization(
        (
            SILENT,
            Segment(0.5, 1.0, "happy", 0.75, {"happy": 0.75, "sad": 0.25}, "Anna"),
            Segment(1.0, 1.9996, "sad", 0.75, {"happy": 0.25, "sad": 0.75}, None, ("low_confidence",)),
        ),
        FRAMES,
        1.9996,
        file="my calls/a b.wav",
    ),
    Failure(AudioDecodeError("b.wav is empty"), "b.wav"),
    Diarization((SILENT,), FRAMES, 0.5, WORDS, ODD, 1, ("no_speech",), AudioDecodeError("it broke off")),
]
KINDS: dict[str, tuple[Header, list[Any]]] = {
    "predict": (Header("predict", MODEL), PREDICTIONS),
    "embed": (Header("embed", MODEL), EMBEDDINGS),
    "check": (Header("check"), QUALITIES),
    "diarize": (Header("diarize", MODEL), DIARIZATIONS),
}


def write(name: str, kind: str, records: list[Any] | None = None, made: Writer | None = None) -> bytes:
    header, given = KINDS[kind]
    made = made or writer(name)
    stream = io.BytesIO()
    made.open(stream, header)
    for record in given if records is None else records:
        made.write(record)
    made.close()
    return stream.getvalue()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_writer_says_what_it_is_for() -> None:
    by_option = {"audacity", "audformat"}  # their files are called as those of table and csv are
    for name in WRITERS:
        made = writer(name)
        assert made.__doc__
        assert for_suffix("out" + made.extension) == name or name in by_option
    assert set(SUFFIXES.values()) == set(WRITERS) - by_option


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_one_valid_document(kind: str, count: int) -> None:
    header, records = KINDS[kind]
    document = json.loads(write("json", kind, records[:count]))
    VALID.validate(document)
    assert document["results"] == [record.to_dict() for record in records[:count]]
    assert document.get("model") == header.model


@pytest.mark.parametrize("kind", KINDS)
def test_each_line_of_jsonl_is_complete(kind: str) -> None:
    lines = write("jsonl", kind).split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == 3
    for line, record in zip(lines, KINDS[kind][1], strict=True):
        found = json.loads(line)
        VALID.validate(found)
        assert found.pop("schema") == "emoser/1"
        assert found.pop("model", None) == (None if kind == "check" else {"name": "m", "sha256": MODEL["sha256"]})
        assert found == record.to_dict()


def test_a_result_has_left_when_write_returns() -> None:
    """What a reader of a pipe, or of the file after a crash, finds."""

    class Unflushed(io.BytesIO):
        seen = b""

        def flush(self) -> None:
            self.seen = self.getvalue()

    for name in ("json", "jsonl", "csv"):
        stream, made = Unflushed(), writer(name)
        made.open(stream, KINDS["predict"][0])
        made.write(PREDICTIONS[0])
        assert b"a.wav" in stream.seen


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": "emoser/2", "model": MODEL, "results": []},
        {"schema": "emoser/1", "results": [PREDICTIONS[0].to_dict()]},
        {"schema": "emoser/1", "model": MODEL, "results": [PREDICTIONS[0].to_dict() | {"confidence": 1.5}]},
        {"schema": "emoser/1", "model": MODEL, "results": [PREDICTIONS[0].to_dict() | {"warnings": ["strange"]}]},
        {"schema": "emoser/1", "model": MODEL, "results": [{"file": "a.wav"}]},
        {"schema": "emoser/1", "model": MODEL, "results": [], "extra": 1},
        {"schema": "emoser/1", "model": MODEL, "results": [DIARIZATIONS[0].to_dict() | {"segments": [{"start": 0.0, "end": 1.0}]}]},
        {"schema": "emoser/1", **PREDICTIONS[0].to_dict()},
        {"schema": "emoser/1", "doctor": {"ok": True}},
    ],
)
def test_the_schema_refuses(wrong: dict[str, Any]) -> None:
    assert not VALID.is_valid(wrong)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_no_number_that_json_does_not_have(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        write(name, "predict", [Prediction("happy", value, {"happy": value, "sad": 0.0}, 1.0, "a.wav")])


def test_any_file_name_survives_in_json() -> None:
    text = dumps({"file": ODD})
    assert "é" in text
    assert os.fsencode(json.loads(text.encode("utf-8").decode("utf-8"))["file"]) == os.fsencode(ODD)


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))


def test_csv_of_predictions() -> None:
    first, failed, last = rows(write("csv", "predict"))
    assert first == {
        "file": "a.wav", "channel": "", "duration": "1.5", "label": "happy", "confidence": "0.75",
        "happy": "0.75", "sad": "0.25", "warnings": "", "error": "",
    }  # fmt: skip
    assert failed["error"] == "AudioDecodeError: b.wav is empty"
    assert failed["label"] == failed["happy"] == ""
    assert os.fsencode(last["file"]) == os.fsencode(ODD)
    assert (last["channel"], last["warnings"]) == ("1", "windowed low_confidence")


def test_csv_holds_what_was_said() -> None:
    stream, made = io.BytesIO(), writer("csv")
    made.open(stream, Header("predict", MODEL, transcripts=True))
    made.write(Prediction("sad", 0.6, {"happy": 0.4, "sad": 0.6}, 2.0, "a.wav", transcript='he said "so"'))
    made.close()
    (row,) = csv.DictReader(io.StringIO(stream.getvalue().decode()))
    assert row["transcript"] == 'he said "so"'


def test_csv_of_embeddings_gives_float32_back() -> None:
    failed, first, last = rows(write("csv", "embed"))
    assert (failed["file"], failed["e0"], failed["error"]) == ("b.wav", "", "AudioDecodeError: b.wav is empty")
    assert np.array_equal(np.array([first["e0"], first["e1"], first["e2"]], np.float32), VECTOR)
    assert "e3" not in first
    assert last["warnings"] == "silence"


def test_csv_of_failures_alone_keeps_them() -> None:
    (row,) = rows(write("csv", "embed", EMBEDDINGS[:1]))
    assert row == {"file": "b.wav", "channel": "", "duration": "", "warnings": "", "error": "AudioDecodeError: b.wav is empty"}


def test_csv_of_qualities() -> None:
    first, second, failed = rows(write("csv", "check"))
    assert (first["bandwidth"], first["findings"], first["error"]) == ("7000.0", "", "")
    assert (second["snr"], second["findings"]) == ("", "low_rate")
    assert failed["error"].startswith("AudioDecodeError")


def test_npz_is_exact_and_holds_no_pickles() -> None:
    with np.load(io.BytesIO(write("npz", "embed")), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["embedding"], np.stack([VECTOR, VECTOR * 2]))
        assert arrays["embedding"].dtype == np.float32
        assert list(arrays["file"]) == ["a.wav", ODD]
        assert list(arrays["channel"]) == [-1, 0]
        assert list(arrays["duration"]) == [1.5, 2.5]
        assert str(arrays["model"]) == "m"
        assert list(arrays["failed"]) == ["b.wav"]
        assert list(arrays["error"]) == ["AudioDecodeError: b.wav is empty"]


def test_npz_of_nothing() -> None:
    with np.load(io.BytesIO(write("npz", "embed", [])), allow_pickle=False) as arrays:
        assert arrays["embedding"].shape == (0, 0)
        assert arrays["file"].shape == (0,)


def test_npz_drops_a_vector_whose_row_was_interrupted() -> None:
    header, stream, made = KINDS["embed"][0], io.BytesIO(), writer("npz")
    made.open(stream, header)
    made.write(EMBEDDINGS[1])
    made._vectors.write(VECTOR.tobytes())  # type: ignore[attr-defined]
    made.close()
    with np.load(io.BytesIO(stream.getvalue())) as arrays:
        assert np.array_equal(arrays["embedding"], VECTOR[None])


@pytest.mark.parametrize("kind", ["predict", "embed", "check"])  # a diarization has lines of its own
def test_a_table_shows_every_result_on_one_line(kind: str) -> None:
    lines = write("table", kind).decode("utf-8").splitlines()
    assert lines[0].startswith("file")
    assert any(line.startswith("a.wav") for line in lines)
    assert any(line.startswith("b.wav") and "AudioDecodeError" in line for line in lines)
    # What a terminal could take for an order is spelt out.
    assert any(line.startswith(r'café \xff, "quoted"\n.wav') for line in lines)


def test_a_table_can_show_all_scores() -> None:
    stream, made = io.BytesIO(), writer("table")
    made.open(stream, Header("predict", MODEL, scores=True))
    made.write(PREDICTIONS[0])
    made.close()
    assert stream.getvalue().decode().split()[:6] == ["file", "emotion", "happy", "sad", "length", "notes"]
    assert "0.25" in stream.getvalue().decode()


def test_a_table_says_what_to_do_about_findings() -> None:
    many = [Quality(f"{i}.wav", 1, 2.0, 8000, findings=(Finding("low_rate", "warning", "8 kHz", "record at 16 kHz"),)) for i in range(5)]
    text = write("table", "check", many).decode()
    assert "low_rate  warning, 5 files" in text
    assert "0.wav: 8 kHz" in text
    assert "and 2 more" in text
    assert text.count("-> record at 16 kHz") == 1


def test_a_long_table_comes_in_pages_of_the_same_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream, made = io.BytesIO(), writer("table")
    made.open(stream, Header("predict", MODEL))
    for index in range(450):
        name = f"{'long/' * (index // 20)}{index}.wav"
        made.write(Prediction("happy", 0.75, {"happy": 0.75, "sad": 0.25}, 1.5, name))
        if index == 250:
            assert len(stream.getvalue().splitlines()) == 201  # the first page and its heading
    made.close()
    lines = stream.getvalue().decode().splitlines()
    assert len(lines) == 451
    assert max(map(len, lines)) <= 60
    assert lines[-1].startswith("…") and "449.wav  happy" in lines[-1]
    assert lines[1].index("happy") == lines[-1].index("happy")


@pytest.mark.parametrize(("columns", "wide"), [("x", True), ("0", True), ("-60", True), ("6.5", True), ("", True), ("60", False)])
def test_a_table_is_as_wide_as_columns_says_if_that_is_a_number(monkeypatch: pytest.MonkeyPatch, columns: str, wide: bool) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    stream, made = io.BytesIO(), writer("table")
    made.open(stream, Header("predict", MODEL))
    made.write(Prediction("happy", 0.75, {"happy": 0.75, "sad": 0.25}, 1.5, f"{'long/' * 20}a.wav"))
    made.close()
    assert (max(map(len, stream.getvalue().decode().splitlines())) > 60) == wide


def test_the_filter_of_the_documents_keeps_what_is_sure() -> None:
    """docs/usage.md: neither uncertain results nor failed inputs."""
    program = shutil.which("jq")
    if program is None:
        pytest.skip("no jq here")
    (line,) = re.findall(r"\| jq -r '(.*)'", (ROOT / "docs" / "usage.md").read_text(encoding="utf-8"))
    unsure = Prediction("sad", 0.6, {"happy": 0.4, "sad": 0.6}, 2.0, "c.wav", warnings=("low_confidence",))
    windowed = Prediction("sad", 0.6, {"happy": 0.4, "sad": 0.6}, 2.0, "d.wav", warnings=("windowed",))
    given = write("jsonl", "predict", [*PREDICTIONS[:2], unsure, windowed])
    done = subprocess.run([program, "-r", line], input=given, capture_output=True, check=True)
    assert done.stdout.decode() == "a.wav\thappy\nd.wav\tsad\n"


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "table"])
def test_a_progress_bar_is_asked_aside_before_anything_is_shown(name: str) -> None:
    calls = []
    made = writer(name)
    made.step_aside = lambda: calls.append(1)
    write(name, "predict", made=made)
    assert calls
