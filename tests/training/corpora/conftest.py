"""Small trees in the official layouts: each file is ten milliseconds of audio."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from training import paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus folder whose own path holds words that a careless parser would take for parts of the layout."""
    folder = tmp_path / "Session1" / "Actor_09" / "Angry" / "corpus"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def audio(root: Path) -> Callable[..., None]:
    """Write tiny wav files by their paths in the corpus folder, and beside the first a hidden twin as macOS archives have it."""

    def write(names: Iterable[str], rate: int = 16_000, samples: int = 160) -> None:
        for index, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.full(samples, 0.1), rate)
            if index == 0:
                (path.parent / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07 no audio")

    return write


@pytest.fixture
def text(root: Path) -> Callable[..., Path]:
    """Write a text file by its path in the corpus folder."""

    def write(name: str, content: str, encoding: str = "utf-8") -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(encoding))
        return path

    return write


@pytest.fixture
def no_inputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine where neither variables nor a folder beside the clone say where inputs are."""
    for name in ("EMOSER_CORPORA", "EMOSER_WEIGHTS", "EMOSER_EMOBOX_FOLDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "BESIDE", tmp_path / "nothing")


@pytest.fixture
def corpora() -> Path:
    """The real corpora, or skip."""
    found = paths.corpora_root()
    if found is None or not (found / "ravdess").is_dir():
        pytest.skip("no corpora at hand (EMOSER_CORPORA)")
    return found
