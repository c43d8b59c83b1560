"""`python -m training pretrain RECIPE`: the encoder goes on learning from speech without labels, by masked prediction of clustered states.

Li et al. 2024, "Frame-level emotional state alignment method for speech emotion recognition", sections 3 and 5 of its specification: the
states of a teacher are clustered (k-means); spans of the input are masked; the encoder tells the cluster of each masked frame by the
cosine between a projection of its state and a vector for each cluster. The teacher is the encoder as it starts (the paper's first phase)
or that of a run trained on labels (`pretrain.teacher`: its clusters are the paper's "emotional states").

Clips of test speakers and of corpora left out are not heard, unlike in the paper, whose clustering and pre-training include the test
session. What is written, `encoder.npz`, is a file of start weights: `python -m training fit RECIPE --set model.start=.../encoder.npz`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from emoser.digests import sha256
from training import paths
from training.corpora import Utterance, default_split, load
from training.data import Example
from training.encoders.compact import CompactEncoder, frame_mask
from training.features import Features, Source, build
from training.heard import check_unheard
from training.loop import stack, whole_clips
from training.recipe import Recipe, RecipeError
from training.runs import START_WEIGHTS, Places, rounded
from training.steps import RUNNING, Running, set_rates

MOST_FRAMES = 500_000  # that the clusters are fitted on
VALIDATED = 400  # clips: of n times as many and more, every n-th, so that there are fewer than twice these

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pretraining:
    """The paper's values, but for the sizes, which are those of a small encoder."""

    teacher: str | None = None  # weights.pt of a trained run; None: the encoder as it starts
    layer: int = 2  # the teacher's layer whose states are clustered
    clusters: int = 100
    span: int = 10  # frames masked at a stretch
    probability: float = 0.8  # spans, times their length, as a share of the frames; they may overlap
    dimension: int = 256  # of the projection and of the clusters' vectors
    temperature: float = 0.1


@dataclass(frozen=True)
class PretrainingRecipe(Recipe):
    pretrain: Pretraining = field(default_factory=Pretraining)


class MaskedPrediction(nn.Module):
    """Masked states of the frozen lower blocks -> logits of each frame's cluster."""

    def __init__(self, encoder: CompactEncoder, frozen_blocks: int, options: Pretraining) -> None:
        super().__init__()
        self.encoder = encoder
        self.frozen_blocks = frozen_blocks
        self.options = options
        self.mask = nn.Parameter(torch.zeros(encoder.width))
        self.projection = nn.Linear(encoder.width, options.dimension)
        self.clusters = nn.Parameter(torch.rand(options.clusters, options.dimension))

    def forward(self, hidden: Tensor, frames: Tensor, masked: Tensor, starts: Tensor) -> Tensor:
        """`hidden` (batch, frames, width), `frames` and `starts` (batch,): lengths, and where in their clip they begin; `masked`
        (batch, frames). Returns (batch, frames, clusters)."""
        # A masked frame keeps its place in time: else it would be the same question wherever it stands.
        place = (starts[:, None] + torch.arange(hidden.shape[1])).clamp(max=len(self.encoder.positional_embedding) - 1)
        nothing = self.mask + self.encoder.positional_embedding[place]
        hidden = torch.where(masked[:, :, None], nothing, hidden)
        states = self.encoder.upper(hidden, frames, self.frozen_blocks)[-1]
        return cosine_logits(self.projection(states), self.clusters, self.options.temperature)


def cosine_logits(projected: Tensor, clusters: Tensor, temperature: float) -> Tensor:
    """Cosines of (..., dimension) and (clusters, dimension), over `temperature`: (..., clusters)."""
    return F.normalize(projected, dim=-1) @ F.normalize(clusters, dim=-1).T / temperature


