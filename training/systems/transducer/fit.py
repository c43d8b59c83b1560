"""Training of a transducer from cached states: the losses that a batch's clips allow, and selection on validation speakers.

The loop itself is training/steps.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emoser.metrics import EditCounts, edits, unweighted_average_recall
from training.data import Example
from training.evaluate import score, temperature_of
from training.steps import UNTRAINED, Losses, begin, copied, train
from training.systems.transducer.data import Batch, Draws, Shelf, parts_of_frames
from training.systems.transducer.decode import greedy_batch
from training.systems.transducer.losses import (
    NONE,
    head_loss,
    language_loss,
    lattice_loss,
    mixture_head_loss,
    mixture_lattice_loss,
)
from training.systems.transducer.model import TransducerModel
from training.systems.transducer.networks import FrameWise
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.rnnt import rnnt_loss
from training.systems.transducer.vocabulary import normalised

FRAMES_A_BATCH = 6000  # of 20 ms, padding counted: 2 minutes are decoded together


class Step(nn.Module):
    """A batch to its losses, the sum weighted by the recipe."""

    def __init__(self, model: TransducerModel, recipe: TransducerRecipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe

    def forward(self, batch: Batch) -> Losses:
        parts = self.parts(batch)
        weighted = (getattr(self.recipe.transducer.weights, name) * value for name, value in parts.items())
        return Losses(sum(weighted, torch.zeros(())), parts)

    def parts(self, batch: Batch) -> dict[str, Tensor]:
        """The losses by name, unweighted."""
        weights, smoothing = self.recipe.transducer.weights, self.recipe.schedule.label_smoothing
        hidden, frames = self.model.layers_of(batch.hidden, batch.frames)
        network = self.model.network
        if isinstance(network, FrameWise):
            return {"head": head_loss(network(hidden, frames)[0].float(), batch.targets, smoothing)}
        lattices = weights.lattice > 0 or weights.mixture_lattice > 0
        nodes = network(hidden, frames, batch.tokens, batch.lengths, emotions=lattices)
        losses = {"head": head_loss(nodes.head.float(), batch.targets, smoothing)}
        if weights.rnnt:
            own = batch.spoken.nonzero()[:, 0]
            losses["rnnt"] = nodes.tokens.sum() * 0.0
            if len(own):
                longest, most = int(frames[own].max()), int(batch.lengths[own].max())
                logits = nodes.tokens[own, :longest, : most + 1]
                losses["rnnt"] = rnnt_loss(logits, batch.tokens[own, :most], frames[own], batch.lengths[own]).mean()
        if weights.lattice and nodes.emotions is not None:
            pooling = self.recipe.transducer.pooling
            losses["lattice"] = lattice_loss(nodes.emotions, batch.targets, frames, batch.lengths + 1, self.recipe.neutral, pooling)
        if weights.language and nodes.language is not None:
            losses["language"] = language_loss(nodes.language, batch.tokens, batch.lengths, batch.spoken)
        parts = (batch.frame_parts, batch.node_parts, batch.emotions)
        if weights.mixture_lattice and nodes.emotions is not None:
            diagonal = self.recipe.transducer.mixtures.block_diagonal
            losses["mixture_lattice"] = mixture_lattice_loss(nodes.emotions, *parts, block_diagonal=diagonal)
        if weights.mixture_head:
            losses["mixture_head"] = mixture_head_loss(network.head, nodes.h, nodes.g, *parts)
        return losses


@dataclass
class Fitted:
    """What a run leaves: the kept weights, its validation history, and the temperatures fitted on validation speakers: of clips, and of
    frames (on validation mixtures)."""

    state: dict[str, Tensor]
    history: list[dict[str, Any]]
    temperature: float
    frame_temperature: float
    step: int
    seconds: float


def fit(
    recipe: TransducerRecipe,
    model: TransducerModel,
    shelf: Shelf,
    taught: tuple[Sequence[Example], Sequence[Example]],
    held: tuple[Sequence[Example], Sequence[Example]],
    folder: Path,
    origins: Mapping[str, str] | None = None,
) -> Fitted:
    """Trains `model` (training/steps.py), leaves its kept weights in it and fits its temperatures.

    `taught`, of speakers that train, and `held`, of those that validate: clips, and mixtures. origins: digests of the weights that `model`
    goes on from.
    """
    accelerator = begin(recipe.schedule)
    draws = Draws(recipe, shelf, *taught, process=accelerator.process_index)
    _standardise(model, draws)
    outcome = train(
        recipe, model, Step(model, recipe), draws, lambda: validate(recipe, model, shelf, *held), folder, accelerator, origins=origins
    )
    temperature, frame_temperature = _temperatures(recipe, model, shelf, *held)
    return Fitted(copied(model.state_dict()), outcome.history, temperature, frame_temperature, outcome.step, outcome.seconds)


# what a model says of clips


@dataclass(frozen=True)
class Said:
    """Of one clip: logits (classes,), frame logits (frames, classes) and the text, "" of a network without one."""

    logits: NDArray[np.float32]
    frames: NDArray[np.float32]
    text: str


@torch.inference_mode()
def said_of(recipe: TransducerRecipe, model: TransducerModel, shelf: Shelf, examples: Sequence[Example]) -> list[Said]:
    """Greedy decoding of the clean clips, in the order of `examples`."""
    model.eval()
    device = next(model.parameters()).device
    bf16 = recipe.schedule.precision == "bf16"
    found: dict[int, Said] = {}
    for places in _batches(examples, shelf):
        batch = shelf.batch([(examples[i], shelf.features(examples[i]).get(examples[i], 0)) for i in places]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            hidden, frames = model.layers_of(batch.hidden, batch.frames)
        hidden = hidden.float()
        if isinstance(model.network, FrameWise):
            logits, _, read = model.network(hidden, frames)
            tokens: list[list[int]] = [[] for _ in places]
        else:
            most = max(1, round(recipe.transducer.most * model.frame_hop * int(frames.max())))
            decoded = greedy_batch(model.network, hidden, frames, recipe.transducer.cap, most)
            logits, read, tokens = decoded.logits, decoded.emotions, decoded.tokens
        for row, place in enumerate(places):
            own = read[row, : int(frames[row])].float().cpu().numpy()
            found[place] = Said(logits[row].float().cpu().numpy(), own, shelf.vocabulary.decode(tokens[row]))
    return [found[index] for index in range(len(examples))]


def _batches(examples: Sequence[Example], shelf: Shelf) -> Iterator[list[int]]:
    """Places of clips of like length."""
    batch: list[int] = []
    for index in sorted(range(len(examples)), key=lambda i: shelf.frames(examples[i])):
        if batch and (len(batch) + 1) * shelf.frames(examples[index]) > FRAMES_A_BATCH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def validate(
    recipe: TransducerRecipe, model: TransducerModel, shelf: Shelf, clips: Sequence[Example], mixtures: Sequence[Example]
) -> dict[str, float]:
    """Mean over corpora of UAR (the head's, with the decoded text), character error rate, and UAR of the frames of mixtures.

    `selection` is the mean of the two UARs and of what the transcript has right, 1 - CER; of those that there are.
    """
    said = said_of(recipe, model, shelf, clips)
    emotional = [index for index, example in enumerate(clips) if example.target != NONE]
    logits = np.stack([said[index].logits for index in emotional])
    scored = score(logits, [clips[index] for index in emotional], recipe.data.labels, intervals=False)
    found = {"uar": scored.mean_uar} | {f"uar/{corpus}": value.uar for corpus, value in scored.corpora.items()}
    spoken = [(shelf.text(example), item.text) for example, item in zip(clips, said, strict=True) if shelf.text(example)]
    if spoken and not isinstance(model.network, FrameWise):
        found["cer"] = sum((edits(list(normalised(text)), list(guess)) for text, guess in spoken), EditCounts(0, 0, 0, 0)).rate
    measures = [found["uar"]] + ([max(0.0, 1 - found["cer"])] if "cer" in found else [])
    if mixtures:
        truth, frames = frames_of_mixtures(recipe, model, shelf, mixtures)
        found["frames"] = float(unweighted_average_recall(truth, frames.argmax(1)))
        measures.append(found["frames"])
    return found | {"selection": float(np.mean(measures))}


def frames_of_mixtures(
    recipe: TransducerRecipe, model: TransducerModel, shelf: Shelf, mixtures: Sequence[Example]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """All frames of all mixtures: classes (frames,) and logits (frames, classes)."""
    truth, frames = [], []
    for example, item in zip(mixtures, said_of(recipe, model, shelf, mixtures), strict=True):
        emotions = np.array(shelf.timed(example).emotions)
        truth.append(emotions[parts_of_frames(example, len(item.frames), shelf.hop)])
        frames.append(item.frames)
    return np.concatenate(truth), np.concatenate(frames)


def _temperatures(
    recipe: TransducerRecipe, model: TransducerModel, shelf: Shelf, clips: Sequence[Example], mixtures: Sequence[Example]
) -> tuple[float, float]:
    emotional = [example for example in clips if example.target != NONE]
    logits = np.stack([item.logits for item in said_of(recipe, model, shelf, emotional)])
    own = temperature_of(logits, np.array([example.target for example in emotional]))
    if not mixtures:
        return own, own
    truth, frames = frames_of_mixtures(recipe, model, shelf, mixtures)
    return own, temperature_of(frames, truth)


def _standardise(model: TransducerModel, draws: Draws, batches: int = 8) -> None:
    model.eval()
    with torch.no_grad():
        drawn = [draws[UNTRAINED + index] for index in range(batches)]
        model.standardise.fit([(model.encoder.upper(batch.hidden, batch.frames, model.frozen_blocks), batch.frames) for batch in drawn])
