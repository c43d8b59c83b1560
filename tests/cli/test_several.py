"""predict -m a,b: one decoding, a result of each checkpoint, in every format; and an interrupted run that goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

Emoser = Callable[..., Any]
BOTH = ("-m", "miniature,miniature-nc")


def test_results_name_their_checkpoint(emoser: Emoser, clip: Callable[..., Path], tmp_path: Path) -> None:
    clip("a.wav"), clip("b.wav", seconds=0.5)
    (tmp_path / "c.wav").touch()
    ran = emoser("predict", "a.wav", "c.wav", "b.wav", *BOTH)
    assert ran.code == 1
    document = ran.json()
    assert [block["name"] for block in document["models"]] == ["miniature", "miniature-nc"] and "model" not in document
    named = [(result["file"], result.get("model", {}).get("name")) for result in document["results"]]
    expected = [(file, name) for file in ("a.wav", "b.wav") for name in ("miniature", "miniature-nc")]
    assert named == [*expected[:2], ("c.wav", None), *expected[2:]]
    (alone,) = emoser("predict", "a.wav", "-m", "miniature").json()["results"]
    assert document["results"][0] == alone | {"model": {"name": "miniature"}}
    rows = list(csv.DictReader(io.StringIO(emoser("predict", "a.wav", *BOTH, "-f", "csv").out.decode())))
    assert [row["model"] for row in rows] == ["miniature", "miniature-nc"]
    table = emoser("predict", "a.wav", *BOTH, "-f", "table").out.decode().splitlines()
    assert table[0].split()[:3] == ["file", "model", "emotion"] and table[2].split()[1] == "miniature-nc"


def test_an_interrupted_run_goes_on(emoser: Emoser, clip: Callable[..., Path], tmp_path: Path) -> None:
    clip("a.wav"), clip("b.wav")
    assert emoser("predict", "a.wav", "b.wav", *BOTH, "-o", "o.jsonl").code == 0
    whole = (tmp_path / "o.jsonl").read_text()
    (tmp_path / "o.jsonl").write_text("".join(whole.splitlines(keepends=True)[:3]))  # b.wav by the first checkpoint only
    ran = emoser("predict", "a.wav", "b.wav", *BOTH, "-o", "o.jsonl")
    assert ran.code == 0 and "1 of 2 inputs are there already" in ran.err
    assert (tmp_path / "o.jsonl").read_text() == whole
    assert emoser("predict", "a.wav", "-m", "miniature", "-o", "o.jsonl").code == 2


def test_what_cannot_be(emoser: Emoser, clip: Callable[..., Path]) -> None:
    clip("a.wav")
    assert emoser("predict", "a.wav", "-m", "miniature,nothing").code == 3
    assert "--adapt is for one" in emoser("predict", "a.wav", *BOTH, "--adapt").err


def test_several_are_named_one_by_one_or_with_commas(emoser: Emoser, clip: Callable[..., Path], tmp_path: Path) -> None:
    clip("a.wav")
    apart = emoser("predict", "a.wav", "-m", "miniature", "-m", "miniature-nc")
    assert apart.code == 0 and apart.out == emoser("predict", "a.wav", *BOTH).out
    twice = emoser("predict", "a.wav", "-m", "miniature,miniature")
    assert twice.code == 2 and "-m names the same checkpoint twice" in twice.err
    for names in ("miniature,", ","):
        assert emoser("predict", "a.wav", "-m", names).code == 2
    (tmp_path / "t.csv").write_text("file,emotion\na.wav,sad\n")
    found = emoser("evaluate", "t.csv", *BOTH).json()
    assert [each["name"] for each in found["evaluation"]["checkpoints"]] == ["miniature", "miniature-nc"]
    for command in ("diarize", "embed"):
        ran = emoser(command, "a.wav", *BOTH)
        assert ran.code == 2 and "takes one checkpoint" in ran.err
