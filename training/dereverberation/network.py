"""Waveform -> the same speech with less of the room: a gain for every band of the mel spectrum and every 10 ms, on the clip's own phase.

Frames of 25 ms every 10 ms, as the encoders hear; what is to be heard of each of 80 mel bands is a function of the log-mel spectrum of a
second and a half before and after and of its mean and deviation over the clip, which show how long the room rings. Where no gain is below
one the waveform comes back as it went in. Everything exports to ONNX, clips of a batch are masked by their true lengths.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.encoders.compact import MEL_HOP, MELS, PEAK, QUIETEST_PEAK, WINDOW, frame_mask, mel_filterbank

BINS = WINDOW // 2 + 1
FLOOR = 8.0  # powers of ten below the loudest band at which the spectrum ends, as Whisper's does
SCALE = 4.0  # powers of ten of power to one unit of the network's input and output, as in Whisper's spectrum
DEEPEST, HIGHEST = -2.0, 0.25  # units: -80 dB to 10 dB
KERNEL = 7  # frames
DILATIONS = (1, 2, 4, 8, 16, 1, 4, 16)  # of the blocks, in frames: each frame sees 156 of them before and after it
LEAST_OVERLAP = 1e-3


class Block(nn.Module):
    """What lies around a frame, channel by channel, then the channels of the frame; added to what came in."""

    def __init__(self, width: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.around = nn.Conv1d(width, width, KERNEL, padding=(KERNEL - 1) // 2 * dilation, dilation=dilation, groups=width)
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """`x` (batch, frames, width); `inside` (batch, frames, 1): 1 where a frame belongs to its clip, else 0."""
        around = self.around((self.norm(x) * inside).transpose(1, 2)).transpose(1, 2)
        narrowed: Tensor = self.narrow(F.relu(self.widen(around)))
        return x + narrowed


class Gains(nn.Module):
    """Log-mel spectrum (batch, frames, 80) -> what is to be added to it, in the same unit. Zero before training."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(MELS, width, 5, padding=2)
        self.clip = nn.Linear(2 * MELS, width)
        self.blocks = nn.ModuleList(Block(width, hidden, dilation) for dilation in DILATIONS)
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, MELS)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, mel: Tensor, inside: Tensor) -> Tensor:
        mel = mel * inside
        count = inside.sum(1, keepdim=True).clamp(min=1)
        mean = mel.sum(1, keepdim=True) / count
        deviation = (((mel - mean).square() * inside).sum(1, keepdim=True) / count + 1e-5).sqrt()
        x = self.first(mel.transpose(1, 2)).transpose(1, 2) + self.clip(torch.cat([mean, deviation], dim=2))
        for block in self.blocks:
            x = block(x, inside)
        gains: Tensor = self.last(self.norm(x)) * inside
        return gains


class Heard(NamedTuple):
    """Of clips: the spectrum (batch, 402, frames), real parts, then imaginary ones; its log-mel spectrum (batch, frames, 80); which frames
    (batch, frames, 1) are a clip's; and the loudest sample (batch, 1), over PEAK."""

    spectrum: Tensor
    mel: Tensor
    inside: Tensor
    peak: Tensor


class Dereverberator(nn.Module):
    """`waveform` (batch, samples) at 16 kHz, `lengths` (batch,) -> (batch, samples), zeros after each clip's end.

    basis: (402, 1, 400), cosines, then minus sines. window: Hann's, (400,). filters: (80, 201). spread: (201, 80), for each frequency its
    bands' shares.
    """

    basis: Tensor
    window: Tensor
    sides: Tensor
    filters: Tensor
    spread: Tensor

    def __init__(self, width: int = 128, hidden: int = 192) -> None:
        super().__init__()
        self.gains = Gains(width, hidden)
        turn = 2 * np.pi * np.arange(WINDOW)[None, :] * np.arange(BINS)[:, None] / WINDOW
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        sides = np.full(BINS, 2.0)  # all frequencies but the first and the last stand for two
        sides[[0, -1]] = 1.0
        spread = mel_filterbank().T.copy()
        heard = np.flatnonzero(spread.sum(1))
        spread[: heard[0]], spread[heard[-1] + 1 :] = spread[heard[0]], spread[heard[-1]]
        buffers = {
            "basis": np.concatenate([np.cos(turn), -np.sin(turn)])[:, None],
            "window": window,
            "sides": np.concatenate([sides, sides])[:, None, None] / WINDOW,
            "filters": mel_filterbank(),
            "spread": spread / spread.sum(1, keepdims=True),
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)), persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        heard = self.hear(waveform, lengths)
        return self.apply(self.gains(heard.mel, heard.inside), heard, waveform.shape[1], lengths)

    def hear(self, waveform: Tensor, lengths: Tensor) -> Heard:
        """What the gains are computed from, and what they are applied to."""
        waveform = torch.where(frame_mask(lengths, waveform.shape[1]), waveform, torch.zeros_like(waveform))
        peak = waveform.abs().amax(dim=1, keepdim=True).clamp(min=QUIETEST_PEAK) / PEAK
        spectrum = self.spectrum(waveform / peak)
        return Heard(spectrum, *self.mel(spectrum, lengths), peak)

    def apply(self, gains: Tensor, heard: Heard, samples: int, lengths: Tensor) -> Tensor:
        """The waveform (batch, samples) with `gains` (batch, frames, 80) added to its log-mel spectrum, as nearly as the phase allows."""
        powers = torch.matmul(gains.clamp(DEEPEST, HIGHEST), self.spread.T)
        amplitudes = torch.pow(10.0, SCALE / 2 * powers).transpose(1, 2)
        dry = self.waveform(heard.spectrum * torch.cat([amplitudes, amplitudes], dim=1), heard.inside.transpose(1, 2))
        dry = dry[:, WINDOW // 2 :][:, :samples] * heard.peak
        return torch.where(frame_mask(lengths, samples), dry, torch.zeros_like(dry))

    def spectrum(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, 402, frames): one every 160 samples, the first around the first sample, the last after the end."""
        padded = F.pad(waveform, (WINDOW // 2, WINDOW // 2 + MEL_HOP - 1))
        return F.conv1d(padded[:, None], self.basis * self.window, stride=MEL_HOP)

    def waveform(self, spectrum: Tensor, inside: Tensor) -> Tensor:
        """Back again, half a window early: overlapping frames are added, windowed once more, and divided by the windows' sum of squares.
        `inside` (batch, 1, frames): which of them count; those after a clip's end would be heard in its last samples."""
        added = F.conv_transpose1d(spectrum * inside, self.basis * self.window * self.sides, stride=MEL_HOP)
        weight = F.conv_transpose1d(inside, self.window.square()[None, None], stride=MEL_HOP)
        return (added / weight.clamp(min=LEAST_OVERLAP))[:, 0]

    def mel(self, spectrum: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Whisper's log-mel spectrum (batch, frames, 80), zero after each clip's end, and which frames (batch, frames, 1) are a clip's."""
        power = spectrum[:, :BINS].square() + spectrum[:, BINS:].square()
        mel = torch.matmul(self.filters, power).clamp(min=1e-10).log10()
        inside = frame_mask(lengths // MEL_HOP + 1, mel.shape[2])[:, None]
        loudest = torch.where(inside, mel, torch.full_like(mel, -10.0)).amax(dim=(1, 2), keepdim=True)
        mel = (torch.maximum(mel, loudest - FLOOR) + SCALE) / SCALE
        mask = inside.to(mel.dtype)
        return (mel * mask).transpose(1, 2), mask.transpose(1, 2)
