"""The training loop of all systems: steps, averaged weights, validation, what is kept, and a state from which a killed run goes on.

Every draw depends on the seed, the step and the process alone, so a run that was killed goes on as if it had not been. Several processes
(`torchrun --nproc_per_node 2 -m training fit ...`) draw different clips and average their gradients.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.files import written_whole
from training.recipe import Recipe, RecipeError, Schedule
from training.schedules import warmup_cosine

log = logging.getLogger(__name__)

RUNNING = "running.pt"
UNTRAINED = 10_000_000  # steps from here on are drawn for statistics only
SAVE_SECONDS = 180.0  # between two saved states of a running training


class Losses(NamedTuple):
    """Of a batch: what is minimised, and its parts by name, unweighted, where the history tells them apart (`loss/<name>`; else `loss`)."""

    total: Tensor
    parts: dict[str, Tensor] | None = None


class Batch(Protocol):
    def to(self, device: torch.device) -> Batch: ...


class Draws(Protocol):
    def __getitem__(self, step: int) -> Batch: ...


class Stateful(Protocol):
    """What changes while a run trains, beside its weights."""

    def state(self) -> dict[str, Tensor]: ...

    def load_state(self, state: dict[str, Tensor]) -> None: ...


class Average:
    """Exponentially averaged weights; the early steps count less, so that the random start is forgotten."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = copied(model.state_dict())

    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10)) if self.decay else 0.0
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value.detach(), 1 - decay)
            else:
                self.state[name].copy_(value)


class Running:
    """The file of a run's resumable state, `RUNNING`. It stays at the end: whoever has put the result away removes it."""

    def __init__(self, folder: Path, recipe: Recipe, origins: Mapping[str, str] | None = None) -> None:
        """origins: digests of the weights that the run goes on from, by the name that a record has for each."""
        self.file = folder / RUNNING
        self.checksum = recipe.checksum()
        self.origins = dict(origins or {})
        self.steps = recipe.schedule.steps
        self.saved = time.monotonic()

    def read(self, device: torch.device | None = None) -> dict[str, Any] | None:
        """The state to go on from, if there is one; that of another recipe, or of a run that went on from other weights, is an error."""
        if not self.file.is_file():
            return None
        state: dict[str, Any] = torch.load(self.file, weights_only=False, map_location=device)
        if state["recipe"] != self.checksum:
            raise RecipeError(f"{self.file} is of another recipe; remove {self.file.parent} or give the run another --name")
        check_origins(state.get("origins", {}), self.origins, self.file)
        log.info("going on at step %d of %d", state["step"], self.steps)
        return state

    def due(self, step: int) -> bool:
        """Whether a run that has done `step` steps should write its state."""
        return time.monotonic() - self.saved > SAVE_SECONDS and step < self.steps

    def write(self, state: dict[str, Any]) -> None:
        self.saved = time.monotonic()
        with written_whole(self.file) as partial:
            torch.save({"recipe": self.checksum, "origins": self.origins, **state}, partial)


def check_origins(recorded: Mapping[str, Any], now: Mapping[str, str], file: Path) -> None:
    """Raises RecipeError where `file` is of a run that went on from other weights than there are now: `recorded` has the digests of those.
    Where it has none, as before digests were recorded, they are trusted to be the same."""
    for name, digest in now.items():
        before = recorded.get(name, digest)
        if before != digest:
            raise RecipeError(
                f"{file} went on from other weights than there are now: {name} was {before} and is {digest}; "
                f"put them back, remove {file.parent}, or give the run another --name"
            )


@dataclass
class Outcome:
    """A run's validation history, the step whose weights it has kept, and how long it took."""

    history: list[dict[str, Any]]
    step: int
    seconds: float


def begin(schedule: Schedule) -> Accelerator:
    """Seeds torch; what the steps run on."""
    torch.manual_seed(schedule.seed)
    return Accelerator(mixed_precision=schedule.precision, cpu=not torch.cuda.is_available())


