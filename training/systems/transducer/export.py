"""`python -m training export RECIPE` for transducers: five graphs, in ONNX and in TorchScript, checked against each other.

The parts and their ports are those of `emoser.models.transducer.Parts`; the frame-wise baseline is an encoder and a read-out, as other
utterance checkpoints over a frozen encoder. Weights are stored as in training/export.py. Each file says what it is in its own metadata:
the fields of every checkpoint, the symbols, the temperature of frames, its role and the size of the predictor's state. Those whose recipes
go on from one run (`model.encoder_of`) and leave its encoder as it is share that file (training/parts.py).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emoser.audio import tone
from emoser.models.transducer import Heard, Part, Parts, hear, lattice
from training.export import compare as compare_runtimes
from training.export import description_of, opened, padded, paths_of, rounded_to_half, stored_as, write_part
from training.graphs import Exportable
from training.parts import BATCH, READ, EncoderPart, alone, encoder_graph, over_states
from training.publish import golden_logits, publish
from training.recipe import RecipeError
from training.runs import CLONE, RECORDS, Places
from training.systems.transducer.model import TransducerModel
from training.systems.transducer.networks import FrameWise, Transducer
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.runs import Prepared, prepare

FORCED = 40  # symbols that the comparison of formats goes through, whatever is decoded
TOLERANCE = 1e-3  # of logits, ONNX against TorchScript: differences add up along the predictor's steps

log = logging.getLogger(__name__)


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
    """The read-out of an utterance checkpoint (docs/architecture.md, "Parts")."""

    def __init__(self, model: TransducerModel) -> None:
        super().__init__()
        self.standardise, self.network = model.standardise, model.network
        self.layers = len(model.standardise.mean)

    def forward(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        layers = torch.stack(self.standardise(states).chunk(self.layers, dim=2))
        logits, embedding, frames = self.network(layers, lengths)
        return logits, frames, embedding


def graphs_of(model: TransducerModel) -> dict[str, Exportable]:
    """Role -> graph."""
    model = model.eval().requires_grad_(False)
    encoder = EncoderPart(model.encoder, model.frozen_blocks, model.first_layer, model.pool)
    shared = {"encoder": encoder_graph(encoder)}
    if isinstance(model.network, FrameWise):
        return shared | {"readout": over_states(FrameWisePart(model), encoder, READ)}
    network, frames = model.network, over_states(FramesPart(model), encoder, ("frames",))
    with torch.no_grad():
        width = frames.module(*frames.example)[0].shape[2]
        hidden, cell = network.start(3)
        tokens = torch.tensor([0, 1, 2])
        steps = network.step(tokens, (hidden, cell))[0]
    pair = (torch.randn(3, width), steps)
    several = ({0: BATCH}, {0: BATCH})
    return shared | {
        "frames": frames,
        "predictor": Exportable(
            PredictorPart(network),
            ("tokens", "hidden", "cell"),
            ("steps", "hidden_after", "cell_after"),
            (tokens, hidden, cell),
            ({0: BATCH}, {1: BATCH}, {1: BATCH}),
        ),
        "joint": Exportable(JointPart(network), ("frames", "steps"), ("tokens", "emotions"), pair, several),
        "head": Exportable(HeadPart(network), ("frames", "steps"), ("logits", "embedding"), pair, several),
    }


def onnx_part(path: Path) -> Part:
    """An ONNX file on the CPU, by its own names of inputs and outputs."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def torchscript_part(path: Path, graph: Exportable) -> Part:
    module = torch.jit.load(str(path))

    def run(feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with torch.no_grad():
            outputs = module(*(torch.from_numpy(np.ascontiguousarray(feeds[name])) for name in graph.inputs))
        return {name: value.numpy() for name, value in zip(graph.outputs, outputs, strict=True)}

    return run


def run_export(recipe: TransducerRecipe, places: Places, root: Path = CLONE, record: bool = True) -> dict[str, Any]:
    """Writes the files of all parts under `root`/checkpoints and their entry in a registry there; returns the entry.

    The frame-wise baseline is an utterance checkpoint. With `record`, the run's record goes to training/records. Raises where ONNX and
    TorchScript disagree.
    """
    if recipe.model.encoder is not None:
        raise RecipeError(f"{recipe.name} stands on {recipe.model.encoder}: such models train and are scored, they are not exported")
    if stored_as(recipe) != ("fp16", False):
        raise RecipeError("register.readout and register.whole are for recipes of the task utterance")
    prepared = prepare(recipe, places)
    run = prepared.record()
    model = rounded_to_half(prepared.trained())
    network = model.network
    description = description_of(
        recipe, "utterance" if isinstance(network, FrameWise) else recipe.task, model.frame_hop, run["temperature"]
    )
    if isinstance(network, Transducer):
        state = {"layers": network.predictors, "width": network.sizes.predictor}
        symbols = list(prepared.shelf.vocabulary.symbols)
        description |= {"frame_temperature": run["frame_temperature"], "symbols": symbols, "state": state}
    graphs = graphs_of(model)
    shared = recipe.model.encoder_of if recipe.schedule.encoder_learning_rate == 0 else None
    stems = {role: f"{shared or recipe.name}-encoder" if role == "encoder" else f"{recipe.name}-{role}" for role in graphs}
    files = {role: paths_of(stem, root) for role, stem in stems.items()}
    for role, graph in graphs.items():
        own = alone(description) if role == "encoder" else {**description, "role": role}
        write_part(graph, own, files[role], root, recipe.name)
    if isinstance(network, FrameWise):
        runtimes = opened(files["encoder"], files["readout"], model.frame_samples)
        compare_runtimes(runtimes["onnx"], runtimes["torchscript"], prepared.clips.test)
        golden = {"logits": golden_logits(runtimes["onnx"])}
    else:
        parts = {
            "onnx": parts_of({role: onnx_part(files[role]["onnx"]) for role in graphs}, network),
            "torchscript": parts_of({role: torchscript_part(files[role]["torchscript"], graphs[role]) for role in graphs}, network),
        }
        compare(parts["onnx"], parts["torchscript"], network.sizes.vocabulary, prepared)
        golden = golden_text(parts["onnx"])
    published = {(role, kind, "fp16"): path for role, paths in files.items() for kind, path in paths.items()}
    return publish(prepared, run, description, model, published, golden, root, RECORDS if record else None)


def parts_of(opened: dict[str, Part], network: Transducer) -> Parts:
    return Parts(**opened, layers=network.predictors, state=network.sizes.predictor)


def golden_text(parts: Parts) -> dict[str, Any]:
    """What the checkpoint says of the golden tone: logits and tokens."""
    waveform = np.asarray(tone(), np.float32)[None]
    (heard,) = hear(parts, waveform, np.array([waveform.shape[1]]))
    return {"logits": [round(float(value), 5) for value in heard.logits], "tokens": list(heard.hypothesis.tokens)}


def compare(first: Parts, second: Parts, vocabulary: int, prepared: Prepared, clips: int = 8) -> None:
    """Both formats on real test clips, decoded: the same tokens in the same frames, logits within `TOLERANCE`."""
    waveform, lengths = padded(prepared.clips.test[:: max(1, len(prepared.clips.test) // clips)][:clips])
    decoded = [hear(parts, waveform, lengths) for parts in (first, second)]
    # Little may be said in a few clips: a text of many symbols takes the predictor through states that it has not seen yet.
    text = range(1, min(vocabulary, FORCED))
    one, other = (lattice(parts, decoded[0][0].frames, text) for parts in (first, second))
    forced = [float(np.abs(getattr(one, name) - getattr(other, name)).max()) for name in ("blank", "emit", "emotions")]
    worst = max(*forced, *(_difference(a, b) for a, b in zip(*decoded, strict=True)))
    log.info("ONNX against TorchScript, largest difference: %s", worst)
    if worst > TOLERANCE:
        raise RuntimeError(f"ONNX and TorchScript differ by {worst}, more than {TOLERANCE}")


def _difference(first: Heard, second: Heard) -> float:
    if (first.hypothesis.tokens, first.hypothesis.places) != (second.hypothesis.tokens, second.hypothesis.places):
        return float("inf")
    pairs = ((first.logits, second.logits), (first.hypothesis.emotions, second.hypothesis.emotions))
    return max((float(np.abs(a - b).max()) for a, b in pairs if a.size), default=0.0)
