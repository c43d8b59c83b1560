"""`python -m training export RECIPE`: a trained run as ONNX and TorchScript, checked against each other, and its entry in the registry.

Large weights are stored as fp16 in both files and cast once when they are loaded. The Fourier basis and the mel filters stay fp32, for
rounding them would add a noise floor that the log-mel spectrogram shows.
"""

from __future__ import annotations

import copy
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx
import onnxruntime
import torch
import yaml
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from emoser.adaptation import Reference
from emoser.audio import SAMPLE_RATE, tone
from emoser.digests import sha256
from emoser.runtimes.onnx import POOLED, REFERENCE_KEY, SCALE, SHIFT
from training.adaptation import reference_of
from training.data import Example, read
from training.evaluate import score
from training.graphs import store_as_half, strip_torchscript, strip_traces
from training.model import AdaptableGraph, EmotionModel, Graph
from training.recipe import Recipe
from training.runs import CLONE, RECORDS, Places, Prepared, prepare

INPUTS = ("waveform", "lengths")
OUTPUTS = ("logits", "frames", "embedding", "frame_lengths")
LONGEST_WINDOW = 20.0  # s; positions reach 30 s, training clips 3
KEPT_EXACT = (".basis", ".filters", "_scale")
FEWEST_HALVED = 4096  # numbers in a weight that is stored as fp16: biases, norms and statistics are small, and their rounding shows most
TOLERANCE = 1e-4
INT8_LOSS = 0.005  # of UAR on validation speakers: with more than that an int8 file is not shipped

log = logging.getLogger(__name__)

Module = TypeVar("Module", bound=nn.Module)


