"""Hidden states of the frozen lower blocks, computed once: the clean clip (view 0) and degraded copies of it (views 1, 2, ...).

One folder a cache, named by all that the numbers depend on: start weights, layers, augmentation. In it, for each corpus and view, parts of
`CLIPS_A_PART` clips: an .npy of float16 (frames, layers * 384) holding the clips one after the other, the layers side by side, and a .json
of where each begins, by the clip's name. A part is written whole or not at all, so that a build that was killed goes on where it stopped.
Beside them CODE_FILE says by which code they were computed: states of an encoder that was changed since are not read. Nothing tells whether
the clips of a corpus have changed: whoever changes them empties the cache.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emoser.digests import sha256
from emoser.errors import EmoserError
from training.augment import RATE, Augmenter, Chances, Samples
from training.data import Example, noises, rooms, samples_of
from training.encoders import build_cached
from training.encoders.compact import halve
from training.mixing import CORPUS as MIXTURES
from training.recipe import without_none

CLIPS_A_PART = 400
SECONDS_A_BATCH = 60  # of padded audio
SHORTEST = RATE // 5  # s; what augmentation cuts is never shorter

CODE_FILE = "code.sha256"
HERE = Path(__file__).parent
CODE = [HERE / "features.py", HERE / "augment.py", *sorted((HERE / "encoders").glob("*.py"))]

log = logging.getLogger(__name__)


class StaleCache(EmoserError):
    """Cached states were computed by other code than that which would read them."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What a cache is computed from."""

    weights: Path
    frozen_blocks: int
    chances: Chances
    corpora: Path | None = None
    first_layer: int | None = None  # the lowest layer kept; None: that after the frozen blocks alone
    encoder: str | None = None  # as `Model.encoder`, or the teacher's name; the weights' checksum tells encoders apart in the key
    pool: int = 1  # neighbouring frames kept as their mean

    @property
    def key(self) -> str:
        parts = [sha256(self.weights), self.frozen_blocks, without_none(dataclasses.asdict(self.chances))]
        if self.first_layer not in (None, self.frozen_blocks):
            parts.append(self.first_layer)
        if self.pool != 1:
            parts.append({"pool": self.pool})
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def indexed_as(example: Example) -> str:
    """What a cache calls a clip of its corpus: its name and, of a mixture, its content: every folder of mixtures has the same names."""
    clip = example.utterance
    return f"{clip.name} {clip.sha256[:16]}" if clip.corpus == MIXTURES and clip.sha256 else clip.name


