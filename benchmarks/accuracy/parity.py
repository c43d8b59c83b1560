"""How far the same clip's results lie apart, on real clips of mixed length: alone, in padded batches, ONNX, TorchScript, and as trained.

    python -m benchmarks.accuracy.parity shiftcnn [--corpora DIR] [--weights DIR] [--runs DIR]   -> results/<name>-parity.json

The training module is compared twice: with its weights rounded as the files hold them, and as it was trained (fp32). It needs the run's
weights; without them (a clone in which nothing was trained) these two rows are left out, and the file says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.accuracy import scoring
from emoser import load
from emoser.pooling import calibrated
from training.data import samples_of
from training.export import rounded_to_half
from training.model import EmotionModel, Graph
from training.recipe import read_recipe
from training.runs import Places, finished, prepare

CLIPS = 200
BATCH = 8
OUTPUTS = ("logits", "frames", "embedding")
Waves = Sequence[NDArray[np.float32]]
Run = Callable[[NDArray[np.float32], NDArray[np.int64]], dict[str, NDArray[np.float32]]]


def outputs(run: Run, waves: Waves, size: int) -> dict[str, list[NDArray[np.float32]]]:
    """Each clip's outputs, `size` clips at a time in the order given, so that short and long ones share a batch."""
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in OUTPUTS}
    for start in range(0, len(waves), size):
        batch = waves[start : start + size]
        lengths = np.array([len(wave) for wave in batch], dtype=np.int64)
        padded = np.zeros((len(batch), int(lengths.max())), dtype=np.float32)
        for row, wave in zip(padded, batch, strict=True):
            row[: len(wave)] = wave
        result = run(padded, lengths)
        for index in range(len(batch)):
            count = int(result["frame_lengths"][index])
            found["logits"].append(result["logits"][index])
            found["frames"].append(result["frames"][index, :count])
            found["embedding"].append(result["embedding"][index])
    return found


def of_module(model: EmotionModel, classes: int) -> Run:
    graph = Graph(model, classes).eval()

    def run(waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            result = graph(torch.from_numpy(waveform), torch.from_numpy(lengths))
        return {name: value.numpy() for name, value in result._asdict().items()}

    return run


def of_file(name: str, kind: Any, precision: Any = None) -> Run:
    runtime = load(name, runtime=kind, precision=precision, device="cpu", offline=True).opened
    return lambda waveform, lengths: dict(runtime.run(waveform, lengths))  # type: ignore[arg-type]


def apart(first: dict[str, list[Any]], second: dict[str, list[Any]]) -> dict[str, float]:
    """The largest difference of each output over all clips, and how many clips would get another label."""
    worst = {name: max(float(np.abs(a - b).max()) for a, b in zip(first[name], second[name], strict=True)) for name in OUTPUTS}
    one, other = np.stack(first["logits"]), np.stack(second["logits"])
    worst["scores"] = float(np.abs(calibrated(one, 1.0) - calibrated(other, 1.0)).max())
    labels = int((one.argmax(1) != other.argmax(1)).sum())
    return {**worst, "other_label": labels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--runs", type=Path)
    options = parser.parse_args()
    places = {name: value for name in ("corpora", "weights", "runs") if (value := getattr(options, name)) is not None}
    prepared = prepare(finished(read_recipe(options.name)), Places(**places), clean_only=True)
    test = prepared.examples.test
    chosen = [test[index] for index in np.random.default_rng(0).permutation(len(test))[:CLIPS]]
    waves = [samples_of(example) for example in chosen]
    classes = len(prepared.recipe.data.labels)
    alone = outputs(of_file(options.name, "onnx", "fp16"), waves, 1)
    rows = {
        "onnx, batches of 8": outputs(of_file(options.name, "onnx", "fp16"), waves, BATCH),
        "torchscript, alone": outputs(of_file(options.name, "torchscript"), waves, 1),
        "torchscript, batches of 8": outputs(of_file(options.name, "torchscript"), waves, BATCH),
    }
    trained = (prepared.folder / "weights.pt").is_file()
    if trained:
        rows["training module, weights as stored"] = outputs(of_module(rounded_to_half(prepared.trained()), classes), waves, BATCH)
        rows["training module, weights as trained (fp32)"] = outputs(of_module(prepared.trained(), classes), waves, BATCH)
    rows["onnx int8, alone"] = outputs(of_file(options.name, "onnx", "int8"), waves, 1)
    seconds = [len(wave) / 16_000 for wave in waves]
    result = {
        "name": options.name,
        "clips": len(waves),
        "seconds": {"shortest": min(seconds), "longest": max(seconds)},
        "against": "onnx fp16, each clip alone: largest difference over all clips",
        "training_module": trained,
        "differences": {name: apart(alone, row) for name, row in rows.items()},
        "versions": scoring.versions("emoser", "numpy", "onnxruntime", "torch"),
    }
    for name, row in result["differences"].items():
        print(f"{name:45s} {row}")
    print(scoring.write(f"{options.name}-parity", scoring.rounded(result, 8)))


if __name__ == "__main__":
    main()