class HalfStored(nn.Module):
    """`graph` with its large weights held as fp16 and cast to fp32 where they are used, so that the TorchScript file is half the size."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph
        self.owners: list[tuple[nn.Module, str]] = []
        large = [(name, parameter) for name, parameter in graph.named_parameters() if parameter.numel() >= FEWEST_HALVED]
        for index, (name, parameter) in enumerate(large):
            self.register_buffer(f"half_{index}", parameter.detach().half())
            owner, _, leaf = name.rpartition(".")
            module = graph.get_submodule(owner)
            delattr(module, leaf)
            self.owners.append((module, leaf))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for index, (module, leaf) in enumerate(self.owners):
            module.__dict__[leaf] = getattr(self, f"half_{index}").float()  # a plain attribute: the trace sees the cast, not a weight
        return tuple(self.graph(*inputs))


def rounded_to_half(model: Module) -> Module:
    """The model with its large weights rounded to what fp16 holds: what all files compute with."""
    state = model.state_dict()
    model.load_state_dict({name: value.half().float() if value.numel() >= FEWEST_HALVED else value for name, value in state.items()})
    return model


def onnx_graph(model: EmotionModel, classes: int) -> onnx.ModelProto:
    """The graph interface as ONNX, weights in fp32, without what the exporter notes about its machine.

    It can be adapted (emoser/adaptation.py): `scale` and `shift` are inputs that may be left out, `pooled` is a further output.
    """
    graph = AdaptableGraph(model, classes).eval().requires_grad_(False)
    neutral = {SCALE: torch.ones(model.vector_width), SHIFT: torch.zeros(model.vector_width)}
    batch, samples = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("samples", min=1600, max=480_000)
    program = torch.onnx.export(
        graph,
        (torch.zeros(2, 16_000), torch.tensor([16_000, 12_000]), *neutral.values()),
        dynamo=True,
        verbose=False,
        input_names=[*INPUTS, *neutral],
        output_names=[*OUTPUTS, POOLED],
        dynamic_shapes={"waveform": {0: batch, 1: samples}, "lengths": {0: batch}, SCALE: {}, SHIFT: {}},
    )
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    strip_traces(proto)
    # An input with an initializer of its name is one that may be left out.
    proto.graph.initializer.extend(numpy_helper.from_array(value.numpy(), name) for name, value in neutral.items())
    return proto


def write_onnx(proto: onnx.ModelProto, description: dict[str, Any], path: Path, reference: Reference | None = None) -> None:
    """Stores weights as fp16, and the description and the adaptation's reference inside; `proto` is changed."""
    store_as_half(proto, keep=(*KEPT_EXACT, SCALE, SHIFT), fewest=FEWEST_HALVED)
    inside = {"emoser": json.dumps(description)}
    helper.set_model_props(proto, inside if reference is None else {**inside, REFERENCE_KEY: reference.to_text()})
    onnx.checker.check_model(proto, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def quantised(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Weights of all matrix products as int8 with a scale for each output channel; activations are quantised as they come."""
    with tempfile.TemporaryDirectory() as folder:
        exact, small = Path(folder) / "exact.onnx", Path(folder) / "int8.onnx"
        onnx.save(proto, exact)
        quantize_dynamic(
            exact,
            small,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            extra_options={"MatMulConstBOnly": True},
        )
        changed = onnx.load(small)
    strip_traces(changed)
    return changed


def write_torchscript(graph: nn.Module, example: tuple[Tensor, ...], description: dict[str, Any], path: Path) -> None:
    """`graph` traced with `example`; it is left as it is. Weights that it holds and does not use are not written."""
    own = copy.deepcopy(graph).eval()
    drop_unused(own, example)
    stored = HalfStored(own.requires_grad_(False)).eval()
    with torch.no_grad():
        traced = torch.jit.trace(stored, example, check_trace=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.save(traced, str(path), _extra_files={"emoser.json": json.dumps(description)})
    strip_torchscript(path)


def drop_unused(graph: nn.Module, example: tuple[Tensor, ...]) -> None:
    """Empties the parameters that the outputs do not depend on: a part of a larger model may hold the whole of it."""
    parameters = list(graph.requires_grad_(True).parameters())
    outputs = [output for output in graph(*example) if output.requires_grad]
    found = torch.autograd.grad([output.sum() for output in outputs], parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, found, strict=True):
        if gradient is None:
            parameter.data = parameter.new_zeros(0)


def description_of(recipe: Recipe, task: str, frame_hop: float, temperature: float) -> dict[str, Any]:
    """What stands in each file and in the registry; `frame_hop` in seconds."""
    return {
        "name": recipe.name,
        "task": task,
        "labels": list(recipe.data.labels),
        "sample_rate": SAMPLE_RATE,
        "frame_hop": frame_hop,
        "longest_window": LONGEST_WINDOW,
        "temperature": temperature,
        "revision": str(recipe.register.get("revision", "1")),
        "license": recipe.register["license"],
        "summary": recipe.summary,
        "encoder": f"Whisper tiny.en front end and {recipe.model.blocks} blocks, {recipe.model.frozen_blocks} of them frozen",
    }


def run_export(recipe: Recipe, places: Places, root: Path = CLONE, record: bool = True) -> dict[str, Any]:
    """Writes both files and the registry entry under `root`; with `record`, the run's record goes to training/records. Returns the entry.

    Raises where the two files disagree by more than 1e-4.
    """
    prepared = prepare(recipe, places)
    run = prepared.record()
    model = rounded_to_half(prepared.trained())
    classes = len(recipe.data.labels)
    description = description_of(recipe, recipe.task, model.frame_hop, run["temperature"])
    files = {
        ("onnx", "fp16"): root / "checkpoints" / "onnx" / f"{recipe.name}.onnx",
        ("onnx", "int8"): root / "checkpoints" / "onnx" / f"{recipe.name}-int8.onnx",
        ("torchscript", "fp16"): root / "checkpoints" / "torchscript" / f"{recipe.name}.ts",
    }
    proto = onnx_graph(model, classes)
    reference = reference_of(model, prepared.examples.train, prepared.features, classes)
    write_onnx(quantised(proto), description, files["onnx", "int8"], reference)
    write_onnx(proto, description, files["onnx", "fp16"], reference)
    example = (torch.randn(2, 16_000) * 0.1, torch.tensor([16_000, 12_000]))
    write_torchscript(Graph(model, classes), example, description, files["torchscript", "fp16"])
    _compare(files["onnx", "fp16"], files["torchscript", "fp16"], prepared)
    if not _int8_holds(files["onnx", "fp16"], files["onnx", "int8"], prepared):
        files.pop(("onnx", "int8")).unlink()
    published = {("model", *key): path for key, path in files.items()}
    golden = {"logits": _golden(model, classes)}
    return publish(prepared, run, description, model, published, golden, root, RECORDS if record else None)


class Trained(Protocol):
    """What `publish` needs of a prepared run, of whatever task."""

    @property
    def recipe(self) -> Recipe: ...
    @property
    def folder(self) -> Path: ...


def publish(
    prepared: Trained,
    run: dict[str, Any],
    description: dict[str, Any],
    model: nn.Module,
    files: dict[tuple[str, str, str], Path],
    golden: dict[str, Any],
    root: Path,
    records: Path | None,
) -> dict[str, Any]:
    """Registers `files`, by role, format and precision, in `root`/checkpoints.yaml and returns the entry.

    run: the record of the run, which goes to `records` with the test scores and the files' checksums. golden: what the checkpoint says of
    the golden tone.
    """
    recipe = prepared.recipe
    entry = {
        **description,
        "system": recipe.register["system"],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "languages": recipe.register["languages"],
        **({"diarization": recipe.register["diarization"]} if "diarization" in recipe.register else {}),
        "parts": [
            {
                "role": role,
                "format": kind,
                "precision": precision,
                "path": path.relative_to(root).as_posix(),
                "size": path.stat().st_size,
                "sha256": sha256(path),
            }
            for (role, kind, precision), path in files.items()
        ],
        "temperature_fitted_on": "validation speakers of the training corpora",
        "metrics": metrics_of(prepared),
        "commercial_use": bool(recipe.register["commercial_use"]),
        "trained_on": recipe.register["trained_on"],
        "recipe": f"training/recipes/{recipe.name}.yaml",
        "hub": None,
        "golden": {"input": "tone", **golden},
    }
    register(entry, root / "checkpoints.yaml")
    if records is not None:
        records.mkdir(exist_ok=True)
        sums = {"-".join(word for word in key if word != "model"): sha256(path) for key, path in files.items()}
        text = json.dumps({**run, "test": test_scores(prepared), "files": sums}, indent=1) + "\n"
        (records / f"{recipe.name}.json").write_text(text, encoding="utf-8")
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


def _compare(onnx_file: Path, torchscript_file: Path, prepared: Prepared, clips: int = 16) -> None:
    """Both files on real test clips in one padded batch (benchmarks/accuracy/parity.py has the training module and single clips too)."""
    chosen = prepared.examples.test[:: max(1, len(prepared.examples.test) // clips)][:clips]
    waveform, lengths = padded(chosen)
    first = _session(onnx_file).run(list(OUTPUTS), {"waveform": waveform, "lengths": lengths})
    with torch.no_grad():
        second = torch.jit.load(str(torchscript_file))(torch.from_numpy(waveform), torch.from_numpy(lengths))
    worst = {name: float(np.abs(a - b.numpy()).max()) for name, a, b in zip(OUTPUTS, first, second, strict=True)}
    log.info("ONNX against TorchScript, largest difference: %s", worst)
    if max(worst["logits"], worst["frames"]) > TOLERANCE:
        raise RuntimeError(f"ONNX and TorchScript differ by more than {TOLERANCE}: {worst}")


def _int8_holds(exact: Path, small: Path, prepared: Prepared, size: int = 8) -> bool:
    """Whether int8 keeps the pooled UAR of the validation speakers within `INT8_LOSS`."""
    examples = sorted(prepared.examples.validation, key=lambda example: example.utterance.duration or 0.0)
    found = []
    for file in (exact, small):
        session = _session(file)
        parts = []
        for start in range(0, len(examples), size):
            waveform, lengths = padded(examples[start : start + size])
            parts.append(session.run(["logits"], {"waveform": waveform, "lengths": lengths})[0])
        found.append(score(np.concatenate(parts), examples, prepared.recipe.data.labels, intervals=False).pooled.uar)
    log.info("validation UAR: fp16 %.4f, int8 %.4f", *found)
    return found[1] >= found[0] - INT8_LOSS


def _session(file: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


def padded(examples: Sequence[Example]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    samples = [read(example.file) for example in examples]
    lengths = np.array([len(clip) for clip in samples], dtype=np.int64)
    waveform = np.zeros((len(samples), int(lengths.max())), dtype=np.float32)
    for row, clip in zip(waveform, samples, strict=True):
        row[: len(clip)] = clip
    return waveform, lengths


def test_scores(prepared: Trained) -> dict[str, Any]:
    file = prepared.folder / "test.json"
    if not file.is_file():
        raise FileNotFoundError(f"{prepared.recipe.name} has no test scores yet: python -m training evaluate {prepared.recipe.name}")
    scores: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return scores


def metrics_of(prepared: Trained) -> list[dict[str, Any]]:
    """The registry's figures: the test speakers of each corpus, and all of them pooled.

    A corpus with one test speaker has no interval over speakers, and a figure without one is not registered.
    """
    test = test_scores(prepared)
    return [
        {"corpus": corpus, "protocol": "held-out speakers", **{name: value[name] for name in ("uar", "interval", "clips", "speakers")}}
        for corpus, value in {**test["corpora"], "pooled": test["pooled"]}.items()
        if value["interval"] is not None
    ]
