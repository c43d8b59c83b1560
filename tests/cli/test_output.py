"""Where results go: files that are replaced or not, full disks, closed pipes and streams, SIGTERM."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import COMMAND, FULL, STEREO, VALID, ended, environment, left_over, needs_full, start, until

Emoser = Callable[..., Any]
Clip = Callable[..., Path]
MODEL = ("-m", "miniature")


def test_an_input_given_twice_counts_twice(emoser: Emoser, clip: Clip) -> None:
    clip("a.wav", samples=STEREO)
    assert "\n2 inputs, " in emoser("predict", "a.wav", "a.wav", *MODEL, "-v").err
    assert "\n2 inputs, " in emoser("predict", "a.wav", "a.wav", *MODEL, "-v", "--channel", "each").err
    assert "\n2 inputs, " in emoser("predict", "missing.wav", "missing.wav", *MODEL, "-v").err


def test_other_formats_replace_the_file_when_all_is_done(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip()
    target = tmp_path / "real.json"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "out.json").symlink_to("real.json")
    assert emoser("predict", "a.wav", *MODEL, "-o", "out.json").code == 0
    assert (tmp_path / "out.json").is_symlink()
    assert json.loads(target.read_bytes())["results"][0]["file"] == "a.wav"
    assert target.stat().st_mode & 0o777 == 0o640
    new = tmp_path / "new.json"
    emoser("predict", "a.wav", *MODEL, "-o", "new.json")
    mask = os.umask(0)
    os.umask(mask)
    assert new.stat().st_mode & 0o777 == 0o666 & ~mask


@needs_full
@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table"])
def test_a_full_disk(emoser: Emoser, clip: Clip, form: str) -> None:
    clip()
    to_file = emoser("predict", "a.wav", *MODEL, "-f", form, "-o", FULL)
    assert to_file.code == 1
    assert to_file.err == "Error: could not write /dev/full: No space left on device\n"
    with FULL.open("wb") as full:
        to_stdout = emoser("predict", "a.wav", *MODEL, "-f", form, stdout=full, stderr=subprocess.PIPE)
    assert to_stdout.code == 1
    assert to_stdout.err == "Error: could not write to standard output: No space left on device\n"


@needs_full
@pytest.mark.parametrize("arguments", [("--help",), ("models",), ("models", "-f", "table"), ("--version",)])
def test_a_full_disk_for_short_answers(emoser: Emoser, arguments: tuple[str, ...]) -> None:
    with FULL.open("wb") as full:
        ran = emoser(*arguments, stdout=full, stderr=subprocess.PIPE)
    assert ran.code == 1
    assert ran.err == "Error: could not write the output: No space left on device\n"


def test_a_disk_that_fills_up_leaves_the_old_file(emoser: Emoser, many: Callable[[int], Path], tmp_path: Path) -> None:
    many(50)
    (tmp_path / "out.json").write_text("old")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))  # noqa: E731
    ran = emoser("predict", "many", *MODEL, "-o", "out.json", preexec_fn=limit)
    assert ran.code == 1
    assert ran.err == "Error: could not write out.json: File too large\n"
    assert (tmp_path / "out.json").read_text() == "old"
    assert left_over(tmp_path) == []


def test_a_folder_that_is_not_there(emoser: Emoser, clip: Clip) -> None:
    clip()
    ran = emoser("predict", "a.wav", *MODEL, "-o", "nowhere/out.json")
    assert (ran.code, ran.err) == (1, "Error: could not write nowhere/out.json: No such file or directory\n")


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table"])
def test_a_closed_pipe_ends_quietly(registry: Path, many: Callable[[int], Path], tmp_path: Path, form: str) -> None:
    many(600)
    process = start("predict", "many", *MODEL, "-f", form, cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert ended(process) == (0, "")


def test_a_pipe_that_is_closed_before_anything_was_said(registry: Path, tmp_path: Path) -> None:
    tables = [(*command, "-f", "table") for command in (("models",), ("info", "miniature"), ("doctor",))]
    for arguments in (("models",), ("--help",), *tables):
        process = start(*arguments, cwd=tmp_path, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        assert ended(process) == (0, "")


@pytest.mark.parametrize("arguments", [("predict", "a.wav", *MODEL), ("predict", "a.wav", *MODEL, "-f", "table"), ("models",), ("--help",)])
def test_a_closed_standard_output_is_said(emoser: Emoser, clip: Clip, arguments: tuple[str, ...]) -> None:
    clip()
    ran = emoser(*arguments, preexec_fn=lambda: os.close(1))
    assert ran.code == 1 and re.fullmatch(r"Error: could not write .*: Bad file descriptor\n", ran.err)


def test_closed_streams_are_no_matter_where_they_are_not_needed(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip()
    assert emoser("predict", "a.wav", *MODEL, "-o", "out.json", preexec_fn=lambda: os.closerange(0, 3)).code == 0
    VALID.validate(json.loads((tmp_path / "out.json").read_text()))
    assert len(emoser("predict", "a.wav", "missing.wav", *MODEL, preexec_fn=lambda: os.close(2)).json()["results"]) == 2


def test_a_descriptor_is_written_to_not_replaced(registry: Path, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav")
    command = [*COMMAND, "predict", "a.wav", *MODEL, "-f", "csv", "-o"]
    whole = subprocess.run([*command, "-"], cwd=tmp_path, env=environment(), capture_output=True, check=True).stdout
    piped = subprocess.run([*command, "/dev/stdout"], cwd=tmp_path, env=environment(), capture_output=True, check=True)
    assert piped.stdout == whole and whole.startswith(b"file,")
    with (tmp_path / "out").open("wb") as out:
        out.write(b"before\n")
        out.flush()
        subprocess.run([*command, "/dev/stdout"], cwd=tmp_path, env=environment(), stdout=out, check=True)
        out.write(b"after\n")
    assert (tmp_path / "out").read_bytes() == b"before\n" + whole + b"after\n"


def test_an_unknown_suffix_is_asked_about(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav")
    ran = emoser("predict", "a.wav", *MODEL, "-o", "out.xyz")
    assert ran.code == 2 and "no format is known by .xyz" in ran.err and not (tmp_path / "out.xyz").exists()
    assert emoser("predict", "a.wav", *MODEL, "-f", "csv", "-o", "out.xyz").code == 0
    (tmp_path / "t.csv").write_text("path,label\na.wav,sad\n")
    assert emoser("evaluate", "t.csv", *MODEL, "-o", "scores.xyz").code == 2


def test_termination_leaves_nothing_half_done_and_waits_for_nothing(registry: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("kept\n")
    os.mkfifo(tmp_path / "a.wav")
    silent = os.open(tmp_path / "a.wav", os.O_RDWR)  # open, and nothing comes
    process = start("predict", "a.wav", *MODEL, "-o", "out.csv", cwd=tmp_path)
    until(lambda: bool(left_over(tmp_path)))
    process.terminate()
    assert ended(process)[0] == -signal.SIGTERM
    os.close(silent)
    assert (tmp_path / "out.csv").read_text() == "kept\n" and not left_over(tmp_path)


def test_a_device_or_named_pipe_is_written_to_not_replaced(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip()
    os.mkfifo(tmp_path / "fifo")
    reader = subprocess.Popen(["cat", str(tmp_path / "fifo")], stdout=subprocess.PIPE)
    assert emoser("predict", "a.wav", *MODEL, "-o", "fifo").code == 0
    out, _ = reader.communicate(timeout=120)
    VALID.validate(json.loads(out))
