"""The losses of ENT and FENT (sections 2.3 and 2.4 of the paper, and its repository), as published and mended.

`labels` hold class indices, and NONE for a clip without emotion, which adds nothing to a loss of emotions. All losses are means over the
clips that they concern, and 0 (with a gradient of 0) where no clip of a batch does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.encoders.compact import frame_mask
from training.recipe import RecipeError
from training.systems.transducer.layers import UtteranceHead

NONE = -1
FLOOR = 1e-8  # probabilities are not smaller in the lattice losses


@dataclass(frozen=True)
class Pooling:
    """How one label for a whole clip teaches a lattice.

    pooling: one: at a single node; full-t: at all nodes of its frame; full-u: at all nodes of its count of tokens.
    negative: the second node, which is pulled to neutral. least-neutral, as published, contradicts the first in an emotional clip: both lie
        in its most emotional place, so that the loss cannot fall below 2 ln 2 nor its read-out rise above one half. most-neutral mends it:
        some place of an emotional clip is neutral. none leaves it out.
    neutral_clips: max treats neutral clips as the others, as published; mean pulls all their nodes to neutral.
    padding: counts the nodes after a clip's end into the means of full-t and full-u, as published: a constant that hides the loss.
    temperature: 0 takes the one largest node; more takes a mean over all, weighted by their probabilities to the power of its inverse.
    """

    pooling: str = "one"
    negative: str = "most-neutral"
    neutral_clips: str = "max"
    padding: bool = False
    temperature: float = 0.0

    def __post_init__(self) -> None:
        for field, allowed in {
            "pooling": ("one", "full-t", "full-u"),
            "negative": ("most-neutral", "least-neutral", "none"),
            "neutral_clips": ("max", "mean"),
        }.items():
            if getattr(self, field) not in allowed:
                raise RecipeError(f"{field} is {getattr(self, field)!r}; allowed: {', '.join(allowed)}")
        if self.temperature and self.pooling != "one":
            raise RecipeError("a pooling temperature goes with the pooling one, not with " + self.pooling)


AS_PUBLISHED = Pooling(negative="least-neutral", padding=True)


def head_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of `logits` (batch, classes) over the clips with a label."""
    return _mean(F.cross_entropy(logits, labels, ignore_index=NONE, reduction="none", label_smoothing=smoothing), labels != NONE)


def lattice_loss(logits: Tensor, labels: Tensor, frames: Tensor, nodes: Tensor, neutral: int, how: Pooling = Pooling()) -> Tensor:
    """Lattice max pooling over `logits` (batch, T, U + 1, classes) of the emotion joint; `frames` and `nodes` = U + 1 true lengths."""
    losses = lattice_losses(logits, labels.clamp(min=0), frames, nodes, neutral, how)
    return _mean(losses, labels != NONE)


def lattice_losses(logits: Tensor, labels: Tensor, frames: Tensor, nodes: Tensor, neutral: int, how: Pooling) -> Tensor:
    """The same of each clip, (batch,); every label is a class."""
    longest, columns = logits.shape[1:3]
    logs = logits.float().log_softmax(-1).clamp(min=float(torch.tensor(FLOOR).log()))
    own = logs.gather(3, labels[:, None, None, None].expand(-1, longest, columns, 1)).squeeze(3)
    rest = logs[..., neutral]
    inside = frame_mask(frames, longest)[:, :, None] & frame_mask(nodes, columns)[:, None, :]
    # Outside a clip the published code holds p = 0 of the label and p = 1 of neutral, clamped: what `padding` counts.
    floor = logs.new_tensor(FLOOR).log()
    own = torch.where(inside, own, floor if how.padding else 0.0)
    rest = torch.where(inside, rest, 0.0)
    loss = -_pooled(own, inside, how, largest=True)
    if how.negative != "none":
        loss = loss - _pooled(rest, inside, how, largest=how.negative == "most-neutral")
    if how.neutral_clips == "mean":
        mean = -rest.sum((1, 2)) / inside.sum((1, 2))
        loss = torch.where(labels == neutral, mean, loss)
    return loss


