"""From a transducer's recipe to clips, mixtures and batches.

A clip teaches what it has: its emotion if that is one of the recipe's labels, its text if its corpus is among the transcribed ones. A
mixture (training/mixing.py) has emotions over time, and its text where all its parts have one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.corpora import Manifest, Split, by_session, default_split, load
from training.corpora.defaults import HELD_OUT
from training.data import LONGEST, Example, sampling_weights, within_positions
from training.encoders.compact import CompactEncoder
from training.features import Features
from training.folds import folds_of
from training.mixing import CORPUS as MIXTURES
from training.mixing import NEUTRAL, plans, render, write
from training.recipe import RecipeError
from training.systems.transducer.decode import padded_tokens
from training.systems.transducer.losses import NONE
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.vocabulary import Vocabulary

BUCKET = 8  # batches drawn together and dealt out by length, so that little of a lattice is padding

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clips:
    """The parts of a recipe's data; the target of a clip without one of the labels is NONE. No speaker is in two parts."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    manifests: dict[str, dict[str, Manifest]]  # part -> corpus -> its clips, emotions renamed
    checksum: str

    @property
    def description(self) -> dict[str, dict[str, int]]:
        return {part: dict(sorted(Counter(item.corpus for item in getattr(self, part)).items())) for part in self.manifests}


def clips_of(recipe: TransducerRecipe, corpora: str | Path | None = None) -> Clips:
    """Reads the recipe's corpora and splits them by speaker. A clip that can teach nothing is left out."""
    data, options = recipe.data, recipe.transducer
    classes = {label: index for index, label in enumerate(data.labels)}
    parts: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    manifests: dict[str, dict[str, Manifest]] = {part: {} for part in parts}
    every = []
    for name in data.corpora:
        manifest = load(name, corpora)
        if name in data.rename:
            manifest = manifest.mapped(dict(data.rename[name]))
        every.append(manifest)
        for part, own in _split(manifest, name, recipe).parts.items():
            manifests[part][name] = own
            for clip in own:
                target = classes.get(clip.emotion or "", NONE)
                if target != NONE or (name in options.transcripts and clip.text and not options.labelled_only):
                    parts[part].append(Example(clip, own.file(clip), target))
    missing = sorted(set(data.labels) - {data.labels[item.target] for item in parts["train"] if item.target != NONE})
    if missing:
        raise RecipeError(f"no training clip is labelled {', '.join(missing)} in {', '.join(data.corpora)}")
    checksum = (Manifest.join(every) if len(every) > 1 else every[0]).checksum()
    return Clips(tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]), manifests, checksum)


def _split(manifest: Manifest, name: str, recipe: TransducerRecipe) -> Split:
    """The recipe's fold, or the shipped split. A corpus that it was not drawn for, read speech among them, keeps the parts of its makers
    (`by_session`). What its makers publish as a test set alone is tested."""
    data, folds = recipe.data, recipe.transducer.folds or {}
    empty = manifest.filter(lambda clip: False)
    if name in data.leave_out or set(manifest.count("split")) == {"test"}:
        return Split(empty, empty, manifest)
    if name in folds:
        return _fold(manifest, *folds[name].split("/", 1))
    if name in HELD_OUT:
        return default_split(manifest, data.split)
    return by_session(manifest)


def _fold(manifest: Manifest, kind: str, number: str) -> Split:
    found = {fold.name.split("-")[0]: fold.split for fold in folds_of(manifest, kind)}
    if number not in found:
        raise RecipeError(f"transducer.folds: {kind} has no fold {number}; there are {', '.join(found)}")
    return found[number]


# mixtures


@dataclass(frozen=True)
class Mixed:
    """Mixtures on the disk: examples without a target, the text of each one's parts by its file ([] where one is not known), and the folder
    that they and their states stand in."""

    examples: tuple[Example, ...]
    texts: dict[Path, list[str]]
    folder: Path