def spans(frames: int, options: Pretraining, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which of `frames` frames are masked: spans that start anywhere but at the very end, two at least, drawn without replacement."""
    masked = np.zeros(frames, dtype=bool)
    if frames <= options.span:
        return masked
    possible = frames - options.span
    count = min(possible, max(2, int(options.probability * frames / options.span + random.random())))
    for start in random.choice(possible, size=count, replace=False):
        masked[start : start + options.span] = True
    return masked


@dataclass(frozen=True)
class Speech:
    """Clips without regard to their labels: who trains, and who shows whether it helps."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]


def speech_of(recipe: Recipe, places: Places) -> Speech:
    """All clips of the recipe's corpora but those of test speakers and of corpora left out."""
    parts: dict[str, list[Example]] = {"train": [], "validation": []}
    for name in recipe.data.corpora:
        if name in recipe.data.leave_out:
            continue
        split = default_split(load(name, places.corpora), recipe.data.split)
        for part, own in (("train", split.train), ("validation", split.validation)):
            parts[part] += [Example(clip, own.file(clip), 0) for clip in own]
    if not parts["train"] or not parts["validation"]:
        raise RecipeError("pre-training needs speakers that train and speakers that validate; data.corpora has none left")
    return Speech(tuple(parts["train"]), tuple(parts["validation"]))


def held_out(recipe: Recipe, places: Places) -> list[Utterance]:
    """The clips of test speakers and of corpora left out, which nothing that a run starts from may have heard either."""
    found: list[Utterance] = []
    for name in recipe.data.corpora:
        manifest = load(name, places.corpora)
        found += manifest if name in recipe.data.leave_out else default_split(manifest, recipe.data.split).test
    return found


@torch.inference_mode()
def teacher_states(
    teacher: CompactEncoder, examples: Sequence[Example], features: Features, frozen_blocks: int, layer: int
) -> list[NDArray[np.float32]]:
    """The teacher's states after block `layer`, unmasked, (frames, width) for each clip."""
    teacher.eval()
    found: dict[int, NDArray[np.float32]] = {}
    for places, batch in whole_clips(examples, features, 0):
        states = teacher.upper(batch.hidden, batch.frames, frozen_blocks)[layer - frozen_blocks]
        found.update((place, row[:count].numpy()) for place, row, count in zip(places, states, batch.frames.tolist(), strict=True))
    return [found[index] for index in range(len(examples))]


def clustered(states: Sequence[NDArray[np.float32]], clusters: int, seed: int) -> MiniBatchKMeans:
    """k-means as in the paper: mini-batches of 10,000 frames, k-means++, at most 100 passes."""
    frames = np.concatenate(states)
    if len(frames) < clusters:
        raise RecipeError(f"{len(frames)} frames cannot make {clusters} clusters")
    if len(frames) > MOST_FRAMES:
        frames = frames[np.random.default_rng(seed).choice(len(frames), MOST_FRAMES, replace=False)]
    settings = {"batch_size": 10_000, "max_iter": 100, "n_init": 5, "max_no_improvement": 100, "reassignment_ratio": 0}
    return MiniBatchKMeans(clusters, random_state=seed, **settings).fit(frames)


def run_pretrain(recipe: Recipe, places: Places) -> Path:
    """Trains (or goes on) and writes `encoder.npz` and `record.json` to the run's folder; returns the former's path. Raises RecipeError
    where the teacher, or whatever else it starts from, has heard the test speakers or a corpus left out."""
    if not isinstance(recipe, PretrainingRecipe):
        raise RecipeError(f"{recipe.name} has the task {recipe.task}; a recipe of this command says task: pretraining")
    options, model_options, schedule = recipe.pretrain, recipe.model, recipe.schedule
    if model_options.encoder is not None:
        raise RecipeError("pretrain is for the compact encoder; the others come pre-trained in this very way")
    if not model_options.frozen_blocks < model_options.blocks or not model_options.frozen_blocks <= options.layer <= model_options.blocks:
        raise RecipeError("pretrain needs a block above model.frozen_blocks, and pretrain.layer from there to model.blocks")
    began = time.monotonic()
    folder = places.runs / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    weights = Path(model_options.start) if model_options.start else paths.weights(START_WEIGHTS, places.weights)
    speech = speech_of(recipe, places)
    if options.teacher or model_options.start:
        check_unheard(recipe, held_out(recipe, places), [item.utterance for item in speech.validation], places.runs, places.corpora)
    source = Source(weights, model_options.frozen_blocks, recipe.augmentation.chances, places.corpora)
    features = build(source, places.cache, [(0, (*speech.train, *speech.validation))], places.workers)
    torch.manual_seed(schedule.seed)
    targets = _targets(recipe, speech, features, weights)
    model = MaskedPrediction(CompactEncoder(model_options.blocks).load_whisper(weights), model_options.frozen_blocks, options)
    history = _train(recipe, model, speech, features, targets, folder)
    file = folder / "encoder.npz"
    save_encoder(model.encoder, weights, file)
    record = {
        "name": recipe.name,
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.checksum(),
        "start_weights_sha256": sha256(weights),
        "clips": {"train": len(speech.train), "validation": len(speech.validation)},
        "encoder_sha256": sha256(file),
        "seconds": round(time.monotonic() - began),
        "history": history,
    }
    (folder / "record.json").write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")
    (folder / RUNNING).unlink(missing_ok=True)
    return file


def _targets(recipe: PretrainingRecipe, speech: Speech, features: Features, weights: Path) -> dict[Example, NDArray[np.int64]]:
    """The cluster of each frame of each clip; clusters are fitted on those that train."""
    options, blocks, frozen = recipe.pretrain, recipe.model.blocks, recipe.model.frozen_blocks
    teacher = CompactEncoder(blocks).load_whisper(weights)
    if options.teacher is not None:
        state = torch.load(options.teacher, weights_only=True, map_location="cpu")
        own = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
        missing = sorted(set(teacher.state_dict()) - set(own))
        if missing:
            raise RecipeError(f"{options.teacher} has no encoder of {blocks} blocks: {missing[0]} is missing")
        teacher.load_state_dict({name: own[name] for name in teacher.state_dict()})
    states = teacher_states(teacher, speech.train, features, frozen, options.layer)
    means = clustered(states, options.clusters, recipe.schedule.seed)
    log.info("%d clusters of %d frames", options.clusters, sum(map(len, states)))
    found = {example: means.predict(rows).astype(np.int64) for example, rows in zip(speech.train, states, strict=True)}
    held = speech.validation[:: max(1, len(speech.validation) // VALIDATED)]
    states = teacher_states(teacher, held, features, frozen, options.layer)
    return found | {example: means.predict(rows).astype(np.int64) for example, rows in zip(held, states, strict=True)}


def _train(
    recipe: PretrainingRecipe,
    model: MaskedPrediction,
    speech: Speech,
    features: Features,
    targets: dict[Example, NDArray[np.int64]],
    folder: Path,
) -> list[dict[str, Any]]:
    """The paper's plain loop: one rate, everything decays, the last weights are kept as they are."""
    schedule = recipe.schedule
    trained = [model.mask, model.clusters, *model.projection.parameters(), *model.encoder.blocks[model.frozen_blocks :].parameters()]
    model.encoder.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    group = {"params": trained, "peak": schedule.encoder_learning_rate}
    optimizer = torch.optim.AdamW([group], betas=(0.9, 0.98), eps=1e-6, weight_decay=schedule.weight_decay)
    held = [example for example in speech.validation if example in targets]
    history: list[dict[str, Any]] = []
    start = 0
    running = Running(folder, recipe)
    if (state := running.read()) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start, history = state["step"], state["history"]
    longest = round(recipe.data.longest_crop * 50)
    for step in range(start, schedule.steps):
        random = np.random.default_rng([schedule.seed, step])
        torch.manual_seed(hash((schedule.seed, step)) % 2**31)
        chosen = [speech.train[int(index)] for index in random.integers(len(speech.train), size=schedule.batch_size)]
        set_rates(optimizer, schedule, step)
        model.train()
        loss, _ = _loss(model, chosen, features, targets, random, longest)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, schedule.clip_norm)
        optimizer.step()
        done = step + 1
        if done % schedule.evaluate_every == 0 or done == schedule.steps:
            entry = {"step": done, "loss": float(loss.detach()), **_validated(model, held, features, targets, longest)}
            history.append(entry)
            log.info("%s", json.dumps(rounded(entry)))
        if running.due(done):
            running.write({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": done, "history": history})
    return history


def _loss(
    model: MaskedPrediction,
    examples: Sequence[Example],
    features: Features,
    targets: dict[Example, NDArray[np.int64]],
    random: np.random.Generator,
    longest: int,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over the masked frames of a random crop of each clip, and which of them were right."""
    states, labels, starts, masks = [], [], [], []
    for example in examples:
        state = features.get(example, 0)
        start = int(random.integers(max(1, len(state) - longest + 1)))
        states.append(state[start : start + longest])
        labels.append(targets[example][start : start + longest])
        starts.append(start)
        masks.append(spans(len(states[-1]), model.options, random))
    batch = stack(states, [0] * len(states))
    width = batch.hidden.shape[1]
    masked = torch.from_numpy(np.stack([np.pad(mask, (0, width - len(mask))) for mask in masks]))
    truth = torch.from_numpy(np.stack([np.pad(label, (0, width - len(label))) for label in labels]))
    if not bool(masked.any()):
        raise RecipeError(f"no clip of the batch is longer than the {model.options.span} frames of a masked span")
    assert not bool((masked & ~frame_mask(batch.frames, width)).any())
    logits = model(batch.hidden, batch.frames, masked, torch.tensor(starts))[masked]
    return F.cross_entropy(logits, truth[masked]), logits.argmax(1) == truth[masked]


@torch.no_grad()
def _validated(
    model: MaskedPrediction, held: Sequence[Example], features: Features, targets: dict[Example, NDArray[np.int64]], longest: int
) -> dict[str, float]:
    """Loss and accuracy on masked frames of speakers that do not train, the same frames every time."""
    model.eval()
    random = np.random.default_rng(0)
    losses, right = [], []
    for begin in range(0, len(held), 32):
        loss, hits = _loss(model, held[begin : begin + 32], features, targets, random, longest)
        losses += [float(loss)] * len(hits)
        right += hits.tolist()
    return {"validation_loss": float(np.mean(losses)), "validation_accuracy": float(np.mean(right))}


def save_encoder(encoder: CompactEncoder, start: Path, path: Path) -> None:
    """Start weights in the form of Whisper's (`CompactEncoder.load_whisper`), float32: what was not trained is copied from `start`."""
    with np.load(start) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    found |= {f"encoder.{name}": value.detach().cpu().numpy() for name, value in encoder.state_dict().items()}
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **found)
    partial.replace(path)
