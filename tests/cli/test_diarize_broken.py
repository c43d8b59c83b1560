"""diarize where something is broken: headers that lie, files that grow, pipes and disks that end. What was done is kept."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import COMMAND, RATE, ROOT, VALID, environment

Emoser = Callable[..., Any]
MODEL = ("-m", "miniature")
SPEECH = soundfile.read(ROOT / "examples" / "clip.wav", dtype="float32")[0]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """talk.wav: 20 seconds, of which there is speech in each five."""
    once = np.pad(SPEECH, (0, 5 * RATE - len(SPEECH)))
    soundfile.write(tmp_path / "talk.wav", np.tile(once, 4), RATE, subtype="PCM_16")
    return tmp_path / "talk.wav"


def results_of(path: Path) -> list[dict[str, Any]]:
    document = json.loads(path.read_bytes())
    VALID.validate(document)
    found: list[dict[str, Any]] = document["results"]
    return found


def claiming(path: Path, size: int) -> bytes:
    """The WAV with another length of audio in its header."""
    data = path.read_bytes()
    at = data.index(b"data") + 4
    return data[:at] + struct.pack("<I", size) + data[at + 4 :]


@pytest.mark.parametrize(("promised", "words"), [(5, "did not finish the file"), (0, "did not finish the file"), (50, "of the 50.00 s")])
def test_a_header_that_lies(emoser: Emoser, talk: Path, tmp_path: Path, promised: int, words: str) -> None:
    (tmp_path / "lies.wav").write_bytes(claiming(talk, promised * 2 * RATE))
    ran = emoser("diarize", "lies.wav", "talk.wav", *MODEL)
    assert ran.code == 1 and words in ran.err and "what came before is kept" in ran.err
    lies, whole = ran.json()["results"]
    assert lies["error"]["type"] == "AudioDecodeError" and "error" not in whole
    assert lies["segments"] == whole["segments"] and lies["duration"] == 20


@pytest.mark.parametrize(("promised", "code"), [(0, 1), (0xFFFFFFFF, 0), (1000 * 2 * RATE, 1)])
def test_a_file_that_grows_while_it_is_read(registry: Path, talk: Path, tmp_path: Path, promised: int, code: int) -> None:
    """It is taken as it was at some moment. Without a length in its header nobody can tell that more would come."""
    second = np.zeros(RATE, np.int16).tobytes()
    path = tmp_path / "grows.wav"
    path.write_bytes(claiming(talk, promised))
    arguments = ["diarize", "grows.wav", *MODEL, "-o", "out.json", "--html", "page.html"]
    with path.open("ab") as file:
        process = subprocess.Popen([*COMMAND, *arguments], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE)
        while process.poll() is None:
            file.write(second)
            file.flush()
            time.sleep(0.01)
    _, err = process.communicate()
    assert b"Traceback" not in err and process.returncode == code
    (result,) = results_of(tmp_path / "out.json")
    assert result["duration"] >= 20 and ("error" in result) == bool(code)
    assert result["segments"][-1]["end"] == result["duration"]
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_samples_that_are_no_numbers(emoser: Emoser, talk: Path, tmp_path: Path) -> None:
    good = soundfile.read(talk, dtype="float32")[0]
    both = np.stack([good, good], 1)
    both[12 * RATE, 1] = np.nan
    soundfile.write(tmp_path / "nan.wav", both, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "inf.wav", np.full(RATE, np.inf), RATE, subtype="FLOAT")
    ran = emoser("diarize", "nan.wav", "inf.wav", "talk.wav", *MODEL)
    nan, inf, whole = ran.json()["results"]
    assert ran.code == 1 and "first at 12.000 s (sample 192000); what came before is kept" in ran.err
    assert nan["duration"] == 12 and nan["segments"][:3] == whole["segments"][:3]
    assert "segments" not in inf and inf["error"]["type"] == "AudioValueError"
    clean = emoser("diarize", "nan.wav", *MODEL, "--channel", "0")
    assert clean.code == 0 and clean.json()["results"][0]["segments"] == whole["segments"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a matter of Unix")
def test_a_named_pipe_can_have_a_page(emoser: Emoser, talk: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for size, code in ((10**9, 0), (300_000, 1)):
        with subprocess.Popen(["sh", "-c", f"head -c {size} talk.wav > fifo"], cwd=tmp_path):
            ran = emoser("diarize", "fifo", *MODEL, "-o", "out.json", "--html", "page.html")
        assert ran.code == code, ran.err
        (result,) = results_of(tmp_path / "out.json")
        assert result["file"] == "fifo" and str(tmp_path) not in ran.err
        assert (tmp_path / "page.html").stat().st_size > 10_000


@needs_full
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "rttm", "textgrid", "srt", "vtt", "audacity", "audformat"])
def test_a_full_disk(emoser: Emoser, talk: Path, form: str) -> None:
    ran = emoser("diarize", "talk.wav", *MODEL, "-f", form, "-o", FULL)
    assert (ran.code, ran.err) == (1, "Error: could not write /dev/full: No space left on device\n")


@needs_full
@pytest.mark.parametrize(("option", "name"), [("--frames", "f.npz"), ("--frames", "f.csv"), ("--html", "p.html"), ("--plot", "p.svg")])
def test_a_disk_that_is_full_for_a_page_leaves_the_segments(emoser: Emoser, talk: Path, tmp_path: Path, option: str, name: str) -> None:
    if option == "--plot":
        pytest.importorskip("matplotlib")
    (tmp_path / name).symlink_to(FULL)
    ran = emoser("diarize", "talk.wav", *MODEL, "-o", "out.json", option, name)
    assert ran.code == 1 and f"could not write {name}: No space left on device" in ran.err
    (result,) = results_of(tmp_path / "out.json")
    assert len(result["segments"]) > 3 and result["error"]["type"] == "OutputError"


def test_a_disk_that_fills_up_leaves_the_old_page(emoser: Emoser, talk: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    ran = emoser("diarize", "talk.wav", *MODEL, "-o", "out.json", "--html", "page.html", preexec_fn=limit)
    assert ran.code == 1 and "could not write page.html" in ran.err
    assert (tmp_path / "page.html").read_text() == "old"
    assert len(results_of(tmp_path / "out.json")) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"talk.wav", "page.html", "out.json"}


def test_no_room_for_what_comes_through_a_pipe(emoser: Emoser, talk: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    env = {"TMPDIR": str(tmp_path / "small")}
    ran = emoser("diarize", "-", *MODEL, stdin=talk.read_bytes(), env=env, preexec_fn=limit)
    assert ran.code == 1 and "what comes through the pipe could not be kept in" in ran.err and "TMPDIR" in ran.err
    assert list((tmp_path / "small").glob("emoser*")) == []  # onnxruntime may leave something of its own


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "rttm", "audformat"])
def test_a_reader_that_has_seen_enough(registry: Path, talk: Path, tmp_path: Path, form: str) -> None:
    for index in range(100):
        (tmp_path / f"{index}.wav").symlink_to(talk)
    command = [*COMMAND, "diarize", *(f"{index}.wav" for index in range(100)), *MODEL, "-f", form]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
