"""A tiny transducer as people use it: exported into a registry, loaded by name, through the API and through the command's own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import emoser
from emoser import Diarization, Embedding, Prediction
from emoser.checkpoints import find, list_checkpoints, resolve
from emoser.diarization.settings import DiarizationSettings
from emoser.diarization.words import WrittenFrames
from emoser.errors import CheckpointError, ChecksumMismatch
from emoser.models.transducing import TransducerModel
from emoser.results import Word
from training.runs import CLONE, Places
from training.systems.transducer import export
from training.systems.transducer.networks import ENT
from training.systems.transducer.runs import Prepared

RATE = 16_000


@pytest.fixture(scope="module")
def root(trained_transducer: Callable[[str], tuple[Prepared, Places]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints.yaml and the files of `tiny`, which is made to talk: so short a run has learnt to say nothing."""
    run, places = trained_transducer("ent")
    folder = tmp_path_factory.mktemp("root")
    prepare, trained = export.prepare, Prepared.trained

    def talkative(self: Prepared) -> Any:
        model = trained(self)
        assert isinstance(model.network, ENT)
        with torch.no_grad():
            model.network.joint.output.bias[0] -= 4
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "prepare", lambda *given: replace(prepare(*given)))
        patch.setattr(Prepared, "trained", talkative)
        export.run_export(run.recipe, places, root=folder, record=False)
    return folder