class Features:
    """Reads a cache: `get(example, view)` is float16 (frames, layers * 384), mapped from the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[tuple[str, int], dict[str, tuple[Path, int, int]]] = {}
        self._arrays: dict[Path, NDArray[np.float16]] = {}

    def get(self, example: Example, view: int) -> NDArray[np.float16]:
        path, start, frames = self.places(example.corpus, view)[indexed_as(example)]
        if path not in self._arrays:
            self._arrays[path] = np.load(path, mmap_mode="r")
        return self._arrays[path][start : start + frames]

    def frames(self, example: Example, view: int) -> int:
        return self.places(example.corpus, view)[indexed_as(example)][2]

    def places(self, corpus: str, view: int) -> dict[str, tuple[Path, int, int]]:
        if (corpus, view) not in self._places:
            found: dict[str, tuple[Path, int, int]] = {}
            for index in sorted(self.folder.glob(f"{corpus}-view{view}-*.json")):
                array = index.with_suffix(".npy")
                found |= {name: (array, start, frames) for name, (start, frames) in json.loads(index.read_text()).items()}
            self._places[corpus, view] = found
        return self._places[corpus, view]


def build(source: Source, cache: Path, jobs: Iterable[tuple[int, Sequence[Example]]], workers: int | None = None) -> Features:
    """Computes what is missing of `jobs`, pairs of a view and the examples needed in it, and opens the cache."""
    folder = cache / source.key
    folder.mkdir(parents=True, exist_ok=True)
    check_code(folder)
    present = Features(folder)
    parts: list[tuple[str, int, list[Example]]] = []
    for view, examples in jobs:
        for corpus in sorted({example.corpus for example in examples}):
            known = present.places(corpus, view)
            missing = [example for example in examples if example.corpus == corpus and indexed_as(example) not in known]
            missing.sort(key=lambda example: (example.utterance.duration or 0.0, example.utterance.name))
            parts += [(corpus, view, missing[i : i + CLIPS_A_PART]) for i in range(0, len(missing), CLIPS_A_PART)]
    if parts:
        clips = sum(len(part) for _, _, part in parts)
        log.info("computing the states of %d clips in %d parts", clips, len(parts))
        workers = workers or len(os.sched_getaffinity(0))
        with ProcessPoolExecutor(workers, initializer=_start, initargs=(source,)) as pool:
            for done, name in enumerate(pool.map(_compute, [(folder, *part) for part in parts]), 1):
                log.info("%d of %d parts: %s", done, len(parts), name)
    return Features(folder)


def check_code(folder: Path) -> None:
    """Notes in a cache by which code it is computed. Raises StaleCache where it was by another; one of before this was noted is trusted."""
    file, code = folder / CODE_FILE, code_digest(path.read_text(encoding="utf-8") for path in CODE)
    if not file.is_file():
        partial = folder / f"{CODE_FILE}.{os.getpid()}.partial"
        partial.write_text(code)
        partial.replace(file)
    elif file.read_text() != code:
        names = ", ".join(path.name for path in CODE)
        raise StaleCache(f"{folder} was computed before one of these was changed: {names}. Delete it, or change them back")


def code_digest(texts: Iterable[str]) -> str:
    """Of Python files as they run: comments, docstrings and line breaks do not count.

    >>> code_digest(["x = 1  # one"]) == code_digest(["x  =  1"]) != code_digest(["x = 2"])
    True
    """
    digest = hashlib.sha256()
    for text in texts:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        digest.update(ast.unparse(tree).encode())
    return digest.hexdigest()


class _Worker:
    """One process's encoder and sounds; threads beyond one would only get in the other processes' way."""

    def __init__(self, source: Source) -> None:
        torch.set_num_threads(1)
        self.blocks = source.frozen_blocks
        self.encoder = build_cached(source.encoder, max(1, source.frozen_blocks)).load(source.weights).eval()
        self.source = source

    @cached_property
    def augment(self) -> Augmenter:
        return Augmenter(noises(self.source.corpora), rooms(self.source.corpora), self.source.chances)

    def view(self, example: Example, view: int) -> Samples:
        samples = samples_of(example)
        if view == 0:
            return samples
        seed = hashlib.sha256(f"{view} {example.corpus} {example.utterance.name}".encode()).digest()
        degraded = self.augment(samples, np.random.default_rng(list(seed)))
        return degraded if len(degraded) >= SHORTEST else samples

    @torch.inference_mode()
    def states(self, clips: list[Samples]) -> list[NDArray[np.float16]]:
        lengths = torch.tensor([len(clip) for clip in clips])
        waveform = torch.zeros(len(clips), int(lengths.max()))
        for row, clip in zip(waveform, clips, strict=True):
            row[: len(clip)] = torch.from_numpy(clip)
        hidden, frames, _ = self.encoder.lower(waveform, lengths, self.blocks, self.source.first_layer)
        hidden, frames = halve(hidden, frames, self.source.pool)
        half = hidden.to(torch.float16).numpy()
        return [half[index, :count].copy() for index, count in enumerate(frames.tolist())]


_worker: _Worker | None = None


def _start(source: Source) -> None:
    global _worker
    _worker = _Worker(source)


def _compute(part: tuple[Path, str, int, list[Example]]) -> str:
    folder, corpus, view, examples = part
    assert _worker is not None
    states: list[NDArray[np.float16]] = []
    batch: list[Samples] = []
    for example in examples:
        clip = _worker.view(example, view)
        if batch and (len(batch) + 1) * max(len(clip), *map(len, batch)) > SECONDS_A_BATCH * RATE:
            states += _worker.states(batch)
            batch = []
        batch.append(clip)
    states += _worker.states(batch)
    starts = np.cumsum([0, *(len(state) for state in states)])
    index = {indexed_as(example): (int(start), len(state)) for example, start, state in zip(examples, starts[:-1], states, strict=True)}
    text = json.dumps(index)
    name = f"{corpus}-view{view}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    partial = folder / f"{name}.{os.getpid()}.partial"  # another process may be at the same part
    with partial.open("wb") as file:
        np.save(file, np.concatenate(states))
    partial.replace(folder / f"{name}.npy")
    partial.write_text(text)
    partial.replace(folder / f"{name}.json")  # last: a part counts from here on
    return name
