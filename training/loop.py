"""Training of an utterance recipe from cached states (`python -m training fit RECIPE`): its draws, its loss, its validation.

The loop itself is training/steps.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from training.calibration import class_offsets
from training.data import Example, Examples, sampling_weights
from training.evaluate import Scored, score, temperature_of
from training.features import Features
from training.model import EmotionModel, Pooled
from training.pooled import PooledBatch, PooledDraws
from training.recipe import Recipe, RecipeError, Schedule
from training.steps import RUNNING, UNTRAINED, Losses, Outcome, begin, copied, train
from training.voices import Voices

STATISTICS = "statistics"  # in a run's folder: what the phase of the second read-out alone leaves
WHOLE_CLIPS = "whole-clips"  # and what the phase leaves in which it learns anew
LOSSES = 4  # of such a phase that its history has
FEWEST_SPEAKERS = 8  # that validate, for class offsets to be fitted on them


@dataclass
class Batch:
    hidden: Tensor  # (batch, frames, 384), float32
    frames: Tensor  # (batch,)
    targets: Tensor  # (batch,)
    order: Tensor  # (batch,): the clip that each is mixed with
    share: Tensor  # (batch,): how much of itself it keeps
    speakers: Tensor  # (batch,): their numbers in `Voices`
    others: Tensor  # (batch,): the speakers in whose place the clips are put
    way: Tensor  # (batch,): how far

    def to(self, device: torch.device) -> Batch:
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))

    def soft_targets(self, classes: int) -> Tensor:
        own = F.one_hot(self.targets, classes).float()
        return self.share[:, None] * own + (1 - self.share)[:, None] * own[self.order]


class Draws:
    """The training clips of step n: balanced over corpora and classes, a random view, a random crop."""

    def __init__(self, recipe: Recipe, examples: Sequence[Example], features: Features, process: int = 0) -> None:
        self.recipe = recipe
        self.examples = tuple(examples)
        self.features = features
        self.process = process
        self.weights = sampling_weights(self.examples, recipe.data)
        self.longest = round(recipe.data.longest_crop * 50 / recipe.model.cached_pool)  # frames
        self.voices = Voices(self.examples)

    def __getitem__(self, step: int) -> Batch:
        random = np.random.default_rng([self.recipe.schedule.seed, step, self.process])
        chosen = random.choice(len(self.examples), size=self.recipe.schedule.batch_size, p=self.weights)
        augmentation = self.recipe.augmentation
        states: list[NDArray[np.float16]] = []
        for index in chosen:
            degraded = augmentation.views > 0 and random.random() >= augmentation.clean_share
            view = int(random.integers(1, augmentation.views + 1)) if degraded else 0
            state = self.features.get(self.examples[index], view)
            start = int(random.integers(max(1, len(state) - self.longest + 1)))
            states.append(state[start : start + self.longest])
        batch = stack(states, [self.examples[index].target for index in chosen])
        alpha = self.recipe.schedule.mixup
        if alpha:
            share = random.beta(alpha, alpha, size=len(chosen))
            batch.share = torch.from_numpy(np.maximum(share, 1 - share).astype(np.float32))
            batch.order = torch.from_numpy(random.permutation(len(chosen)))
        if self.recipe.schedule.voices:
            batch.speakers = torch.from_numpy(self.voices.number[chosen])
            batch.others = torch.from_numpy(self.voices.draw(random, len(chosen)))
            moved = random.random(len(chosen)) < self.recipe.schedule.voices
            batch.way = torch.from_numpy((moved * random.random(len(chosen))).astype(np.float32))
        return batch


def stack(states: Sequence[NDArray[np.float16]], targets: Sequence[int]) -> Batch:
    frames = torch.tensor([len(state) for state in states])
    hidden = torch.zeros(len(states), int(frames.max()), states[0].shape[1])
    for row, state in zip(hidden, states, strict=True):
        row[: len(state)] = torch.from_numpy(state.astype(np.float32))
    count = len(states)
    nobody, own = torch.zeros(count, dtype=torch.int64), torch.arange(count)
    return Batch(hidden, frames, torch.tensor(targets), own, torch.ones(count), nobody, nobody, torch.zeros(count))


def whole_clips(
    examples: Sequence[Example], features: Features, view: int, frames_a_batch: int = 6000
) -> Iterator[tuple[list[int], Batch]]:
    """Batches of whole clips, short ones first, with the places they have in `examples`."""
    order = sorted(range(len(examples)), key=lambda index: features.frames(examples[index], view))
    batch: list[int] = []
    for index in [*order, -1]:
        full = index >= 0 and (len(batch) + 1) * features.frames(examples[index], view) > frames_a_batch
        if batch and (full or index < 0):
            yield batch, stack([features.get(examples[i], view) for i in batch], [examples[i].target for i in batch])
            batch = []
        if index >= 0:
            batch.append(index)


@torch.inference_mode()
def pooled_clips(model: EmotionModel, examples: Sequence[Example], features: Features, view: int = 0, bf16: bool = False) -> Pooled:
    """All clips in the order of `examples`, pooled, in float32; without their frames, (clips, 0, classes)."""
    model.eval()
    device = next(model.parameters()).device
    order: list[int] = []
    parts: list[Pooled] = []
    for places, batch in whole_clips(examples, features, view):
        order += places
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            parts.append(model.pool_states(batch.hidden.to(device), batch.frames.to(device)))
    back = torch.tensor(order).argsort()
    embedding = torch.cat([part.embedding.float().cpu() for part in parts])[back]
    statistics = [part.statistics.float().cpu() for part in parts if part.statistics is not None]
    return Pooled(embedding, torch.cat(statistics)[back] if statistics else None, torch.zeros(len(order), 0, parts[0].frames.shape[2]))


@torch.inference_mode()
def logits_of(model: EmotionModel, examples: Sequence[Example], features: Features, view: int, bf16: bool = False) -> NDArray[np.float32]:
    """(clips, classes) over all of the recipe's classes, in the order of `examples`."""
    model.eval()
    rows: dict[int, NDArray[np.float32]] = {}
    device = next(model.parameters()).device
    for places, batch in whole_clips(examples, features, view):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model.read(model.pool_states(batch.hidden.to(device), batch.frames.to(device)))[0]
        rows.update(zip(places, logits.float().cpu().numpy(), strict=True))
    return np.stack([rows[index] for index in range(len(examples))])