def train(
    recipe: Recipe,
    model: nn.Module,
    losses_of: nn.Module,
    draws: Draws,
    validate: Callable[[], dict[str, float]],
    folder: Path,
    accelerator: Accelerator,
    stateful: Mapping[str, Stateful] | None = None,
    origins: Mapping[str, str] | None = None,
) -> Outcome:
    """Trains `model`, leaves its kept weights in it, and writes progress, TensorBoard logs and a resumable state to `folder`.

    model: has `parameters_by_depth`, see `parameter_groups`. losses_of: a batch of `draws` -> `Losses`; what DistributedDataParallel
    wraps, and holds `model`. validate: figures of the model as it is, while it has the averaged weights; `selection` says which are best.
    stateful: what goes into the state besides, by name. origins: as in `Running`.
    """
    schedule, stateful = recipe.schedule, stateful or {}
    optimizer = torch.optim.AdamW(parameter_groups(model, schedule), betas=(0.9, 0.98))
    wrapped, optimizer = accelerator.prepare(losses_of, optimizer)
    average = Average(model, schedule.average)
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] | None = None
    losses: list[Any] = []  # since the last entry of the history
    start, before = 0, 0.0
    running = Running(folder, recipe, origins)
    if (state := running.read(accelerator.device)) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.state, best, history, losses = state["average"], state["best"], state["history"], state["losses"]
        start, before = state["step"], state["seconds"]
        for name, item in stateful.items():
            item.load_state(state[name])
    writer = _writer(folder, start) if accelerator.is_main_process else None
    began = time.monotonic()
    for step in range(start, schedule.steps):
        torch.manual_seed(hash((schedule.seed, step, accelerator.process_index)) % 2**31)
        set_rates(optimizer, schedule, step)
        wrapped.train()
        with accelerator.autocast():
            found: Losses = wrapped(draws[step].to(accelerator.device))
        accelerator.backward(found.total)
        accelerator.clip_grad_norm_(model.parameters(), schedule.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        average.update(model, step)
        losses.append(_numbers(found))
        done = step + 1
        if done % schedule.evaluate_every == 0 or done == schedule.steps:
            trained = copied(model.state_dict())
            model.load_state_dict(average.state)
            scored = validate()
            model.load_state_dict(trained)
            entry = {"step": done, **_means(losses), "seconds": before + time.monotonic() - began, **scored}
            losses = []
            if schedule.keep == "last" or not history or entry["selection"] >= max(item["selection"] for item in history):
                best = copied(average.state)
            history.append(entry)
            _report(entry, writer)
        if accelerator.is_main_process and running.due(done):
            progress = {"best": best, "history": history, "losses": losses, "step": done, "seconds": before + time.monotonic() - began}
            weights = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state}
            running.write({**weights, **progress, **{name: item.state() for name, item in stateful.items()}})
    assert best is not None
    model.load_state_dict(best)
    if writer is not None:
        writer.close()
    kept = max(history, key=lambda item: (item["selection"], item["step"])) if schedule.keep == "best" else history[-1]
    return Outcome(history, kept["step"], before + time.monotonic() - began)


def parameter_groups(model: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    """Matrices decay, vectors do not (shiftser.md 8.2); each block further down learns more slowly by `layer_decay`.

    What is in no group, or would learn at a rate of 0, is frozen.
    """
    model.requires_grad_(False)
    groups = []
    by_depth: list[list[nn.Parameter]] = model.parameters_by_depth()  # type: ignore[operator]
    for depth, parameters in enumerate(by_depth):
        peak = schedule.learning_rate if depth == 0 else schedule.encoder_learning_rate * schedule.layer_decay ** (depth - 1)
        if peak == 0:
            continue
        for matrices in (True, False):
            chosen = [parameter.requires_grad_() for parameter in parameters if (parameter.ndim > 1) == matrices]
            if chosen:
                groups.append({"params": chosen, "peak": peak, "lr": peak, "weight_decay": schedule.weight_decay if matrices else 0.0})
    return groups


def set_rates(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> None:
    """Each group's learning rate at `step`, by its `peak`."""
    for group in optimizer.param_groups:
        peak = group["peak"]
        group["lr"] = warmup_cosine(step, schedule.steps, round(schedule.warm_up * schedule.steps), peak, schedule.final_rate * peak)


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that no longer change with the model."""
    return {name: value.detach().clone() for name, value in state.items()}


def _numbers(losses: Losses) -> float | dict[str, float]:
    if losses.parts is None:
        return float(losses.total.detach())
    return {name: float(value.detach()) for name, value in losses.parts.items()}


def _means(losses: list[Any]) -> dict[str, float]:
    """Of what `_numbers` gave for several steps, under the history's names."""
    if isinstance(losses[0], dict):
        return {f"loss/{name}": float(np.mean([item[name] for item in losses])) for name in losses[0]}
    return {"loss": float(np.mean(losses))}


def _report(entry: dict[str, Any], writer: Any) -> None:
    log.info("%s", json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in entry.items()}))
    if writer is not None:
        for key, value in entry.items():
            if isinstance(value, float):
                writer.add_scalar(key, value, entry["step"])


def _writer(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
