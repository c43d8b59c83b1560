"""`python -m training export RECIPE`: a trained run as ONNX and TorchScript, checked against each other, and its entry in the registry.

A run whose encoder is wholly frozen gives two files in each format, the encoder and the read-out (training/parts.py), any other gives one.
Large weights are stored as fp16 and cast once when they are loaded. The Fourier basis and the mel filters stay fp32, for rounding them
would add a noise floor that the log-mel spectrogram shows.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from emoser.adaptation import Reference
from emoser.audio import SAMPLE_RATE
from emoser.runtimes import Runtime, open_runtime
from emoser.runtimes.onnx import POOLED, REFERENCE_KEY, SCALE, SHIFT
from emoser.runtimes.readouts import open_parts
from training.adaptation import reference_of
from training.data import Example, samples_of
from training.evaluate import score
from training.graphs import Exportable, onnx_of, store_as_half, strip_torchscript, strip_traces
from training.int8 import is_stored, rounded_to_int8, split, store_as_int8
from training.loop import logits_of
from training.model import AdaptableGraph, EmotionModel, Graph
from training.parts import (
    FROM_WAVEFORM,
    HEARD,
    EncoderPart,
    alone,
    encoder_graph,
    encoder_name,
    neutral,
    readout_graphs,
    unchanged_for_others,
)
from training.publish import Files, golden_logits, publish, tuned
from training.recipe import Model, Recipe, RecipeError
from training.runs import CLONE, RECORDS, Places, Prepared, encoder_file, encoder_record, finished, prepare, record_of

OUTPUTS = ("logits", "frames", "embedding", "frame_lengths")
# s, by task. Training clips last 3 s; recordings of several sentences, pauses and all, are unlike them and better heard in parts
# (docs/experiments.md, "Longer recordings"). Transducers follow an utterance from word to word; positions reach 30 s.
LONGEST_WINDOW = {"utterance": 6.0, "transducer": 20.0}
KEPT_EXACT = (".basis", ".filters", "_scale")
FEWEST_HALVED = 4096  # numbers in a weight that is stored as fp16: biases, norms and statistics are small, and their rounding shows most
TOLERANCE = 1e-4
INT8_LOSS = 0.005  # of UAR on validation speakers: with more than that an int8 file is not shipped

log = logging.getLogger(__name__)

Module = TypeVar("Module", bound=nn.Module)


class HalfStored(nn.Module):
    """`graph` with its large weights held as fp16 and cast to fp32 where they are used, so that the TorchScript file is half the size."""

    def chosen(self, parameter: nn.Parameter) -> bool:
        return parameter.numel() >= FEWEST_HALVED

    def store(self, index: int, weight: Tensor) -> None:
        self.register_buffer(f"half_{index}", weight.half())

    def stored(self, index: int) -> Tensor:
        half: Tensor = getattr(self, f"half_{index}")
        return half.float()

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph
        self.owners: list[tuple[nn.Module, str]] = []
        large = [(name, parameter) for name, parameter in graph.named_parameters() if self.chosen(parameter)]
        for index, (name, parameter) in enumerate(large):
            self.store(index, parameter.detach())
            owner, _, leaf = name.rpartition(".")
            module = graph.get_submodule(owner)
            delattr(module, leaf)
            self.owners.append((module, leaf))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for index, (module, leaf) in enumerate(self.owners):
            module.__dict__[leaf] = self.stored(index)  # a plain attribute: the trace sees the cast, not a weight
        return tuple(self.graph(*inputs))


class Int8Stored(HalfStored):
    """The same with int8 and a scale for each output channel (training/int8.py), of a graph that was rounded to it."""

    def chosen(self, parameter: nn.Parameter) -> bool:
        return is_stored(tuple(parameter.shape), FEWEST_HALVED)

    def store(self, index: int, weight: Tensor) -> None:
        whole, scale = split(weight)
        self.register_buffer(f"whole_{index}", whole)
        self.register_buffer(f"scale_{index}", scale)

    def stored(self, index: int) -> Tensor:
        whole: Tensor = getattr(self, f"whole_{index}")
        scale: Tensor = getattr(self, f"scale_{index}")
        return whole.float() * scale


def rounded_to_half(model: Module) -> Module:
    """The model with its large weights rounded to what fp16 holds: what all files compute with."""
    state = model.state_dict()
    model.load_state_dict({name: value.half().float() if value.numel() >= FEWEST_HALVED else value for name, value in state.items()})
    return model


def whole_graph(model: EmotionModel, classes: int) -> Exportable:
    """The graph interface in one. It can be adapted (emoser/adaptation.py): `scale` and `shift` are inputs that may be left out, `pooled`
    is a further output."""
    return Exportable(AdaptableGraph(model, classes), outputs=(*OUTPUTS, POOLED), defaults=neutral(model.vector_width), **FROM_WAVEFORM)


def write_onnx(
    proto: onnx.ModelProto, description: dict[str, Any], path: Path, reference: Reference | None = None, precision: str = "fp16"
) -> None:
    """Stores weights as fp16 or int8, and the description and the adaptation's reference inside; `proto` is changed."""
    if precision == "int8":
        store_as_int8(proto, FEWEST_HALVED)
    else:
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


