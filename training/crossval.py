"""`python -m training crossval RECIPE --corpus NAME --folds KIND`: one recipe, trained and tested on every fold of a corpus.

Selection is on validation speakers, taken out of the fold's training speakers, or there is none: then these train too, and the last step is
kept. The test clips are scored once, by the weights that were kept. Beside the model as it is stands the adapted one: the test speaker's
own clips, their labels unused, move its read-outs (emoser/adaptation.py). The two are never mixed.

A finished fold is kept (`<fold>/scores.npz`), an unfinished one goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from training.adaptation import adapted_logits, reference_of
from training.corpora import EMOTIONS, Manifest, Utterance, default_split, load
from training.data import Example, Examples
from training.files import written_whole
from training.folds import Fold, folds_of, selected_on_test
from training.heard import check_unheard
from training.leaving_out import WITHOUT, fit_encoder
from training.loop import fit, forget_progress, pooled_clips
from training.recipe import Recipe, RecipeError
from training.runs import Places, Prepared, origin_digests, prepared_with
from training.steps import check_origins

Select = Literal["validation", "nothing", "test-as-published"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Protocol:
    """What is cross-validated, and how."""

    corpus: str
    folds: str  # a kind of training/folds.py
    groups: int = 5
    seeds: tuple[int, ...] = (42,)
    labels: tuple[str, ...] = ()  # none: all of the corpus
    select: Select = "validation"
    # What the recipe's other corpora do: nothing; they train beside the fold's clips; or before them, in the run that never heard this one.
    multi_corpus: Literal["", "beside", "before"] = ""
    only: tuple[str, ...] = ()  # names or numbers of folds; none: all

    def __post_init__(self) -> None:
        if self.select not in get_args(Select):
            raise RecipeError(f"--select is one of {', '.join(get_args(Select))}, not {self.select!r}")
        if self.multi_corpus not in ("", "beside", "before"):
            raise RecipeError(f"--multi-corpus is beside or before, not {self.multi_corpus!r}")
        if not self.seeds:
            raise RecipeError("--seeds names no seed")

    @property
    def name(self) -> str:
        """For folders and tables; whatever is not the plain protocol stands in it."""
        parts = [self.corpus, self.folds, *([str(self.groups)] if self.folds == "speakers" else [])]
        parts += [{"nothing": "nothing-selected", "test-as-published": "selected-on-test-as-published"}.get(self.select, "")]
        parts += [f"multi-corpus-{self.multi_corpus}"] if self.multi_corpus else []
        parts += [f"{len(self.labels)}-labels"] if self.labels else []
        return "-".join(part for part in parts if part)


@dataclass(frozen=True, eq=False)
class FoldScores:
    """One fold of one seed: raw `logits` and `adapted` ones (clips, labels), `targets` and `speakers` (clips,)."""

    fold: str
    seed: int
    logits: NDArray[np.float32]
    adapted: NDArray[np.float32]
    targets: NDArray[np.int64]
    speakers: NDArray[np.str_]
    files: NDArray[np.str_]
    temperature: float

    def save(self, path: Path, key: str) -> None:
        """Whole or not at all; `key` says what it is of."""
        with written_whole(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, key=np.array(key), **dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path, key: str | None = None) -> FoldScores | None:
        """What was saved, or None. Given a `key`, it must be of the same."""
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            if key is not None and str(arrays["key"]) != key:
                raise RecipeError(f"{path} is of another recipe or other folds; remove it, or give the run another --name")
            scalars = {"fold": str(arrays["fold"]), "seed": int(arrays["seed"]), "temperature": float(arrays["temperature"])}
            return cls(**scalars, **{name: arrays[name] for name in ("logits", "adapted", "targets", "speakers", "files")})


class Crossvalidated(NamedTuple):
    """All that is finished in a folder, of whatever seeds, and `folds`, the names of all folds: some may be missing."""

    labels: tuple[str, ...]
    scores: list[FoldScores]
    folder: Path
    folds: tuple[str, ...]


def run_crossval(recipe: Recipe, places: Places, protocol: Protocol) -> Crossvalidated:
    """Trains and tests what is missing of the folds and seeds that the protocol names. Returns these and what was finished before.

    Raises RecipeError where a run that the recipe goes on from has heard a speaker of the corpus.
    """
    recipe = unknowing(recipe, protocol)
    fit_encoder(recipe, places)
    manifest = labelled(load(protocol.corpus, places.corpora), recipe)
    check_unheard(recipe, manifest, (), places.runs, places.corpora)  # by anybody: whoever trains one fold is tested in another
    labels = protocol.labels or labels_of(manifest)
    unknown = sorted(set(labels) - {word(clip) for clip in manifest})
    if unknown:
        raise RecipeError(f"no clip of {protocol.corpus} is labelled {', '.join(unknown)}")
    manifest = manifest.filter(lambda clip: word(clip) in labels)
    found = folds_of(manifest, protocol.folds, protocol.groups)
    chosen = [fold for fold in found if not protocol.only or {fold.name, fold.name.split("-")[0]} & set(protocol.only)]
    if not chosen:
        raise RecipeError(f"no fold {', '.join(protocol.only)}; there are {', '.join(fold.name for fold in found)}")
    others = other_corpora(recipe, places, protocol.corpus) if protocol.multi_corpus == "beside" else []
    origins = origin_digests(recipe, places.runs)
    root = places.runs / "crossval" / recipe.name / protocol.name
    scores = {}
    for seed in protocol.seeds:
        for fold in chosen:
            log.info("%s, %s: fold %s of %d, seed %d", recipe.name, protocol.name, fold.name, len(found), seed)
            planned = plan_fold(recipe, protocol, fold, labels, others, seed, origins)
            scores[seed, fold.name] = run_fold(planned, places, protocol, folder_of(root, seed, fold))
    for seed in seeds_in(root):
        for fold in found:
            if (seed, fold.name) not in scores and folder_of(root, seed, fold).is_dir():
                planned = plan_fold(recipe, protocol, fold, labels, others, seed, origins)
                if (before := finished(planned, folder_of(root, seed, fold))) is not None:
                    scores[seed, fold.name] = before
    names = tuple(fold.name for fold in found)
    order = sorted(scores, key=lambda key: (key[0], names.index(key[1])))
    return Crossvalidated(labels, [scores[key] for key in order], root, names)


def folder_of(root: Path, seed: int, fold: Fold) -> Path:
    return root / f"seed-{seed}" / f"fold-{fold.name}"


def seeds_in(root: Path) -> list[int]:
    """The seeds that were begun."""
    return sorted(int(folder.name.removeprefix("seed-")) for folder in root.glob("seed-*"))


@dataclass(frozen=True)
class PlannedFold:
    """A fold's recipe and clips; `key` tells its scores from those of other settings, `origins` the weights that it goes
    on from (`origin_digests`)."""

    name: str
    recipe: Recipe
    examples: Examples
    key: str
    origins: dict[str, str]


def plan_fold(
    recipe: Recipe,
    protocol: Protocol,
    fold: Fold,
    labels: tuple[str, ...],
    others: Sequence[Manifest],
    seed: int,
    origins: dict[str, str],
) -> PlannedFold:
    split = selected_on_test(fold.split) if protocol.select == "test-as-published" else fold.split
    more = tuple(sorted({word(clip) for other in others for clip in other if word(clip)} - set(labels)))
    data = dataclasses.replace(
        recipe.data, corpora=(protocol.corpus, *(other.corpora[0] for other in others)), labels=labels, more_labels=more, leave_out=()
    )
    recipe = dataclasses.replace(recipe, data=data, schedule=dataclasses.replace(recipe.schedule, seed=seed))
    parts = {"train": [split.train, *others], "validation": [split.validation], "test": [split.test]}
    examples = examples_from(parts, (*labels, *more))
    if protocol.select == "test-as-published":
        examples = dataclasses.replace(examples, validation=examples.test)
    elif protocol.select == "nothing":
        examples = dataclasses.replace(examples, train=(*examples.train, *examples.validation), validation=())
    key = hashlib.sha256(f"{recipe.checksum()} {protocol.select} {examples.checksum}".encode()).hexdigest()
    return PlannedFold(fold.name, recipe, examples, key, origins)


def run_fold(planned: PlannedFold, places: Places, protocol: Protocol, folder: Path) -> FoldScores:
    """Trains and tests the fold, unless its scores are there. Raises RecipeError as `kept` does."""
    done = kept(planned, folder)
    if done is not None:
        return done
    prepared = prepared_with(planned.recipe, places, planned.examples, folder)
    scores = train_and_test(prepared, planned.name, as_published=protocol.select == "test-as-published")
    scores.save(folder / "scores.npz", planned.key)
    forget_progress(folder)
    return scores


def kept(planned: PlannedFold, folder: Path) -> FoldScores | None:
    """The fold's scores, where they are there. Raises RecipeError where they are of other settings, or went on from other weights."""
    file, record = folder / "scores.npz", folder / "record.json"
    scores = FoldScores.read(file, planned.key)
    if scores is not None and record.is_file():
        check_origins(json.loads(record.read_text(encoding="utf-8")), planned.origins, file)
    return scores


