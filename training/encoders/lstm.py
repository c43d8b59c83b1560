"""An LSTM of one layer and one direction that exports to ONNX with any number of frames.

`nn.LSTM` itself exports by being unrolled over the frames of the example, or not at all, depending on what was exported before in the same
process (torch 2.13). Here the exported graph holds one ONNX `LSTM` node, written on purpose.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]  # hidden and cell, (1, batch, width) each


class LSTM(nn.LSTM):
    """`nn.LSTM(width, hidden, batch_first=True)`: same parameters, same numbers."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden, batch_first=True)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """`x` (batch, frames, width) -> (batch, frames, hidden) and the state after the last frame."""
        if not torch.compiler.is_exporting():
            return super().forward(x, state)
        batch, frames, _ = x.shape
        outputs, *last = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (
                x.transpose(0, 1),
                onnx_gates(self.weight_ih_l0)[None],
                onnx_gates(self.weight_hh_l0)[None],
                torch.cat([onnx_gates(self.bias_ih_l0), onnx_gates(self.bias_hh_l0)])[None],
                *(() if state is None else (None, *state)),  # None: the lengths, which stand in the frames after the clip
            ),
            {"hidden_size": self.hidden_size},
            dtypes=[x.dtype] * 3,
            shapes=[(frames, 1, batch, self.hidden_size), *[(1, batch, self.hidden_size)] * 2],
        )
        return outputs[:, 0].transpose(0, 1), (last[0], last[1])


def onnx_gates(parameter: Tensor) -> Tensor:
    """Rows in PyTorch's order of gates (input, forget, cell, output) -> ONNX's (input, output, forget, cell)."""
    i, f, c, o = parameter.chunk(4)
    return torch.cat([i, o, f, c])
