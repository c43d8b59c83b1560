"""What every exported file goes through: a module with named ports, weights of ONNX stored as fp16, and nothing of the exporter's machine
left inside."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn


@dataclass(frozen=True)
class Exportable:
    """A module with the names of its ports, inputs to trace it with, and which axes of these may have any size.

    defaults: further inputs, which may be left out of an ONNX file, and what they are then.
    """

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: tuple[Tensor, ...]
    axes: tuple[dict[int, Any], ...]
    defaults: dict[str, Tensor] = field(default_factory=dict)


def onnx_of(graph: Exportable) -> onnx.ModelProto:
    """Weights in fp32, without what the exporter notes about its machine."""
    program = torch.onnx.export(
        graph.module.eval().requires_grad_(False),
        (*graph.example, *graph.defaults.values()),
        dynamo=True,
        verbose=False,
        input_names=[*graph.inputs, *graph.defaults],
        output_names=list(graph.outputs),
        dynamic_shapes=(*graph.axes, *({} for _ in graph.defaults)),
    )
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    strip_traces(proto)
    # An input with an initializer of its name is one that may be left out.
    proto.graph.initializer.extend(numpy_helper.from_array(value.numpy(), name) for name, value in graph.defaults.items())
    return proto


def store_as_half(model: onnx.ModelProto, keep: Collection[str] = (), fewest: int = 2) -> None:
    """Turns fp32 weights into fp16 with a cast behind each, in place, but for those whose name ends in one of `keep`.

    Weights of less than `fewest` numbers are kept too: the scale of attention, say, saves nothing, and each result would show its rounding.
    onnxruntime folds the casts when it loads the file.
    """
    casts = []
    for weight in model.graph.initializer:
        few = math.prod(weight.dims) < fewest
        if weight.data_type != TensorProto.FLOAT or few or weight.name.endswith(tuple(keep)):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def strip_traces(model: onnx.ModelProto) -> None:
    """Drops what the exporter notes about the machine: stack traces with paths, and shapes of the example."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for port in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del port.metadata_props[:]
        port.doc_string = ""


def strip_torchscript(path: Path) -> None:
    """Writes a TorchScript file anew without its debug records, which name source files by their place on the machine, and without the
    identity that is hashed from them: what is left is the same wherever it was traced."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist() if not name.endswith((".debug_pkl", "/.data/serialization_id"))}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in records.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # dated 1980