def finished(planned: PlannedFold, folder: Path) -> FoldScores | None:
    """The same, and None where that is an error."""
    try:
        return kept(planned, folder)
    except RecipeError as error:
        log.warning("left out of the report: %s", error)
        return None


def unknowing(recipe: Recipe, protocol: Protocol) -> Recipe:
    """The recipe, which goes on from runs alone that never heard the corpus, whose speakers the folds hold out: from the encoder of such a
    run where it names one, and from the read-outs of its own where the other corpora train before. Raises RecipeError where that run has
    trained blocks of the encoder: its read-outs would not fit the blocks that each fold begins with."""
    model, without = recipe.model, f"{WITHOUT}{protocol.corpus}"
    if model.encoder_of is not None:
        model = dataclasses.replace(model, encoder_of=model.encoder_of + without)
    if protocol.multi_corpus == "before":
        if model.frozen_blocks < model.blocks:
            raise RecipeError(
                f"--multi-corpus before: {recipe.name} trains blocks of the encoder, which its read-outs fit alone; a wholly frozen one can"
            )
        model = dataclasses.replace(model, readouts_of=recipe.name + without)
    return dataclasses.replace(recipe, model=model)


def train_and_test(prepared: Prepared, name: str, as_published: bool) -> FoldScores:
    """Fits the fold's model and scores its test clips. `as_published` takes back the class offsets, which were fitted on them."""
    recipe, examples, features = prepared.recipe, prepared.examples, prepared.features
    own = len(recipe.data.labels)
    model = prepared.model()
    origins = origin_digests(recipe, prepared.runs)
    fitted = fit(recipe, model, examples, features, prepared.folder, origins)
    model.cpu()
    temperature = fitted.temperature
    if as_published:
        model.add_offsets(-torch.tensor(fitted.offsets))
        temperature = 1.0
    pooled = pooled_clips(model, examples.test, features)
    speakers = np.array([example.speaker for example in examples.test])
    reference = reference_of(model, examples.train, features, own)
    with torch.inference_mode():
        logits = model.read(pooled)[0].numpy()[:, :own]
    adapted = adapted_logits(model, pooled, speakers, reference, own, temperature)
    history = {"history": fitted.history, "kept_step": fitted.step, "temperature": temperature, "seconds": fitted.seconds}
    record = {**history, "recipe": recipe.to_dict(), "clips": examples.description, "clips_sha256": examples.checksum, **origins}
    with written_whole(prepared.folder / "record.json") as file:
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return FoldScores(
        fold=name,
        seed=recipe.schedule.seed,
        logits=logits.astype(np.float32),
        adapted=adapted.astype(np.float32),
        targets=np.array([example.target for example in examples.test]),
        speakers=speakers,
        files=np.array([example.utterance.name for example in examples.test]),
        temperature=temperature,
    )


