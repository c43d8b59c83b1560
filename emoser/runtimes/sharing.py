"""Encoders that several models have in common: opened once in a process, and run once for a batch that is put to each of them in turn."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakSet, WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from emoser.audio import SAMPLE_RATE
from emoser.digests import sha256
from emoser.runtimes.device import check_threads
from emoser.runtimes.parts import Graph, open_part

# Of padded audio. Each model goes through a group of clips (emoser/batching.py) before the next one does; this is more than a group holds
# where no clip is very long. The states of a second are 115 kB where three layers are read.
REMEMBERED_SECONDS = 360

Arrays = dict[str, NDArray[Any]]


class Encoder:
    """An opened encoder as one model has it: a `Graph`. Models of the same file, device and threads share what is behind it."""

    def __init__(self, opened: _Opened) -> None:
        self._opened = opened
        self.path, self.name, self.device, self.threads = opened.graph.path, opened.graph.name, opened.graph.device, opened.graph.threads
        self.metadata: Mapping[str, Any] = opened.graph.metadata
        opened.users.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(open_encoder, device=self.device, threads=self.threads), (self.path, self.name)

    def __call__(self, feeds: Arrays) -> Arrays:
        """The same arrays may be given to another model: they are not to be written to."""
        return self._opened.states_of(feeds)


class _Opened:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.users: WeakSet[Encoder] = WeakSet()
        self._lock = Lock()
        self._known: OrderedDict[bytes, tuple[int, Arrays]] = OrderedDict()  # digest of a batch -> its samples, what it gave

    def states_of(self, feeds: Arrays) -> Arrays:
        """What the encoder gives for a batch; remembered while more than one model uses it."""
        if len(self.users) < 2:
            with self._lock:
                self._known.clear()
            return self.graph(feeds)
        batch = _digest(feeds)
        with self._lock:
            if batch in self._known:
                return self._known[batch][1]
        found = self.graph(feeds)  # without the lock: threads with other batches need not wait
        with self._lock:
            self._known[batch] = (feeds["waveform"].size, found)
            while sum(samples for samples, _ in self._known.values()) > REMEMBERED_SECONDS * SAMPLE_RATE:
                self._known.popitem(last=False)
        return found


_opening = Lock()
_all_opened: WeakValueDictionary[tuple[str, str, str, int], _Opened] = WeakValueDictionary()


def open_encoder(path: Path, format: str, *, device: str = "auto", threads: int | None = None) -> Encoder:
    """The encoder in `path`, opened unless a model in this process has the same content open on the same device with as many threads.

    Raises as `open_part`.
    """
    key = sha256(path), format, device, check_threads(threads)
    with _opening:
        opened = _all_opened.get(key)
        if opened is None:
            opened = _all_opened[key] = _Opened(open_part("encoder", path, format, device=device, threads=threads))
        return Encoder(opened)


def _digest(feeds: Arrays) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(feeds):
        digest.update(f"{name} {feeds[name].shape} ".encode())
        digest.update(np.ascontiguousarray(feeds[name]).data)
    return digest.digest()
