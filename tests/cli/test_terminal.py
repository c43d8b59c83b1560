"""What a person sees: a table and a bar on a terminal, neither of them in a pipe."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import COMMAND, environment

pexpect = pytest.importorskip("pexpect")
if sys.platform == "win32":
    pytest.skip("pseudo-terminals are a matter of Unix", allow_module_level=True)

Clip = Callable[..., Path]
COLOUR = re.compile(r"\x1b\[[\d;]*[1-9]m")
MODEL = ("-m", "miniature")


@pytest.fixture
def see(registry: Path, tmp_path: Path) -> Callable[..., str]:
    """see("predict", "a.wav") is everything that came to a terminal of 80 columns."""

    def run(*arguments: str, env: dict[str, str] | None = None, shell: str | None = None) -> str:
        wanted: dict[str, Any] = {"cwd": str(tmp_path), "env": environment(TERM="xterm-256color", **(env or {})), "dimensions": (24, 80)}
        command = [*COMMAND, *arguments]
        child = (
            pexpect.spawn("/bin/sh", ["-c", f'"$@" {shell}', "sh", *command], **wanted)
            if shell
            else pexpect.spawn(command[0], command[1:], **wanted)
        )
        child.expect(pexpect.EOF, timeout=180)
        child.close()
        text: str = child.before.decode("utf-8")
        assert "Traceback" not in text
        return text

    return run


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "")


def test_a_table_in_colour(see: Callable[..., str], clip: Clip) -> None:
    clip(), clip("b.wav", seconds=0.01)
    text = see("predict", "a.wav", "b.wav", *MODEL)
    assert COLOUR.search(text)
    lines = plain(text).splitlines()
    assert "b.wav is 10 ms long (160 samples at 16000 Hz); at least 100 ms are needed" in " ".join(lines)
    (row,) = [line for line in lines if line.startswith("a.wav")]
    assert re.fullmatch(r"a\.wav  (neutral|happy|angry|sad) +0\.\d\d  \w+ 0\.\d\d +1\.0 s.*", row)
    assert "1 of 2 inputs failed" in lines


def test_no_color(see: Callable[..., str], clip: Clip) -> None:
    clip()
    for arguments in (("predict", "a.wav", *MODEL), ("check", "a.wav"), ("models",), ("doctor",)):
        hues = [code for code in COLOUR.findall(see(*arguments, env={"NO_COLOR": "1"})) if not re.fullmatch(r"\x1b\[[12]m", code)]
        assert hues == []


def test_nothing_is_wider_than_the_terminal(see: Callable[..., str], clip: Clip) -> None:
    name = "a-very-long-folder-name/with-another-inside/" + "x" * 60 + "-end.wav"
    clip(name)
    for arguments in (("predict", name, *MODEL), ("predict", name, "--scores", *MODEL), ("embed", name, *MODEL), ("check", name)):
        lines = plain(see(*arguments)).splitlines()
        assert max(map(len, lines)) <= 80
        assert any(line.startswith("…") and "-end.wav" in line for line in lines)


def test_a_bar_while_it_works_and_no_trace_of_it_after(see: Callable[..., str], many: Callable[[int], Path]) -> None:
    many(300)
    text = see("predict", "many", *MODEL)
    assert "/300" in text
    rows = [line for line in plain(text.replace("\x1b[2K", "\n")).splitlines() if line.startswith("many/")]
    assert len(rows) == 300
    assert "/300" not in see("predict", "many", *MODEL, "-q")


def test_a_pipe_gets_json_and_the_bar_stays_on_the_terminal(see: Callable[..., str], many: Callable[[int], Path], tmp_path: Path) -> None:
    many(300)
    text = see("predict", "many", *MODEL, shell="> out")
    assert "/300" in text and "many/" not in text
    assert len(json.loads((tmp_path / "out").read_bytes())["results"]) == 300


def test_no_bar_where_standard_error_is_no_terminal(see: Callable[..., str], many: Callable[[int], Path], tmp_path: Path) -> None:
    many(300)
    see("predict", "many", *MODEL, shell="2> err > out")
    assert (tmp_path / "err").read_bytes() == b""


def test_arrays_are_not_for_a_terminal(see: Callable[..., str], clip: Clip) -> None:
    clip()
    assert "npz is not for a terminal: give a file with -o, for instance -o out.npz" in plain(see("embed", "a.wav", *MODEL, "-f", "npz"))


def test_a_dash_without_a_pipe_is_explained(see: Callable[..., str]) -> None:
    assert "emoser predict - < clip.wav" in plain(see("predict", "-", *MODEL))


def test_ctrl_c_on_a_terminal(registry: Path, many: Callable[[int], Path], tmp_path: Path) -> None:
    many(1500)
    child = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "predict", "many", *MODEL], cwd=str(tmp_path), env=environment(TERM="xterm"))
    child.expect("many/00000.wav", timeout=120)
    child.sendintr()
    child.expect(r"Error: interrupted; \d+ of 1500 inputs are done and written", timeout=120)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert b"Traceback" not in child.before


def test_check_says_what_to_do(see: Callable[..., str], clip: Clip) -> None:
    clip("a.wav", rate=8000)
    text = plain(see("check", "a.wav"))
    assert "low_rate" in text
    assert "-> Record at 16 kHz or more; resampling afterwards brings nothing back." in text


def test_without_a_terminal_nothing_is_coloured(registry: Path, clip: Clip, tmp_path: Path) -> None:
    clip()
    for arguments in (("predict", "a.wav", *MODEL, "-f", "table"), ("models", "-f", "table"), ("doctor", "-f", "table")):
        done = subprocess.run([*COMMAND, *arguments], cwd=tmp_path, env=environment(TERM="xterm-256color"), capture_output=True)
        assert done.returncode == 0
        assert b"\x1b" not in done.stdout + done.stderr