def loss_of(logits: Tensor, targets: Tensor, own: int, schedule: Schedule) -> Tensor:
    """Cross-entropy with soft `targets` (batch, classes) over all classes and, weighted by `subset_loss`, over the first `own` alone.

    The second counts, of each target, the part that lies there.
    """
    classes = logits.shape[1]
    smoothed = targets * (1 - schedule.label_smoothing) + schedule.label_smoothing / classes
    everything = -(smoothed * logits.log_softmax(1)).sum(1).mean()
    if own == classes or not schedule.subset_loss:
        return everything
    inside = targets[:, :own]
    smoothed = inside * (1 - schedule.label_smoothing) + inside.sum(1, keepdim=True) * schedule.label_smoothing / own
    subset = -(smoothed * logits[:, :own].log_softmax(1)).sum() / inside.sum().clamp(min=1.0)
    return everything * (1 - schedule.subset_loss) + subset * schedule.subset_loss


class Step(nn.Module):
    """A batch to its loss, of both read-outs; on the way clips change voices and are mixed in pairs."""

    def __init__(self, recipe: Recipe, model: EmotionModel, voices: Voices | None) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = model
        self.voices = voices

    def forward(self, batch: Batch) -> Losses:
        pooled = self.model.pool_states(batch.hidden, batch.frames)
        if self.voices is not None:
            self.voices.update(pooled, batch.speakers)
            pooled = self.voices.moved(pooled, batch.speakers, batch.others, batch.way)
        logits, head = self.model.read(pooled.mixed(batch.order, batch.share))
        both = logits / self.model.weight  # they are taught as a sum
        targets, own, schedule = batch.soft_targets(len(self.recipe.all_labels)), len(self.recipe.data.labels), self.recipe.schedule
        if self.model.statistics is None:
            return Losses(loss_of(both.float(), targets, own, schedule))
        if schedule.apart:
            return Losses(loss_of((both - head).float(), targets, own, schedule) + loss_of(head.float(), targets, own, schedule))
        return Losses(loss_of(both.float(), targets, own, schedule) + schedule.head_loss * loss_of(head.float(), targets, own, schedule))


class StatisticsStep(nn.Module):
    """A batch to the loss of the second read-out alone."""

    def __init__(self, recipe: Recipe, model: EmotionModel) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = model

    def forward(self, batch: Batch) -> Losses:
        assert self.model.statistics is not None
        with torch.no_grad():
            statistics = self.model.statistics_of(batch.hidden, batch.frames)
        share = batch.share[:, None]
        logits = self.model.statistics(share * statistics + (1 - share) * statistics[batch.order])
        targets = batch.soft_targets(len(self.recipe.all_labels))
        return Losses(loss_of(logits.float(), targets, len(self.recipe.data.labels), self.recipe.schedule))


