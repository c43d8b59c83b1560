"""benchmarks/decoding on a tiny exported transducer: every way of decoding is timed on the same frames and says the same."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.decoding import run, table, worker
from emoser.audio import load_audio
from emoser.models.transducer import greedy
from training.runs import Places
from training.systems.transducer.export import run_export
from training.systems.transducer.runs import Prepared

Exported = tuple[Prepared, Places, Path, str]


@pytest.fixture(scope="module")
def exported(trained_transducer: Callable[[str], tuple[Prepared, Places]], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A run, its places, the registry's folder, and the recipe's file."""
    prepared, places = trained_transducer("fent")
    root = tmp_path_factory.mktemp("root")
    run_export(prepared.recipe, places, root=root, record=False)
    recipe = root / "tiny.yaml"
    recipe.write_text(json.dumps({name: value for name, value in prepared.recipe.to_dict().items() if name != "name"}), encoding="utf-8")
    return prepared, places, root, str(recipe)


@pytest.fixture
def registry(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSER_REGISTRY", str(exported[2] / "checkpoints.yaml"))


@pytest.mark.usefixtures("registry")
def test_every_system_is_timed_on_the_same_clips(exported: Exported) -> None:
    prepared, places, _, recipe = exported
    waveforms = [load_audio(example.file)[0].waveform for example in prepared.clips.test[:3]]
    options = argparse.Namespace(model="tiny", threads=1, runs=places.runs, recipe=recipe)
    found = {system: worker.measured(system, options, waveforms) for system in worker.SYSTEMS}
    parts = worker.parts_of("tiny", 1)
    expected = [list(greedy(parts, worker.frames_of(parts, waveform)).tokens) for waveform in waveforms]
    for system, record in found.items():
        assert record["wall"] > 0 and record["audio"] == pytest.approx(sum(map(len, waveforms)) / 16_000)
        if system in run.SAME:
            assert record["tokens"] == expected, system
    assert found["whole"]["tokens"] == found["encoder"]["tokens"] == [] and len(found["beam"]["tokens"]) == 3
    about = worker.describe("tiny")
    assert about["recipe"] == "training/recipes/tiny.yaml" and about["frame_hop"] == 0.04
    assert set(about["bytes"]) == {"encoder", "frames", "predictor", "joint", "head"}


def test_what_is_no_transducer_is_refused(checkpoint_folder: Path) -> None:
    with pytest.raises(SystemExit, match="no transducer"):
        worker.transducer(str(checkpoint_folder))


@pytest.mark.usefixtures("registry")
def test_processes_take_turns_and_make_a_record(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, places, _, recipe = exported
    monkeypatch.setattr(run, "THREADS", (1,))
    monkeypatch.setattr(run, "OURS", ("greedy",))
    monkeypatch.setattr(run, "TRAINING", ("training",))
    clips = [example.file for example in prepared.clips.test[:2]]
    about = run.described("tiny")
    found = run.decoding("tiny", about, clips, tmp_path, 1, places.runs, recipe)
    assert about["name"] == "tiny" and found["clips"] == 2 and found["decoded_otherwise_by_training"] == 0
    assert found["systems"]["greedy x1"]["ratios"] == {"wall": 1.0, "cpu": 1.0}
    assert found["systems"]["training x1"]["ratios"]["wall"] > 0 and len(found["systems"]["training x1"]["cpu"]) == 1


def said(**tokens: list[list[int]]) -> dict[str, list[dict[str, Any]]]:
    return {f"{name} x1": [{"tokens": clips}] for name, clips in tokens.items()}


def test_systems_that_disagree_are_no_comparison() -> None:
    clips = [[1, 2]] * 100
    assert run.disagreements(said(greedy=clips, loop=clips, beam=[[9]] * 100)) is None
    assert run.disagreements(said(greedy=clips, loop=clips, training=[*clips[:-1], [1]])) == 1
    with pytest.raises(SystemExit, match="loop x1 decodes 1 of 100 clips otherwise"):
        run.disagreements(said(greedy=clips, loop=[*clips[:-1], [1]]))
    with pytest.raises(SystemExit, match="training x1 decodes 3"):
        run.disagreements(said(greedy=clips, training=[*clips[:-3], [1], [1], [1]]))


def record(name: str, whole: float, systems: tuple[str, ...] = worker.SYSTEMS) -> dict[str, Any]:
    """Made-up figures: `whole` seconds for a second of audio."""
    seconds = {"encoder": 0.004, "greedy": 0.001, "loop": 0.003, "beam": 0.02, "training": 0.008, "together": 0.002, "whole": whole}

    def system(kind: str, threads: int) -> dict[str, Any]:
        wall = seconds[kind]
        ratios = {"wall": wall / 0.001, "cpu": 2 * wall / 0.001}
        return {"system": kind, "threads": threads, "wall": [wall, 9.0, wall / 2], "cpu": [2 * wall], "ratios": ratios}

    return {
        "machine": {"cpu": "A Chip", "cores": 2, "system": "Linux", "python": "3.12.0", "versions": dict.fromkeys(["numpy", "torch"], "1")
                    | {"onnxruntime": None}},
        "load_before": 0.1,
        "checkpoint": {"name": name, "revision": "1", "vocabulary": 31, "frame_hop": 0.04},
        "corpora": ["emodb"],
        "repeats": 3,
        "clips": 2,
        "seconds_of_audio": 6.0,
        "tokens": 70,
        "decoded_otherwise_by_training": 1 if "training" in systems else None,
        "systems": {f"{kind} x{threads}": system(kind, threads) for kind in systems for threads in (1, 2)},
    }  # fmt: skip


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = table.page([record("fast", 0.01), record("slow", 0.04, run.OURS)])
    assert "| **fast** | 100 | 100 | yes | 6.00 times | 16.0 times |" in page
    assert "| **slow** | 25.0 | 25.0 | **no** | 6.00 times | - |" in page
    assert "| **greedy** | 2.00 | 2.00 | 1.00 | 1.00 | 1.00 | 1.00 |" in page
    assert (
        "A Chip, 2 cores, load 0.1 before the start; Python 3.12.0, numpy 1, torch 1. 2 clips of test speakers (emodb), 6 s in all" in page
    )
    assert page.count("greedy of the training code, clip by clip") == 1 and "decodes 1 of the clips otherwise" in page
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    monkeypatch.setattr(table, "PAGE", tmp_path / "README.md")
    monkeypatch.setattr("sys.argv", ["table", "--check"])
    assert table.records() == [] and table.main() == 0
    (tmp_path / "fast.json").write_text(json.dumps(record("fast", 0.01)), encoding="utf-8")
    assert table.main() == 1
    monkeypatch.setattr("sys.argv", ["table"])
    assert table.main() == 0 and (tmp_path / "README.md").read_text(encoding="utf-8") == table.page(table.records())


def test_frames_are_those_of_the_clip_alone(exported: Exported, registry: None) -> None:
    parts = worker.parts_of("tiny", 1)
    frames = worker.frames_of(parts, (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32))
    assert frames.shape[0] == 25 and frames.ndim == 2
