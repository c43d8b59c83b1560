"""`python -m training export RECIPE`: a trained run as ONNX and TorchScript, checked against each other, and its entry in the registry.

Weights are stored as fp16 in both files and cast once when they are loaded; the Fourier basis and the mel filters stay fp32, for rounding
them would add a noise floor that the log-mel spectrogram shows.
"""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import yaml
from onnx import helper
from torch import Tensor, nn

from emoser.audio import tone
from emoser.digests import sha256
from training.graphs import store_as_half, strip_torchscript, strip_traces
from training.model import EmotionModel, Graph
from training.recipe import Recipe
from training.runs import CLONE, RECORDS, Places, Prepared, prepare

INPUTS = ("waveform", "lengths")
OUTPUTS = ("logits", "frames", "embedding", "frame_lengths")
LONGEST_WINDOW = 20.0  # s; positions reach 30 s, training clips 3
KEPT_EXACT = (".basis", ".filters")
TOLERANCE = 1e-4

log = logging.getLogger(__name__)


class HalfStored(nn.Module):
    """`graph` with its weights held as fp16 and cast to fp32 where they are used, so that the TorchScript file is half the size."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph
        self.owners: list[tuple[nn.Module, str]] = []
        for index, (name, parameter) in enumerate(list(graph.named_parameters())):
            self.register_buffer(f"half_{index}", parameter.detach().half())
            owner, _, leaf = name.rpartition(".")
            module = graph.get_submodule(owner)
            delattr(module, leaf)
            self.owners.append((module, leaf))

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        for index, (module, leaf) in enumerate(self.owners):
            module.__dict__[leaf] = getattr(self, f"half_{index}").float()  # a plain attribute: the trace sees the cast, not a weight
        return tuple(self.graph(waveform, lengths))


def rounded_to_half(model: EmotionModel) -> EmotionModel:
    """The model with its weights rounded to what fp16 holds: what both files compute with."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    return model