class WholeClipStep(nn.Module):
    """A batch of pooled clips to the loss of the second read-out alone."""

    def __init__(self, recipe: Recipe, readout: nn.Module) -> None:
        super().__init__()
        self.recipe = recipe
        self.readout = readout

    def forward(self, batch: PooledBatch) -> Losses:
        targets = F.one_hot(batch.targets, len(self.recipe.all_labels)).float()
        return Losses(loss_of(self.readout(batch.vectors).float(), targets, len(self.recipe.data.labels), self.recipe.schedule))


@dataclass
class Fitted:
    """What a run leaves: the kept weights, its validation history, and what was fitted on validation speakers.

    phases: the losses of the steps in which the second read-out learnt alone, under the names of their folders.
    """

    state: dict[str, Tensor]
    history: list[dict[str, Any]]
    offsets: list[float]  # of the classes, in the weights already
    temperature: float
    step: int
    seconds: float
    phases: dict[str, list[dict[str, Any]]]


def fit(
    recipe: Recipe, model: EmotionModel, examples: Examples, features: Features, folder: Path, origins: Mapping[str, str] | None = None
) -> Fitted:
    """Trains `model` (training/steps.py), leaves its kept weights in it and calibrates them on validation speakers. Where there are none,
    the last step is kept and nothing calibrated. origins: digests of the weights that `model` goes on from."""
    accelerator = begin(recipe.schedule)
    draws = Draws(recipe, examples.train, features, accelerator.process_index)
    if recipe.model.readouts_of is None:  # else they go on from the scale that they were taught on
        _standardise(model, draws, statistics=not recipe.schedule.whole_clip_steps)
    voices = draws.voices if recipe.schedule.voices else None
    if voices is not None:
        _listen(model, draws)

    phases: dict[str, Outcome] = {}
    if recipe.schedule.statistics_steps:
        phases[STATISTICS] = _fit_statistics(recipe, model, draws, folder / STATISTICS, accelerator, origins)

    def validate() -> dict[str, float]:
        return _validate(recipe, model, examples, features) if examples.validation else {"selection": 0.0}

    outcome = train(recipe, model, Step(recipe, model, voices), draws, validate, folder, accelerator, {"voices": draws.voices}, origins)
    if recipe.schedule.whole_clip_steps:
        phases[WHOLE_CLIPS] = _fit_whole_clips(recipe, model, examples.train, features, folder / WHOLE_CLIPS, accelerator, origins)
    own = len(recipe.data.labels)
    offsets, temperature = calibrate(model, own, examples, features) if examples.validation else ([0.0] * own, 1.0)
    seconds = outcome.seconds + sum(phase.seconds for phase in phases.values())
    losses = {name: [{key: entry[key] for key in ("step", "loss", "seconds")} for entry in phase.history] for name, phase in phases.items()}
    return Fitted(copied(model.state_dict()), outcome.history, offsets, temperature, outcome.step, seconds, losses)


def forget_progress(folder: Path) -> None:
    """Removes the resumable states of a run whose result has been put away, its other phases' too: they would only be in the way of a later
    run of that name with other settings."""
    for place in (folder, folder / STATISTICS, folder / WHOLE_CLIPS):
        (place / RUNNING).unlink(missing_ok=True)


def _fit_statistics(
    recipe: Recipe, model: EmotionModel, draws: Draws, folder: Path, accelerator: Accelerator, origins: Mapping[str, str] | None = None
) -> Outcome:
    """`schedule.statistics_steps` steps of the second read-out alone. Nothing is chosen: the last averaged weights go on."""
    steps = recipe.schedule.statistics_steps
    if model.statistics is None or steps is None:
        raise RecipeError("schedule.statistics_steps: there is no second read-out; model.statistics is its width")
    recipe = _of_steps(recipe, steps)
    folder.mkdir(exist_ok=True)
    model.requires_grad_(False)  # of all else: several processes wait for the gradient of whatever is trained
    step = StatisticsStep(recipe, model)
    return train(recipe, model.statistics, step, draws, lambda: {"selection": 0.0}, folder, accelerator, origins=origins)


