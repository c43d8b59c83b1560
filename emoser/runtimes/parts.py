"""The files of a checkpoint of several, one for each role -> graphs on named arrays (docs/architecture.md, "Parts", "Transducers")."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from emoser.errors import CheckpointError
from emoser.runtimes import INPUTS, OUTPUTS, Port


class Graph(Protocol):
    """An opened part: `part({"frames": ..., "steps": ...})` gives its outputs by name. Attributes are those of `Runtime`."""

    path: Path
    name: str
    device: str
    threads: int
    metadata: Mapping[str, Any]

    def __call__(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]: ...


PAIR = (Port("frames", "float32", ("batch", "width")), Port("steps", "float32", ("batch", "width")))
LENGTHS = Port("frame_lengths", "int64", ("batch",))
STATES = (Port("states", "float32", ("batch", "frames", "hidden")), LENGTHS)
STATE = ("layers", "batch", "state")
# Role -> inputs, outputs.
PORTS: dict[str, tuple[tuple[Port, ...], tuple[Port, ...]]] = {
    "encoder": (INPUTS, (*STATES, Port("starts", "int64", ("batch",)))),
    "readout": (STATES, tuple(port for port in OUTPUTS if port.name != "frame_lengths")),
    "frames": (STATES, (Port("frames", "float32", ("batch", "frames", "width")),)),
    "predictor": (
        (Port("tokens", "int64", ("batch",)), Port("hidden", "float32", STATE), Port("cell", "float32", STATE)),
        (Port("steps", "float32", ("batch", "width")), Port("hidden_after", "float32", STATE), Port("cell_after", "float32", STATE)),
    ),
    "joint": (PAIR, (Port("tokens", "float32", ("batch", "vocabulary")), Port("emotions", "float32", ("batch", "classes")))),
    "head": (PAIR, (Port("logits", "float32", ("batch", "classes")), Port("embedding", "float32", ("batch", "dim")))),
}


def open_part(role: str, path: Path, format: str, *, device: str = "auto", threads: int | None = None) -> Graph:
    """Opens the file of one role. Raises as `open_runtime`; CheckpointError too for a file of another role."""
    inputs, outputs = PORTS[role]
    opened: Graph
    if format == "torchscript":
        from emoser.runtimes.torchscript import TorchScriptGraph

        opened = TorchScriptGraph(path, inputs, outputs, device=device, threads=threads)
    else:
        from emoser.runtimes.onnx import AdaptableGraph, OnnxGraph, check_interface

        opened = graph = (AdaptableGraph if role == "readout" else OnnxGraph)(path, device=device, threads=threads)
        check_interface(path, f"the {role} of a checkpoint", (inputs, outputs), (graph.inputs, graph.outputs))
    if (inside := opened.metadata.get("role", role)) != role:
        raise CheckpointError(f"{path} is the {inside} of a checkpoint, not its {role}")
    return opened
