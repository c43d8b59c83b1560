"""Learning rates against the values that the original code gives."""

from __future__ import annotations

import pytest

from training.schedules import shiftser_finetuned, shiftser_frozen, warmup_cosine

N = 139  # updates an epoch in the original's first fold


@pytest.mark.parametrize(
    ("update", "rate"),
    [
        (0, 5.000000e-07),
        (1, 1.218705e-06),
        (139, 1.004000e-04),
        (694, 4.992813e-04),
        (695, 4.969529e-04),
        (6950, 2.525000e-04),
        (13899, 5.000006e-06),
        (13900, 5e-6),
        (20000, 5e-6),
    ],
)
def test_frozen_golden(update: int, rate: float) -> None:
    assert shiftser_frozen(update, N) == pytest.approx(rate, rel=2e-7)
    assert shiftser_frozen(update + 1, N, as_published=True) == shiftser_frozen(update, N)


def test_frozen_as_published_repeats_the_first_value() -> None:
    assert shiftser_frozen(0, N, as_published=True) == shiftser_frozen(1, N, as_published=True) == 5e-7


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.0), (1, 7.19e-7), (99, 7.12e-5)])
def test_finetuned_as_published_golden(epoch: int, rate: float) -> None:
    for update in (epoch * N, epoch * N + N - 1):
        assert shiftser_finetuned(update, N, as_published=True) == pytest.approx(rate, rel=1e-3)


def test_finetuned_as_meant() -> None:
    assert shiftser_finetuned(0, N) == 0
    assert shiftser_finetuned(5 * N // 2, N) == pytest.approx(5e-4 * (5 * N // 2) / (5 * N))
    assert {shiftser_finetuned(update, N) for update in range(5 * N, 10 * N + 1)} == {5e-4}
    assert shiftser_finetuned(55 * N, N) == pytest.approx(2.5e-4)
    assert shiftser_finetuned(100 * N - 1, N) == pytest.approx(5e-4 / (90 * N))
    assert shiftser_finetuned(100 * N, N) == shiftser_finetuned(200 * N, N) == 0


def test_warmup_cosine() -> None:
    rates = [warmup_cosine(update, updates=100, warmup=10, peak=1e-3, floor=1e-5) for update in range(100)]
    assert rates[:10] == pytest.approx([1e-4 * (update + 1) for update in range(10)])
    assert rates[10] == 1e-3
    assert rates[55] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert warmup_cosine(100, 100, 10, 1e-3, 1e-5) == warmup_cosine(500, 100, 10, 1e-3, 1e-5) == 1e-5
    assert warmup_cosine(0, 100, 0, 1e-3) == 1e-3