def mixtures_of(recipe: TransducerRecipe, clips: Clips, part: str, cache: Path) -> Mixed:
    """The mixtures of a part's speakers; rendered once, to a folder named by all that they depend on. Those that are longer than the
    encoder can hear at once are left out."""
    options = recipe.transducer.mixtures
    limit = options.speaker_limit if part == "train" else options.validation_limit
    emotions = [label for label in recipe.data.labels if label != recipe.data.labels[recipe.neutral]]
    sources = [manifest for _, manifest in sorted(clips.manifests[part].items())]
    key = [part, emotions, limit, options.fade, options.seed, *(manifest.checksum() for manifest in sources)]
    folder = cache / f"mixtures-{part}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
    if not (folder / "manifest.csv").is_file():
        drawn = [plan for manifest in sources for plan in plans(manifest, emotions, seed=options.seed, limit=limit)]
        log.info("rendering %d mixtures of %s speakers", len(drawn), part)
        write((render(plan, options.fade) for plan in drawn), folder)
    manifest = Manifest.from_csv(folder / "manifest.csv")
    entries = json.loads((folder / "ZED.json").read_text(encoding="utf-8"))
    transcribed = set(recipe.transducer.transcripts)
    texts: dict[Path, list[str]] = {}
    for item in manifest:
        said = entries[Path(item.path).stem]["parts"]
        known = all(entry["text"] and entry["clip"].split("/")[0] in transcribed for entry in said)
        texts[manifest.file(item)] = [entry["text"] for entry in said] if known else []
    heard = [item for item in manifest if recipe.model.encoder is not None or within_positions(item.duration or 0.0)]
    if left_out := len(manifest) - len(heard):
        log.warning("%d of %d mixtures of %s speakers last more than %g s and are left out", left_out, len(manifest), part, LONGEST)
    return Mixed(tuple(Example(item, manifest.file(item), NONE) for item in heard), texts, folder)


@dataclass(frozen=True)
class Timed:
    """A mixture's labels: class of each part, tokens, and the part of each node u = 0 .. U."""

    emotions: list[int]
    tokens: list[int]
    node_parts: list[int]


def timed(example: Example, texts: Sequence[str], vocabulary: Vocabulary, labels: Sequence[str]) -> Timed:
    """Node u belongs to the part of token u, and node 0 to the first part; a space between two parts to the neutral one of them."""
    names = [name for _, _, name in example.utterance.segments]
    tokens: list[int] = []
    parts = [0]
    for index, text in enumerate(texts):
        if index and not vocabulary.model:
            quiet = index if names[index] == NEUTRAL else index - 1
            tokens.append(vocabulary.symbols.index(" "))
            parts.append(quiet)
        own = vocabulary.encode(text)
        tokens += own
        parts += [index] * len(own)
    return Timed([list(labels).index(name) for name in names], tokens, parts)


def parts_of_frames(example: Example, frames: int, hop: float) -> NDArray[np.int64]:
    """(frames,): the part in which the middle of each frame lies."""
    ends = np.array([end for _, end, _ in example.utterance.segments])
    middle = (np.arange(frames) + 0.5) * hop
    return np.minimum(np.searchsorted(ends, middle, side="right"), len(ends) - 1)


# batches


@dataclass
class Batch:
    """`parts` columns of mixtures are NONE for other clips, as `targets` is for mixtures."""

    hidden: Tensor  # (batch, frames, cached width), float32
    frames: Tensor  # (batch,)
    targets: Tensor  # (batch,): class, or NONE
    tokens: Tensor  # (batch, U)
    lengths: Tensor  # (batch,): tokens; 0 without text
    spoken: Tensor  # (batch,): whether the text is known
    frame_parts: Tensor  # (batch, pooled frames)
    node_parts: Tensor  # (batch, U + 1)
    emotions: Tensor  # (batch, parts)

    def to(self, device: torch.device) -> Batch:
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


