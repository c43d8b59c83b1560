"""Ctrl-C, and going on where an earlier run stopped: what is done stays, what is another run's is left alone."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import soundfile

from emoser.adaptation import Reference

from .conftest import ROOT, STEREO, VALID, ended, left_over, size, start, until, valid_lines

Emoser = Callable[..., Any]
Clip = Callable[..., Path]
MODEL = ("-m", "miniature")


def test_interrupted_and_taken_up_again(registry: Path, emoser: Emoser, many: Callable[[int], Path], tmp_path: Path) -> None:
    many(1500)
    process = start("predict", "many", *MODEL, "-o", "out.jsonl", cwd=tmp_path)
    until(lambda: size(tmp_path / "out.jsonl") > 0)
    process.send_signal(signal.SIGINT)
    code, err = ended(process)
    assert code == 130
    assert "out.jsonl; the same command goes on from there" in err
    first = valid_lines((tmp_path / "out.jsonl").read_bytes())
    assert 0 < len(first) < 1500
    assert len(first) - 1 <= int(re.findall(r"(\d+) of 1500 inputs are done", err)[0]) <= len(first)
    # What a crash, rather than Ctrl-C, could have left besides: half a line.
    with (tmp_path / "out.jsonl").open("ab") as file:
        file.write(b'{"schema": "emoser/1", "model": {"na')
    ran = emoser("predict", "many", *MODEL, "-o", "out.jsonl")
    assert ran.code == 0
    assert f"{len(first)} of 1500 inputs are there already" in ran.err
    lines = valid_lines((tmp_path / "out.jsonl").read_bytes())
    assert lines[: len(first)] == first
    assert [line["file"] for line in lines] == [f"many/{index:05}.wav" for index in range(1500)]
    assert not any("error" in line for line in lines)
    assert emoser("predict", "many", *MODEL, "-o", "out.jsonl").code == 0
    assert valid_lines((tmp_path / "out.jsonl").read_bytes()) == lines
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("form", ["json", "csv", "npz"])
def test_interrupted_what_is_done_is_written_and_whole(registry: Path, many: Callable[[int], Path], tmp_path: Path, form: str) -> None:
    many(1500)
    command = "embed" if form == "npz" else "predict"
    process = start(command, "missing.wav", "many", *MODEL, "-o", f"out.{form}", cwd=tmp_path)
    assert process.stderr is not None and b"missing.wav" in process.stderr.readline()  # the first result, which is a failure
    if form == "npz":
        time.sleep(0.5)  # its vectors wait elsewhere until the end
    else:
        until(lambda: any(size(path) > 1000 for path in left_over(tmp_path)))
    process.send_signal(signal.SIGINT)
    code, err = ended(process)
    assert code == 130
    assert "are done and written" in err
    data = (tmp_path / f"out.{form}").read_bytes()
    if form == "json":
        document = json.loads(data)
        VALID.validate(document)
        assert 0 < len(document["results"]) < 1500
    elif form == "csv":
        assert data.endswith(b"\n")
        assert {line.count(b",") for line in data.splitlines()} == {10}
    else:
        import numpy as np

        with np.load(tmp_path / "out.npz") as arrays:
            assert len(arrays["embedding"]) == len(arrays["file"]) < 1500
            assert arrays["failed"].tolist() == ["missing.wav"]
    assert left_over(tmp_path) == []


def test_interrupted_on_standard_output(registry: Path, many: Callable[[int], Path], tmp_path: Path) -> None:
    many(1500)
    with (tmp_path / "out").open("wb") as out:
        process = start("predict", "many", *MODEL, cwd=tmp_path, stdout=out)
        until(lambda: size(tmp_path / "out") > 1000)
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 130
    VALID.validate(json.loads((tmp_path / "out").read_bytes()))


def test_failed_inputs_are_tried_again(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav"), clip("c.wav")
    (tmp_path / "b.wav").touch()
    names = ("a.wav", "b.wav", "c.wav")
    assert emoser("predict", *names, *MODEL, "-o", "out.jsonl").code == 1
    before = valid_lines((tmp_path / "out.jsonl").read_bytes())
    clip("b.wav")
    assert emoser("predict", *names, *MODEL, "-o", "out.jsonl").code == 0
    after = valid_lines((tmp_path / "out.jsonl").read_bytes())
    assert after[:2] == [before[0], before[2]]
    assert after[2]["file"] == "b.wav" and "error" not in after[2]


def test_the_last_file_is_done_again_where_channels_are(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav", samples=STEREO), clip("b.wav", samples=STEREO)
    arguments = ("predict", "a.wav", "b.wav", *MODEL, "--channel", "each", "-o", "out.jsonl")
    emoser(*arguments)
    whole = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    assert [(line["file"], line["channel"]) for line in valid_lines(whole)] == [(f, c) for f in ("a.wav", "b.wav") for c in (0, 1)]
    ran = emoser(*arguments)
    assert "1 of 2 inputs are there already" in ran.err
    again = (tmp_path / "out.jsonl").read_bytes()
    assert again.splitlines()[:2] == whole.splitlines()[:2]
    assert [(line["file"], line["channel"]) for line in valid_lines(again)] == [(f, c) for f in ("a.wav", "b.wav") for c in (0, 1)]


@pytest.mark.parametrize("options", [(*MODEL, "--channel", "each"), ("-m", "miniature,miniature-nc")], ids=["channels", "checkpoints"])
@pytest.mark.parametrize("lines", [3, 3.5, 4.5])
def test_a_last_file_of_several_lines_is_done_again_wherever_it_was_cut(
    emoser: Emoser, clip: Clip, tmp_path: Path, options: tuple[str, ...], lines: float
) -> None:
    names = [clip(name, samples=STEREO).name for name in ("a.wav", "b.wav", "c.wav")]
    arguments = ("predict", *names, *options, "-o", "out.jsonl")
    assert emoser(*arguments).code == 0
    whole = (tmp_path / "out.jsonl").read_bytes()
    rows = whole.splitlines(keepends=True)
    half = rows[int(lines)][:40] if lines % 1 else b""
    (tmp_path / "out.jsonl").write_bytes(b"".join(rows[: int(lines)]) + half)
    ran = emoser(*arguments)
    assert ran.code == 0 and "1 of 3 inputs are there already" in ran.err
    again = valid_lines((tmp_path / "out.jsonl").read_bytes())
    rows_of = [[(line["file"], line["channel"], line["model"]) for line in found] for found in (again, valid_lines(whole))]
    assert rows_of[0] == rows_of[1]


def test_a_file_that_failed_in_part_is_done_again_wholly(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        clip(name, samples=STEREO)
    arguments = ("diarize", "a.wav", "b.wav", *MODEL, "--channel", "each", "-o", "out.jsonl")
    assert emoser(*arguments).code == 0
    first, second, *others = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    second["error"] = {"type": "AudioDecodeError", "message": "a.wav broke off"}
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (first, second, *others)))
    assert emoser(*arguments).code == 0
    again = valid_lines((tmp_path / "out.jsonl").read_bytes())
    assert sorted((line["file"], line["channel"]) for line in again) == [(name, lane) for name in ("a.wav", "b.wav") for lane in (0, 1)]
    assert not any("error" in line for line in again)


def test_an_input_given_twice_is_there_once_where_channels_are(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        clip(name, samples=STEREO)
    arguments = ("predict", "a.wav", "b.wav", "a.wav", *MODEL, "--channel", "each", "-o", "out.jsonl")
    assert emoser(*arguments).code == 0
    whole = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    assert emoser(*arguments).code == 0
    files = [line["file"] for line in valid_lines((tmp_path / "out.jsonl").read_bytes())]
    assert sorted(files) == ["a.wav"] * 4 + ["b.wav"] * 2


@pytest.mark.parametrize("options", [(), ("--channel", "each")])
def test_what_came_through_a_pipe_stays(emoser: Emoser, clip: Clip, tmp_path: Path, options: tuple[str, ...]) -> None:
    one, other = (clip(name, seconds).read_bytes() for name, seconds in (("a.wav", 1.0), ("b.wav", 0.5)))
    for data in (one, b"", other):
        emoser("predict", "-", *MODEL, *options, "-o", "out.jsonl", stdin=data)
    assert emoser("predict", "a.wav", *MODEL, *options, "-o", "out.jsonl").code == 0
    assert emoser("predict", "-", "a.wav", *MODEL, *options, "-o", "out.jsonl", stdin=other).code == 0
    lines = valid_lines((tmp_path / "out.jsonl").read_bytes())
    found = sorted((line["file"], line["duration"]) for line in lines)
    assert found == [("-", 0.5), ("-", 0.5), ("-", 1.0), ("a.wav", 1.0)]


def test_a_recording_from_a_pipe_that_broke_off_stays(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    data = clip().read_bytes()
    assert emoser("diarize", "-", *MODEL, "-o", "out.jsonl", stdin=data[:20_000]).code == 1
    assert emoser("diarize", "-", *MODEL, "-o", "out.jsonl", stdin=data).code == 0
    lines = valid_lines((tmp_path / "out.jsonl").read_bytes())
    assert ["error" in line for line in lines] == [True, False]


def test_results_of_other_inputs_stay(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        clip(name, samples=0.1 * np.random.default_rng(0).standard_normal((16_000, 2)))
    for name in ("a.wav", "missing.wav", "b.wav", "a.wav"):
        emoser("predict", name, *MODEL, "--channel", "each", "-o", "out.jsonl")
    found = valid_lines((tmp_path / "out.jsonl").read_bytes())
    told = sorted((line["file"], line.get("channel")) for line in found if "error" not in line)
    assert told == [("a.wav", 0), ("a.wav", 1), ("b.wav", 0), ("b.wav", 1)]
    assert [line["file"] for line in found if "error" in line] == ["missing.wav"]


def test_another_checkpoint_of_the_same_name_is_another(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav"), clip("b.wav")
    miniature.write_folder(tmp_path / "one")
    miniature.write_folder(tmp_path / "other", reference=Reference(np.ones((4, 3)), np.ones(3)))
    assert emoser("predict", "a.wav", "-m", "one", "-o", "out.jsonl").code == 0
    before = (tmp_path / "out.jsonl").read_text()
    (line,) = valid_lines(before.encode())
    assert line["model"]["name"] == "miniature" and len(line["model"]["sha256"]) == 64
    ran = emoser("predict", "a.wav", "b.wav", "-m", "other", "-o", "out.jsonl")
    assert ran.code == 2 and "line 1 holds results of another miniature" in ran.err and "give another file with -o" in ran.err
    assert (tmp_path / "out.jsonl").read_text() == before
    del line["model"]["sha256"]  # as they were written once
    (tmp_path / "out.jsonl").write_text(json.dumps(line) + "\n")
    ran = emoser("predict", "a.wav", "b.wav", "-m", "other", "-o", "out.jsonl")
    assert ran.code == 0 and "1 of 2 inputs are there already" in ran.err


def test_each_of_several_checkpoints_is_known_by_its_sha256(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav"), clip("b.wav")
    both = ("-m", "miniature,miniature-nc", "-o", "out.jsonl")
    assert emoser("predict", "a.wav", "b.wav", *both).code == 0
    text = (tmp_path / "out.jsonl").read_text()
    digests = {(line["model"]["name"], line["model"]["sha256"]) for line in valid_lines(text.encode())}
    document = emoser("predict", "a.wav", *both[:2]).json()
    assert digests == {(block["name"], block["sha256"]) for block in document["models"]}
    assert all(set(result["model"]) == {"name"} for result in document["results"])
    (wrong,) = (digest for name, digest in digests if name == "miniature-nc")
    (tmp_path / "out.jsonl").write_text(text.replace(wrong, "0" * 64))
    ran = emoser("predict", "a.wav", "b.wav", *both)
    assert ran.code == 2 and "line 2 holds results of another miniature-nc" in ran.err


def test_a_file_of_fewer_checkpoints_is_left_alone(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav"), clip("b.wav")
    assert emoser("predict", "a.wav", "b.wav", *MODEL, "-o", "out.jsonl").code == 0
    before = (tmp_path / "out.jsonl").read_text()
    ran = emoser("predict", "a.wav", "b.wav", "-m", "miniature,miniature-nc", "-o", "out.jsonl")
    assert ran.code == 2 and "holds no result of miniature-nc for a.wav" in ran.err
    assert (tmp_path / "out.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ('{"schema": "emoser/1", "model": {"name": "other"}, "file": "a.wav", "scores": {}}\n', "results of other"),
        ('{"schema": "emoser/1", "model": {"name": "miniature"}, "file": "a.wav", "embedding": [1]}\n', "no result of `emoser predict`"),
        ('{"schema": "emoser/1", "model": {"name": "miniature"}, "file": "a.wav", "scores": {"sad": 1}}\n', "has the labels sad"),
        ('{"schema": "emoser/1", "file": "a.wav", "findings": []}\n', "results of another command"),
        ("my notes\n", "line 1 is not a result of emoser"),
        ('{"half a line\n{"schema": "emoser/1"}\n', "line 1 is not a result of emoser"),
        ("[1]\n", "line 1 is not a result of emoser"),
        ('{"schema": "emoser/1", "model": "miniature", "file": "a.wav", "scores": {}}\n', "line 1 is not a result of emoser"),
        ('{"schema": "emoser/1", "model": {"name": "miniature"}, "file": "-", "embedding": [1]}\n', "no result of `emoser predict`"),
    ],
)
def test_a_file_of_something_else_is_left_alone(emoser: Emoser, clip: Clip, tmp_path: Path, before: str, words: str) -> None:
    clip()
    (tmp_path / "out.jsonl").write_text(before)
    ran = emoser("predict", "a.wav", *MODEL, "-o", "out.jsonl")
    assert ran.code == 2
    assert words in ran.err
    assert "give another file with -o" in ran.err
    assert (tmp_path / "out.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("predict", ("--channel", "0"), "of all channels mixed, this run has --channel 0"),
        ("predict", ("--channel", "each"), "of all channels mixed, this run has --channel each"),
        ("embed", ("--channel", "1"), "of all channels mixed, this run has --channel 1"),
        ("predict", ("--min-confidence", "1"), "is not marked as low, this run has another --min-confidence"),
        ("diarize", ("--min-confidence", "1"), "is not marked as low, this run has another --min-confidence"),
        ("diarize", ("--channel", "each"), "of all channels mixed, this run has --channel each"),
        ("diarize", ("--html", "page.html"), "page.html, which comes with it, is not there"),
        ("diarize", ("--frames", "frames/"), "a.npz, which comes with it, is not there"),
        ("diarize", ("--subtitles", "a.srt"), "was made without --subtitles"),
        ("diarize", ("--speakers", "a.rttm"), "was made without --speakers"),
    ],
)
def test_results_of_other_options_are_left_alone(
    emoser: Emoser, clip: Clip, tmp_path: Path, command: str, options: tuple[str, ...], words: str
) -> None:
    speech = np.tile(soundfile.read(ROOT / "examples" / "clip.wav", dtype="float32")[0][:, None], 2)
    clip("a.wav", samples=speech)
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:00,200\nmine\n")
    (tmp_path / "a.rttm").write_text("SPEAKER a 1 0 9 <NA> <NA> anna <NA> <NA>\n")
    first = (command, "a.wav", *MODEL, "-o", "out.jsonl")
    assert emoser(*first).code == 0
    with (tmp_path / "out.jsonl").open("ab") as file:
        file.write(b"half a li")  # which is not cut off either
    before = (tmp_path / "out.jsonl").read_bytes()
    ran = emoser(*first, *options)
    assert ran.code == 2 and words in ran.err and "give another file with -o" in ran.err
    assert (tmp_path / "out.jsonl").read_bytes() == before
    (tmp_path / "out.jsonl").unlink()
    assert emoser(*first, *options).code == 0
    before = (tmp_path / "out.jsonl").read_bytes()
    assert emoser(*first, *options).code == 0  # the same options go on
    assert (tmp_path / "out.jsonl").read_bytes() == before
    if options[0] not in ("--html", "--frames"):
        ran = emoser(*first)
        assert ran.code == 2 and (tmp_path / "out.jsonl").read_bytes() == before


def test_files_beside_a_resumed_file_keep_their_names(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    for index, name in enumerate("abc"):
        clip(f"{name}/x.wav", seconds=1 + index)
    whole = (tmp_path / "b" / "x.wav").read_bytes()
    (tmp_path / "b" / "x.wav").write_bytes(b"no audio")
    command = ("diarize", "a/x.wav", "b/x.wav", "c/x.wav", *MODEL, "-o", "out.jsonl", "--frames", "frames/")
    assert emoser(*command).code == 1
    (tmp_path / "b" / "x.wav").write_bytes(whole)
    assert emoser(*command).code == 0
    counts = [len(np.load(tmp_path / "frames" / name)["scores"]) for name in ("x.npz", "x-2.npz", "x-3.npz")]
    assert counts == sorted(counts) and len(set(counts)) == 3


@pytest.mark.parametrize("damage", [{"segments": None}, {"confidence": "x"}, {"warnings": None}, {"segments": [1]}])
def test_a_damaged_line_is_said(emoser: Emoser, clip: Clip, tmp_path: Path, damage: dict[str, Any]) -> None:
    clip("a.wav")
    command = ("diarize" if "segments" in damage else "predict", "a.wav", *MODEL, "-o", "out.jsonl")
    assert emoser(*command).code == 0
    line = json.loads((tmp_path / "out.jsonl").read_text())
    (tmp_path / "out.jsonl").write_text(json.dumps(line | damage) + "\n")
    ran = emoser(*command)
    assert ran.code == 2 and "line 1 is not a result of emoser" in ran.err


def test_a_file_is_kept_by_ctrl_c_before_the_first_result(registry: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("kept\n")
    os.mkfifo(tmp_path / "a.wav")
    silent = os.open(tmp_path / "a.wav", os.O_RDWR)  # open, and nothing comes
    process = start("predict", "a.wav", *MODEL, "-f", "csv", "-o", "out.csv", cwd=tmp_path)
    until(lambda: bool(left_over(tmp_path)))
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    os.close(silent)
    assert ended(process)[0] == 130
    assert (tmp_path / "out.csv").read_text() == "kept\n" and not left_over(tmp_path)
