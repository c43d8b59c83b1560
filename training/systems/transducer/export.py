"""`python -m training export RECIPE` for transducers: five graphs, in ONNX and in TorchScript, checked against each other.

The parts and their ports are those of `emoser.models.transducer.Parts`; the frame-wise baseline is one graph with the interface of
utterance checkpoints. Weights are stored as in training/export.py. Each file says what it is in its own metadata: the fields of every
checkpoint, the symbols, the temperature of frames, its role and the size of the predictor's state. The encoder says nothing of a
transducer: those whose recipes go on from one run (`model.encoder_of`) and leave its encoder as it is share the file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from emoser.audio import tone
from emoser.checkpoints import list_checkpoints
from emoser.models.transducer import Heard, Part, Parts, hear, lattice
from training.export import description_of, padded, publish, rounded_to_half, write_onnx, write_torchscript
from training.graphs import strip_traces
from training.model import on_clip_axis
from training.recipe import RecipeError
from training.runs import CLONE, RECORDS, Places
from training.systems.transducer.model import TransducerModel, encode
from training.systems.transducer.networks import FrameWise, Transducer
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.runs import Prepared, prepare

LONGEST_WINDOW = 20.0  # s, as of the other systems
FORCED = 40  # symbols that the comparison of formats goes through, whatever is decoded
TOLERANCE = 1e-3  # of logits, ONNX against TorchScript: differences add up along the predictor's steps

log = logging.getLogger(__name__)


class EncoderPart(nn.Module):
    """The encoder and nothing else, so that its file is the same for all transducers that share it."""

    def __init__(self, model: TransducerModel) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.frozen_blocks, self.first_layer, self.pool = model.frozen_blocks, model.first_layer, model.pool

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return encode(self.encoder, waveform, lengths, self.frozen_blocks, self.first_layer, self.pool)


class FramesPart(nn.Module):
    def __init__(self, model: TransducerModel) -> None:
        super().__init__()
        self.standardise, self.network = model.standardise, model.network
        self.layers = len(model.standardise.mean)

    def forward(self, states: Tensor, lengths: Tensor) -> tuple[Tensor]:
        assert isinstance(self.network, Transducer)
        layers = torch.stack(self.standardise(states).chunk(self.layers, dim=2))
        return (self.network.frames(layers, lengths),)


class PredictorPart(nn.Module):
    def __init__(self, network: Transducer) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        steps, (hidden, cell) = self.network.step(tokens, (hidden, cell))
        return steps, hidden, cell


class JointPart(nn.Module):
    def __init__(self, network: Transducer) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.node(frames, steps)


class HeadPart(nn.Module):
    def __init__(self, network: Transducer) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.utterance(frames, steps)


class FrameWisePart(nn.Module):
    """The interface of utterance checkpoints (docs/architecture.md): frames on the clip's own time axis."""

    def __init__(self, model: TransducerModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        layers, inner, starts = self.model.listen(waveform, lengths)
        logits, embedding, read = self.model.network(layers, inner)
        frames, frame_lengths = on_clip_axis(read, inner, starts, waveform.shape[1], lengths, self.model.frame_samples)
        return logits, frames, embedding, frame_lengths


@dataclass(frozen=True)
class Graph:
    """A part with the names of its ports, inputs to trace it with, and which axes of these may have any size."""

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: tuple[Tensor, ...]
    axes: tuple[dict[int, Any], ...]


def graphs_of(model: TransducerModel) -> dict[str, Graph]:
    """Role -> graph."""
    model = model.eval().requires_grad_(False)
    batch, samples = Dim("batch", min=1, max=4096), Dim("samples", min=1600, max=480_000)
    heard = (torch.randn(2, 16_000) * 0.1, torch.tensor([16_000, 12_000]))
    wave = {"inputs": ("waveform", "lengths"), "example": heard, "axes": ({0: batch, 1: samples}, {0: batch})}
    if isinstance(model.network, FrameWise):
        return {"model": Graph(FrameWisePart(model), outputs=("logits", "frames", "embedding", "frame_lengths"), **wave)}
    network = model.network
    with torch.no_grad():
        states, frame_lengths, _ = EncoderPart(model)(*heard)
        width = FramesPart(model)(states, frame_lengths)[0].shape[2]
        hidden, cell = network.start(3)
        tokens = torch.tensor([0, 1, 2])
        steps = network.step(tokens, (hidden, cell))[0]
    pair = (torch.randn(3, width), steps)
    several = ({0: batch}, {0: batch})
    return {
        "encoder": Graph(EncoderPart(model), outputs=("states", "frame_lengths", "starts"), **wave),
        "frames": Graph(
            FramesPart(model),
            ("states", "frame_lengths"),
            ("frames",),
            (states, frame_lengths),
            ({0: batch, 1: Dim("frames", min=1, max=4096)}, {0: batch}),
        ),
        "predictor": Graph(
            PredictorPart(network),
            ("tokens", "hidden", "cell"),
            ("steps", "hidden_after", "cell_after"),
            (tokens, hidden, cell),
            ({0: batch}, {1: batch}, {1: batch}),
        ),
        "joint": Graph(JointPart(network), ("frames", "steps"), ("tokens", "emotions"), pair, several),
        "head": Graph(HeadPart(network), ("frames", "steps"), ("logits", "embedding"), pair, several),
    }


def onnx_of(graph: Graph) -> onnx.ModelProto:
    program = torch.onnx.export(
        graph.module.eval(),
        graph.example,
        dynamo=True,
        verbose=False,
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        dynamic_shapes=graph.axes,
    )
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    strip_traces(proto)
    return proto


def onnx_part(path: Path) -> Part:
    """An ONNX file on the CPU, by its own names of inputs and outputs."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def torchscript_part(path: Path, graph: Graph) -> Part:
    module = torch.jit.load(str(path))

    def run(feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with torch.no_grad():
            outputs = module(*(torch.from_numpy(np.ascontiguousarray(feeds[name])) for name in graph.inputs))
        return {name: value.numpy() for name, value in zip(graph.outputs, outputs, strict=True)}

    return run


def run_export(recipe: TransducerRecipe, places: Places, root: Path = CLONE, record: bool = True) -> dict[str, Any]:
    """Writes the files of all parts under `root`/checkpoints and their entry in a registry there; returns the entry.

    The frame-wise baseline is an utterance checkpoint of one file. With `record`, the run's record goes to training/records. Raises
    where ONNX and TorchScript disagree.
    """
    if recipe.model.encoder is not None:
        raise RecipeError(f"{recipe.name} stands on {recipe.model.encoder}: such models train and are scored, they are not exported")
    prepared = prepare(recipe, places)
    run = prepared.record()
    model = rounded_to_half(prepared.trained())
    network = model.network
    single = isinstance(network, FrameWise)
    description = description_of(recipe, "utterance" if single else recipe.task, model.frame_hop, run["temperature"])
    if isinstance(network, Transducer):
        state = {"layers": network.predictors, "width": network.sizes.predictor}
        symbols = list(prepared.shelf.vocabulary.symbols)
        description |= {"frame_temperature": run["frame_temperature"], "symbols": symbols, "state": state}
    graphs = graphs_of(model)
    folders = {"onnx": root / "checkpoints" / "onnx", "torchscript": root / "checkpoints" / "torchscript"}
    files: dict[tuple[str, str], Path] = {}
    shared = recipe.model.encoder_of if recipe.schedule.encoder_learning_rate == 0 else None
    for role, graph in graphs.items():
        stem = recipe.name if single else f"{(shared or recipe.name) if role == 'encoder' else recipe.name}-{role}"
        own = description if single else {**(_encoder_alone(description) if role == "encoder" else description), "role": role}
        files[role, "onnx"] = folders["onnx"] / f"{stem}.onnx"
        files[role, "torchscript"] = folders["torchscript"] / f"{stem}.ts"
        with _unchanged_for_others(files[role, "onnx"], files[role, "torchscript"], root, recipe.name):
            write_onnx(onnx_of(graph), own, files[role, "onnx"])
            write_torchscript(graph.module, graph.example, own, files[role, "torchscript"])
    both = {
        "onnx": {role: onnx_part(files[role, "onnx"]) for role in graphs},
        "torchscript": {role: torchscript_part(files[role, "torchscript"], graph) for role, graph in graphs.items()},
    }
    compare(both, network, prepared)
    published = {(role, kind, "fp16"): path for (role, kind), path in files.items()}
    return publish(prepared, run, description, model, published, golden(both["onnx"], network), root, RECORDS if record else None)


def parts_of(opened: dict[str, Part], network: Transducer) -> Parts:
    return Parts(**opened, layers=network.predictors, state=network.sizes.predictor)


def _encoder_alone(description: dict[str, Any]) -> dict[str, Any]:
    return {name: description[name] for name in ("sample_rate", "frame_hop", "encoder")}


@contextmanager
def _unchanged_for_others(one: Path, other: Path, root: Path, name: str) -> Iterator[None]:
    """Raises where a file that other entries of the registry have too does not come out as it was; it is put back then."""
    registry = root / "checkpoints.yaml"
    entries = list_checkpoints(registry) if registry.is_file() else []
    sharing = {part.path: entry.name for entry in entries if entry.name != name for part in entry.parts}
    kept = {path: path.read_bytes() for path in (one, other) if path.relative_to(root).as_posix() in sharing}
    yield
    for path, content in kept.items():
        if path.read_bytes() != content:
            path.write_bytes(content)
            owner = sharing[path.relative_to(root).as_posix()]
            raise RuntimeError(f"{path.name} is a part of {owner} too and would change; take {owner} out of the registry and export both")


def golden(opened: dict[str, Part], network: Transducer | FrameWise) -> dict[str, Any]:
    """What the checkpoint says of the golden tone: logits and, of a transducer, tokens."""
    waveform = np.asarray(tone(), np.float32)[None]
    lengths = np.array([waveform.shape[1]])
    if isinstance(network, FrameWise):
        found = opened["model"]({"waveform": waveform, "lengths": lengths})["logits"][0]
        return {"logits": [round(float(value), 5) for value in found]}
    (heard,) = hear(parts_of(opened, network), waveform, lengths)
    return {"logits": [round(float(value), 5) for value in heard.logits], "tokens": list(heard.hypothesis.tokens)}


def compare(both: dict[str, dict[str, Part]], network: Transducer | FrameWise, prepared: Prepared, clips: int = 8) -> None:
    """Both formats on real test clips, decoded: the same tokens in the same frames, logits within `TOLERANCE`."""
    waveform, lengths = padded(prepared.clips.test[:: max(1, len(prepared.clips.test) // clips)][:clips])
    if isinstance(network, FrameWise):
        one, other = (opened["model"]({"waveform": waveform, "lengths": lengths}) for opened in both.values())
        worst = max(float(np.abs(one[name] - other[name]).max()) for name in ("logits", "frames"))
    else:
        opened = [parts_of(parts, network) for parts in both.values()]
        decoded = [hear(parts, waveform, lengths) for parts in opened]
        # Little may be said in a few clips: a text of many symbols takes the predictor through states that it has not seen yet.
        text = range(1, min(network.sizes.vocabulary, FORCED))
        first, second = (lattice(parts, decoded[0][0].frames, text) for parts in opened)
        forced = [float(np.abs(getattr(first, name) - getattr(second, name)).max()) for name in ("blank", "emit", "emotions")]
        worst = max(*forced, *(_difference(a, b) for a, b in zip(*decoded, strict=True)))
    log.info("ONNX against TorchScript, largest difference: %s", worst)
    if worst > TOLERANCE:
        raise RuntimeError(f"ONNX and TorchScript differ by {worst}, more than {TOLERANCE}")


def _difference(first: Heard, second: Heard) -> float:
    if (first.hypothesis.tokens, first.hypothesis.places) != (second.hypothesis.tokens, second.hypothesis.places):
        return float("inf")
    pairs = ((first.logits, second.logits), (first.hypothesis.emotions, second.hypothesis.emotions))
    return max((float(np.abs(a - b).max()) for a, b in pairs if a.size), default=0.0)