class Shelf:
    """Where the cached states and the labels of a recipe's clips and mixtures are looked up."""

    def __init__(
        self, recipe: TransducerRecipe, vocabulary: Vocabulary, features: Features, mixed: Sequence[tuple[Mixed, Features]] = ()
    ) -> None:
        self.recipe, self.vocabulary = recipe, vocabulary
        self._features = features
        self._mixed = {item.folder: own for item, own in mixed}
        self._texts = {file: text for item, _ in mixed for file, text in item.texts.items()}
        self.pool = recipe.model.pool
        self.hop = recipe.model.pool * CompactEncoder.frame_hop  # s
        self._timed: dict[Path, Timed] = {}

    def features(self, example: Example) -> Features:
        return self._mixed[example.file.parents[1]] if example.corpus == MIXTURES else self._features

    def frames(self, example: Example, view: int = 0) -> int:
        return self.features(example).frames(example, view)

    def text(self, example: Example) -> str:
        """What is known to be said; empty where that is not known."""
        return example.utterance.text if example.corpus in self.recipe.transducer.transcripts else ""

    def timed(self, example: Example) -> Timed:
        if example.file not in self._timed:
            self._timed[example.file] = timed(example, self._texts[example.file], self.vocabulary, self.recipe.data.labels)
        return self._timed[example.file]

    def tokens(self, example: Example) -> list[int]:
        return self.timed(example).tokens if example.corpus == MIXTURES else self.vocabulary.encode(self.text(example))

    def batch(self, chosen: Sequence[tuple[Example, NDArray[np.float16]]]) -> Batch:
        """A batch of examples with their states, whole or cut."""
        frames = torch.tensor([len(state) for _, state in chosen])
        hidden = torch.zeros(len(chosen), int(frames.max()), chosen[0][1].shape[1])
        texts = [self.tokens(example) for example, _ in chosen]
        tokens, lengths = padded_tokens(texts)
        pooled = -(-int(frames.max()) // self.pool)
        mixtures = [self.timed(example) if example.corpus == MIXTURES else None for example, _ in chosen]
        frame_parts = torch.full((len(chosen), pooled), NONE)
        node_parts = torch.full((len(chosen), tokens.shape[1] + 1), NONE)
        emotions = torch.full((len(chosen), max([1, *(len(item.emotions) for item in mixtures if item)])), NONE)
        for row, ((example, state), known) in enumerate(zip(chosen, mixtures, strict=True)):
            hidden[row, : len(state)] = torch.from_numpy(state.astype(np.float32))
            if known is not None:
                own = -(-len(state) // self.pool)
                frame_parts[row, :own] = torch.from_numpy(parts_of_frames(example, own, self.hop))
                node_parts[row, : len(known.node_parts)] = torch.tensor(known.node_parts)
                emotions[row, : len(known.emotions)] = torch.tensor(known.emotions)
        targets = torch.tensor([example.target for example, _ in chosen])
        return Batch(hidden, frames, targets, tokens, lengths, lengths > 0, frame_parts, node_parts, emotions)


class Draws:
    """The clips of step n, by seed, step and process alone: balanced over corpora and classes, a random view; `BUCKET` batches are drawn
    together and dealt out by length. Clips with text are taken whole, the others cut to `transducer.longest` at random."""

    def __init__(
        self, recipe: TransducerRecipe, shelf: Shelf, examples: Sequence[Example], mixtures: Sequence[Example], process: int = 0
    ) -> None:
        self.recipe, self.shelf, self.process = recipe, shelf, process
        self.longest = round(recipe.transducer.longest / CompactEncoder.frame_hop)
        views = range(recipe.augmentation.views + 1)

        def fits(example: Example) -> bool:
            whole = max(shelf.frames(example, view) for view in views) <= self.longest
            return whole or (example.target != NONE and not shelf.text(example))

        self.examples = tuple(example for example in examples if fits(example))
        self.mixtures = tuple(example for example in mixtures if shelf.frames(example) <= self.longest)
        self.weights = sampling_weights(self.examples, recipe.data)

    def __getitem__(self, step: int) -> Batch:
        seed, size = self.recipe.schedule.seed, self.recipe.schedule.batch_size
        random = np.random.default_rng([seed, step // BUCKET, self.process])
        mixed = round(size * self.recipe.transducer.mixtures.share) if self.mixtures else 0
        singles = [self.examples[i] for i in random.choice(len(self.examples), size=BUCKET * (size - mixed), p=self.weights)]
        joined = [self.mixtures[i] for i in random.choice(len(self.mixtures), size=BUCKET * mixed)] if mixed else []
        turn = int(random.permutation(BUCKET)[step % BUCKET])
        chosen: list[Example] = []
        for drawn, count in ((singles, size - mixed), (joined, mixed)):
            chosen += sorted(drawn, key=self.shelf.frames)[turn * count : (turn + 1) * count]
        cut = np.random.default_rng([seed, step, self.process, 1])
        return self.shelf.batch([(example, self._state(example, cut)) for example in chosen])

    def _state(self, example: Example, random: np.random.Generator) -> NDArray[np.float16]:
        augmentation = self.recipe.augmentation
        degraded = augmentation.views > 0 and random.random() >= augmentation.clean_share
        view = int(random.integers(1, augmentation.views + 1)) if degraded else 0
        state = self.shelf.features(example).get(example, view)
        start = int(random.integers(max(1, len(state) - self.longest + 1)))
        return state[start : start + self.longest]


def steady(recipe: TransducerRecipe) -> TransducerRecipe:
    """The recipe with degradations that keep time: those of mixtures, whose labels stand at fixed seconds."""
    chances = dataclasses.replace(recipe.augmentation.chances, speed=0.0, cut=0.0)
    return dataclasses.replace(recipe, augmentation=dataclasses.replace(recipe.augmentation, chances=chances))
