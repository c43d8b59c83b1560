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

import jsonschema
import numpy as np
import pytest
import soundfile
import torch
import yaml

import emoser
from emoser import Diarization, Embedding, Prediction
from emoser.audio import tone
from emoser.diarization.words import WrittenFrames
from emoser.errors import CheckpointError, ChecksumMismatch
from emoser.models.transducing import Decoder, TransducerModel
from emoser.pooling import sounding
from emoser.registry import find, list_checkpoints
from emoser.resolving import resolve
from emoser.results import Word
from emoser.runtimes.parts import open_part
from emoser.settings import DiarizationSettings
from training.runs import CLONE, Places
from training.systems.transducer import export
from training.systems.transducer.networks import ENT
from training.systems.transducer.runs import Prepared

RATE = 16_000
SCHEMA = json.loads((CLONE / "emoser" / "formats" / "emoser-1.schema.json").read_text(encoding="utf-8"))


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


def document(registry: Path, *arguments: object) -> Any:
    done = command(registry, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


def test_the_entry_is_read(registry: Path) -> None:
    entry = find("tiny")
    assert entry.task == "transducer" and entry.symbols is not None and entry.symbols[0] == "<blank>"
    assert [part.role for part in entry.files("onnx")] == ["encoder", "frames", "predictor", "joint", "head"]
    assert entry.golden.tokens
    found = resolve("tiny")
    assert found.path.name == "tiny-encoder.onnx" and [role for role, _ in found.others] == ["frames", "predictor", "joint", "head"]
    assert found.sha256 not in [part.sha256 for part in entry.parts]


@pytest.mark.parametrize("role", ["encoder", "frames", "predictor", "joint", "head"])
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
        (lambda entry: entry["parts"].pop(0), "parts: the onnx fp16 files of a transducer are encoder, frames, predictor, joint, head"),
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
    first, last = sounding(long, RATE // 50)  # the silence at its ends is in no window
    middle = (first + last) // 2
    halves = [model(half).transcript for half in (long[first:middle], long[middle:last])]
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


@pytest.mark.parametrize("step", [999, 20_000])
def test_pieces_of_any_size_give_the_same(model: TransducerModel, recording: np.ndarray, step: int) -> None:
    whole = model.diarize(recording)
    stream = model.stream()
    for start in range(0, len(recording), step):
        stream.push(recording[start : start + step])
    found = stream.result()
    assert found.transcript == whole.transcript and found.segments == whole.segments
    np.testing.assert_array_equal(found.frames.scores, whole.frames.scores)


def test_frames_of_one_window_are_the_posteriors_of_the_lattice(model: TransducerModel, recording: np.ndarray) -> None:
    entry = find("tiny")
    files = resolve("tiny")
    graphs = {role: open_part(role, path, "onnx", threads=1) for role, path in (("encoder", files.path), *files.others)}
    decoder = Decoder(entry, graphs)
    clip = recording[: 2 * RATE]
    (heard,) = decoder.hear(clip[None], np.array([len(clip)]))
    expected = decoder.posteriors(heard)
    scores = model.diarize(clip).frames.scores
    assert heard.start > 0 and len(expected) > 10  # half a second of silence is cut
    np.testing.assert_allclose(scores[: heard.start - 1], 0.25, atol=1e-6)
    np.testing.assert_allclose(scores[heard.start : heard.start + len(expected)], expected[: len(scores) - heard.start], atol=1e-4)
    outputs = decoder.run(clip[None], np.array([len(clip)]))
    assert outputs["frame_lengths"].tolist() == [50] and outputs["frames"].shape == (1, 50, 4)


def test_a_file_of_another_role_is_refused(registry: Path) -> None:
    with pytest.raises(CheckpointError, match="is not the joint of a checkpoint"):
        open_part("joint", resolve("tiny").path, "onnx")


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


def test_the_command_line(registry: Path, recording: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, recording, RATE, subtype="FLOAT")
    model = emoser.load("tiny", threads=1)
    (predicted,) = document(registry, "predict", "-m", "tiny", file, "-f", "json")["results"]
    assert predicted["transcript"] == model(file).transcript != ""
    (diarized,) = document(registry, "diarize", "-m", "tiny", file, "-f", "json")["results"]
    assert diarized["transcript"]["words"] and diarized["transcript"]["text"]
    assert b"-->" in command(registry, "diarize", "-m", "tiny", file, "-f", "srt").stdout
    (embedded,) = document(registry, "embed", "-m", "tiny", file, "-f", "json")["results"]
    assert len(embedded["embedding"]) == len(model.embed(file).vector)


def test_what_is_told_of_it(registry: Path) -> None:
    for arguments in (("models",), ("info", "tiny")):
        (entry,) = document(registry, *arguments, "-f", "json")["checkpoints"]
        assert entry["task"] == "transducer" and entry["installed"] and len(entry["parts"]) == 10
        assert command(registry, *arguments, "-f", "table").returncode == 0
    assert b"tiny-joint.onnx" in command(registry, "info", "tiny", "-f", "table").stdout


def test_the_doctor_compares_what_it_says(registry: Path, tmp_path: Path) -> None:
    report = json.loads(command(registry, "doctor", "-f", "json").stdout)["doctor"]
    found = {check["name"]: check for check in report["checks"]}
    assert found["tiny"]["status"] == "ok" and "tokens as known" in found["tiny"]["value"]
    data = yaml.safe_load(registry.read_text(encoding="utf-8"))
    data["checkpoints"][0]["golden"]["tokens"][0] += 1
    other = registry.parent / "other.yaml"
    other.write_text(yaml.safe_dump(data), encoding="utf-8")
    report = json.loads(command(other, "doctor", "-f", "json").stdout)["doctor"]
    (check,) = [check for check in report["checks"] if check["name"] == "tiny"]
    assert check["status"] == "error" and "tokens are others" in check["value"]


def test_golden_values_are_those_of_the_tone(model: TransducerModel) -> None:
    golden = find("tiny").golden
    logits = np.array(golden.logits) / find("tiny").temperature
    shares = np.exp(logits - logits.max())
    assert list(model(tone()).scores.values()) == pytest.approx((shares / shares.sum()).tolist(), abs=1e-3)
