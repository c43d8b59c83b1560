"""wav2vec 2.0, HuBERT and WavLM by name, behind the interface of the compact encoder: 16 kHz waveform -> hidden states at 50 Hz.

Baevski et al. 2020, "wav2vec 2.0"; Hsu et al. 2021, "HuBERT"; Chen et al. 2022, "WavLM". The networks are those of transformers; what is
added is that states of any layers can be cached and the blocks above run from them, and that padding never changes a result: attention is
masked, and where the convolutions normalise over time (the base models) they see one clip at a time.

Weights are folders as their hubs have them (config.json, model.safetensors), named in `training.paths.WEIGHTS`. The convolutions and the
projection stay frozen; a recipe's `frozen_blocks` and `first_layer` say what else does, and which layers are mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel, PretrainedConfig, Wav2Vec2Config, Wav2Vec2Model, WavLMConfig, WavLMModel

from training.encoders.compact import attention_bias, frame_mask

BASE: dict[str, Any] = {}  # what the configurations of transformers are by default: 12 blocks of 768
LARGE: dict[str, Any] = {
    "num_hidden_layers": 24,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}


@dataclass(frozen=True)
class Spec:
    """A network by name: its kind of configuration and model, and what the configuration differs in."""

    config: type[PretrainedConfig]
    model: Any
    size: dict[str, Any]

    def configuration(self) -> Any:
        return self.config(**self.size, layerdrop=0.0, apply_spec_augment=False)


WAV2VEC2, HUBERT, WAVLM = (Wav2Vec2Config, Wav2Vec2Model), (HubertConfig, HubertModel), (WavLMConfig, WavLMModel)
SPECS: dict[str, Spec] = {
    "wav2vec2-base": Spec(*WAV2VEC2, BASE),
    "wav2vec2-large": Spec(*WAV2VEC2, LARGE),
    "hubert-base": Spec(*HUBERT, BASE),
    "hubert-large": Spec(*HUBERT, LARGE),
    "wavlm-base": Spec(*WAVLM, BASE),
    "wavlm-base-plus": Spec(*WAVLM, BASE),
    "wavlm-large": Spec(*WAVLM, {**LARGE, "conv_bias": False}),
}


class SslEncoder(nn.Module):
    """`lower` and `upper` are those of `CompactEncoder`; layer 0 is what enters the first block. Only the first `blocks` blocks are kept.

    States of the large models are those of their residual stream, before the norm that follows the last block.
    """

    def __init__(self, name: str, blocks: int) -> None:
        super().__init__()
        if name not in SPECS:
            raise ValueError(f'no encoder "{name}"; there are {", ".join(SPECS)}')
        self.name = name
        self.config = SPECS[name].configuration()
        if not 1 <= blocks <= self.config.num_hidden_layers:
            raise ValueError(f"{name} has {self.config.num_hidden_layers} blocks; {blocks} were asked for")
        self.width: int = self.config.hidden_size
        self.network = SPECS[name].model(self.config)
        self._cut(blocks)

    @property
    def blocks(self) -> nn.ModuleList:
        layers: nn.ModuleList = self.network.encoder.layers
        return layers

    def load(self, path: Path) -> SslEncoder:
        """Takes the weights from the folder that `path` (its model.safetensors) lies in; blocks beyond ours are left out."""
        blocks = len(self.blocks)
        network = SPECS[self.name].model.from_pretrained(path.parent, config=SPECS[self.name].configuration(), local_files_only=True)
        if network.config.hidden_size != self.width:
            raise ValueError(f"{path.parent} has width {network.config.hidden_size}, {self.name} {self.width}")
        self.network = network
        self._cut(blocks)
        return self

    def lower(self, waveform: Tensor, lengths: Tensor, blocks: int, first: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """States after blocks `first` to `blocks` side by side (after `blocks` alone if not given), (batch, frames, layers * width); their
        lengths (batch,) in frames; and zeros (batch,), for no silence is cut."""
        first = blocks if first is None else first
        frames = self.network._get_feat_extract_output_lengths(lengths)
        x = self._enter(self._convolved(waveform, lengths, int(frames.max())), frames)
        states = self._run(x, frames, 0, blocks)
        return torch.cat(states[first:], dim=2), frames, torch.zeros_like(lengths)

    def upper(self, hidden: Tensor, frames: Tensor, blocks: int) -> list[Tensor]:
        """From what `lower` gives to a list: its states, the last being after `blocks` blocks, and those after each remaining block."""
        states = list(hidden.split(self.width, dim=2))
        return states[:-1] + self._run(states[-1], frames, blocks, len(self.blocks))

    def _convolved(self, waveform: Tensor, lengths: Tensor, longest: int) -> Tensor:
        """(batch, longest, channels): the convolutions on each clip by itself where their norm runs over time, else on all at once."""
        inside = frame_mask(lengths, waveform.shape[1])
        waveform = torch.where(inside, waveform, torch.zeros_like(waveform))
        if self.config.feat_extract_norm == "group":
            clips = [clip[None, :length] for clip, length in zip(waveform, lengths.tolist(), strict=True)]
            rows = [self.network.feature_extractor(clip)[0].T for clip in clips]
            return nn.utils.rnn.pad_sequence(rows, batch_first=True)
        # What was trained on audio of unit variance; the base models were not (their norm makes up for the level).
        count = lengths[:, None].to(waveform.dtype)
        mean = waveform.sum(1, keepdim=True) / count
        centred = torch.where(inside, waveform - mean, torch.zeros_like(waveform))
        scaled = centred / (centred.square().sum(1, keepdim=True) / count + 1e-7).sqrt()
        return self.network.feature_extractor(scaled).transpose(1, 2)[:, :longest]

    def _enter(self, features: Tensor, frames: Tensor) -> Tensor:
        """Layer 0: projection and positions."""
        projected = self.network.feature_projection(features)
        x = projected[0] if isinstance(projected, tuple) else projected
        x = torch.where(frame_mask(frames, x.shape[1])[:, :, None], x, torch.zeros_like(x))
        x = x + self.network.encoder.pos_conv_embed(x)
        if not self.config.do_stable_layer_norm:
            x = self.network.encoder.layer_norm(x)
        entered: Tensor = self.network.encoder.dropout(x)
        return entered

    def _run(self, x: Tensor, frames: Tensor, start: int, stop: int) -> list[Tensor]:
        """`x` and the states after blocks `start` + 1 to `stop`."""
        states = [x]
        length = x.shape[1]
        if isinstance(self.network, WavLMModel):
            # The first block holds the relative positions of all.
            bias = self.blocks[0].attention.compute_bias(length, length)
            bias = bias.repeat(len(x), 1, 1)
            mask = frame_mask(frames, length).long()
            for block in self.blocks[start:stop]:
                states.append(block(states[-1], attention_mask=mask, position_bias=bias)[0])
            return states
        mask = attention_bias(frames, length).to(x.dtype).expand(-1, 1, length, -1)
        for block in self.blocks[start:stop]:
            states.append(block(states[-1], attention_mask=mask))
        return states

    def _cut(self, blocks: int) -> None:
        self.network.encoder.layers = self.network.encoder.layers[:blocks]
        self.network.requires_grad_(True)
