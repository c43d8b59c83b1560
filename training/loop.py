"""`python -m training fit RECIPE`: trains a recipe from cached states, keeps the best averaged weights by validation speakers.

Every draw depends on the seed, the step and the process alone, so a run that was killed goes on as if it had not been. Several processes
(`torchrun --nproc_per_node 2 -m training fit ...`) draw different clips and average their gradients.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
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
from training.model import EmotionModel
from training.recipe import Recipe, RecipeError, Schedule
from training.schedules import warmup_cosine
from training.voices import Voices

log = logging.getLogger(__name__)

RUNNING = "running.pt"
UNTRAINED = 10_000_000  # steps from here on are drawn for statistics only
SAVE_SECONDS = 180.0  # between two saved states of a running training


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
        self.weights = sampling_weights(self.examples, recipe.data.corpus_balance, recipe.data.class_balance)
        self.longest = round(recipe.data.longest_crop * 50)  # frames
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
    """What DistributedDataParallel wraps: a batch to both read-outs' logits; on the way clips change voices and are mixed in pairs."""

    def __init__(self, model: EmotionModel, voices: Voices | None) -> None:
        super().__init__()
        self.model = model
        self.voices = voices

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pooled = self.model.pool_states(batch.hidden, batch.frames)
        if self.voices is not None:
            self.voices.update(pooled, batch.speakers)
            pooled = self.voices.moved(pooled, batch.speakers, batch.others, batch.way)
        return self.model.read(pooled.mixed(batch.order, batch.share))


class Average:
    """Exponentially averaged weights; the early steps count less, so that the random start is forgotten."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10)) if self.decay else 0.0
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value.detach(), 1 - decay)
            else:
                self.state[name].copy_(value)


@dataclass
class Fitted:
    """What a run leaves: the kept weights, its validation history, and what was fitted on validation speakers."""

    state: dict[str, Tensor]
    history: list[dict[str, Any]]
    offsets: list[float]  # of the classes, in the weights already
    temperature: float
    step: int
    seconds: float


def fit(recipe: Recipe, model: EmotionModel, examples: Examples, features: Features, folder: Path) -> Fitted:
    """Trains `model`, leaves its kept weights in it, and writes progress, TensorBoard logs and a resumable state to `folder`.

    The state, `RUNNING`, stays: whoever has put the result away removes it.
    """
    schedule = recipe.schedule
    torch.manual_seed(schedule.seed)
    accelerator = Accelerator(mixed_precision=schedule.precision, cpu=not torch.cuda.is_available())
    device, own, classes = accelerator.device, len(recipe.data.labels), len(recipe.all_labels)
    draws = Draws(recipe, examples.train, features, accelerator.process_index)
    _standardise(model, draws)
    _freeze(model)
    optimizer = torch.optim.AdamW(_groups(model, schedule), betas=(0.9, 0.98), fused=False)
    voices = draws.voices if schedule.voices else None
    if voices is not None:
        _listen(model, draws)
    step_model, optimizer = accelerator.prepare(Step(model, voices), optimizer)
    average = Average(model, schedule.average)
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] | None = None
    start, before = 0, 0.0
    losses: list[float] = []  # since the last entry of the history
    saved = folder / RUNNING
    if saved.is_file():
        running = torch.load(saved, weights_only=False, map_location=device)
        if running["recipe"] != recipe.checksum():
            raise RecipeError(f"{saved} is of another recipe; remove {folder} or give the run another --name")
        model.load_state_dict(running["model"])
        optimizer.load_state_dict(running["optimizer"])
        average.state, best = running["average"], running["best"]
        draws.voices.load_state(running["voices"])
        history, start, before, losses = running["history"], running["step"], running["seconds"], running["losses"]
        log.info("going on at step %d of %d", start, schedule.steps)
    writer = _writer(folder, start) if accelerator.is_main_process else None
    began = last_saved = time.monotonic()
    for step in range(start, schedule.steps):
        torch.manual_seed(hash((schedule.seed, step, accelerator.process_index)) % 2**31)
        for group in optimizer.param_groups:
            peak = group["peak"]
            group["lr"] = warmup_cosine(step, schedule.steps, round(schedule.warm_up * schedule.steps), peak, schedule.final_rate * peak)
        batch = draws[step].to(device)
        step_model.train()
        with accelerator.autocast():
            both, head = step_model(batch)
        targets = batch.soft_targets(classes)
        loss = loss_of(both.float(), targets, own, schedule)
        if model.statistics is not None:
            loss = loss + schedule.head_loss * loss_of(head.float(), targets, own, schedule)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), schedule.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        average.update(model, step)
        losses.append(float(loss.detach()))
        done = step + 1
        if done % schedule.evaluate_every == 0 or done == schedule.steps:
            scored = _validate(recipe, model, average, examples, features)
            entry = {"step": done, "loss": float(np.mean(losses)), "seconds": before + time.monotonic() - began, **scored}
            losses = []
            if schedule.keep == "last" or not history or entry["selection"] >= max(item["selection"] for item in history):
                best = {name: value.clone() for name, value in average.state.items()}
            history.append(entry)
            log.info("%s", json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in entry.items()}))
            if writer is not None:
                for key, value in entry.items():
                    if isinstance(value, float):
                        writer.add_scalar(key, value, done)
        if accelerator.is_main_process and time.monotonic() - last_saved > SAVE_SECONDS and done < schedule.steps:
            last_saved = time.monotonic()
            running = {
                "recipe": recipe.checksum(),
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.state,
                "best": best,
                "voices": draws.voices.state(),
                "history": history,
                "losses": losses,
                "step": done,
                "seconds": before + time.monotonic() - began,
            }
            torch.save(running, saved.with_suffix(".partial"))
            saved.with_suffix(".partial").rename(saved)
    assert best is not None
    model.load_state_dict(best)
    if writer is not None:
        writer.close()
    kept = max(history, key=lambda item: (item["selection"], item["step"])) if schedule.keep == "best" else history[-1]
    offsets, temperature = calibrate(model, own, examples, features)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return Fitted(state, history, offsets, temperature, kept["step"], before + time.monotonic() - began)


def calibrate(model: EmotionModel, own: int, examples: Examples, features: Features) -> tuple[list[float], float]:
    """Fits class offsets on validation speakers and adds them to the model's own first `own` classes; then fits the temperature."""
    logits = logits_of(model, examples.validation, features, 0)[:, :own]
    offsets = class_offsets(logits, examples.validation)
    model.add_offsets(torch.from_numpy(offsets.astype(np.float32)))
    targets = np.array([example.target for example in examples.validation])
    return [float(value) for value in offsets], temperature_of(logits + offsets, targets)


