"""A stream of inputs -> a stream of loaded inputs in order, decoded ahead in threads, and groups of these -> batches of like length."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Of padded audio in one batch. From 1 to 120 s a CPU is as fast; what grows is memory: 250 MB in all at 20 s, 510 MB at 120 s.
BATCH_SECONDS = {"cpu": 20, "cuda": 120}
GROUP_SECONDS = 240  # of audio sorted by length at a time: enough for batches with little padding, soon enough for first results
GROUP_COUNT = 256  # inputs in a group, however short
AHEAD = 64  # inputs loaded before they are asked for, at most
WORKERS = 4  # decoding threads: soundfile and soxr release Python's lock


@dataclass(frozen=True)
class Loaded(Generic[T, R]):
    """An input, and what loading it gave or raised."""

    source: T
    result: R | None
    error: Exception | None


def load_ahead(
    load: Callable[[T], R],
    sources: Iterable[T],
    *,
    size: Callable[[R], int],
    budget: int,
    catch: tuple[type[Exception], ...],
    workers: int = WORKERS,
) -> Generator[Loaded[T, R], None, None]:
    """`load` of every source in input order, some sources ahead in threads.

    No further source is taken while what waits would be larger than `budget` (in the unit of `size`), where a result that is not there yet
    counts as the mean of those that were: at most one for each thread goes beyond it. `catch` is what a bad
    input raises and is given back with it; anything else is a fault of the program and ends the stream.
    """
    pending: deque[tuple[T, Future[R]]] = deque()
    remaining = iter(sources)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="emoser-load")
    count, total = 0, 0

    def waiting() -> float:
        done = [future for _, future in pending if future.done()]
        mean = total / count if count else budget / workers
        return sum(size(future.result()) for future in done if future.exception() is None) + mean * (len(pending) - len(done))

    def refill() -> None:
        while len(pending) < AHEAD and (not pending or waiting() < budget):
            try:
                source = next(remaining)
            except StopIteration:
                return
            pending.append((source, pool.submit(load, source)))

    try:
        refill()
        while pending:
            source, future = pending.popleft()
            try:
                loaded = Loaded[T, R](source, future.result(), None)
                count, total = count + 1, total + size(future.result())
            except catch as error:
                loaded = Loaded[T, R](source, None, error)
            del future  # holds the result: the consumer decides how long it lives
            refill()
            yield loaded
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def groups(items: Iterable[T], *, size: Callable[[T], int], budget: int, count: int = GROUP_COUNT) -> Iterator[list[T]]:
    """Consecutive items whose sizes reach `budget`, at most `count`; one that is larger alone closes its group.

    >>> list(groups([3, 3, 9, 1], size=int, budget=6))
    [[3, 3], [9], [1]]
    """
    held: list[T] = []
    total = 0
    for item in items:
        held.append(item)
        total += size(item)
        if total >= budget or len(held) >= count:
            yield held
            held, total = [], 0
    if held:
        yield held


def plan_batches(lengths: Sequence[int], *, batch_size: int | None, budget: int) -> list[list[int]]:
    """Indices in batches of like length, the longest first: at most `batch_size` of them and `budget` samples with padding, at least one.

    >>> plan_batches([5, 1, 4, 2], batch_size=None, budget=10)
    [[0, 2], [3, 1]]
    >>> plan_batches([50, 1], batch_size=8, budget=10)
    [[0], [1]]
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        batch = batches[-1] if batches else []
        fits = len(batch) < (batch_size or len(lengths)) and (len(batch) + 1) * lengths[batch[0]] <= budget if batch else False
        if fits:
            batch.append(index)
        else:
            batches.append([index])
    return batches
