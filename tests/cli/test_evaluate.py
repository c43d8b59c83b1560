"""evaluate: what it reads, what it says, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Emoser = Callable[..., Any]
Clip = Callable[..., Path]
MODEL = ("-m", "miniature")
EMOTIONS = ("neutral", "happy", "angry", "sad")


@pytest.fixture
def manifest(clip: Clip, tmp_path: Path) -> Path:
    """test.csv: 16 noises of four speakers and two corpora, labels in turn; the folder is not the one that the command runs in."""
    random = np.random.default_rng(0)
    lines = ["path,label,speaker,corpus"]
    for index in range(16):
        clip(f"data/{index}.wav", samples=random.normal(0, 0.01 * (1 + index % 8), 8000))
        lines.append(f"{index}.wav,{EMOTIONS[index // 4]},s{index % 4},c{index % 2}")
    path = tmp_path / "data" / "test.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_manifest_is_scored(emoser: Emoser, manifest: Path) -> None:
    ran = emoser("evaluate", manifest, *MODEL)
    assert ran.code == 0 and ran.err == ""
    found = ran.json()["evaluation"]
    assert found["unit"] == "speakers" and found["comparisons"] == [] and found["left_out"] == {}
    (model,) = found["checkpoints"]
    assert model["name"] == "miniature" and list(model["scores"]) == ["c0", "c1", "pooled"]
    predicted = {Path(result["file"]).stem: result["label"] for result in emoser("predict", manifest.parent, *MODEL).json()["results"]}
    truth = {str(index): EMOTIONS[index // 4] for index in range(16)}
    matrix = np.zeros((4, 4), int)
    for name, label in truth.items():
        matrix[EMOTIONS.index(label), EMOTIONS.index(predicted[name])] += 1
    assert model["scores"]["pooled"]["confusion"] == matrix.tolist()
    assert model["scores"]["pooled"]["uar"]["value"] == pytest.approx(np.diag(matrix).sum() / 16)


def test_two_checkpoints_are_compared(emoser: Emoser, manifest: Path, checkpoint_folder: Path) -> None:
    found = emoser("evaluate", manifest, *MODEL, "-m", "miniature-nc").json()["evaluation"]
    assert {(item["first"], item["second"]) for item in found["comparisons"]} == {("miniature", "miniature-nc")}
    assert all(item["difference"] == 0 and item["p_value"] == 1 for item in found["comparisons"])
    # two of one name are told apart by what was given
    found = emoser("evaluate", manifest, *MODEL, "-m", checkpoint_folder).json()["evaluation"]
    assert [each["name"] for each in found["checkpoints"]] == ["miniature", str(checkpoint_folder)]


def test_folders_named_by_label(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("set/Happy/a.wav"), clip("set/Happy/deep/b.wav"), clip("set/anger/c.wav"), clip("set/boredom/d.wav")
    (tmp_path / "set" / "Happy" / "broken.wav").write_bytes(b"no audio")
    ran = emoser("evaluate", "set", *MODEL, "--rename", "anger=angry")
    assert ran.code == 1 and "broken.wav" in ran.err and "1 of 4 inputs failed" in ran.err
    document = ran.json()
    found = document["evaluation"]
    assert found["unit"] == "clips" and found["left_out"] == {"boredom": 1}
    assert found["checkpoints"][0]["scores"]["pooled"]["clips"] == 3
    assert [failure["file"] for failure in document["failures"]] == ["set/Happy/broken.wav"]


def test_labels_restrict_clips_and_scores(emoser: Emoser, manifest: Path) -> None:
    found = emoser("evaluate", manifest, *MODEL, "--labels", "happy,sad").json()["evaluation"]
    assert found["checkpoints"][0]["labels"] == ["happy", "sad"]
    assert found["left_out"] == {"neutral": 4, "angry": 4}
    assert found["checkpoints"][0]["scores"]["pooled"]["clips"] == 8


def test_formats_and_files(emoser: Emoser, manifest: Path, tmp_path: Path) -> None:
    assert emoser("evaluate", manifest, *MODEL, "-o", "s.md", "--plot", "r.png").code == 0
    assert (tmp_path / "s.md").read_text().startswith("| checkpoint | corpus | clips | speakers | UAR |")
    assert (tmp_path / "r.png").stat().st_size > 1000
    assert emoser("evaluate", manifest, *MODEL, "-f", "csv").out.startswith(b"checkpoint,corpus,clips,speakers,uar,")
    assert b"rows said, columns recognised" in emoser("evaluate", manifest, *MODEL, "-f", "table").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere.csv",), 2, "no such file or folder"),
        (("bad.csv",), 2, "no column label"),
        (("half.csv",), 2, "1 of 2 clips have no speaker"),
        (("half.csv", "--rename", "x"), 2, "THEIRS=OURS"),
        (("half.csv", "--channel", "each"), 2, "a label is of a whole recording"),
        (("half.csv", "-m", "unknown"), 3, "No checkpoint is named"),
        (("half.csv", "-m", "miniature", "-m", "miniature"), 2, "twice"),
        (("half.csv", "-o", "x.json", "--rename", "sad=bored"), 2, "no clip has a label"),
    ],
)
def test_what_cannot_be_is_said(emoser: Emoser, clip: Clip, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    clip("a.wav"), clip("b.wav")
    (tmp_path / "bad.csv").write_text("path,feeling\na.wav,sad\n")
    (tmp_path / "half.csv").write_text("path,label,speaker\na.wav,sad,1\nb.wav,sad,\n")
    arguments = arguments if "-m" in arguments else (*arguments, *MODEL)
    ran = emoser("evaluate", *arguments)
    assert ran.code == code and words in ran.err and ran.out == b""


def test_output_that_cannot_be_written(emoser: Emoser, manifest: Path) -> None:
    ran = emoser("evaluate", manifest, *MODEL, "-o", "none/x.json")
    assert ran.code == 1 and "could not write" in ran.err
