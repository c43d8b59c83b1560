"""Order, bounds and threads, apart from any model."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from emoser.batching import groups, load_ahead, plan_batches


def ahead(load, sources, *, budget: int = 10**9, size=lambda result: 1, workers: int = 4):
    return load_ahead(load, sources, size=size, budget=budget, catch=(ValueError,), workers=workers)


def test_order_is_that_of_the_inputs_whatever_loading_takes() -> None:
    def load(number: int) -> int:
        time.sleep(0.002 * (number % 5))
        return number * 10

    loaded = list(ahead(load, range(40)))
    assert [item.source for item in loaded] == list(range(40))
    assert [item.result for item in loaded] == [number * 10 for number in range(40)]


def test_loading_is_concurrent() -> None:
    barrier = threading.Barrier(4, timeout=10)
    assert len(list(ahead(lambda _: barrier.wait(), range(8), workers=4))) == 8


def test_a_bad_input_keeps_its_place_and_a_fault_ends_the_stream() -> None:
    def load(number: int) -> int:
        if number == 2:
            raise ValueError("bad input")
        if number == 5:
            raise ZeroDivisionError("a fault")
        return number

    stream = ahead(load, range(9))
    first = list(itertools.islice(stream, 5))
    assert [type(item.error) for item in first] == [type(None)] * 2 + [ValueError] + [type(None)] * 2
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_inputs_are_read_only_a_little_ahead() -> None:
    taken = []
    stream = ahead(lambda number: number, (taken.append(n) or n for n in itertools.count()), workers=2)
    for expected in range(50):
        assert next(stream).source == expected
        assert len(taken) <= expected + 1 + 64
    stream.close()
    assert threading.active_count() < 10


def test_large_results_wait_for_the_consumer() -> None:
    """At most the budget, what the threads have in hand, and what the consumer holds."""
    lock, held, most = threading.Lock(), 0, 0

    def load(number: int) -> int:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        time.sleep(0.001)
        return number

    for _ in ahead(load, range(60), size=lambda _: 100, budget=150, workers=3):
        time.sleep(0.002)
        with lock:
            held -= 1
    assert most <= 2 + 3 + 1


def test_small_results_are_loaded_well_ahead() -> None:
    loaded = []
    stream = ahead(lambda number: loaded.append(number), range(200), size=lambda _: 1, budget=1000, workers=2)
    for _ in range(20):
        next(stream)
    time.sleep(0.1)
    assert len(loaded) > 60, "while the consumer computes"
    stream.close()


def test_closing_stops_the_threads() -> None:
    before = threading.active_count()
    stream = ahead(lambda number: time.sleep(0.01), range(10_000))
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_groups_are_cut_by_size_and_by_count() -> None:
    assert list(groups([1] * 7, size=int, budget=100, count=3)) == [[1] * 3, [1] * 3, [1]]
    assert list(groups([], size=int, budget=1)) == []


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_batches_hold_every_index_once_within_their_bounds(batch_size: int | None) -> None:
    lengths = [(7 * n) % 50 + 1 for n in range(200)] + [900]
    batches = plan_batches(lengths, batch_size=batch_size, budget=200)
    assert sorted(itertools.chain(*batches)) == list(range(201))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 200
        assert batch_size is None or len(batch) <= batch_size
    if batch_size is None:
        padding = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches) / sum(lengths)
        assert padding < 1.1