@pytest.fixture
def registry(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOSER_REGISTRY", str(root / "checkpoints.yaml"))
    return root / "checkpoints.yaml"


@pytest.fixture
def model(registry: Path) -> TransducerModel:
    loaded = emoser.load("tiny", threads=1)
    assert isinstance(loaded, TransducerModel)
    return loaded


@pytest.fixture
def recording() -> np.ndarray:
    """Nine seconds: noise in bursts, silence between them."""
    random = np.random.default_rng(3)
    bursts = 0.1 * random.standard_normal(9 * RATE)
    bursts[: RATE // 2] = bursts[3 * RATE : 4 * RATE] = 0
    return bursts.astype(np.float32)


def command(registry: Path, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    env = os.environ | {"PYTHONPATH": str(CLONE), "EMOSER_REGISTRY": str(registry), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "emoser", *map(str, arguments)], capture_output=True, env=env, timeout=180, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


def test_the_entry_is_read(registry: Path) -> None:
    entry = find("tiny")
    assert entry.task == "transducer" and entry.symbols is not None and entry.symbols[0] == "<blank>"
    assert [part.role for part in entry.files("onnx")] == ["encoder", "predictor", "joint", "head"]
    assert entry.golden.tokens
    found = resolve("tiny")
    assert found.path.name == "tiny-encoder.onnx" and [role for role, _ in found.others] == ["predictor", "joint", "head"]
    assert found.sha256 not in [part.sha256 for part in entry.parts]


@pytest.mark.parametrize("role", ["encoder", "predictor", "joint", "head"])
def test_every_part_is_verified(registry: Path, tmp_path: Path, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = yaml.safe_load(registry.read_text(encoding="utf-8"))
    for part in data["checkpoints"][0]["parts"]:
        source, target = registry.parent / part["path"], tmp_path / part["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        content = bytearray(source.read_bytes())
        content[-1] ^= part["role"] == role
        target.write_bytes(content)
    (tmp_path / "checkpoints.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    monkeypatch.setenv("EMOSER_REGISTRY", str(tmp_path / "checkpoints.yaml"))
    with pytest.raises(ChecksumMismatch, match=f"tiny-{role}.onnx"):
        emoser.load("tiny")
    report = json.loads(command(tmp_path / "checkpoints.yaml", "doctor", "-f", "json").stdout)["doctor"]
    (check,) = [check for check in report["checks"] if check["name"] == f"tiny {role}"]
    assert check["status"] == "error" and "expected" in check["value"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda entry: entry["parts"].pop(0), "parts: the onnx fp16 files of a transducer are encoder, predictor, joint, head"),
        (lambda entry: entry.pop("symbols"), "symbols: a transducer has symbols, state, frame_temperature"),
        (lambda entry: entry.update(task="utterance"), "another checkpoint has none of these"),
        (lambda entry: entry.update(frame_temperature=0.0), "frame_temperature: must be above zero"),
        (lambda entry: entry["state"].pop("width"), "missing field width"),
    ],
)
def test_an_entry_that_cannot_be_right(registry: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], says: str) -> None:
    data = yaml.safe_load(registry.read_text(encoding="utf-8"))
    change(data["checkpoints"][0])
    (tmp_path / "checkpoints.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(CheckpointError, match=says):
        list_checkpoints(tmp_path / "checkpoints.yaml")


def test_a_prediction_has_a_transcript(model: TransducerModel, recording: np.ndarray) -> None:
    found = model(recording)
    assert isinstance(found, Prediction) and found.transcript
    assert sum(found.scores.values()) == pytest.approx(1) and found.to_dict()["transcript"] == found.transcript
    silent = model(np.zeros(RATE, np.float32))
    assert silent.transcript == "" and silent.warnings == ("silence",) and set(silent.scores.values()) == {0.25}


def test_a_batch_gives_what_each_clip_gives_alone(model: TransducerModel, recording: np.ndarray) -> None:
    clips = [recording[:RATE], np.zeros(RATE, np.float32), recording, recording[RATE // 2 : 2 * RATE]]
    for together, clip in zip(model(clips), clips, strict=True):
        alone = model(clip)
        assert (together.label, together.transcript, together.warnings) == (alone.label, alone.transcript, alone.warnings)
        assert together.scores == pytest.approx(alone.scores, abs=1e-4)


def test_a_long_clip_is_written_window_by_window(model: TransducerModel, recording: np.ndarray) -> None:
    long = np.tile(recording, 3)
    found = model(long)
    halves = [model(half).transcript for half in (long[: len(long) // 2], long[len(long) // 2 :])]
    assert "windowed" in found.warnings and found.transcript == " ".join(text for text in halves if text)


def test_embeddings(model: TransducerModel, recording: np.ndarray) -> None:
    found = model.embed([recording, recording[:RATE]])
    assert all(isinstance(item, Embedding) for item in found)
    assert found[0].vector.dtype == np.float32 and found[0].vector.shape == found[1].vector.shape and found[0].vector.any()


def test_torchscript_says_the_same(model: TransducerModel, recording: np.ndarray) -> None:
    other = emoser.load("tiny", runtime="torchscript", threads=1)
    one, two = model(recording), other(recording)
    assert other.runtime == "torchscript" and one.transcript == two.transcript
    assert one.scores == pytest.approx(two.scores, abs=1e-3)


def test_emotions_over_time_with_words(model: TransducerModel, recording: np.ndarray) -> None:
    found = model.diarize(recording)
    assert isinstance(found, Diarization) and found.transcript is not None and found.transcript.words
    np.testing.assert_allclose(found.frames.scores.sum(1), 1, atol=1e-5)
    assert len(found.frames.scores) == -(-len(recording) // round(0.04 * RATE))
    words = found.transcript.words
    assert found.transcript.text == " ".join(word.word for word in words)
    assert all(0 <= word.start < word.end <= found.duration + 0.04 and word.label in model.labels for word in words)
    middles = [(word.start + word.end) / 2 for word in words]
    assert middles == sorted(middles)


def test_overlapping_windows_write_each_word_once() -> None:
    """A window of 4 s every 2 s that writes a word for each second, at the second's own time."""
    heard: list[float] = []

    def writer(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Word]]:
        frames = np.ones((len(waveform) // 1600, 2), np.float32)
        heard.append(len(waveform) / RATE)
        first = round(float(waveform[0]) * 100)
        words = [Word(str(first + n), n + 0.2, n + 0.8, "happy") for n in range(len(waveform) // RATE)]
        return np.zeros(2, np.float32), frames, words

    seconds = np.repeat(np.arange(1, 12) / 100, RATE).astype(np.float32)
    source = WrittenFrames(writer, DiarizationSettings(), classes=2, frame=1600, sample_rate=RATE, longest=20, temperature=1)
    source.push(seconds)
    assert source.words is not None
    assert [word.word for word in source.words] == [str(n) for n in range(1, 8)]  # the last window may still be heard better
    source.finish()
    assert [(word.word, round(word.start, 3)) for word in source.words] == [(str(n + 1), n + 0.2) for n in range(11)]
    assert heard == [4, 4, 4, 4, 3]
