"""Silero VAD at 16 kHz (https://github.com/snakers4/silero-vad, MIT) as one graph over any number of chunks: the file that
`emoser.diarization.activity` runs.

    python -m training.encoders.silero --weights silero_vad_16k_fp32.npz --out checkpoints/onnx/silero-vad.onnx

The original runs once for each chunk of 512 samples. Here all chunks of a block pass the convolutions at once and the LSTM runs over them;
its state is an input and an output, so that blocks of a long recording give what the whole would.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper
from torch import Tensor, nn

from training.encoders.lstm import LSTM
from training.graphs import store_as_half, strip_traces
from training.paths import weights

SAMPLE_RATE = 16_000  # Hz
CHUNK = 512  # samples, 32 ms: one probability each
CONTEXT = 64  # samples before each chunk that it also sees
BINS = 129  # of the Fourier transform of 256 samples
WIDTH = 128

# The licence asks that this goes with every copy, and the file may travel alone.
NOTICE = """MIT License

Copyright (c) 2020-present Silero Team

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""

METADATA = {
    "name": "silero-vad",
    "task": "activity",
    "sample_rate": SAMPLE_RATE,
    "chunk": CHUNK,
    "context": CONTEXT,
    "license": "MIT",
    "summary": "Silero VAD, 16 kHz, https://github.com/snakers4/silero-vad; weights stored as fp16",
    "notice": NOTICE,
}


class SileroVAD(nn.Module):
    """`samples` (64 + 512 n,) and `state` (2, 1, 128), zeros at the start -> `probabilities` (n,) of speech and the state after.

    The first 64 samples are those before the first chunk, zeros at the start of a recording.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * BINS, 256, stride=128, bias=False)  # cosines, then sines, times the window
        self.conv1 = nn.Conv1d(BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, WIDTH, 3, padding=1)
        self.lstm = LSTM(WIDTH, WIDTH)
        self.final_conv = nn.Conv1d(WIDTH, 1, 1)

    def forward(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        # A chunk's context is the start of the 512 samples that begin 64 before it: two views, and no gather.
        context = samples[:-CONTEXT].view(-1, CHUNK)[:, :CONTEXT]
        x = torch.cat([context, samples[CONTEXT:].view(-1, CHUNK)], dim=1)[:, None]
        spectrum = self.stft_conv(F.pad(x, (0, 64), mode="reflect"))
        x = (spectrum[:, :BINS].square() + spectrum[:, BINS:].square()).sqrt()
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(x).relu()  # 4, 4, 2, 1, 1 frames
        x, (hidden, cell) = self.lstm(x.transpose(0, 1).transpose(0, 2).view(1, -1, WIDTH), (state[:1], state[1:]))
        probability = self.final_conv(x.transpose(1, 2).relu()).sigmoid()
        return probability[0, 0], torch.cat([hidden, cell])

    def load_silero(self, path: str | Path) -> SileroVAD:
        """Takes the weights from an .npz with the original's names (`stft_conv.weight`, `lstm_cell.weight_ih`, ...)."""
        with np.load(path) as arrays:
            state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        self.load_state_dict({name.replace("lstm_cell.", "lstm.") + ("_l0" if "lstm_cell." in name else ""): state[name] for name in state})
        return self


def export(weights_path: str | Path, out_path: str | Path) -> None:
    """Writes the ONNX file: inputs `samples` (64 + 512 n,), `state` (2, 1, 128); outputs `probabilities` (n,), `state_after`."""
    model = SileroVAD().load_silero(weights_path).eval().requires_grad_(False)
    chunks = torch.export.Dim("chunks", min=1, max=100_000)
    program = torch.onnx.export(
        model,
        (torch.zeros(CONTEXT + 7 * CHUNK), torch.zeros(2, 1, WIDTH)),
        dynamo=True,
        verbose=False,
        input_names=["samples", "state"],
        output_names=["probabilities", "state_after"],
        dynamic_shapes={"samples": {0: CHUNK * chunks + CONTEXT}, "state": None},
    )
    graph = program.model_proto
    store_as_half(graph)
    strip_traces(graph)
    helper.set_model_props(graph, {"emoser": json.dumps(METADATA)})
    onnx.checker.check_model(graph, full_check=True)
    Path(out_path).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, out_path)


@click.command()
@click.option("--weights", "weights_path", help="silero_vad_16k_fp32.npz, or the folder that holds it.")
@click.option("--out", default="checkpoints/onnx/silero-vad.onnx", show_default=True, help="The ONNX file to write.")
def main(weights_path: str | None, out: str) -> None:
    """Writes the speech activity model as ONNX."""
    given = weights_path if weights_path and Path(weights_path).is_file() else weights("silero-vad", weights_path)
    export(given, out)
    click.echo(f"{out}: {Path(out).stat().st_size} bytes")


if __name__ == "__main__":
    main()
