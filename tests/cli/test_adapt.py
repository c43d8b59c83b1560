"""adapt, and predict --adapt: what they leave, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import soundfile

from emoser.adaptation import Reference

Emoser = Callable[..., Any]
SPOKEN = Path(__file__).resolve().parents[2] / "examples" / "clip.wav"
LOUD = Reference(np.array([[0.01, 0.05, 1.0], [0.04, 0.15, 1.2], [0.09, 0.25, 1.3], [0.02, 0.1, 1.1]]), np.array([0.02, 0.05, 0.3]))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three recordings of the example's voice, and one that is no audio."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    samples, rate = soundfile.read(SPOKEN)
    for index, gain in enumerate((0.2, 0.5, 1.0)):
        soundfile.write(folder / f"{index}.wav", gain * samples, rate)
    (folder / "broken.wav").write_bytes(b"no audio")
    miniature.write_folder(tmp_path / "base", reference=LOUD)
    return folder


def test_an_adapted_folder_predicts_like_predict_with_adapt(emoser: Emoser, recordings: Path, tmp_path: Path) -> None:
    ran = emoser("adapt", "recordings", "-m", "base", "-o", "mine")
    assert ran.code == 1 and ran.out == b""
    assert "broken.wav" in ran.err and "3 clips are few" in ran.err and "mine: miniature-adapted, adapted to 3 recordings" in ran.err
    (recordings / "broken.wav").unlink()
    saved = emoser("predict", "recordings", "-m", "mine").json()
    at_once = emoser("predict", "recordings", "-m", "base", "--adapt")
    assert at_once.code == 0 and "3 clips are few" in at_once.err
    assert saved == at_once.json() and saved["model"]["name"] == "miniature-adapted"
    assert saved["results"] != emoser("predict", "recordings", "-m", "base").json()["results"]
    (entry,) = emoser("info", "mine").json()["checkpoints"]
    assert json.dumps(entry["parts"]).count("adaptation.npz") == 1


def test_shares_say_how_often_emotions_occur(emoser: Emoser, recordings: Path) -> None:
    (recordings / "broken.wav").unlink()
    told = emoser("predict", "recordings", "-m", "base", "--adapt", "--shares", "Angry=0.9,sad=0.1")
    assert told.code == 0
    assert emoser("adapt", "recordings", "-m", "base", "-o", "mine", "--shares", "angry=0.9,sad=0.1").code == 0
    assert told.json() == emoser("predict", "recordings", "-m", "mine").json()
    assert told.json()["results"] != emoser("predict", "recordings", "-m", "base", "--adapt").json()["results"]
    for wrong, said in [("angry", "neutral=0.8"), ("angry=x", "neutral=0.8"), ("angry=0.5,angry=0.5", "each label once")]:
        ran = emoser("adapt", "recordings", "-m", "base", "-o", "mine", "--shares", wrong)
        assert ran.code == 2 and said in ran.err
    ran = emoser("adapt", "recordings", "-m", "base", "-o", "mine", "--shares", "calm=1")
    assert ran.code == 2 and 'no label "calm"' in ran.err
    ran = emoser("predict", "recordings", "-m", "base", "--shares", "angry=1")
    assert ran.code == 2 and "--adapt" in ran.err


def test_what_cannot_be_adapted(emoser: Emoser, recordings: Path) -> None:
    ran = emoser("adapt", "recordings/0.wav", "-m", "miniature", "-o", "mine")
    assert ran.code == 3 and "cannot be adapted" in ran.err
    ran = emoser("adapt", "-", "-m", "base", "-o", "mine", stdin=SPOKEN.read_bytes())
    assert ran.code == 2 and "one recording" in ran.err
    assert emoser("adapt", "recordings", "-m", "base").code == 2  # no -o
