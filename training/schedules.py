"""Learning rates as pure functions of the number of the update, counted from 0. One for our recipes, two of the paper of ShiftSER."""

from __future__ import annotations

import math


def warmup_cosine(update: int, updates: int, warmup: int, peak: float, floor: float = 0.0) -> float:
    """Linear from peak / warmup at the first update to `peak` after `warmup` of them, then half a cosine down to `floor` at `updates`.

    >>> [round(warmup_cosine(update, updates=6, warmup=2, peak=1.0), 3) for update in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if update < warmup:
        return peak * (update + 1) / warmup  # never 0: an update that moves nothing is wasted
    if update >= updates:
        return floor
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * (update - warmup) / (updates - warmup)))


def shiftser_frozen(
    update: int,
    per_epoch: int,
    epochs: int = 100,
    peak: float = 5e-4,
    start: float = 5e-7,
    floor: float = 5e-6,
    as_published: bool = False,
) -> float:
    """ShiftSER on a frozen encoder (its repository, "feature extraction"): five epochs of linear warm-up, then a cosine to `floor`.

    The cosine's phase counts from update 0, not from the warm-up's end, so the rate falls a little at the seam. `as_published`: the value
    for an update was set only after it, so every update but the first uses its predecessor's.
    """
    if as_published:
        update = max(update - 1, 0)
    total, warmup = epochs * per_epoch, 5 * per_epoch
    if update < warmup:
        return start + update * (peak - start) / warmup
    if update >= total:
        return floor
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * update / total))


def shiftser_finetuned(update: int, per_epoch: int, epochs: int = 100, peak: float = 5e-4, as_published: bool = False) -> float:
    """ShiftSER with the encoder fine-tuned: five epochs up, five at `peak`, then linear to 0, as its code means it.

    `as_published`: its code advances this once an epoch against thresholds in updates, so the warm-up never ends: epoch e runs at
    peak * e / (5 * per_epoch), the first at 0. Only to reproduce published figures.
    """
    step = update // per_epoch if as_published else update
    total, warmup = epochs * per_epoch, 5 * per_epoch
    if step < warmup:
        return peak * step / warmup
    if step < 2 * warmup:
        return peak
    return peak * max(0.0, (total - step) / (total - 2 * warmup))
