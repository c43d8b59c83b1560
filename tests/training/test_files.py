"""Files that are there whole or not at all, and those of training that have to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import mixing, runs
from training.corpora import Utterance
from training.files import rounded, written_whole
from training.mixing import Mixture, Part, Plan, Source
from training.publish import register
from training.recipe import Recipe
from training.runs import Places, run_fit


class Broken(Exception):
    pass


def broken_after_a_byte(place: Path) -> None:
    place.write_bytes(b"?")
    raise Broken


def test_a_file_takes_its_place_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content in ("first", "second"):
        with written_whole(path) as file:
            file.write_text(content)
        assert path.read_text() == content
    with pytest.raises(Broken), written_whole(path) as file:
        broken_after_a_byte(file)
    assert path.read_text() == "second" and list(tmp_path.iterdir()) == [path]


def test_weights_have_the_bytes_that_they_would_have_in_place(tmp_path: Path) -> None:
    weights = {"a": torch.arange(3)}
    (tmp_path / "whole").mkdir()
    torch.save(weights, tmp_path / "weights.pt")
    with written_whole(tmp_path / "whole" / "weights.pt") as file:
        torch.save(weights, file)
    assert (tmp_path / "whole" / "weights.pt").read_bytes() == (tmp_path / "weights.pt").read_bytes()


def test_mixtures_that_broke_off_have_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(rows: Any, place: Path) -> None:
        broken_after_a_byte(place)

    monkeypatch.setattr(mixing.Manifest, "to_csv", broken)
    plan = Plan("ada-0000", "demo/ada", (Source(Utterance("demo", "a.wav", "ada", emotion="sad"), tmp_path / "a.wav"),))
    mixture = Mixture(plan, np.zeros(16_000, np.float32), (Part(0.0, 1.0, "sad", "", "demo/a.wav"),))
    with pytest.raises(Broken):
        mixing.write(iter([mixture]), tmp_path)
    assert not (tmp_path / "manifest.csv").exists()


def test_a_registry_stays_what_it_was_where_writing_it_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = tmp_path / "checkpoints.yaml"
    register({"name": "a"}, registry)
    before = registry.read_bytes()

    def broken(place: Path, *_: Any, **__: Any) -> None:
        broken_after_a_byte(place)

    monkeypatch.setattr(Path, "write_text", broken)
    with pytest.raises(Broken):
        register({"name": "b"}, registry)
    assert registry.read_bytes() == before


@pytest.mark.usefixtures("accelerate_anew")
def test_weights_that_broke_off_are_not_there(tiny: Callable[..., Recipe], places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    save = torch.save

    def broken(content: Any, place: Path) -> None:
        if place.stem == "weights":
            broken_after_a_byte(place)
        save(content, place)

    monkeypatch.setattr(runs.torch, "save", broken)
    with pytest.raises(Broken):
        run_fit(tiny("schedule.steps=1", "schedule.evaluate_every=1"), places)
    assert not (places.runs / "tiny" / "weights.pt").exists()


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1234567, 0.12346), ({"a": (1, 0.1234567)}, {"a": [1, 0.12346]}), ("0.1234567", "0.1234567")]
)
def test_rounded(value: Iterable[Any], expected: Any) -> None:
    assert rounded(value) == expected
