"""The compact encoder: 16 kHz waveform -> hidden states at 50 Hz, with everything a user would else have to do inside.

Front end and blocks are those of the Whisper tiny.en audio encoder (Radford et al. 2022, "Robust Speech Recognition via
Large-Scale Weak Supervision", section 2.2; weights MIT), cut after `blocks` of its four transformer blocks. Three things differ from
the original, all so that a clip gives the same answer wherever it stands:

- leading and trailing silence is cut and the level normalised inside the module (`SpeechSpan`), so that neither moves the result;
- input is not padded to 30 s; clips of a batch are masked by their true length at every step that mixes frames;
- the reflection that the short-time Fourier transform needs at both ends is taken at each clip's own end.

Every operation exports to ONNX and traces to TorchScript.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 16_000  # Hz
WINDOW = 400  # samples, 25 ms
MEL_HOP = SAMPLE_RATE // 100  # 160 samples: 100 mel frames a second
FRAME_HOP = 2 * MEL_HOP  # 320 samples: 50 hidden frames a second (the second convolution has stride 2)
MELS = 80
WIDTH = 384
HEADS = 6
LONGEST_FRAMES = 1500  # positions of the original: 30 s
START_GRID = 2  # hidden frames: clips start on a multiple of this, so that heads at 25 Hz keep their place on the time axis too

SILENCE_RATIO = 1e-4  # blocks of 20 ms this far below the loudest block's energy (-40 dB) are silence at the ends of a clip
PEAK = 0.9  # level after normalisation
QUIETEST_PEAK = 1e-5  # -100 dBFS: nothing quieter is raised to PEAK


def mel_filterbank(mels: int = MELS, window: int = WINDOW, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Slaney-scale triangles with unit area, (mels, window // 2 + 1): the filters that Whisper takes from librosa.

    >>> mel_filterbank().shape
    (80, 201)
    """
    linear_step, corner, log_step = 200.0 / 3, 1000.0, math.log(6.4) / 27.0

    def to_hertz(mel: np.ndarray) -> np.ndarray:
        corner_mel = corner / linear_step
        return np.where(mel < corner_mel, mel * linear_step, corner * np.exp(log_step * (np.maximum(mel, corner_mel) - corner_mel)))

    top = corner / linear_step + math.log(rate / 2 / corner) / log_step
    edges = to_hertz(np.linspace(0.0, top, mels + 2))
    bins = np.linspace(0.0, rate / 2, window // 2 + 1)
    slopes = edges[:, None] - bins[None, :]
    widths = np.diff(edges)
    rising, falling = -slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def sinusoids(length: int, width: int) -> np.ndarray:
    """Whisper's fixed positions (length, width): sines in the first half of the channels, cosines in the second."""
    rates = np.exp(-math.log(10_000.0) / (width // 2 - 1) * np.arange(width // 2))
    angles = np.arange(length)[:, None] * rates[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """True where a frame belongs to its clip: (batch, frames) from `lengths` (batch,) in frames."""
    return torch.arange(frames, device=lengths.device)[None, :] < lengths[:, None]


class SpeechSpan(nn.Module):
    """Cuts silence at both ends, sets the level and reflects each clip at its own ends, in one gather.

    Input: `waveform` (batch, samples) in [-1, 1], `lengths` (batch,) in samples. Output: `samples` (batch, longest + 400) with 200
    reflected samples before and after each clip, `lengths` (batch,) of what is left, `starts` (batch,): where it began, a multiple of
    START_GRID * FRAME_HOP so that frames keep their place on the clip's time axis.
    """

    def __init__(self, cut: bool = True, level: bool = True) -> None:
        super().__init__()
        self.cut = cut
        self.level = level

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        samples = waveform.shape[1]
        waveform = torch.where(frame_mask(lengths, samples), waveform, torch.zeros_like(waveform))
        starts = torch.zeros_like(lengths)
        if self.cut:
            energy = F.avg_pool1d(F.pad(waveform.square(), (0, FRAME_HOP - 1))[:, None], FRAME_HOP)[:, 0]
            index = torch.arange(energy.shape[1], device=waveform.device)
            inside = index[None, :] * FRAME_HOP < lengths[:, None]
            active = (energy >= SILENCE_RATIO * energy.amax(dim=1, keepdim=True)) & inside
            first = torch.where(active, index[None, :], energy.shape[1]).amin(dim=1)
            last = torch.where(active, index[None, :], -1).amax(dim=1)
            starts = torch.div(first, START_GRID, rounding_mode="floor") * (START_GRID * FRAME_HOP)
            lengths = torch.minimum((last + 1) * FRAME_HOP, lengths) - starts
        half = WINDOW // 2
        position = torch.arange(samples + WINDOW, device=waveform.device)[None, :] - half
        position = position.abs()  # reflection before the first sample
        end = lengths[:, None] - 1
        position = end - (end - position).abs()  # reflection after the last sample
        position = (starts[:, None] + position).clamp(min=0)
        span = torch.gather(waveform, 1, torch.minimum(position, starts[:, None] + end))
        if self.level:
            # Reflection repeats samples and adds none, so the loudest sample of the span is the clip's own.
            peak = span.abs().amax(dim=1, keepdim=True).clamp(min=QUIETEST_PEAK)
            span = span * (PEAK / peak)
        return span, lengths, starts


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram with the Fourier transform as one convolution: (batch, samples + 400) -> (batch, 80, frames)."""

    def __init__(self) -> None:
        super().__init__()
        turn = 2 * np.pi * np.arange(WINDOW)[None, :] * np.arange(WINDOW // 2 + 1)[:, None] / WINDOW
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)  # periodic Hann
        basis = np.concatenate([np.cos(turn) * window, -np.sin(turn) * window])
        self.register_buffer("basis", torch.from_numpy(basis.astype(np.float32))[:, None], persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filterbank()), persistent=False)

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the spectrogram, zero after each clip's end, and its true lengths in mel frames (lengths // 160)."""
        spectrum = F.conv1d(samples[:, None], self.basis, stride=MEL_HOP)[:, :, :-1]
        bins = WINDOW // 2 + 1
        power = spectrum[:, :bins].square() + spectrum[:, bins:].square()
        mel = torch.matmul(self.filters, power).clamp(min=1e-10).log10()
        frames = lengths // MEL_HOP
        inside = frame_mask(frames, mel.shape[2])[:, None]
        loudest = torch.where(inside, mel, torch.full_like(mel, -10.0)).amax(dim=(1, 2), keepdim=True)
        mel = (torch.maximum(mel, loudest - 8.0) + 4.0) / 4.0
        return torch.where(inside, mel, torch.zeros_like(mel)), frames


class Attention(nn.Module):
    """Multi-head self-attention; `key` has no bias, as in Whisper."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`x` (batch, frames, width); `bias` (batch, 1, 1, frames) is added to the scores: 0 inside a clip, very negative after it."""
        batch, frames, width = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, frames, self.heads, width // self.heads).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(split(self.query(x)), split(self.key(x)), split(self.value(x)), attn_mask=bias)
        return self.out(mixed.transpose(1, 2).reshape(batch, frames, width))


class Block(nn.Module):
    """Pre-norm transformer block of Whisper's encoder."""

    def __init__(self, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.attn_ln = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.mlp_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attn(self.attn_ln(x), bias)
        return x + self.mlp(self.mlp_ln(x))


class CompactEncoder(nn.Module):
    """Waveform -> hidden states after the positions (index 0) and after each of `blocks` blocks.

    `forward` returns the hidden states, a list of (batch, frames, 384) at 50 Hz, their true lengths (batch,) in frames, and `starts`
    (batch,): the frame of the clip at which the first hidden frame stands (silence before it was cut).
    """

    width = WIDTH
    frame_hop = FRAME_HOP / SAMPLE_RATE  # s

    def __init__(self, blocks: int = 3, cut: bool = True, level: bool = True) -> None:
        super().__init__()
        self.span = SpeechSpan(cut=cut, level=level)
        self.mel = LogMel()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.from_numpy(sinusoids(LONGEST_FRAMES, WIDTH)))
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        hidden, frames, starts = self.lower(waveform, lengths, blocks=0)
        states = [hidden]
        bias = attention_bias(frames, hidden.shape[1])
        for block in self.blocks:
            states.append(block(states[-1], bias))
        return states, frames, starts

    def lower(self, waveform: Tensor, lengths: Tensor, blocks: int, first: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What training caches when the lower blocks stay frozen: the hidden state after `blocks` blocks or, with `first`, those after
        `first` to `blocks` blocks side by side, (batch, frames, (blocks - first + 1) * 384)."""
        first = blocks if first is None else first
        samples, lengths, starts = self.span(waveform, lengths)
        mel, mel_frames = self.mel(samples, lengths)
        x = F.gelu(self.conv1(mel))
        x = torch.where(frame_mask(mel_frames, x.shape[2])[:, None], x, torch.zeros_like(x))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]]
        frames = (mel_frames + 1) // 2
        bias = attention_bias(frames, x.shape[1])
        for block in self.blocks[:first]:
            x = block(x, bias)
        states = [x]
        for block in self.blocks[first:blocks]:
            states.append(block(states[-1], bias))
        return states[0] if len(states) == 1 else torch.cat(states, dim=2), frames, starts // FRAME_HOP

    def upper(self, hidden: Tensor, frames: Tensor, blocks: int) -> list[Tensor]:
        """From what `lower` gives to a list: its states, the last being after `blocks` blocks, and those after each remaining block."""
        bias = attention_bias(frames, hidden.shape[1])
        states = list(hidden.split(self.width, dim=2))
        for block in self.blocks[blocks:]:
            states.append(block(states[-1], bias))
        return states

    def load(self, path: Path) -> CompactEncoder:
        """The start weights of this encoder: those of Whisper (.npz), or those that a run has trained (its weights.pt)."""
        if path.suffix != ".pt":
            return self.load_whisper(path)
        found = torch.load(path, weights_only=True)
        self.load_state_dict({name: found[f"encoder.{name}"] for name in self.state_dict()})
        return self

    def load_whisper(self, path: str | Path) -> CompactEncoder:
        """Takes the weights from an .npz with Whisper's own names (`encoder.conv1.weight`, ...); blocks beyond ours are left out."""
        with np.load(path) as arrays:
            state = {
                name.removeprefix("encoder."): torch.from_numpy(arrays[name].astype(np.float32))
                for name in arrays.files
                if name.startswith("encoder.")
            }
        wanted = self.state_dict()
        self.load_state_dict({name: state[name] for name in wanted})
        return self


def halve(x: Tensor, lengths: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Means of `factor` neighbouring frames of (batch, frames, width), over the frames that are there; lengths round up."""
    if factor == 1:
        return x, lengths
    inside = frame_mask(lengths, x.shape[1])[:, :, None]
    x = torch.where(inside, x, torch.zeros_like(x))
    # One group more than is needed at most, so that no shape depends on whether the number of frames divides evenly.
    short = F.pad(x, (0, 0, 0, factor - 1))
    groups = short.shape[1] // factor
    sums = short[:, : groups * factor].reshape(x.shape[0], groups, factor, x.shape[2]).sum(2)
    ends = torch.arange(1, groups + 1, device=x.device)[None, :] * factor
    counts = (factor - (ends - lengths[:, None])).clamp(min=1, max=factor)
    return sums / counts[:, :, None], torch.div(lengths + factor - 1, factor, rounding_mode="floor")


def attention_bias(lengths: Tensor, frames: int) -> Tensor:
    """(batch, 1, 1, frames) to add to attention scores; a finite number, for infinity gives NaN where exporters fold softmax."""
    return torch.where(frame_mask(lengths, frames), 0.0, -1e9)[:, None, None, :]
