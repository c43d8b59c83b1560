"""The graphs that a checkpoint of several files has in common with others, and how a shared file is kept what it is.

The encoder's file says nothing of emotions: what depends on its weights alone, so that all checkpoints that leave an encoder as it is have
one file of it. A read-out takes what that file gives.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from emoser.registry import list_checkpoints
from emoser.runtimes.onnx import POOLED, SCALE, SHIFT
from training.encoders.states import encode
from training.graphs import Exportable
from training.model import Adjustment, EmotionModel, Pooled
from training.recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from training.encoders import Encoder

BATCH, SAMPLES = Dim("batch", min=1, max=4096), Dim("samples", min=1600, max=480_000)
FRAMES = Dim("frames", min=1, max=4096)
HEARD = (torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1, torch.tensor([16_000, 12_000]))
# What a graph that starts from the waveform is traced with, and what of it may have any size.
FROM_WAVEFORM: dict[str, Any] = {
    "inputs": ("waveform", "lengths"),
    "example": HEARD,
    "axes": ({0: BATCH, 1: SAMPLES}, {0: BATCH}),
}
READ = ("logits", "frames", "embedding")


class EncoderPart(nn.Module):
    """The encoder and nothing else: waveform (batch, samples), lengths (batch,) in samples -> what `encode` gives."""

    def __init__(self, encoder: Encoder, frozen_blocks: int, first_layer: int, pool: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.frozen_blocks, self.first_layer, self.pool = frozen_blocks, first_layer, pool

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return encode(self.encoder, waveform, lengths, self.frozen_blocks, self.first_layer, self.pool)


# A TorchScript file names the class of what it was traced from: files that are shared by content keep the name of the first ones.
EncoderPart.__module__ = "training.systems.transducer.export"


class Given(nn.Module):
    """Stands in for an encoder whose states are given: `upper` of one that is wholly frozen."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def upper(self, hidden: Tensor, frames: Tensor, blocks: int) -> list[Tensor]:
        return list(hidden.split(self.width, dim=2))


class ReadoutPart(nn.Module):
    """What comes after a wholly frozen encoder: states (batch, T, hidden), their lengths (batch,) -> logits (batch, classes), frames
    (batch, T, classes) and embedding (batch, dim), of the checkpoint's own classes only."""

    def __init__(self, model: EmotionModel, classes: int) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.model.encoder = Given(model.encoder.width)  # type: ignore[assignment]
        self.classes = classes

    def forward(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return self.read(states, lengths)[0]

    def read(self, states: Tensor, lengths: Tensor, by: Adjustment | None = None) -> tuple[tuple[Tensor, ...], Pooled]:
        pooled = self.model.pool_states(states, lengths, by)
        logits = self.model.read(pooled, by)[0][:, : self.classes]
        return (logits, pooled.frames[:, :, : self.classes], pooled.embedding), pooled


class AdaptableReadoutPart(ReadoutPart):
    """The same with `scale` and `shift` (dim,) as further inputs and the pooled vectors (batch, dim) as a further output."""

    def forward(self, states: Tensor, lengths: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        outputs, pooled = self.read(states, lengths, Adjustment(scale, shift))
        return (*outputs, pooled.vector)


def encoder_graph(part: EncoderPart) -> Exportable:
    return Exportable(part.eval(), outputs=("states", "frame_lengths", "starts"), **FROM_WAVEFORM)


def over_states(module: nn.Module, encoder: EncoderPart, outputs: tuple[str, ...], defaults: dict[str, Tensor] | None = None) -> Exportable:
    """A graph over what `encoder` gives."""
    with torch.no_grad():
        states, frame_lengths, _ = encoder(*HEARD)
    axes = ({0: BATCH, 1: FRAMES}, {0: BATCH})
    return Exportable(module.eval(), ("states", "frame_lengths"), outputs, (states, frame_lengths), axes, defaults or {})


def neutral(width: int) -> dict[str, Tensor]:
    """What `scale` and `shift` are where they are left out."""
    return {SCALE: torch.ones(width), SHIFT: torch.zeros(width)}


def readout_graphs(model: EmotionModel, classes: int, encoder: EncoderPart) -> tuple[Exportable, Exportable]:
    """For ONNX, where it can be adapted, and for TorchScript."""
    adaptable = AdaptableReadoutPart(model, classes)
    first = over_states(adaptable, encoder, (*READ, POOLED), neutral(model.vector_width))
    return first, over_states(ReadoutPart(model, classes), encoder, READ)


def encoder_name(recipe: Recipe) -> str:
    """Of the file, without its ending, of a wholly frozen encoder: that of the run it comes from, or Whisper's."""
    if recipe.model.encoder is not None:
        raise RecipeError(f"{recipe.name} stands on {recipe.model.encoder}: such models train and are scored, they are not exported")
    owner = recipe.model.encoder_of or (recipe.name if recipe.model.start else "whisper")
    return f"{owner}-encoder"


def alone(description: dict[str, Any]) -> dict[str, Any]:
    """What an encoder's file says of itself."""
    return {**{name: description[name] for name in ("sample_rate", "frame_hop", "encoder")}, "role": "encoder"}


@contextmanager
def unchanged_for_others(one: Path, other: Path, root: Path, name: str) -> Iterator[None]:
    """Raises where a file that other entries of the registry have too does not come out as it was. Those that are shared are put back then,
    and where writing them breaks off."""
    registry = root / "checkpoints.yaml"
    entries = list_checkpoints(registry) if registry.is_file() else []
    sharing = {part.path: entry.name for entry in entries if entry.name != name for part in entry.parts}
    kept = {path: path.read_bytes() for path in (one, other) if path.relative_to(root).as_posix() in sharing}
    try:
        yield
        for path, content in kept.items():
            if path.read_bytes() != content:
                owner = sharing[path.relative_to(root).as_posix()]
                raise RuntimeError(
                    f"{path.name} is a part of {owner} too and would change; take {owner} out of the registry and export both"
                )
    except BaseException:
        for path, content in kept.items():
            path.write_bytes(content)
        raise
