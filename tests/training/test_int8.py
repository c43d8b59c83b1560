"""Weights stored as int8 and computed in fp32: the same numbers in both formats, told from the rounded weights."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from training.export import write_onnx, write_torchscript
from training.graphs import Exportable, onnx_of
from training.int8 import rounded_to_int8, split, store_as_int8

FEWEST = 4096


class Small(nn.Module):
    """Weights as exporters have them: transposed (linear), of three axes (convolution), looked up (embedding), and small ones."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(64, 64)
        self.convolution = nn.Conv1d(64, 80, 3, padding=1)
        self.wide = nn.Linear(80, 96)
        self.table = nn.Embedding(70, 96)
        self.norm = nn.LayerNorm(96)
        self.classifier = nn.Linear(96, 4)
        with torch.no_grad():
            self.wide.weight[5] = 0
            self.wide.weight[6] *= 1e-4

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(batch, frames, 64) -> (batch, 4)."""
        x = self.wide(self.convolution(x.transpose(1, 2)).transpose(1, 2))
        place = torch.arange(x.shape[1]).clamp(max=69)
        return (self.classifier(self.norm(x + self.table(place)).mean(1)),)


def test_a_weight_is_a_whole_number_times_the_scale_of_its_channel() -> None:
    weight = torch.randn(40, 30, 5, generator=torch.Generator().manual_seed(1)) * torch.logspace(-6, 3, 40)[:, None, None]
    whole, scale = split(weight)
    assert whole.dtype == torch.int8 and scale.shape == (40, 1, 1)
    assert (whole.abs().flatten(1).amax(1) == 127).all()
    assert ((whole.float() * scale - weight).abs() <= 0.5001 * scale).all()
    again = split(whole.float() * scale)
    assert torch.equal(again[0], whole) and torch.equal(again[1], scale)


def test_read_outs_are_rounded_and_the_encoder_is_not() -> None:
    plain, rounded = Small(), rounded_to_int8(Small(), FEWEST)
    changed = {
        name for (name, one), other in zip(plain.named_parameters(), rounded.parameters(), strict=True) if not torch.equal(one, other)
    }
    assert changed == {"convolution.weight", "wide.weight", "table.weight"}


def test_both_formats_hold_the_same_numbers(tmp_path: Path) -> None:
    model = rounded_to_int8(Small(), FEWEST).eval()
    x = torch.randn(3, 20, 64, generator=torch.Generator().manual_seed(2))
    graph = Exportable(model, ("x",), ("y",), (x,), ({0: torch.export.Dim("batch"), 1: torch.export.Dim("frames")},))
    with torch.no_grad():
        (expected,) = model(x)
    write_onnx(onnx_of(graph), {}, tmp_path / "small.onnx", precision="int8")
    write_torchscript(model, (x,), {}, tmp_path / "small.ts", precision="int8")
    proto = onnx.load(tmp_path / "small.onnx")
    kinds = {weight.name: weight.data_type for weight in proto.graph.initializer if np.prod(weight.dims) >= FEWEST}
    assert set(kinds.values()) == {TensorProto.INT8} and len(kinds) == 3
    session = onnxruntime.InferenceSession(str(tmp_path / "small.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x.numpy()})
    traced = torch.jit.load(str(tmp_path / "small.ts")).float()(x)[0].detach()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(traced.numpy(), expected.numpy(), atol=1e-5)
    numbers = 64 * 80 * 3 + 80 * 96 + 70 * 96
    assert (tmp_path / "small.onnx").stat().st_size < numbers + 12_000
    with zipfile.ZipFile(tmp_path / "small.ts") as archive:
        assert sum(item.file_size for item in archive.infolist() if "/data/" in item.filename) < numbers + 12_000


def test_onnxruntime_multiplies_once_when_it_loads(tmp_path: Path) -> None:
    x = torch.randn(1, 20, 64)
    model = rounded_to_int8(Small(), FEWEST).eval()
    write_onnx(onnx_of(Exportable(model, ("x",), ("y",), (x,), ({},))), {}, tmp_path / "small.onnx", precision="int8")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(str(tmp_path / "small.onnx"), options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx").graph
    assert not [weight for weight in loaded.initializer if weight.data_type == TensorProto.INT8]
    assert "Cast" not in {node.op_type for node in loaded.node}


def test_a_model_that_was_not_rounded_is_refused() -> None:
    proto = onnx_of(Exportable(Small().eval(), ("x",), ("y",), (torch.randn(1, 20, 64),), ({},)))
    with pytest.raises(ValueError, match="was not rounded to int8"):
        store_as_int8(proto, FEWEST)