def _pooled(logs: Tensor, inside: Tensor, how: Pooling, largest: bool) -> Tensor:
    """(batch, T, U + 1) -> (batch,): at the largest (or smallest) node inside, or over its row or column."""
    batch, _, columns = logs.shape
    sign = 1.0 if largest else -1.0
    keyed = torch.where(inside, sign * logs.detach(), -torch.inf)
    if how.temperature:
        share = (keyed.flatten(1) / how.temperature).softmax(1)
        return (share * logs.flatten(1)).sum(1)
    best = keyed.flatten(1).argmax(1)
    if how.pooling == "one":
        return logs.flatten(1).gather(1, best[:, None])[:, 0]
    clip = torch.arange(batch, device=logs.device)
    if how.pooling == "full-t":
        row, counted = logs[clip, best // columns], inside[clip, best // columns]
    else:
        row, counted = logs[clip, :, best % columns], inside[clip, :, best % columns]
    return row.mean(1) if how.padding else (row * counted).sum(1) / counted.sum(1)


# clips whose emotions are known over time: concatenations


def mixture_lattice_loss(logits: Tensor, frame_parts: Tensor, node_parts: Tensor, emotions: Tensor, block_diagonal: bool = False) -> Tensor:
    """Sum over the parts of a concatenation of their mean -log p[emotion] over their nodes, averaged over the batch's concatenations.

    `logits` (batch, T, U + 1, classes); `frame_parts` (batch, T) and `node_parts` (batch, U + 1) number the part that each frame and each
    count of tokens belongs to, from 0 on and never falling, NONE after the clip's end; `emotions` (batch, parts), NONE where there is no
    such part; a clip without parts adds nothing. The nodes of part j lie in its frames or in its tokens, and in no later part's: an L.
    `block_diagonal` takes those in both alone.
    """
    batch, longest, columns, _ = logits.shape
    across, along = frame_parts[:, :, None], node_parts[:, None, :]
    part = torch.maximum(across, along).clamp(min=0)
    inside = (across != NONE) & (along != NONE)
    if block_diagonal:
        inside = inside & (across == along)
    emotion = emotions.clamp(min=0).gather(1, part.flatten(1)).view(batch, longest, columns)
    logs = logits.float().log_softmax(-1).gather(3, emotion[..., None]).squeeze(3).clamp(min=float(torch.tensor(FLOOR).log()))
    sums = logs.new_zeros(emotions.shape).scatter_add(1, part.flatten(1), torch.where(inside, -logs, 0.0).flatten(1))
    counts = logs.new_zeros(emotions.shape).scatter_add(1, part.flatten(1), inside.to(logs.dtype).flatten(1))
    means = torch.where(emotions != NONE, sums / counts.clamp(min=1), 0.0)
    return _mean(means.sum(1), (emotions != NONE).any(1))


def mixture_head_loss(head: UtteranceHead, h: Tensor, g: Tensor, frame_parts: Tensor, node_parts: Tensor, emotions: Tensor) -> Tensor:
    """Cross-entropy of the utterance head on each part of a concatenation, averaged over all parts of the batch.

    As published, a part is pooled over all frames (and all nodes) of its emotion: in neutral-emotion-neutral both neutral parts together,
    counted twice. `h` (batch, T, encoder), `g` (batch, U + 1, predictor); the others as in `mixture_lattice_loss`.
    """
    known = emotions != NONE

    def pooled(x: Tensor, parts: Tensor) -> Tensor:
        emotion = emotions.gather(1, parts.clamp(min=0))  # of each step
        mask = (emotion[:, None, :] == emotions[:, :, None]) & (parts != NONE)[:, None, :] & known[:, :, None]
        return torch.einsum("bps,bsw->bpw", mask.to(x.dtype), x) / mask.sum(2, keepdim=True).clamp(min=1)

    logits, _ = head.pooled(pooled(h, frame_parts), pooled(g, node_parts))
    return _mean(F.cross_entropy(logits.flatten(0, 1), emotions.flatten(), ignore_index=NONE, reduction="none"), known.flatten())


def language_loss(logits: Tensor, tokens: Tensor, lengths: Tensor, spoken: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of the next token, and of the end (the last id) after the last; `logits` (batch, U + 1, vocabulary). `spoken`
    (batch,): the clips whose text is known, all if not given."""
    end = logits.shape[2] - 1
    targets = F.pad(tokens, (0, 1)).scatter(1, lengths[:, None], end)
    losses = F.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
    chosen = frame_mask(lengths + 1, logits.shape[1])
    return _mean(losses, chosen if spoken is None else chosen & spoken[:, None])


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen, values, 0.0).sum() / chosen.sum().clamp(min=1)
