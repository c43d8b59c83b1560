"""Read-outs stored as int8: large weights as whole numbers with a scale for each output channel, multiplied where the file is loaded.

This is a matter of storage alone: everything is computed in fp32. (Whole files for an engineer's product have int8 products too:
`training.export.quantised`.) A model is rounded first, so that ONNX and TorchScript hold the same numbers.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

LARGEST = 127
SCALE_BITS = 16  # of a scale: with the 7 of the weight its product is exact in fp32, so that scales can be told from weights again

Module = TypeVar("Module", bound=nn.Module)


def is_stored(shape: tuple[int, ...], fewest: int) -> bool:
    """Whether a weight is one of those that are stored as int8: biases and norms are small, and their rounding shows most."""
    return len(shape) > 1 and math.prod(shape) >= fewest


def split(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out, ...) -> int8 of the same shape, and the scale (out, 1, ...) of each output channel."""
    peak = weight.detach().abs().flatten(1).amax(1).view(-1, *[1] * (weight.dim() - 1)) / LARGEST
    mantissa, exponent = torch.frexp(peak)
    # Upwards, so that the largest weight is 127 and no more.
    scale = torch.ldexp((mantissa * 2**SCALE_BITS).ceil() / 2**SCALE_BITS, exponent)
    scale = torch.where(peak > 0, scale, torch.ones_like(scale))
    return (weight.detach() / scale).round().to(torch.int8), scale


@torch.no_grad()
def rounded_to_int8(model: Module, fewest: int) -> Module:
    """The model with the large weights of its read-outs rounded to what int8 holds; its encoder stays as it is."""
    for name, parameter in model.named_parameters():
        if is_stored(tuple(parameter.shape), fewest) and not name.startswith("encoder."):
            whole, scale = split(parameter)
            parameter.copy_(whole.float() * scale)
    return model


def store_as_int8(model: onnx.ModelProto, fewest: int) -> None:
    """Turns large fp32 weights into int8 with a cast and a product behind each, in place; onnxruntime folds both when it loads the file.

    Raises ValueError for a weight that was not rounded before.
    """
    nodes = []
    scales = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or not is_stored(tuple(weight.dims), fewest):
            continue
        name = weight.name
        whole, scale = _told(numpy_helper.to_array(weight), name)
        weight.CopyFrom(numpy_helper.from_array(whole, f"{name}.int8"))
        scales.append(numpy_helper.from_array(scale, f"{name}.scale"))
        nodes.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.whole"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]))
    model.graph.initializer.extend(scales)
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _told(weight: NDArray[np.float32], name: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers and scales of a rounded weight. Exporters transpose weights, so that the output channels may be any axis."""
    for axis in range(weight.ndim):
        peak = np.abs(weight).max(axis=tuple(other for other in range(weight.ndim) if other != axis), keepdims=True)
        scale = np.where(peak > 0, peak / np.float32(LARGEST), np.float32(1))
        whole = np.rint(weight / scale)
        if np.array_equal(whole * scale, weight):
            return whole.astype(np.int8), scale.astype(np.float32)
    raise ValueError(f"{name} {weight.shape} was not rounded to int8")