def write_part(graph: Exportable, description: dict[str, Any], paths: dict[str, Path], root: Path, name: str) -> None:
    """Writes both formats of a part of the checkpoint `name`; raises where other entries have that file and it would change."""
    with unchanged_for_others(paths["onnx"], paths["torchscript"], root, name):
        write_onnx(onnx_of(graph), description, paths["onnx"])
        write_torchscript(graph.module, graph.example, description, paths["torchscript"])


def write_torchscript(
    graph: nn.Module, example: tuple[Tensor, ...], description: dict[str, Any], path: Path, precision: str = "fp16"
) -> None:
    """`graph` traced with `example`; it is left as it is. Weights that it holds and does not use are not written."""
    own = copy.deepcopy(graph).eval()
    drop_unused(own, example)
    stored = (Int8Stored if precision == "int8" else HalfStored)(own.requires_grad_(False)).eval()
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
        "longest_window": LONGEST_WINDOW[task],
        "temperature": temperature,
        "revision": str(recipe.register.get("revision", "1")),
        "license": recipe.register["license"],
        "summary": recipe.summary,
        "encoder": encoder_text(recipe.model),
    }


def wholly_frozen(model: Model) -> bool:
    return model.frozen_blocks == model.blocks


def encoder_text(model: Model) -> str:
    how = f"{model.frozen_blocks} of them frozen"
    if model.encoder_of is not None and wholly_frozen(model):
        how = f"as {model.encoder_of} trained them"
    return f"Whisper tiny.en front end and {model.blocks} blocks, {how}"


def encoder_of(recipe: Recipe, model: EmotionModel, places: Places) -> tuple[EncoderPart, dict[str, Any]]:
    """A wholly frozen encoder as the run that it comes from exported it, and how that file describes it: which blocks were frozen there
    changes no number, but it does the graph. Raises RecipeError where it does not give what the recipe reads."""
    run = encoder_file(recipe, places.runs)
    frozen = recipe.model.frozen_blocks if run is None else encoder_record(recipe, run)["model"]["frozen_blocks"]
    if model.first_layer > frozen:
        raise RecipeError(
            f"model.first_layer {model.first_layer}: the file of {recipe.model.encoder_of}'s encoder begins with layer {frozen}"
        )
    about = {"encoder": encoder_text(dataclasses.replace(recipe.model, frozen_blocks=frozen))}
    return EncoderPart(model.encoder, frozen, model.first_layer, model.pool), about


def paths_of(stem: str, root: Path) -> dict[str, Path]:
    """Format -> file."""
    folder = root / "checkpoints"
    return {"onnx": folder / "onnx" / f"{stem}.onnx", "torchscript": folder / "torchscript" / f"{stem}.ts"}


def opened(encoders: dict[str, Path], readouts: dict[str, Path], frame: int) -> dict[str, Runtime]:
    """Format -> both files as the package runs them; `frame` in samples."""
    return {kind: open_parts(path, readouts[kind], kind, frame=frame, device="cpu") for kind, path in encoders.items()}