def _validate(recipe: Recipe, model: EmotionModel, average: Average, examples: Examples, features: Features) -> dict[str, float]:
    """Mean over corpora of UAR with the averaged weights, on clean clips and, where there are any, on degraded ones.

    `selection` is the mean of the two.
    """
    own = len(recipe.data.labels)
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average.state)
    views = {"clean": 0, "degraded": 1} if recipe.augmentation.views else {"clean": 0}
    found: dict[str, float] = {}
    for name, view in views.items():
        logits = logits_of(model, examples.validation, features, view, bf16=recipe.schedule.precision == "bf16")[:, :own]
        scored: Scored = score(logits, examples.validation, recipe.data.labels, intervals=False)
        found |= {f"{name}/{corpus}": value.uar for corpus, value in scored.corpora.items()}
        found[name] = scored.mean_uar
        found[f"{name}/pooled"] = scored.pooled.uar
    model.load_state_dict(trained)
    found["selection"] = float(np.mean([found[name] for name in views]))
    return found


def _standardise(model: EmotionModel, draws: Draws, batches: int = 8) -> None:
    model.eval()
    with torch.no_grad():
        drawn = [draws[UNTRAINED + index] for index in range(batches)]
        model.mix.standardise([(model.encoder.upper(batch.hidden, batch.frames, model.frozen_blocks), batch.frames) for batch in drawn])


def _listen(model: EmotionModel, draws: Draws, batches: int = 40) -> None:
    """What each speaker sounds like to the untrained model."""
    model.eval()
    with torch.no_grad():
        for index in range(batches):
            batch = draws[UNTRAINED + index]
            draws.voices.update(model.pool_states(batch.hidden, batch.frames), batch.speakers)


def _freeze(model: EmotionModel) -> None:
    trained = {id(parameter) for group in model.parameters_by_depth() for parameter in group}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)


def _groups(model: EmotionModel, schedule: Schedule) -> list[dict[str, Any]]:
    """Matrices decay, vectors do not (shiftser.md 8.2); each block further down learns more slowly by `layer_decay`."""
    groups = []
    for depth, parameters in enumerate(model.parameters_by_depth()):
        peak = schedule.learning_rate if depth == 0 else schedule.encoder_learning_rate * schedule.layer_decay ** (depth - 1)
        for matrices in (True, False):
            chosen = [parameter for parameter in parameters if (parameter.ndim > 1) == matrices]
            if chosen:
                groups.append({"params": chosen, "peak": peak, "lr": peak, "weight_decay": schedule.weight_decay if matrices else 0.0})
    return groups


def _writer(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
