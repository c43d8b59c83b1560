"""adapt, and predict --adapt: what they leave, and how they end."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import soundfile
import yaml

from emoser.adaptation import Reference

Emoser = Callable[..., Any]
CLONE = Path(__file__).resolve().parents[2]
SPOKEN = CLONE / "examples" / "clip.wav"
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
    even, told = (
        emoser("predict", "recordings", "-m", "base", "--adapt", "--shares", shares).json()["results"]
        for shares in ("even", "neutral=0.25,happy=0.25,angry=0.25,sad=0.25")
    )
    assert even == told
    for wrong, said in [("angry", "neutral=0.8"), ("angry=x", "neutral=0.8"), ("angry=0.5,angry=0.5", "each label once")]:
        ran = emoser("adapt", "recordings", "-m", "base", "-o", "mine", "--shares", wrong)
        assert ran.code == 2 and said in ran.err
    ran = emoser("adapt", "recordings", "-m", "base", "-o", "mine", "--shares", "calm=1")
    assert ran.code == 2 and 'no label "calm"' in ran.err
    ran = emoser("predict", "recordings", "-m", "base", "--shares", "angry=1")
    assert ran.code == 2 and "--adapt" in ran.err


def test_failures_are_said_where_nothing_is_left(emoser: Emoser, recordings: Path) -> None:
    for command in (("adapt", "recordings/broken.wav", "missing.wav", "-o", "mine"), ("predict", "missing.wav", "--adapt")):
        ran = emoser(*command, "-m", "base")
        assert ran.code == 2 and "missing.wav" in ran.err and "no clip with speech" in ran.err


def test_inputs_are_read_from_their_list_once(emoser: Emoser, recordings: Path, tmp_path: Path) -> None:
    (recordings / "broken.wav").unlink()
    names = "\n".join(f"recordings/{index}.wav" for index in range(3))
    listed = emoser("predict", "@-", "-m", "base", "--adapt", stdin=names.encode())
    assert listed.code == 0 and listed.json()["results"] == emoser("predict", "recordings", "-m", "base", "--adapt").json()["results"]
    os.mkfifo(tmp_path / "pipe")
    ran = emoser("predict", "pipe", "-m", "base", "--adapt")
    assert ran.code == 2 and "pipe is a pipe" in ran.err and "--adapt reads twice" in ran.err
    ran = emoser("adapt", "pipe", "-m", "base", "-o", "mine", "--shares", "sad=0.5")
    assert ran.code == 2 and "pipe is a pipe" in ran.err and "--shares reads twice" in ran.err


def test_a_folder_of_another_kind_is_refused_before_the_work(emoser: Emoser, recordings: Path, tmp_path: Path) -> None:
    before = (tmp_path / "base" / "checkpoint.yaml").read_bytes()
    for folder, said in [("base", "not an adapted one"), ("recordings", "no checkpoint folder"), ("recordings/0.wav", "no folder")]:
        ran = emoser("adapt", "recordings", "-m", "base", "-o", folder)
        assert ran.code == 2 and said in ran.err and "broken.wav" not in ran.err
    assert (tmp_path / "base" / "checkpoint.yaml").read_bytes() == before


def test_a_folder_that_cannot_be_is_said_before_the_work(emoser: Emoser, recordings: Path, tmp_path: Path) -> None:
    for folder in ("/proc/mine", "n" * 300):
        ran = emoser("adapt", "recordings", "-m", "base", "-o", folder)
        assert ran.code == 1 and ran.err.startswith(f"Error: could not write {folder}: ") and "broken.wav" not in ran.err
    ran = emoser("adapt", "missing.wav", "-m", "base", "-o", "new/mine")
    assert ran.code == 2 and not (tmp_path / "new").exists()


def test_a_disk_that_fills_up_leaves_what_was_there(emoser: Emoser, recordings: Path, tmp_path: Path) -> None:
    (recordings / "broken.wav").unlink()
    smallest = min(file.stat().st_size for file in (tmp_path / "base").iterdir())
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (smallest - 1, smallest - 1))  # noqa: E731
    ran = emoser("adapt", "recordings", "-m", "base", "-o", "new/mine", preexec_fn=limit)
    assert ran.code == 1 and "Error: could not write new/mine: File too large" in ran.err and not (tmp_path / "new").exists()
    assert emoser("adapt", "recordings", "-m", "base", "-o", "mine").code == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()}
    assert emoser("adapt", "recordings/0.wav", "-m", "base", "-o", "mine", preexec_fn=limit).code == 1
    assert {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()} == before


def test_adapted_again_and_side_by_side(emoser: Emoser, recordings: Path, tmp_path: Path) -> None:
    (recordings / "broken.wav").unlink()
    assert emoser("adapt", "recordings", "-m", "base", "-o", "mine").code == 0
    assert emoser("adapt", "recordings/0.wav", "-m", "mine", "-o", "other").code == 0
    summaries = [emoser("info", name).json()["checkpoints"][0]["summary"] for name in ("mine", "other")]
    assert [summary.partition("; ")[2] for summary in summaries] == [
        f"adapted to {many} of a user's own." for many in ("3 clips", "1 clip")
    ]
    both = emoser("predict", "recordings", "-m", "mine/,other/").json()
    assert [block["name"] for block in both["models"]] == ["mine/", "other/"]
    assert [result["model"]["name"] for result in both["results"]][:2] == ["mine/", "other/"]


def test_a_registry_may_list_an_adapted_checkpoint(emoser: Emoser, recordings: Path, tmp_path: Path) -> None:
    (recordings / "broken.wav").unlink()
    assert emoser("adapt", "recordings", "-m", "base", "-o", "mine").code == 0
    entry = yaml.safe_load((tmp_path / "mine" / "checkpoint.yaml").read_text())
    (tmp_path / "mine" / "registry.yaml").write_text(yaml.safe_dump({"checkpoints": [entry]}))
    listed = emoser("predict", "recordings", "-m", "miniature-adapted", env={"EMOSER_REGISTRY": str(tmp_path / "mine" / "registry.yaml")})
    assert listed.json() == emoser("predict", "recordings", "-m", "mine").json()


def test_what_cannot_be_adapted(emoser: Emoser, recordings: Path) -> None:
    ran = emoser("adapt", "recordings/0.wav", "-m", "miniature", "-o", "mine")
    assert ran.code == 3 and "cannot be adapted" in ran.err
    for options, said in (
        (("-m", "ent"), "is a transducer"),
        (("--runtime", "torchscript"), 'with torchscript; load it with runtime="onnx"'),
    ):
        ran = emoser("adapt", "recordings/0.wav", *options, "-o", "mine", env={"EMOSER_REGISTRY": str(CLONE / "checkpoints.yaml")})
        assert ran.code == 3 and said in ran.err
    ran = emoser("adapt", "-", "-m", "base", "-o", "mine", stdin=SPOKEN.read_bytes())
    assert ran.code == 2 and "one recording" in ran.err
    assert emoser("adapt", "recordings", "-m", "base").code == 2  # no -o


def test_an_ensemble_is_adapted_like_any_other(emoser: Emoser, recordings: Path, tmp_path: Path) -> None:
    env = {"EMOSER_REGISTRY": str(miniature.write_ensemble(tmp_path / "registry", LOUD, LOUD))}
    ran = emoser("adapt", "recordings", "-m", "both", "-o", "mine", env=env)
    assert ran.code == 1 and ran.out == b"" and ran.err.count("3 clips are few") == 1
    assert "broken.wav" in ran.err and "mine: both-adapted, adapted to 3 recordings" in ran.err
    (recordings / "broken.wav").unlink()
    # without the registry that knows the members
    saved = emoser("predict", "recordings", "-m", "mine").json()
    at_once = emoser("predict", "recordings", "-m", "both", "--adapt", env=env)
    assert at_once.code == 0 and saved == at_once.json() and saved["model"]["name"] == "both-adapted"
    assert saved["results"] != emoser("predict", "recordings", "-m", "both", env=env).json()["results"]
    several = emoser("predict", "recordings", "-m", "mine/,miniature").json()
    assert [result["scores"] for result in several["results"][::2]] == [result["scores"] for result in saved["results"]]
    entries = emoser("info", "mine").json()["checkpoints"]
    assert [entry["name"] for entry in entries] == ["both-adapted", "miniature-adapted", "reversed-adapted"]
    text = emoser("info", "mine", "-f", "table").out.decode()
    assert "miniature-adapted, reversed-adapted" in text and text.count("adaptation-2.npz") == 1
    report = emoser("doctor", env={"EMOSER_REGISTRY": str(tmp_path / "mine" / "checkpoint.yaml")}).json()["doctor"]
    found = {check["name"]: check for check in report["checks"]}
    for name in ("both-adapted", "miniature-adapted", "reversed-adapted"):  # their known values are those of the adapted models
        assert found[name]["status"] == "ok" and "output within" in found[name]["value"], found[name]
    ran = emoser("download", "both", env=env)
    assert [Path(line).parent.name for line in ran.out.decode().split()] == ["a", "b"] and "nothing was downloaded" in ran.err
    # over itself, then over what is no adapted checkpoint
    assert emoser("adapt", "recordings/0.wav", "-m", "mine", "-o", "mine").code == 0
    assert "1 clip of" in emoser("info", "mine").json()["checkpoints"][2]["summary"]
    ran = emoser("adapt", "recordings", "-m", "both", "-o", "base", env=env)
    assert ran.code == 2 and "not an adapted one" in ran.err
    miniature.write_ensemble(tmp_path / "registry", LOUD, None)
    ran = emoser("adapt", "recordings", "-m", "both", "-o", "other", env=env)
    assert ran.code == 3 and 'its member "reversed" cannot be adapted' in ran.err and not (tmp_path / "other").exists()


def test_what_failed_is_said_though_quiet(emoser: Emoser, recordings: Path) -> None:
    ran = emoser("adapt", "recordings", "-m", "base", "-o", "mine", "-q")
    assert ran.code == 1 and "broken.wav" in ran.err


def test_a_file_without_an_entry_is_refused_before_the_work(emoser: Emoser, recordings: Path, tmp_path: Path) -> None:
    miniature.write_onnx(tmp_path / "bare.onnx", reference=LOUD)
    ran = emoser("adapt", "recordings", "-m", "bare.onnx", "-o", "mine")
    assert ran.code == 3 and "adapt a name or a folder" in ran.err and "broken.wav" not in ran.err
