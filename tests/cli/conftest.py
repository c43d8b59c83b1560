"""The command line as people use it: a process of its own, its bytes and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import soundfile

# A runner in the background may have been told to ignore interrupts, which its children inherit; those here are sent some.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "emoser")
RATE = 16_000
VALID = jsonschema.Draft202012Validator(json.loads((ROOT / "emoser" / "formats" / "emoser-1.schema.json").read_text(encoding="utf-8")))


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    def json(self) -> Any:
        """The document on standard output, which must keep the contract."""
        document = json.loads(self.out)
        VALID.validate(document)
        return document

    def lines(self) -> list[Any]:
        return valid_lines(self.out)


def valid_lines(data: bytes) -> list[Any]:
    """.jsonl: every line complete, and within the contract."""
    assert data == b"" or data.endswith(b"\n")
    found = [json.loads(line) for line in data.splitlines()]
    for line in found:
        VALID.validate(line)
    return found


def environment(**changes: str) -> dict[str, str]:
    """The caller's, with this source tree first, and nothing that would change how the command speaks."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONWARNINGS")}
    return kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | changes


@pytest.fixture
def emoser(tmp_path: Path, registry: Path) -> Callable[..., Ran]:
    """emoser("predict", "a.wav", stdin=b"", env={}) in the test's folder, with the miniature registry. It must never show a traceback."""

    def run(*arguments: object, stdin: bytes = b"", env: dict[str, str] | None = None, cwd: Path = tmp_path, **more: Any) -> Ran:
        command = [*COMMAND, *(argument if isinstance(argument, bytes) else str(argument) for argument in arguments)]
        done = subprocess.run(
            command,
            input=stdin,
            capture_output="stdout" not in more,
            env=environment(**(env or {})),
            cwd=cwd,
            timeout=180,
            check=False,
            **more,
        )
        err = (done.stderr or b"").decode("utf-8", "backslashreplace")
        assert "Traceback" not in err, err
        return Ran(done.returncode, done.stdout or b"", err)

    return run


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """clip("a.wav", seconds=1.0) writes a tone; other samples and rates if given."""

    def write(
        name: str = "a.wav", seconds: float = 1.0, rate: int = RATE, samples: np.ndarray | None = None, subtype: str = "PCM_16"
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if samples is None:
            samples = 0.3 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)
        soundfile.write(path, samples, rate, subtype=subtype)
        return path

    return write


@pytest.fixture
def many(tmp_path: Path, clip: Callable[..., Path]) -> Callable[[int], Path]:
    """many(1000): a folder of so many short clips."""

    def make(count: int) -> Path:
        one = clip("one.wav", seconds=0.2)
        folder = tmp_path / "many"
        folder.mkdir()
        for index in range(count):
            (folder / f"{index:05}.wav").symlink_to(one)
        return folder

    return make


STEREO = np.random.default_rng(0).normal(0, 0.1, (8000, 2))
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")


def start(*arguments: object, cwd: Path, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, *map(str, arguments)], cwd=cwd, env=environment(), stderr=subprocess.PIPE, **more)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in 120 s"
        time.sleep(0.01)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, err = process.communicate(timeout=120)
    text = err.decode()
    assert "Traceback" not in text, text
    return process.returncode, text


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def left_over(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))
