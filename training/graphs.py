"""What every exported file goes through: weights of ONNX stored as fp16, and nothing of the exporter's machine left inside."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


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