def run_export(recipe: Recipe, places: Places, root: Path = CLONE, record: bool = True, whole: bool = False) -> dict[str, Any]:
    """Writes a run's files and their registry entry under `root`; with `record`, the run's record goes to training/records. Returns the
    entry.

    Where nothing of the encoder is trained, it stands in a file of its own, which other checkpoints have too, and the read-out in another;
    else, or with `whole`, all is one file. Raises where ONNX and TorchScript disagree by more than 1e-4.
    """
    own, recipe = recipe, recipe if whole else finished(recipe)
    in_parts = wholly_frozen(recipe.model)
    if "readout" in recipe.register and not in_parts:
        raise RecipeError(f"register.readout: the encoder of {recipe.name} is not wholly frozen, so that there is one file of all")
    run = record_of(own, places.runs / recipe.name)
    prepared = prepare(recipe, places, clean_only=True)
    model = rounded_to_half(prepared.trained())
    description = description_of(recipe, recipe.task, model.frame_hop, run["temperature"])
    if in_parts and not whole:
        files, runtime = _write_parts(prepared, model, description, places, root)
    else:
        files, runtime = _write_whole(prepared, model, description, root)
    golden = {"logits": golden_logits(runtime)}
    return publish(prepared, run, description, model, files, golden, root, RECORDS if record else None)


def _write_whole(prepared: Prepared, model: EmotionModel, description: dict[str, Any], root: Path) -> tuple[Files, Runtime]:
    """The files, and the ONNX one opened."""
    name, classes = prepared.recipe.name, len(prepared.recipe.data.labels)
    paths = paths_of(name, root)
    proto = onnx_of(whole_graph(model, classes))
    small = copy.deepcopy(proto)  # write_onnx changes what it writes
    reference = reference_of(model, prepared.examples.train, prepared.features, classes)
    inside = {**description, **tuned(prepared.recipe)}
    write_onnx(proto, inside, paths["onnx"], reference)
    write_torchscript(Graph(model, classes), HEARD, inside, paths["torchscript"])
    runtime = open_runtime(paths["onnx"], "onnx", device="cpu")
    compare(runtime, open_runtime(paths["torchscript"], "torchscript", device="cpu"), prepared.examples.test)
    int8 = _write_int8(small, description, reference, runtime, prepared, root)
    return {("model", "onnx", "fp16"): paths["onnx"], **int8, ("model", "torchscript", "fp16"): paths["torchscript"]}, runtime


def _write_parts(prepared: Prepared, model: EmotionModel, description: dict[str, Any], places: Places, root: Path) -> tuple[Files, Runtime]:
    """The files, and those of ONNX opened."""
    recipe, classes = prepared.recipe, len(prepared.recipe.data.labels)
    precision, whole = stored_as(recipe)
    encoders, readouts = paths_of(encoder_name(recipe), root), paths_of(f"{recipe.name}-readout", root)
    small = onnx_of(whole_graph(model, classes)) if whole else None
    if precision == "int8":
        rounded_to_int8(model, FEWEST_HALVED)
        _check_readout(prepared, model)
    encoder, about = encoder_of(recipe, model, places)
    own = {**description, "role": "readout"}
    first, second = readout_graphs(model, classes, encoder)
    reference = reference_of(model, prepared.examples.train, prepared.features, classes)
    write_part(encoder_graph(encoder), {**alone(description), **about}, encoders, root, recipe.name)
    write_onnx(onnx_of(first), own, readouts["onnx"], reference, precision)
    write_torchscript(second.module, second.example, own, readouts["torchscript"], precision)
    runtimes = opened(encoders, readouts, model.frame_samples)
    compare(runtimes["onnx"], runtimes["torchscript"], prepared.examples.test)
    files = {("encoder", kind, "fp16"): path for kind, path in encoders.items()}
    files |= {("readout", kind, precision): path for kind, path in readouts.items()}
    if small is not None:
        files |= _write_int8(small, description, reference, runtimes["onnx"], prepared, root)
    return files, runtimes["onnx"]