def _fit_whole_clips(
    recipe: Recipe,
    model: EmotionModel,
    examples: Sequence[Example],
    features: Features,
    folder: Path,
    accelerator: Accelerator,
    origins: Mapping[str, str] | None = None,
) -> Outcome:
    """`schedule.whole_clip_steps` steps of the second read-out alone, from its first weights again (or of another one,
    `model.statistics_anew`), the encoder being as it will be used: what it sees of a crop is not what it sees of a clip. Nothing is mixed,
    and nothing chosen (docs/experiments.md)."""
    if recipe.model.statistics_anew is not None:
        model.replace_statistics(recipe.model.in_the_end)
    steps, readout = recipe.schedule.whole_clip_steps, model.statistics
    if readout is None or steps is None:
        raise RecipeError("schedule.whole_clip_steps: there is no second read-out; model.statistics is its width")
    recipe = _of_steps(recipe, steps)
    bf16 = recipe.schedule.precision == "bf16"
    # The clips as they are and one degraded copy of each: pooling them is what these steps cost.
    pooled = [pooled_clips(model, examples, features, view, bf16) for view in range(min(recipe.augmentation.views, 1) + 1)]
    views = [each.statistics for each in pooled if each.statistics is not None]
    torch.manual_seed(recipe.schedule.seed)
    readout.begin_anew(torch.cat(views))
    folder.mkdir(exist_ok=True)
    model.requires_grad_(False)
    draws = PooledDraws(recipe, examples, views, accelerator.process_index)
    step = WholeClipStep(recipe, readout)
    outcome = train(recipe, readout, step, draws, lambda: {"selection": 0.0}, folder, accelerator, origins=origins)
    if bf16:  # as the steps have computed with them; what is stored as fp16 has fewer bits then, and history is short of room
        with torch.no_grad():
            for matrix in (parameter for parameter in readout.parameters() if parameter.ndim > 1):
                matrix.copy_(matrix.bfloat16())
    return outcome


def _of_steps(recipe: Recipe, steps: int) -> Recipe:
    """Of a phase in which the second read-out learns alone, the last weights of which go on."""
    return replace(recipe, schedule=replace(recipe.schedule, steps=steps, evaluate_every=max(1, steps // LOSSES), keep="last"))


def calibrate(model: EmotionModel, own: int, examples: Examples, features: Features) -> tuple[list[float], float]:
    """Fits class offsets on validation speakers and adds them to the model's own first `own` classes; then fits the temperature.

    Offsets of a few speakers would say what these lean to, and not what the model does: there are none then.
    """
    logits = logits_of(model, examples.validation, features, 0)[:, :own]
    several = len({example.speaker for example in examples.validation}) >= FEWEST_SPEAKERS
    offsets = class_offsets(logits, examples.validation) if several else np.zeros(own)
    model.add_offsets(torch.from_numpy(offsets.astype(np.float32)))
    targets = np.array([example.target for example in examples.validation])
    return [float(value) for value in offsets], temperature_of(logits + offsets, targets)


def _validate(recipe: Recipe, model: EmotionModel, examples: Examples, features: Features) -> dict[str, float]:
    """Mean over corpora of UAR, on clean clips and, where there are any, on degraded ones. `selection` is the mean of the two."""
    own = len(recipe.data.labels)
    views = {"clean": 0, "degraded": 1} if recipe.augmentation.views else {"clean": 0}
    found: dict[str, float] = {}
    for name, view in views.items():
        logits = logits_of(model, examples.validation, features, view, bf16=recipe.schedule.precision == "bf16")[:, :own]
        scored: Scored = score(logits, examples.validation, recipe.data.labels, intervals=False)
        found |= {f"{name}/{corpus}": value.uar for corpus, value in scored.corpora.items()}
        found[name] = scored.mean_uar
        found[f"{name}/pooled"] = scored.pooled.uar
    found["selection"] = float(np.mean([found[name] for name in views]))
    return found


def _standardise(model: EmotionModel, draws: Draws, statistics: bool = True, batches: int = 8) -> None:
    """Takes the scale of layers and, with `statistics`, that of the second read-out: one that begins anew later takes it then."""
    model.eval()
    with torch.no_grad():
        drawn = [draws[UNTRAINED + index] for index in range(batches)]
        states = [(model.encoder.upper(batch.hidden, batch.frames, model.frozen_blocks), batch.frames) for batch in drawn]
        model.mix.standardise(states)
        if statistics and model.statistics is not None and model.statistics.standardised is not None:
            model.statistics.standardised.take(torch.cat([model.pooled_statistics(*each) for each in states]))


def _listen(model: EmotionModel, draws: Draws, batches: int = 40) -> None:
    """What each speaker sounds like to the untrained model."""
    model.eval()
    with torch.no_grad():
        for index in range(batches):
            batch = draws[UNTRAINED + index]
            draws.voices.update(model.pool_states(batch.hidden, batch.frames), batch.speakers)