def write_onnx(model: EmotionModel, classes: int, description: dict[str, Any], path: Path) -> None:
    graph = Graph(model, classes).eval().requires_grad_(False)
    batch, samples = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("samples", min=1600, max=480_000)
    program = torch.onnx.export(
        graph,
        (torch.zeros(2, 16_000), torch.tensor([16_000, 12_000])),
        dynamo=True,
        verbose=False,
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_shapes={"waveform": {0: batch, 1: samples}, "lengths": {0: batch}},
    )
    assert program is not None
    proto = program.model_proto
    store_as_half(proto, keep=KEPT_EXACT)
    strip_traces(proto)
    helper.set_model_props(proto, {"emoser": json.dumps(description)})
    onnx.checker.check_model(proto, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def write_torchscript(model: EmotionModel, classes: int, description: dict[str, Any], path: Path) -> None:
    graph = HalfStored(Graph(copy.deepcopy(model), classes).eval().requires_grad_(False)).eval()
    example = (torch.randn(2, 16_000) * 0.1, torch.tensor([16_000, 12_000]))
    with torch.no_grad():
        traced = torch.jit.trace(graph, example, check_trace=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.save(traced, str(path), _extra_files={"emoser.json": json.dumps(description)})
    strip_torchscript(path)


def run_export(recipe: Recipe, places: Places, root: Path = CLONE, record: bool = True) -> dict[str, Any]:
    """Writes both files and the registry entry under `root`; with `record`, the run's record goes to training/records. Returns the entry.

    Raises where the two files disagree by more than 1e-4.
    """
    prepared = prepare(recipe, places)
    run = prepared.record()
    model = rounded_to_half(prepared.trained())
    classes = len(recipe.data.labels)
    description = {
        "name": recipe.name,
        "task": recipe.task,
        "labels": list(recipe.data.labels),
        "sample_rate": 16_000,
        "frame_hop": model.frame_hop,
        "longest_window": LONGEST_WINDOW,
        "temperature": run["temperature"],
        "revision": str(recipe.register.get("revision", "1")),
        "license": recipe.register["license"],
        "summary": recipe.summary,
        "encoder": f"Whisper tiny.en front end and {recipe.model.blocks} blocks, {recipe.model.frozen_blocks} of them frozen",
    }
    parameters = sum(parameter.numel() for parameter in model.parameters())
    files = {
        "onnx": root / "checkpoints" / "onnx" / f"{recipe.name}.onnx",
        "torchscript": root / "checkpoints" / "torchscript" / f"{recipe.name}.ts",
    }
    golden = _golden(model, classes)
    write_onnx(model, classes, description, files["onnx"])
    write_torchscript(model, classes, description, files["torchscript"])
    _compare(files, prepared)
    entry = {
        **description,
        "system": recipe.register["system"],
        "parameters": parameters,
        "languages": recipe.register["languages"],
        "parts": [
            {
                "role": "model",
                "format": kind,
                "precision": "fp16",
                "path": path.relative_to(root).as_posix(),
                "size": path.stat().st_size,
                "sha256": sha256(path),
            }
            for kind, path in files.items()
        ],
        "temperature_fitted_on": "validation speakers of the training corpora",
        "metrics": _metrics(prepared),
        "commercial_use": bool(recipe.register["commercial_use"]),
        "trained_on": recipe.register["trained_on"],
        "recipe": f"training/recipes/{recipe.name}.yaml",
        "hub": None,
        "golden": {"input": "tone", "logits": golden},
    }
    register(entry, root / "checkpoints.yaml")
    if record:
        RECORDS.mkdir(exist_ok=True)
        files_made = {part["format"]: part["sha256"] for part in entry["parts"]}
        (RECORDS / f"{recipe.name}.json").write_text(json.dumps({**run, "test": _test(prepared), "files": files_made}, indent=1) + "\n")
    return entry


def register(entry: dict[str, Any], registry: Path) -> None:
    """Puts `entry` into the registry file, in place of one of the same name."""
    known = yaml.safe_load(registry.read_text(encoding="utf-8"))["checkpoints"] if registry.is_file() else []
    entries = [item for item in known if item["name"] != entry["name"]] + [entry]
    entries.sort(key=lambda item: str(item["name"]))
    text = yaml.safe_dump({"checkpoints": entries}, sort_keys=False, allow_unicode=True, width=140)
    head = "# The registry: one entry a checkpoint, written by `python -m training export`; the fields: docs/architecture.md.\n"
    registry.write_text(head + text, encoding="utf-8")


def _golden(model: EmotionModel, classes: int) -> list[float]:
    samples = torch.from_numpy(np.asarray(tone(), dtype=np.float32))[None]
    with torch.no_grad():
        output = Graph(model, classes).eval()(samples, torch.tensor([samples.shape[1]]))
    return [round(float(value), 5) for value in output.logits[0]]


def _compare(files: dict[str, Path], prepared: Prepared, clips: int = 16) -> None:
    """Both files on real test clips in one padded batch (benchmarks/accuracy/parity.py has the training module and single clips too)."""
    from training.data import read

    chosen = prepared.examples.test[:: max(1, len(prepared.examples.test) // clips)][:clips]
    samples = [read(example.file) for example in chosen]
    lengths = np.array([len(clip) for clip in samples], dtype=np.int64)
    waveform = np.zeros((len(samples), int(lengths.max())), dtype=np.float32)
    for row, clip in zip(waveform, samples, strict=True):
        row[: len(clip)] = clip
    session = onnxruntime.InferenceSession(str(files["onnx"]), providers=["CPUExecutionProvider"])
    first = session.run(list(OUTPUTS), {"waveform": waveform, "lengths": lengths})
    with torch.no_grad():
        second = torch.jit.load(str(files["torchscript"]))(torch.from_numpy(waveform), torch.from_numpy(lengths))
    worst = {name: float(np.abs(a - b.numpy()).max()) for name, a, b in zip(OUTPUTS, first, second, strict=True)}
    log.info("ONNX against TorchScript, largest difference: %s", worst)
    if max(worst["logits"], worst["frames"]) > TOLERANCE:
        raise RuntimeError(f"ONNX and TorchScript differ by more than {TOLERANCE}: {worst}")


def _test(prepared: Prepared) -> dict[str, Any] | None:
    file = prepared.folder / "test.json"
    return json.loads(file.read_text()) if file.is_file() else None


def _metrics(prepared: Prepared) -> list[dict[str, Any]]:
    """The registry's figures: the test speakers of each corpus, and all of them pooled."""
    test = _test(prepared)
    if test is None:
        raise FileNotFoundError(f"{prepared.recipe.name} has no test scores yet: python -m training evaluate {prepared.recipe.name}")
    scores = {**test["corpora"], "pooled": test["pooled"]}
    return [
        {
            "corpus": corpus,
            "protocol": "held-out speakers",
            "uar": value["uar"],
            "interval": value["interval"],
            "clips": value["clips"],
            "speakers": value["speakers"],
        }
        for corpus, value in scores.items()
    ]
