"""Decoding with the training module: the published loop, frame by frame, as the reference for `emoser.models.transducer`; and greedy
decoding of many clips at once, for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emoser.models.transducer import BLANK, CAP, Floats, Network
from training.systems.transducer.networks import Transducer


@dataclass(frozen=True)
class Walk:
    """Tokens, the frame of each, the emotion logits read in each frame (T, classes), and the nodes visited as (t, last token, token)."""

    tokens: list[int]
    places: list[int]
    emotions: Floats
    visits: list[tuple[int, int, int]]


def frame_by_frame(network: Network, frames: Floats, cap: int = CAP, as_published: bool = False) -> Walk:
    """The published loop: one node at a time.

    `as_published`, a frame left because of `cap` is read with the predictor as it was before the frame's last token (and this token's step
    is made only if another frame follows); mended, after it, as every other frame.
    """
    step, state = network.step(np.array([BLANK]), network.start())
    tokens: list[int] = []
    places: list[int] = []
    visits: list[tuple[int, int, int]] = []
    emotions: list[Floats] = []
    t = in_frame = 0
    while t < len(frames):
        logits, read = network.node(frames[t : t + 1], step)
        best = int(logits[0].argmax())
        visits.append((t, tokens[-1] if tokens else BLANK, best))
        if best != BLANK:
            tokens.append(best)
            places.append(t)
            step, state = network.step(np.array([best]), state)
            in_frame += 1
        if best == BLANK or in_frame == cap:
            if best != BLANK and not as_published:
                _, read = network.node(frames[t : t + 1], step)
            emotions.append(read[0])
            t, in_frame = t + 1, 0
    return Walk(tokens, places, np.stack(emotions), visits)


@dataclass(frozen=True)
class Batch:
    """Greedy decoding of a batch: each clip's tokens and their frames; `emotions` (batch, T, classes) at the nodes where frames are left;
    the utterance head's `logits` (batch, classes) with the hypothesis as text."""

    tokens: list[list[int]]
    places: list[list[int]]
    emotions: Tensor
    logits: Tensor


@torch.inference_mode()
def greedy_batch(model: Transducer, hidden: Tensor, lengths: Tensor, cap: int = CAP, most: int | None = None) -> Batch:
    """The same as `emoser.models.transducer.greedy` of each clip, all moving on together: `hidden` (layers, batch, frames, width).

    most: tokens a clip, at most. A clip makes one move a pass: it emits a token or leaves a frame.
    """
    encoded = model.frames(hidden, lengths)
    batch, longest, _ = encoded.shape
    device = encoded.device
    clip = torch.arange(batch, device=device)
    step, state = model.step(torch.full((batch,), BLANK, device=device), model.start(batch))
    total = step.clone()
    t, in_frame, emitted = (torch.zeros(batch, dtype=torch.int64, device=device) for _ in range(3))
    emotions = encoded.new_zeros(batch, longest, model.sizes.classes)
    tokens: list[list[int]] = [[] for _ in range(batch)]
    places: list[list[int]] = [[] for _ in range(batch)]
    while bool((running := t < lengths).any()):
        frame = encoded[clip, t.clamp(max=longest - 1)]
        logits, read = model.node(frame, step)
        best = logits.argmax(1)
        full = in_frame >= cap
        if most is not None:
            full = full | (emitted >= most)
        best = torch.where(full, BLANK, best)  # a full frame is read after its last token, and left
        leaving, emitting = running & (best == BLANK), running & (best != BLANK)
        emotions[clip[leaving], t[leaving]] = read[leaving]
        if bool(emitting.any()):
            moved, (hidden_state, cell) = model.step(torch.where(emitting, best, BLANK), state)
            step = torch.where(emitting[:, None], moved, step)
            state = (
                torch.where(emitting[None, :, None], hidden_state, state[0]),
                torch.where(emitting[None, :, None], cell, state[1]),
            )
            total = total + torch.where(emitting[:, None], moved, torch.zeros_like(moved))
            for index, token, place in zip(*(x[emitting].tolist() for x in (clip, best, t)), strict=True):
                tokens[index].append(token)
                places[index].append(place)
        emitted = emitted + emitting
        in_frame = torch.where(emitting, in_frame + 1, 0)
        t = t + leaving
    inside = (torch.arange(longest, device=device)[None, :] < lengths[:, None])[:, :, None]
    mean = torch.where(inside, encoded, torch.zeros_like(encoded)).sum(1) / lengths.clamp(min=1)[:, None]
    logits, _ = model.utterance(mean, total / (emitted + 1)[:, None])
    return Batch(tokens, places, emotions, logits)


def padded_tokens(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token lists -> (batch, longest) with blank after each end, and their lengths (batch,)."""
    lengths = torch.tensor([len(text) for text in texts])
    tokens = torch.full((len(texts), int(lengths.max()) if len(texts) else 0), BLANK)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = torch.tensor(text, dtype=torch.int64)
    return tokens, lengths
