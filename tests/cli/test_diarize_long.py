"""diarize and a long recording: progress inside of it, Ctrl-C, and disks and pipes that end."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emoser.cli import progress
from emoser.cli.progress import Bar

from .conftest import COMMAND, RATE, ROOT, VALID, environment, valid_lines

Emoser = Callable[..., Any]
MODEL = ("-m", "miniature")
SPEECH = soundfile.read(ROOT / "examples" / "clip.wav", dtype="float32")[0]
MINUTES = 12  # of the long one: some seconds of work
PATIENCE = 600  # seconds, for machines that have other things to do


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """short.wav, and long.wav, which takes seconds."""
    once = np.concatenate([SPEECH, np.zeros(RATE // 2, np.float32)])
    soundfile.write(tmp_path / "short.wav", once, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "long.wav", np.tile(once, MINUTES * 60 * RATE // len(once)), RATE, subtype="PCM_16")
    return tmp_path / "long.wav"


def interrupted(*arguments: str, cwd: Path, when: Callable[[], bool], times: int = 1) -> tuple[int, str]:
    """Exit code and standard error of a run that gets SIGINT half a second after `when`."""
    process = subprocess.Popen([*COMMAND, *arguments], cwd=cwd, env=environment(), stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + PATIENCE
        while not when():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        time.sleep(0.5)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert b"Traceback" not in err, err.decode()
    return process.returncode, err.decode()


def has_lines(path: Path) -> Callable[[], bool]:
    return lambda: path.exists() and path.stat().st_size > 0


def test_what_is_done_of_a_recording_is_kept_at_ctrl_c(registry: Path, emoser: Emoser, long: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ("diarize", "short.wav", "long.wav", "short.wav", *MODEL, "-o", "out.jsonl")
    code, err = interrupted(*arguments, cwd=tmp_path, when=has_lines(out))
    assert code == 130
    assert re.search(r"^long\.wav: interrupted after \d+\.\d\d s of \d+\.\d\d s; what came before is kept$", err, re.MULTILINE)
    assert "interrupted; 1 of 3 inputs are done and written to out.jsonl; the same command goes on from there" in err
    short, part = valid_lines(out.read_bytes())
    assert "error" not in short and part["error"]["type"] == "Interrupted"
    assert 0 < part["duration"] < MINUTES * 60 - 10
    edges = [0, *(segment["end"] for segment in part["segments"])]
    assert [segment["start"] for segment in part["segments"]] == edges[:-1] and edges[-1] == part["duration"]
    # It was not complete: the same command does it again, and what it said so far holds.
    assert emoser(*arguments).code == 0
    lines = valid_lines(out.read_bytes())
    assert [line["file"] for line in lines] == ["short.wav", "long.wav", "short.wav"]
    assert lines[1]["segments"][: len(part["segments"]) - 5] == part["segments"][:-5]


def test_ctrl_c_leaves_a_whole_document_and_no_page_of_a_part(registry: Path, long: Path, tmp_path: Path) -> None:
    arguments = ("diarize", "short.wav", "long.wav", *MODEL, "--channel", "each", "-o", "out.json", "--html", "pages/")
    code, _ = interrupted(*arguments, cwd=tmp_path, when=lambda: (tmp_path / "pages" / "short.0.html").exists())
    assert code == 130
    document = json.loads((tmp_path / "out.json").read_bytes())
    VALID.validate(document)
    assert [(result["file"], "error" in result) for result in document["results"]] == [("short.wav", False), ("long.wav", True)]
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["short.0.html"]
    assert not list(tmp_path.glob(".*.part"))


def test_in_a_folder_the_part_has_a_file_of_its_own(registry: Path, long: Path, tmp_path: Path) -> None:
    arguments = ("diarize", "short.wav", "long.wav", *MODEL, "-f", "textgrid", "-o", "grids/", "--frames", "grids/")
    code, err = interrupted(*arguments, cwd=tmp_path, when=lambda: (tmp_path / "grids" / "short.npz").exists())
    assert code == 130 and "1 of 2 inputs are done and written to grids/" in err
    assert {path.name for path in (tmp_path / "grids").iterdir()} == {"short.TextGrid", "short.npz", "long.TextGrid"}


def test_a_second_ctrl_c_does_not_wait(registry: Path, long: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    code, _ = interrupted("diarize", "short.wav", "long.wav", *MODEL, "-o", "out.jsonl", cwd=tmp_path, when=has_lines(out), times=2)
    assert code in (130, -signal.SIGINT)  # the latter where it comes when Python is leaving already
    assert valid_lines(out.read_bytes())[0]["file"] == "short.wav"


def test_a_bar_inside_one_recording(registry: Path, long: Path, tmp_path: Path) -> None:
    pexpect = pytest.importorskip("pexpect")
    arguments = ["diarize", "long.wav", *MODEL, "-o", "out.json"]
    child = pexpect.spawn(COMMAND[0], [*COMMAND[1:], *arguments], cwd=str(tmp_path), env=environment(TERM="xterm"), timeout=PATIENCE)
    child.expect(r"\d+:\d\d of 1\d:\d\d")
    child.sendintr()
    child.expect(r"Error: interrupted; 0 of 1 inputs are done and written to out\.json")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    (result,) = json.loads((tmp_path / "out.json").read_bytes())["results"]
    assert result["segments"] and result["error"]["type"] == "Interrupted"


def test_no_bar_for_what_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with Bar(1, wanted=True) as bar:
        bar.within(4.0, 30.0)
        assert terminal.getvalue() == ""
        now += 2
        bar.within(8.0, 30.0)
        assert "0:08 of 0:30" in terminal.getvalue()
    with Bar(1, wanted=True) as bar:
        now += 2
        bar.within(3661.0, None)
    assert "1:01:01 " in terminal.getvalue()
    for wanted, total in ((False, 1), (False, 5), (True, 0)):
        monkeypatch.setattr("sys.stderr", terminal := Terminal())
        with Bar(total, wanted=wanted) as bar:
            now += 2
            bar.within(8.0, 30.0)
        assert terminal.getvalue() == ""


def test_ctrl_c_while_the_page_is_made(registry: Path, long: Path, tmp_path: Path) -> None:
    """The segments are whole, and the same command makes the page."""
    arguments = ("diarize", "long.wav", *MODEL, "-o", "out.jsonl", "--frames", "f.npz", "--html", "page.html")
    code, err = interrupted(*arguments, cwd=tmp_path, when=(tmp_path / "f.npz").exists)
    assert code == 130 and "interrupted while the files beside its segments were written" in err
    (line,) = valid_lines((tmp_path / "out.jsonl").read_bytes())
    assert line["error"]["type"] == "Interrupted" and line["duration"] > MINUTES * 60 - 10
    assert not list(tmp_path.glob("*page.html"))