def _write_int8(
    proto: onnx.ModelProto, description: dict[str, Any], reference: Reference, exact: Runtime, prepared: Prepared, root: Path
) -> Files:
    """The whole graph with int8 products as one file, or nothing where it is much worse than `exact`."""
    file = paths_of(f"{prepared.recipe.name}-int8", root)["onnx"]
    write_onnx(quantised(proto), {**description, **tuned(prepared.recipe)}, file, reference)
    if _int8_holds(exact, open_runtime(file, "onnx", device="cpu"), prepared):
        return {("model", "onnx", "int8"): file}
    file.unlink()
    return {}


def stored_as(recipe: Recipe) -> tuple[str, bool]:
    """The precision of the read-out's file (`register.readout`), and whether there is a whole file of int8 besides (`register.whole`)."""
    readout, whole = recipe.register.get("readout", "fp16"), recipe.register.get("whole")
    if readout not in ("fp16", "int8") or whole not in (None, "int8"):
        raise RecipeError(f"register.readout is fp16 or int8, register.whole is int8 or left out; not {readout!r} and {whole!r}")
    if readout == whole:
        raise RecipeError("register: a read-out and a whole file, both of int8, could not be told apart by their precision")
    return readout, whole == "int8"


def _check_readout(prepared: Prepared, model: EmotionModel) -> None:
    """Raises RuntimeError where the rounded read-outs of `model` cost more than `INT8_LOSS` of pooled UAR on the validation speakers."""
    examples, labels = prepared.examples.validation, prepared.recipe.data.labels
    found = []
    for each in (prepared.trained(), model):
        logits = logits_of(each, examples, prepared.features, 0)[:, : len(labels)]
        found.append(score(logits, examples, labels, intervals=False).pooled.uar)
    log.info("validation UAR: fp32 %.4f, read-outs of int8 %.4f", *found)
    if found[1] < found[0] - INT8_LOSS:
        raise RuntimeError(
            f"int8 costs {100 * (found[0] - found[1]):.1f} points of UAR on validation speakers: register.readout must be fp16"
        )


def compare(first: Runtime, second: Runtime, examples: Sequence[Example], clips: int = 16) -> None:
    """Both formats on real clips in one padded batch (benchmarks/accuracy/parity.py has the training module and single clips too). Raises
    RuntimeError where they disagree."""
    waveform, lengths = padded(examples[:: max(1, len(examples) // clips)][:clips])
    one, other = first.run(waveform, lengths), second.run(waveform, lengths)
    worst = {name: float(np.abs(one[name] - other[name]).max()) for name in OUTPUTS}  # type: ignore[literal-required]
    log.info("ONNX against TorchScript, largest difference: %s", worst)
    if max(worst["logits"], worst["frames"]) > TOLERANCE:
        raise RuntimeError(f"ONNX and TorchScript differ by more than {TOLERANCE}: {worst}")


def _int8_holds(exact: Runtime, small: Runtime, prepared: Prepared, size: int = 8) -> bool:
    """Whether int8 keeps the pooled UAR of the validation speakers within `INT8_LOSS`."""
    examples = sorted(prepared.examples.validation, key=lambda example: example.utterance.duration or 0.0)
    found = []
    for runtime in (exact, small):
        step = 1 if runtime.alone else size  # as the package runs it
        parts = [runtime.run(*padded(examples[start : start + step]))["logits"] for start in range(0, len(examples), step)]
        found.append(score(np.concatenate(parts), examples, prepared.recipe.data.labels, intervals=False).pooled.uar)
    log.info("validation UAR: fp16 %.4f, int8 %.4f", *found)
    return found[1] >= found[0] - INT8_LOSS


def padded(examples: Sequence[Example]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    samples = [samples_of(example) for example in examples]
    lengths = np.array([len(clip) for clip in samples], dtype=np.int64)
    waveform = np.zeros((len(samples), int(lengths.max())), dtype=np.float32)
    for row, clip in zip(waveform, samples, strict=True):
        row[: len(clip)] = clip
    return waveform, lengths