def examples_from(parts: dict[str, list[Manifest]], classes: Sequence[str]) -> Examples:
    """The clips of each part's manifests whose label is one of `classes`."""
    numbers = {label: index for index, label in enumerate(classes)}
    found = {
        part: tuple(
            Example(clip, manifest.file(clip), numbers[word(clip)]) for manifest in manifests for clip in manifest if word(clip) in numbers
        )
        for part, manifests in parts.items()
    }
    rows = [f"{part} {item.corpus} {item.utterance.name} {item.target}" for part, items in found.items() for item in items]
    return Examples(**found, checksum=hashlib.sha256("\n".join(rows).encode()).hexdigest())


def other_corpora(recipe: Recipe, places: Places, corpus: str) -> list[Manifest]:
    """The training speakers' clips of the recipe's other corpora, by the split of the shipped checkpoints."""
    names = [name for name in recipe.data.corpora if name != corpus]
    if not names:
        raise RecipeError(f"--multi-corpus: {recipe.name} has no corpus but {corpus}")
    return [default_split(labelled(load(name, places.corpora), recipe), recipe.data.split).train for name in names]


def labelled(manifest: Manifest, recipe: Recipe) -> Manifest:
    """The corpus with the recipe's renamed labels."""
    (corpus,) = manifest.corpora
    return manifest.mapped(dict(recipe.data.rename[corpus])) if corpus in recipe.data.rename else manifest


def word(clip: Utterance) -> str:
    """Our word for the clip's label or, where none of the eight means it (boredom), the corpus's own."""
    return clip.emotion or clip.label


def labels_of(manifest: Manifest) -> tuple[str, ...]:
    """All labels of a corpus: our words in their order, then its own."""
    words = {word(clip) for clip in manifest} - {""}
    return tuple(label for label in EMOTIONS if label in words) + tuple(sorted(words - set(EMOTIONS)))
