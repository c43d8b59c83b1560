"""A checkpoint of a few hundred bytes that keeps the whole contract: graph interface, metadata, registry entry, golden values.

Made with the tests, so that none of them needs a trained model. Its "emotions" follow from loudness and roughness, both taken over a clip's
own samples: padding would show. Run as a script, it writes a checkpoint folder to try the command line on:

    python tests/miniature.py /tmp/miniature && emoser predict -m /tmp/miniature clip.wav
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

if TYPE_CHECKING:
    from emoser.adaptation import Reference

RATE = 16_000  # Hz
FRAME = 320  # samples
NAME = "miniature"
LABELS = ("neutral", "happy", "angry", "sad")
TEMPERATURE = 1.5
LONGEST_WINDOW = 3.0  # seconds
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# (features, labels); the features are power, mean absolute value, roughness. Exact in fp16, as a real checkpoint's stored weights are.
WEIGHTS = np.array([[-4.0, 2.0, 8.0, -6.0], [-2.0, 1.0, 4.0, -3.0], [0.5, 1.5, -1.0, -0.25]], np.float16)
BIAS = np.array([0.5, -0.25, -1.0, 0.25], np.float16)
INSIDE = {
    "name": NAME,
    "task": "utterance",
    "labels": list(LABELS),
    "sample_rate": RATE,
    "frame_hop": FRAME / RATE,
    "longest_window": LONGEST_WINDOW,
    "temperature": TEMPERATURE,
    "revision": "1",
    "license": "Apache-2.0",
    "summary": "Loudness and roughness, for tests.",
    "encoder": "none",
}


def reference(waveform: np.ndarray) -> dict[str, np.ndarray]:
    """What the graphs compute for one clip (samples,), in plain NumPy."""
    x = waveform.astype(np.float64)
    loud = np.abs(x).sum()
    embedding = np.array([np.square(x).mean(), loud / len(x), np.abs(np.diff(x)).sum() / (loud + 1e-6)])
    count = -(-len(x) // FRAME)
    power = np.square(np.pad(x, (0, count * FRAME - len(x)))).reshape(count, FRAME).mean(axis=1)
    return {
        "logits": embedding @ WEIGHTS.astype(np.float64) + BIAS.astype(np.float64),
        "frames": power[:, None] * WEIGHTS[0].astype(np.float64),
        "embedding": embedding,
    }


def tone() -> np.ndarray:
    """The golden input of the registry contract, written out once more: `emoser.audio.tone` is checked against it."""
    t = np.arange(2 * RATE) / RATE
    x = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.2 * np.sin(2 * np.pi * 440 * t + 0.5) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    return (x + 0.1 * np.sin(2 * np.pi * 1234 * t) + 0.05 * np.sin(2 * np.pi * (500 * t + 400 * t**2))).astype(np.float32)


def write_onnx(path: Path, metadata: dict[str, Any] | None = INSIDE, reference: Reference | None = None) -> Path:
    """With a `reference` the file can be adapted: its embedding is what the read-out sees."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    nodes = []

    def add(op: str, *inputs: str, to: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [to], **attributes))
        return to

    constants = {
        "weights16": WEIGHTS,
        "bias16": BIAS,
        "tiny": np.float32(1e-6),
        "hop": np.int64(FRAME),
        "hop_less_one": np.int64(FRAME - 1),
    }
    constants |= {
        "zero": np.int64(0),
        "one": np.int64(1),
        "i0": np.array([0]),
        "i1": np.array([1]),
        "i2": np.array([2]),
        "last": np.array([-1]),
    }
    constants |= {"largest": np.array([np.iinfo(np.int64).max]), "pad_head": np.array([0, 0, 0])}
    constants |= {"frame_shape": np.array([0, -1, FRAME])}
    nodes.append(helper.make_node("Cast", ["weights16"], ["weights"], to=1))
    nodes.append(helper.make_node("Cast", ["bias16"], ["bias"], to=1))
    add("Shape", "waveform", to="shape", start=1, end=2)
    add("Squeeze", "shape", "i0", to="samples")
    add("Range", "zero", "samples", "one", to="positions")
    add("Unsqueeze", "lengths", "i1", to="column")
    add("Less", "positions", "column", to="inside")
    nodes.append(helper.make_node("Cast", ["inside"], ["mask"], to=1))
    nodes.append(helper.make_node("Cast", ["column"], ["count"], to=1))
    add("Mul", "waveform", "mask", to="x")
    add("Mul", "x", "x", to="squared")
    add("Abs", "x", to="magnitude")
    add("ReduceSum", "squared", "i1", to="energy")
    add("ReduceSum", "magnitude", "i1", to="loud")
    add("Slice", "x", "i0", "last", "i1", to="earlier")
    add("Slice", "x", "i1", "largest", "i1", to="later")
    add("Slice", "mask", "i1", "largest", "i1", to="both")
    add("Sub", "later", "earlier", to="step")
    add("Mul", "step", "both", to="own_step")
    add("Abs", "own_step", to="steps")
    add("ReduceSum", "steps", "i1", to="travel")
    add("Div", "energy", "count", to="power")
    add("Div", "loud", "count", to="level")
    add("Add", "loud", "tiny", to="loud_safe")
    add("Div", "travel", "loud_safe", to="roughness")
    add("Concat", "power", "level", "roughness", to="embedding", axis=1)
    if reference is not None:
        constants |= {"scale": np.ones(3, np.float32), "shift": np.zeros(3, np.float32)}
        add("Identity", "embedding", to="pooled")
        add("Mul", "embedding", "scale", to="scaled")
        add("Add", "scaled", "shift", to="seen")
    add("MatMul", "embedding" if reference is None else "seen", "weights", to="raw")
    add("Add", "raw", "bias", to="logits")
    # Frames: the samples up to the next multiple of the hop, (batch, frames, hop), power by frame times the first row of weights.
    add("Mod", "shape", "hop", to="over")
    add("Sub", "hop", "over", to="short")
    add("Mod", "short", "hop", to="fill")
    add("Concat", "pad_head", "fill", to="pads", axis=0)
    add("Pad", "squared", "pads", to="whole")
    add("Reshape", "whole", "frame_shape", to="framed")
    add("ReduceMean", "framed", "i2", to="frame_power")
    add("Slice", "weights", "i0", "i1", "i0", to="row")
    add("Mul", "frame_power", "row", to="frames")
    add("Add", "lengths", "hop_less_one", to="up")
    add("Div", "up", "hop", to="frame_lengths")

    def port(name: str, kind: int, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes,
        NAME,
        [
            port("waveform", TensorProto.FLOAT, "batch", "samples"),
            port("lengths", TensorProto.INT64, "batch"),
            *([] if reference is None else [port("scale", TensorProto.FLOAT, 3), port("shift", TensorProto.FLOAT, 3)]),
        ],
        [
            port("logits", TensorProto.FLOAT, "batch", len(LABELS)),
            port("frames", TensorProto.FLOAT, "batch", "frames", len(LABELS)),
            port("embedding", TensorProto.FLOAT, "batch", 3),
            port("frame_lengths", TensorProto.INT64, "batch"),
            *([] if reference is None else [port("pooled", TensorProto.FLOAT, "batch", 3)]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    inside = {} if metadata is None else {"emoser": json.dumps(metadata)}
    helper.set_model_props(model, inside if reference is None else {**inside, "adaptation": reference.to_text()})
    save(model, path)
    return path


def write_torchscript(path: Path, metadata: dict[str, Any] | None = INSIDE) -> Path:
    import warnings

    import torch

    class Miniature(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weights", torch.from_numpy(WEIGHTS.copy()))
            self.register_buffer("bias", torch.from_numpy(BIAS.copy()))

        def forward(self, waveform: torch.Tensor, lengths: torch.Tensor):
            samples = waveform.shape[1]
            mask = (torch.arange(samples, device=waveform.device)[None] < lengths[:, None]).to(waveform.dtype)
            x = waveform * mask
            count = lengths[:, None].to(x.dtype)
            loud = x.abs().sum(1, keepdim=True)
            travel = ((x[:, 1:] - x[:, :-1]) * mask[:, 1:]).abs().sum(1, keepdim=True)
            embedding = torch.cat([x.square().sum(1, keepdim=True) / count, loud / count, travel / (loud + 1e-6)], 1)
            whole = torch.nn.functional.pad(x.square(), [0, (320 - samples % 320) % 320])
            frames = whole.reshape(x.shape[0], -1, 320).mean(2, keepdim=True) * self.weights[:1]
            return embedding @ self.weights + self.bias, frames, embedding, (lengths + 319) // 320

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        extra = {} if metadata is None else {"emoser.json": json.dumps(metadata)}
        torch.jit.save(torch.jit.script(Miniature()), str(path), _extra_files=extra)
    return path


def entry(folder: Path, files: dict[str, str], *, hub: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """A registry entry for files (path below `folder` -> format); `changes` replace fields."""
    parts = []
    for path, form in files.items():
        data = (folder / path).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        parts.append({"role": "model", "format": form, "precision": "fp16", "path": path, "size": len(data), "sha256": digest})
    return (
        INSIDE
        | {
            "system": {"name": "Miniature", "paper": "Loud and rough", "year": 2026, "link": "https://example.org/miniature"},
            "parameters": int(WEIGHTS.size + BIAS.size),
            "languages": ["en"],
            "parts": parts,
            "temperature_fitted_on": "nothing",
            "metrics": [
                {"corpus": "none", "protocol": "none", "uar": 0.5, "interval": [0.2, 0.3], "clips": 2, "speakers": 1},
                {"corpus": "pooled", "protocol": "none", "uar": 0.25, "interval": [0.2, 0.3], "clips": 4, "speakers": 2},
            ],
            "commercial_use": True,
            "trained_on": [{"corpus": "none", "license": "CC0-1.0"}],
            "recipe": "training/recipes/miniature.yaml",
            "hub": hub,
            "golden": {"input": "tone", "logits": [float(value) for value in reference(tone())["logits"]]},
        }
        | changes
    )


def write_folder(folder: Path, *, torchscript: bool = False, reference: Reference | None = None, **changes: Any) -> Path:
    """A checkpoint folder: checkpoint.yaml and its files."""
    folder.mkdir(parents=True, exist_ok=True)
    write_onnx(folder / "miniature.onnx", reference=reference)
    files = {"miniature.onnx": "onnx"}
    if torchscript:
        write_torchscript(folder / "miniature.pt")
        files["miniature.pt"] = "torchscript"
    (folder / "checkpoint.yaml").write_text(yaml.safe_dump(entry(folder, files, **changes), sort_keys=False), encoding="utf-8")
    return folder


def write_registry(folder: Path, *, torchscript: bool = False, **changes: Any) -> Path:
    """A checkpoints.yaml with two entries, `miniature` and `miniature-nc` (not for commercial use); the path of the file."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    write_onnx(folder / "onnx" / "miniature.onnx")
    files = {"onnx/miniature.onnx": "onnx"}
    if torchscript:
        (folder / "torchscript").mkdir()
        write_torchscript(folder / "torchscript" / "miniature.pt")
        files["torchscript/miniature.pt"] = "torchscript"
    first = entry(folder, files, **changes)
    write_onnx(folder / "onnx" / "miniature-nc.onnx", INSIDE | {"name": "miniature-nc", "license": "CC-BY-NC-4.0"})
    second = entry(folder, {"onnx/miniature-nc.onnx": "onnx"}, name="miniature-nc", commercial_use=False, license="CC-BY-NC-4.0")
    path = folder / "checkpoints.yaml"
    path.write_text(yaml.safe_dump({"checkpoints": [first, second]}, sort_keys=False), encoding="utf-8")
    return path


def write_ensemble(folder: Path, reference: Reference | None, other: Reference | None) -> Path:
    """A checkpoints.yaml with `both`, an ensemble of `miniature` and of `reversed`, the same graph whose labels mean something else, at
    another temperature; their files are called the same. `reference` and `other` (in the order of its labels) make them adaptable."""
    labels = list(LABELS[::-1])
    for name, inside, of in (("a", INSIDE, reference), ("b", INSIDE | {"name": "reversed", "labels": labels}, other)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_onnx(folder / name / "model.onnx", inside, of)
    entries = [
        entry(folder, {"a/model.onnx": "onnx"}),
        entry(folder, {"b/model.onnx": "onnx"}, name="reversed", labels=labels, temperature=3.0),
        entry(folder, {}, name="both", members=[NAME, "reversed"], temperature=1.0, summary="Both."),
    ]
    path = folder / "checkpoints.yaml"
    path.write_text(yaml.safe_dump({"checkpoints": entries}, sort_keys=False), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write_folder(Path(sys.argv[1])))
