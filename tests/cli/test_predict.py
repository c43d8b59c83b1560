"""predict and embed: what their options do, and how they end."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emoser.cli.predict import restrict
from emoser.results import Prediction
from emoser.runtimes.device import MOST_THREADS

from .conftest import environment

Emoser = Callable[..., Any]
Clip = Callable[..., Path]
LABELS = ["neutral", "happy", "angry", "sad"]
MODEL = ("-m", "miniature")


def test_the_formats_agree(emoser: Emoser, clip: Clip) -> None:
    clip("a.wav"), clip("b.wav", seconds=4.0)
    document = emoser("predict", "a.wav", "b.wav", *MODEL).json()
    assert document["model"]["name"] == "miniature"
    assert document["model"]["labels"] == LABELS
    assert (document["model"]["runtime"], document["model"]["device"]) == ("onnx", "cpu")
    results = document["results"]
    assert [result["file"] for result in results] == ["a.wav", "b.wav"]
    assert results[1]["warnings"][-1:] == ["windowed"]
    lines = emoser("predict", "a.wav", "b.wav", *MODEL, "-f", "jsonl").lines()
    assert [{key: value for key, value in line.items() if key not in ("schema", "model")} for line in lines] == results
    rows = list(csv.DictReader(io.StringIO(emoser("predict", "a.wav", "b.wav", *MODEL, "-f", "csv").out.decode())))
    assert [(row["file"], row["label"]) for row in rows] == [(result["file"], result["label"]) for result in results]
    assert [float(rows[0][label]) for label in LABELS] == pytest.approx([results[0]["scores"][label] for label in LABELS], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "starts"), [("o.json", b'{"schema"'), ("o.csv", b"file,"), ("o.txt", b"file "), ("o.jsonl", b'{"schema"')]
)
def test_the_name_of_the_output_says_the_format(emoser: Emoser, clip: Clip, tmp_path: Path, name: str, starts: bytes) -> None:
    clip()
    ran = emoser("predict", "a.wav", *MODEL, "-o", name)
    assert (ran.code, ran.out) == (0, b"")
    assert (tmp_path / name).read_bytes().startswith(starts)


def test_channels(emoser: Emoser, clip: Clip) -> None:
    tone = 0.3 * np.sin(np.arange(16_000) / 10)
    clip(samples=np.stack([tone, np.zeros(16_000)], 1))
    first, second = emoser("predict", "a.wav", *MODEL, "--channel", "each").json()["results"]
    assert (first["channel"], second["channel"]) == (0, 1)
    assert second["warnings"] == ["silence"]
    (only,) = emoser("predict", "a.wav", *MODEL, "--channel", "1").json()["results"]
    assert only == second
    missing = emoser("predict", "a.wav", *MODEL, "--channel", "2")
    assert missing.code == 1
    assert "no channel 2" in missing.err


def test_labels_restrict_and_renormalise(emoser: Emoser, clip: Clip) -> None:
    clip()
    (whole,) = emoser("predict", "a.wav", *MODEL).json()["results"]
    document = emoser("predict", "a.wav", *MODEL, "--labels", "Sad, neutral").json()
    assert document["model"]["labels"] == ["neutral", "sad"]
    scores = document["results"][0]["scores"]
    assert list(scores) == ["neutral", "sad"]
    assert sum(scores.values()) == pytest.approx(1)
    assert scores["sad"] / scores["neutral"] == pytest.approx(whole["scores"]["sad"] / whole["scores"]["neutral"])
    assert document["results"][0]["label"] == max(scores, key=scores.__getitem__)


def test_low_confidence(emoser: Emoser, clip: Clip) -> None:
    clip()
    (sure,) = emoser("predict", "a.wav", *MODEL, "--min-confidence", "0").json()["results"]
    (unsure,) = emoser("predict", "a.wav", *MODEL, "--min-confidence", "1").json()["results"]
    assert "low_confidence" not in sure["warnings"]
    assert unsure == sure | {"warnings": [*sure["warnings"], "low_confidence"]}


def test_restricted_scores_decide_about_confidence() -> None:
    given = Prediction("happy", 0.4, {"happy": 0.4, "sad": 0.3, "calm": 0.3}, 1.0, "a.wav", None, ("windowed", "low_confidence"))
    found = restrict(given, ("sad", "calm"), 0.5)
    assert (found.label, found.scores) == ("sad", {"sad": 0.5, "calm": 0.5})
    assert found.warnings == ("windowed",)
    assert restrict(given, ("happy", "sad"), 0.6).warnings == ("windowed", "low_confidence")
    silent = Prediction("neutral", 0.25, dict.fromkeys(LABELS, 0.25), 1.0)
    assert restrict(silent, ("angry", "neutral"), None).label == "neutral"


def test_embeddings(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip("a.wav"), clip("b.wav", samples=np.random.default_rng(0).normal(0, 0.1, 16_000))
    (tmp_path / "c.wav").touch()
    results = emoser("embed", "a.wav", "b.wav", "c.wav", *MODEL).json()["results"]
    assert emoser("embed", "a.wav", "b.wav", "c.wav", *MODEL, "-o", "o.npz").code == 1
    with np.load(tmp_path / "o.npz") as arrays:
        assert arrays["embedding"].shape == (2, 3)
        assert arrays["embedding"].tolist() == [result["embedding"] for result in results[:2]]
        assert arrays["failed"].tolist() == ["c.wav"]


def test_verbose_says_what_answers_and_how_long_it_took(emoser: Emoser, clip: Clip) -> None:
    clip()
    ran = emoser("predict", "a.wav", *MODEL, "-v", "--threads", "1")
    assert "miniature (neutral, happy, angry, sad): onnx on cpu, 1 thread" in ran.err
    assert "1 inputs, 1.0 s of audio" in ran.err
    assert ran.json()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("a.wav", "--colour"), 2, "--colour"),
        ((), 2, "INPUT"),
        (("a.wav", "--channel", "left"), 2, "not mix (all of them), each"),
        (("a.wav", "--labels", "happy"), 2, "two labels or more"),
        (("a.wav", "--labels", "happy,bored", "-m", "miniature"), 2, "does not know bored; it knows neutral, happy, angry, sad"),
        (("a.wav", "--min-confidence", "2"), 2, "--min-confidence"),
        (("a.wav", "--batch-size", "0"), 2, "--batch-size"),
        (("a.wav", "-f", "npz"), 2, "npz"),
        (("a.wav", "-o", "out.npz", "-m", "miniature"), 2, "for embed only"),
        (("a.wav", "-o", ".", "-m", "miniature"), 2, "is a folder"),
        (("@nothing.txt", "-m", "miniature"), 2, "cannot read the list"),
        (("a.wav", "-m", "minature"), 3, 'Did you mean "miniature"?'),
        (("a.wav", "-m", "hf://no/where@0", "--offline"), 3, "--offline"),
        (("a.wav", "-m", "miniature", "--runtime", "torchscript"), 3, "has no torchscript file"),
        (("a.wav", "-m", "miniature", "--device", "cuda"), 2, 'device "cuda" is not there'),
    ],
)
def test_what_cannot_be_is_said_in_a_line(emoser: Emoser, clip: Clip, arguments: tuple[str, ...], code: int, words: str) -> None:
    clip()
    ran = emoser("predict", *arguments)
    assert (ran.code, ran.out) == (code, b"")
    assert words in ran.err
    said = [line for line in ran.err.splitlines() if line.startswith("Error: ")]
    assert len(said) == 1


def test_more_threads_than_can_be_started_are_refused(emoser: Emoser, clip: Clip) -> None:
    clip()
    ran = emoser("predict", "a.wav", *MODEL, "--threads", str(MOST_THREADS + 1))
    assert (ran.code, ran.out) == (2, b"") and f"1<=x<={MOST_THREADS}" in ran.err


def test_a_file_in_place_of_a_command_is_understood(emoser: Emoser, clip: Clip) -> None:
    clip()
    ran = emoser("a.wav")
    assert ran.code == 2
    assert "emoser predict a.wav" in ran.err
    assert emoser("predit", "a.wav").code == 2


def test_a_damaged_checkpoint(emoser: Emoser, clip: Clip, registry: Path, tmp_path: Path) -> None:
    clip()
    copy = shutil.copytree(registry.parent, tmp_path / "registry")
    data = bytearray((copy / "onnx" / "miniature.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "onnx" / "miniature.onnx").write_bytes(data)
    ran = emoser("predict", "a.wav", *MODEL, env={"EMOSER_REGISTRY": str(copy / "checkpoints.yaml")})
    assert (ran.code, ran.out) == (3, b"")
    assert "is damaged" in ran.err


def test_a_missing_extra(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    """An .m4a without PyAV: 4 where nothing else went wrong, and the others are done."""
    (tmp_path / "hidden" / "av").mkdir(parents=True)
    (tmp_path / "hidden" / "av" / "__init__.py").write_text("raise ImportError('not here')")
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    clip()
    (tmp_path / "b.wav").touch()
    root = Path(__file__).resolve().parents[2]
    env = {"PYTHONPATH": f"{tmp_path / 'hidden'}:{root}"}
    ran = emoser("predict", "a.m4a", "a.wav", *MODEL, env=env)
    assert ran.code == 4
    assert 'pip install "emoser[media]"' in ran.err
    assert [("error" in result) for result in ran.json()["results"]] == [True, False]
    assert emoser("predict", "a.m4a", "b.wav", *MODEL, env=env).code == 1


def test_two_runtimes_at_once(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    clip()
    for name in ("onnxruntime", "onnxruntime_gpu"):
        (tmp_path / "site" / f"{name}-1.30.0.dist-info").mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.30.0\n"
        (tmp_path / "site" / f"{name}-1.30.0.dist-info" / "METADATA").write_text(metadata)
    root = Path(__file__).resolve().parents[2]
    env = {"PYTHONPATH": f"{tmp_path / 'site'}:{root}"}
    ran = emoser("predict", "a.wav", *MODEL, env=env)
    assert (ran.code, ran.out) == (4, b"")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in ran.err
    doctor = emoser("doctor", env=env)
    assert doctor.code == 1
    (check,) = [check for check in doctor.json()["doctor"]["checks"] if check["name"] == "onnxruntime"]
    assert check["status"] == "error" and "pip uninstall -y" in check["advice"]


WATCHED = """
import json, os, sys
def watch(event, arguments):
    if event.startswith("socket."):
        os.write(2, f"opened a socket: {event} {arguments}".encode())
        os._exit(99)
sys.addaudithook(watch)
from emoser.cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = {"torch", "av", "huggingface_hub", "soundfile", "onnxruntime", "rich"}
    print(json.dumps(sorted(heavy & set(sys.modules))), file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["predict", "embed"])
def test_no_socket_and_no_torch(emoser: Emoser, clip: Clip, tmp_path: Path, command: str) -> None:
    """Python's own audit hook sees every socket that is made."""
    clip()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, command, "a.wav", *MODEL, "-q"], cwd=tmp_path, env=environment(), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"][0]["file"] == "a.wav"
    assert json.loads(done.stderr) == ["onnxruntime", "soundfile"]
