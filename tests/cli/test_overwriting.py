"""What -o may not do to files that are there: those that are read, and earlier results that nothing replaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Emoser = Callable[..., Any]
Clip = Callable[..., Path]
MODEL = ("-m", "miniature")


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "a.wav", *MODEL, "-o", "a.wav"),
        ("predict", "a.wav", *MODEL, "-o", "./link.json"),
        ("predict", "a.wav", *MODEL, "-f", "jsonl", "-o", "a.wav"),
        ("predict", "@list.txt", *MODEL, "-f", "csv", "-o", "list.txt"),
        ("embed", "a.wav", *MODEL, "-f", "json", "-o", "a.wav"),
        ("check", "a.wav", "-f", "json", "-o", "a.wav"),
        ("diarize", "a.wav", *MODEL, "-f", "json", "-o", "a.wav"),
        ("diarize", "a.wav", *MODEL, "--subtitles", "a.srt", "-o", "a.srt"),
        ("diarize", "a.wav", *MODEL, "--subtitles", "a.srt", "-f", "srt", "-o", "."),
        ("diarize", "@list.csv", *MODEL, "--frames", "list.csv"),
        ("diarize", "a.html", *MODEL, "--html", "a.html"),
        ("diarize", "a.npz", *MODEL, "--frames", "."),
        ("evaluate", "test.csv", *MODEL, "-o", "test.csv"),
        ("evaluate", "test.csv", *MODEL, "-f", "json", "-o", "a.wav"),
        ("evaluate", "--diarization", "turns.csv", *MODEL, "-o", "turns.csv"),
        ("evaluate", "--diarization", "turns.csv", *MODEL, "-f", "json", "-o", "a.wav"),
        ("evaluate", "--diarization", "turns", *MODEL, "-f", "json", "-o", "turns/a.rttm"),
    ],
)
def test_what_is_read_is_not_written_over(emoser: Emoser, clip: Clip, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    before = clip("a.wav").read_bytes()
    (tmp_path / "link.json").symlink_to("a.wav")
    (tmp_path / "list.txt").write_text("a.wav\n")
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:00,200\nmine\n")
    (tmp_path / "test.csv").write_text("path,label\na.wav,sad\n")
    (tmp_path / "turns.csv").write_text("file,start,end,label\na.wav,0,0.1,sad\n")
    (tmp_path / "turns").mkdir()
    (tmp_path / "turns" / "a.rttm").write_text("SPEAKER a 1 0 0.1 <NA> <NA> sad <NA> <NA>\n")
    (tmp_path / "list.csv").write_text("a.wav\n")
    for name in ("a.html", "a.npz"):  # by its content it is audio
        (tmp_path / name).write_bytes(before)
    given = ("list.txt", "list.csv", "a.srt", "test.csv", "turns.csv", "turns/a.rttm", "a.html", "a.npz")
    kept = {name: (tmp_path / name).read_bytes() for name in given}
    ran = emoser(*arguments)
    assert ran.code == 2 and "one of the files that are read" in ran.err
    assert (tmp_path / "a.wav").read_bytes() == before
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
    assert not list(tmp_path.glob(".*.part"))


def test_an_error_before_anything_is_written_leaves_the_earlier_file(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav")
    earlier = tmp_path / "out.csv"
    earlier.write_text("kept\n")
    ran = emoser("predict", "a.wav", "-m", "miniature,unknown", "-o", "out.csv")
    assert ran.code == 3 and earlier.read_text() == "kept\n"
    # one recording a file: where it cannot be read there is nothing to say of it
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    (tmp_path / "grids").mkdir()
    grids = [tmp_path / "broken.TextGrid", tmp_path / "grids" / "broken.TextGrid"]
    for grid in grids:
        grid.write_text("corrected by hand")
    assert emoser("diarize", "broken.wav", *MODEL, "-o", "broken.TextGrid").code == 1
    assert emoser("diarize", "broken.wav", "a.wav", *MODEL, "-f", "textgrid", "-o", "grids/").code == 1
    assert [grid.read_text() for grid in grids] == ["corrected by hand"] * 2
    assert (tmp_path / "grids" / "a.TextGrid").is_file() and not list(tmp_path.glob("**/.*.part"))


def test_failures_are_results_of_other_formats(emoser: Emoser, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    assert emoser("predict", "broken.wav", *MODEL, "-o", "out.csv").code == 1
    assert "broken.wav" in (tmp_path / "out.csv").read_text()


def test_a_target_that_cannot_be_is_said_first(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav")
    ran = emoser("predict", "a.wav", *MODEL, "-o", "new/")
    assert ran.code == 2 and "like a folder" in ran.err and not (tmp_path / "new").exists()
    (tmp_path / "test.csv").write_text("path,label\na.wav,sad\n")
    ran = emoser("evaluate", "test.csv", *MODEL, "-o", "new/out.json")
    assert ran.code == 1 and "could not write new/out.json" in ran.err


def test_scores_are_there_though_the_plot_is_not(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    clip("a.wav")
    (tmp_path / "test.csv").write_text("path,label\na.wav,sad\n")
    for plot, words in (("out.unknown", "a plot ends in .png, .svg, .pdf"), ("no/out.png", "there is no folder no")):
        ran = emoser("evaluate", "test.csv", *MODEL, "-o", "out.json", "--plot", plot)
        assert ran.code == (2 if plot == "out.unknown" else 1) and words in ran.err and not (tmp_path / "out.json").exists()
    ran = emoser("evaluate", "test.csv", *MODEL, "-f", "json", "-o", "./out.svg", "--plot", "out.svg")
    assert ran.code == 2 and "--plot out.svg is where -o writes too" in ran.err and not (tmp_path / "out.svg").exists()
    (tmp_path / "out.png").mkdir()
    ran = emoser("evaluate", "test.csv", *MODEL, "-o", "out.json", "--plot", "out.png")
    assert ran.code == 1 and "out.png" in ran.err and (tmp_path / "out.json").is_file()
