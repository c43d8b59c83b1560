"""What importing costs, what is public, and that neither torch nor a socket is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import emoser

ROOT = Path(__file__).parents[2]


def python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "nothing on the user's terminal"
    return done.stdout.strip()


def test_import_brings_nothing_heavy() -> None:
    code = "import sys, emoser; print(*{m.split('.')[0] for m in sys.modules} & {'numpy', 'onnxruntime', 'torch', 'soundfile', 'yaml'})"
    assert python(code) == ""


def test_the_registry_is_read_without_numpy(registry: Path) -> None:
    code = "import sys, emoser; print(*(c.name for c in emoser.list_checkpoints()), 'numpy' in sys.modules)"
    assert python(code) == "miniature miniature-nc False"


def test_predicting_imports_no_torch_and_opens_no_socket(registry: Path, wav) -> None:
    code = """
import sys, socket
def refuse(*args, **kwargs): raise AssertionError("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
import emoser
for offline in (True, False):
    model = emoser.load("miniature", offline=offline)
    print(model(sys.argv[1]).label, list(model.stream([sys.argv[1]] * 3))[2].label, len(model.embed(sys.argv[1]).vector))
print("torch" in sys.modules)
"""
    assert python(code, str(wav())).splitlines() == ["happy happy 3"] * 2 + ["False"]


def test_onnxruntime_reports_nothing(registry: Path, wav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has to report it first puts into the user's cache folder."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path / "cache"))
    python("import sys, emoser; emoser.load('miniature')(sys.argv[1])", str(wav()))
    assert list(home.rglob("*")) == []


def test_public_names() -> None:
    for name in emoser.__all__:
        assert getattr(emoser, name).__name__ == name
    assert isinstance(emoser.__version__, str)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        emoser.nothing  # noqa: B018
    assert len((ROOT / "emoser" / "__init__.py").read_text().splitlines()) < 30
