"""`python -m training fit dereverberation`: trains the network (network.py) on pairs (pairs.py), without labels.

First its log-mel spectrum is to be that without the room: the mean absolute difference, at a tenth of the cost of all after it. Then what
trained checkpoints make of the waveform is to be what they make of the one without the room (teacher.py).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emoser.digests import sha256
from training.dereverberation import pairs as drawing
from training.dereverberation.network import Dereverberator
from training.dereverberation.pairs import FULL, Pairs, Source
from training.dereverberation.recipe import DereverberationRecipe, check
from training.dereverberation.teacher import Distance, Teacher, teachers_of
from training.encoders.compact import PEAK
from training.files import rounded, write_record, written_whole
from training.pretrain import speech_of
from training.recipe import Recipe, RecipeError
from training.runs import Places
from training.schedules import warmup_cosine
from training.steps import RUNNING, Average, Running, copied

WARM_UP = 100  # steps of the first part
VALIDATION_BATCH = 24
DRAWN_FOR_VALIDATION = 1  # added to the seed
FEWEST = 2  # pairs of a corpus, between which there is a deviation

log = logging.getLogger(__name__)

Waveforms = tuple[Tensor, Tensor, Tensor]  # in the room, without it, both (batch, samples); lengths (batch,)


def run_fit(recipe: Recipe, places: Places) -> Path:
    """Trains (or goes on) and writes `weights.pt` and `record.json` to the run's folder; returns the former's path. The pairs are drawn
    again where a killed run goes on. Raises RecipeError where a teacher has heard what it teaches, or has other test speakers."""
    if not isinstance(recipe, DereverberationRecipe):
        raise RecipeError(f"{recipe.name} has the task {recipe.task}, not dereverberation")
    check(recipe)
    began = time.monotonic()
    folder = places.runs / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    options, schedule = recipe.dereverberation, recipe.schedule
    teachers, digests = teachers_of(recipe, places)
    workers = places.workers or torch.get_num_threads()
    speech = speech_of(recipe, places)
    chances = recipe.augmentation.chances
    found = {
        "train": (Source(speech.train, chances, options.seconds, schedule.seed, places.corpora), options.pairs),
        "validation": (
            Source(speech.validation, chances, options.seconds, schedule.seed + DRAWN_FOR_VALIDATION, places.corpora, held_out=True),
            options.validation_pairs,
        ),
    }
    drawn = {part: drawing.draw(source, count, workers) for part, (source, count) in found.items()}
    log.info("drew %d pairs in %d s", options.pairs, time.monotonic() - began)
    torch.manual_seed(schedule.seed)
    model = Dereverberator(options.width, options.hidden)
    for corpus, teacher in teachers.items():
        if few := [part for part, pairs in drawn.items() if len(pairs.of(corpus)) < FEWEST]:
            raise RecipeError(f"fewer than {FEWEST} pairs for {' and '.join(few)} are of {corpus}, which is to be taught: draw more pairs")
        teacher.take_scale((dry, lengths) for _, dry, lengths in _batches(drawn["validation"], corpus))
    running = Running(folder, recipe, digests, options.spectrum_steps + schedule.steps)
    history = _train(recipe, model, teachers, drawn["train"], drawn["validation"], running)
    file = folder / "weights.pt"
    with written_whole(file) as partial:
        torch.save(model.state_dict(), partial)
    record = {
        "name": recipe.name,
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.checksum(),
        "teachers_sha256": digests,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "pairs_sha256": {part: drawing.digest(pairs) for part, pairs in drawn.items()},
        "weights_sha256": sha256(file),
        "seconds": round(time.monotonic() - began),
        "history": history,
    }
    write_record(folder / "record.json", record)
    (folder / RUNNING).unlink(missing_ok=True)
    return file


def batch_of(pairs: Pairs, chosen: np.ndarray) -> Waveforms:
    """float32, the loudest sample at PEAK."""
    lengths = torch.from_numpy(pairs.lengths[chosen])
    longest = int(lengths.max())
    room, dry = (torch.from_numpy(values[chosen, :longest].astype(np.float32) * (PEAK / FULL)) for values in (pairs.room, pairs.dry))
    return room, dry, lengths


def _batches(pairs: Pairs, corpus: str) -> list[Waveforms]:
    """All that are of a corpus."""
    numbers = pairs.of(corpus)
    return [batch_of(pairs, numbers[start : start + VALIDATION_BATCH]) for start in range(0, len(numbers), VALIDATION_BATCH)]


def _train(
    recipe: DereverberationRecipe, model: Dereverberator, teachers: Mapping[str, Teacher], train: Pairs, validation: Pairs, running: Running
) -> list[dict[str, Any]]:
    """Leaves the averaged weights of the last step in `model`."""
    schedule, first = recipe.schedule, recipe.dereverberation.spectrum_steps
    history: list[dict[str, Any]] = []
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=schedule.weight_decay)
    average = Average(model, schedule.average)
    start = 0
    if (state := running.read()) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.state = state["average"]
        start, history = state["step"], state["history"]
    else:
        history.append({"step": 0, **validated(model, teachers, validation, heard=False)})
    for step in range(start, running.steps):
        if step == first:  # the second part has another loss, and knows nothing of the first one's gradients
            optimizer = torch.optim.AdamW(model.parameters(), weight_decay=schedule.weight_decay)
            average = Average(model, schedule.average)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(recipe, step)
        loss = _loss(recipe, model, teachers, train, step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip_norm)
        optimizer.step()
        average.update(model, step - first if step >= first else step)
        done = step + 1
        if done % schedule.evaluate_every == 0 or done in (first, running.steps):
            now = copied(model.state_dict())
            model.load_state_dict(average.state)
            history.append({"step": done, "loss": float(loss.detach()), **validated(model, teachers, validation)})
            log.info("%s", json.dumps(rounded(history[-1])))
            if done < running.steps:
                model.load_state_dict(now)
        if running.due(done):
            weights = {"model": model.state_dict(), "average": average.state, "optimizer": optimizer.state_dict()}
            running.write({**weights, "step": done, "history": history})
    return history


def rate_at(recipe: DereverberationRecipe, step: int) -> float:
    """The learning rate at `step`; each part has a course of its own."""
    options, schedule = recipe.dereverberation, recipe.schedule
    if step < options.spectrum_steps:
        return warmup_cosine(step, options.spectrum_steps, min(WARM_UP, options.spectrum_steps // 2), options.spectrum_rate)
    peak = schedule.learning_rate
    warm_up = round(schedule.warm_up * schedule.steps)
    return warmup_cosine(step - options.spectrum_steps, schedule.steps, warm_up, peak, schedule.final_rate * peak)


def _loss(recipe: DereverberationRecipe, model: Dereverberator, teachers: Mapping[str, Teacher], pairs: Pairs, step: int) -> Tensor:
    options, schedule = recipe.dereverberation, recipe.schedule
    random = np.random.default_rng([schedule.seed, step])
    spectra = step < options.spectrum_steps
    corpus = options.corpora[int(random.integers(len(options.corpora)))]
    numbers = np.arange(len(pairs)) if spectra else pairs.of(corpus)
    chosen = random.choice(numbers, size=options.spectrum_batch if spectra else schedule.batch_size)
    room, dry, lengths = batch_of(pairs, chosen)
    half = torch.autocast("cpu", torch.bfloat16, enabled=schedule.precision == "bf16")
    if spectra:
        return spectral_distance(model, room, dry, lengths, half)
    waveform = dereverberated(model, room, lengths, half)
    with half:
        distance = teachers[corpus].distance(waveform, dry, lengths)
    return distance.vectors.mean() + options.divergence * distance.divergence.mean()


def spectral_distance(model: Dereverberator, room: Tensor, dry: Tensor, lengths: Tensor, half: AbstractContextManager[Any]) -> Tensor:
    """Mean absolute difference of the log-mel spectra."""
    heard = model.hear(room, lengths)
    with torch.no_grad():
        wanted = model.hear(dry, lengths).mel
    with half:
        gains = model.gains(heard.mel, heard.inside)
    difference = (heard.mel + gains.float() - wanted).abs() * heard.inside
    return difference.sum() / heard.inside.sum() / wanted.shape[2]


def dereverberated(model: Dereverberator, waveform: Tensor, lengths: Tensor, half: AbstractContextManager[Any]) -> Tensor:
    """`model(waveform, lengths)`, the network alone in half precision."""
    heard = model.hear(waveform, lengths)
    with half:
        gains = model.gains(heard.mel, heard.inside)
    return model.apply(gains.float(), heard, waveform.shape[1], lengths)


@torch.no_grad()
def validated(model: Dereverberator, teachers: Mapping[str, Teacher], pairs: Pairs, heard: bool = True) -> dict[str, float]:
    """Means over the clips of each corpus that is taught, then over these, in float32, of `Teacher.distance`; `heard=False`: of the clips
    in their rooms as they are."""
    model.eval()
    of_corpora = []
    for corpus, teacher in teachers.items():
        batches = _batches(pairs, corpus)
        rows = [torch.stack(teacher.distance(model(room, lengths) if heard else room, dry, lengths)) for room, dry, lengths in batches]
        of_corpora.append(torch.cat(rows, dim=1).mean(1))
    model.train()
    means = torch.stack(of_corpora).mean(0).tolist()
    return {f"validation_{name}": value for name, value in zip(Distance._fields, means, strict=True)}
