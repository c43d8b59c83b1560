"""Fixtures that all tests share. Nothing here reaches outside of the machine, and every test has a cache and a registry of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `import miniature`, also with --import-mode=importlib

import miniature


@pytest.fixture(scope="session")
def _files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature")
    miniature.write_folder(folder / "checkpoint")
    miniature.write_registry(folder / "registry")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty EMOSER_CACHE and HF_HOME: no test sees or touches those of the person who runs it."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EMOSER_CACHE", str(folder / "emoser"))
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    return folder


@pytest.fixture
def checkpoint_folder(_files: Path) -> Path:
    """A checkpoint folder (checkpoint.yaml, miniature.onnx): `-m` and `load` take it. Shared: do not change it."""
    return _files / "checkpoint"


@pytest.fixture
def registry(_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with `miniature` and `miniature-nc`, in force for this test and its subprocesses. Shared: do not change it."""
    path = _files / "registry" / "checkpoints.yaml"
    monkeypatch.setenv("EMOSER_REGISTRY", str(path))
    return path


@pytest.fixture
def tone() -> np.ndarray:
    """Two seconds at 16 kHz, float32."""
    return miniature.tone()


@pytest.fixture
def wav(tmp_path: Path, tone: np.ndarray) -> Callable[..., Path]:
    """wav("a.wav", samples=None, rate=16000) writes an audio file (the tone if no samples are given), kind by its suffix."""
    import soundfile

    def write(name: str = "tone.wav", samples: np.ndarray | None = None, rate: int = miniature.RATE, subtype: str | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        form, subtype = ("OGG", "OPUS") if path.suffix == ".opus" else (None, subtype)
        soundfile.write(path, tone if samples is None else samples, rate, subtype=subtype, format=form)
        return path

    return write
