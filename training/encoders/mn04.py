"""The lower layers of EfficientAT mn04_as, an AudioSet tagger, as a teacher: 16 kHz waveform -> features of sound at 6.25 Hz.

Schmid, Koutini and Widmer 2023, "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation"; weights MIT,
https://github.com/fschmid56/EfficientAT. The network is MobileNetV3-large at width 0.4 (Howard et al. 2019, "Searching for MobileNetV3",
table 1) over a log-mel spectrogram of 32 kHz audio; what is kept here ends with block 12 of 15, the last before the time axis is halved
once more. Audio is heard as the compact encoder hears it (`SpeechSpan`), so that the frames of both count from the same sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from training.encoders.compact import FRAME_HOP, SAMPLE_RATE, WINDOW, SpeechSpan

TEACHER_RATE = 32_000  # Hz
MELS = 128
FFT = 1024
STFT_WINDOW = 800  # samples, 25 ms
HOP = TEACHER_RATE // 100  # 320 samples: 100 mel frames a second
PRE_EMPHASIS = 0.97
LAYERS = 12  # blocks kept
STRIDE = 16  # mel frames to one frame of block 12: 6.25 a second
WIDTH = 48 * MELS // STRIDE  # channels of block 12, at each of the 8 places of frequency that are left: 384


class Shape(NamedTuple):
    """One block; `squeezed` is the width inside its squeeze-and-excitation, 0 where it has none."""

    kernel: int
    stride: int
    expanded: int
    channels: int
    squeezed: int


STEM = 8  # channels before the first block
BLOCKS = (
    Shape(3, 1, 8, 8, 0),
    Shape(3, 2, 24, 16, 0),
    Shape(3, 1, 32, 16, 0),
    Shape(5, 2, 32, 16, 8),
    Shape(5, 1, 48, 16, 16),
    Shape(5, 1, 48, 16, 16),
    Shape(3, 2, 96, 32, 0),
    Shape(3, 1, 80, 32, 0),
    Shape(3, 1, 72, 32, 0),
    Shape(3, 1, 72, 32, 0),
    Shape(3, 1, 192, 48, 48),
    Shape(3, 1, 272, 48, 72),
)
RECTIFIED = 6  # blocks with ReLU; those after them have Hardswish


def convolution(inputs: int, outputs: int, kernel: int, activation: type[nn.Module], stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without a bias, batch norm, activation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=1e-3), activation())


class Excitation(nn.Module):
    """Each channel by a factor of 0 to 1, told from the means of all over a clip's frequencies and time, which padding would change."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        factors = self.fc2(self.fc1(x.mean(dim=(2, 3))).relu()).sigmoid()
        return x * factors[:, :, None, None]


class Block(nn.Module):
    """Inverted residual: expand, one filter a channel, weigh the channels, project."""

    def __init__(self, inputs: int, shape: Shape, activation: type[nn.Module]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if shape.expanded != inputs:
            layers.append(convolution(inputs, shape.expanded, 1, activation))
        layers.append(convolution(shape.expanded, shape.expanded, shape.kernel, activation, shape.stride, groups=shape.expanded))
        if shape.squeezed:
            layers.append(Excitation(shape.expanded, shape.squeezed))
        layers.append(convolution(shape.expanded, shape.channels, 1, nn.Identity))
        self.block = nn.Sequential(*layers)
        self.adds = shape.stride == 1 and shape.channels == inputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.adds else y


class Mn04(nn.Module):
    """`lower` is that of `CompactEncoder`, of the output of block 12; there is nothing above it."""

    width = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.span = SpeechSpan()
        self.register_buffer("window", torch.hann_window(STFT_WINDOW, periodic=False), persistent=False)
        self.register_buffer("mel_filters", torch.zeros(MELS, FFT // 2 + 1))
        layers: list[nn.Module] = [convolution(1, STEM, 3, nn.Hardswish, stride=2)]
        inputs = STEM
        for index, shape in enumerate(BLOCKS):
            layers.append(Block(inputs, shape, nn.ReLU if index < RECTIFIED else nn.Hardswish))
            inputs = shape.channels
        self.features = nn.Sequential(*layers)

    def mel(self, waveform: Tensor) -> Tensor:
        """(batch, samples) at 32 kHz -> (batch, 1, 128, frames) at 100 Hz."""
        sharp = waveform[:, 1:] - PRE_EMPHASIS * waveform[:, :-1]
        spectrum = torch.stft(sharp, FFT, HOP, STFT_WINDOW, self.window, center=True, pad_mode="reflect", return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return (((self.mel_filters @ power + 1e-5).log() + 4.5) / 5)[:, None]

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) at 32 kHz -> (batch, frames, 384) at 6.25 Hz: the channels one after the other, each with its 8 frequencies.

        Frame n is about what is heard around n * 0.16 s: every stride on the way keeps a frame above the middle of those it sees.
        """
        x: Tensor = self.features(self.mel(waveform))
        return x.permute(0, 3, 1, 2).flatten(2)

    def lower(self, waveform: Tensor, lengths: Tensor, blocks: int = LAYERS, first: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """16 kHz `waveform` (batch, samples), `lengths` (batch,) in samples -> features (batch, frames, 384), their lengths (batch,) in
        frames of 0.16 s, and `starts` (batch,) in frames of 0.02 s, as the compact encoder counts them."""
        if blocks != LAYERS or first not in (None, LAYERS):
            raise ValueError(f"features of mn04 are those of block {LAYERS}, not of blocks {first} to {blocks}")
        samples, lengths, starts = self.span(waveform, lengths)
        rows = []
        for row, length in zip(samples, lengths.tolist(), strict=True):
            clip = soxr.resample(row[WINDOW // 2 : WINDOW // 2 + length].numpy(), SAMPLE_RATE, TEACHER_RATE)
            clip = np.pad(clip, (0, max(0, FFT - len(clip))))  # a click of less than 32 ms is too short to be reflected
            rows.append(self(torch.from_numpy(clip)[None])[0])
        frames = torch.tensor([len(row) for row in rows])
        return pad_sequence(rows, batch_first=True), frames, starts // FRAME_HOP

    def load(self, path: Path) -> Mn04:
        """Takes the weights from an .npz with the original's names (`features.0.0.weight`, ...); layers beyond ours are left out."""
        with np.load(path) as arrays:
            found = {name.replace("conc_se_layers.0.", ""): name for name in arrays.files}
            wanted = [name for name in self.state_dict() if not name.endswith("num_batches_tracked")]  # not in the file, and of no use
            self.load_state_dict({name: torch.from_numpy(arrays[found[name]]) for name in wanted})
        return self
