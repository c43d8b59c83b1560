"""Recipes: what a checkpoint is made of. A recipe file is a diff against `recipes/defaults.yaml` or, with `like: NAME`, against another
recipe; both become these types.

python -m training fit training/recipes/shiftcnn.yaml
python -m training fit training/recipes/shiftcnn.yaml --set data.leave_out=[nemo] --name shiftcnn-without-nemo
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from training.augment import Chances

RECIPES = Path(__file__).parent / "recipes"


class RecipeError(ValueError):
    """A recipe names something that does not exist, or gives it a value that it cannot have."""


@dataclass(frozen=True)
class Data:
    """Which clips, under which labels, and who is held out."""

    corpora: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # what the checkpoint tells apart
    more_labels: tuple[str, ...] = ()  # told apart in training only: their clips teach the features, the export drops their rows
    rename: dict[str, dict[str, str]] = field(default_factory=dict)  # corpus -> {its label: ours}
    split: str = "default"  # a name in recipes/splits.yaml
    leave_out: tuple[str, ...] = ()  # corpora kept out of training and validation altogether
    corpus_balance: float = 0.5  # 0: clips count alike; 1: corpora count alike
    class_balance: float = 1.0  # the same for the classes within a corpus
    first_share: float | None = None  # of the draws that are of the first corpus; the others share the rest. None: it is balanced like them
    longest_crop: float = 3.0  # s of speech a training clip is cut to, at random


@dataclass(frozen=True)
class Anew:
    """The second read-out that whole clips teach, where it is another one than the first."""

    width: int
    dropout: float


@dataclass(frozen=True)
class Model:
    """Encoder and head. `frozen_blocks` lower blocks keep the start weights, and their output is cached: where that is all of them, a
    head trains on a CPU in about a minute."""

    encoder: str | None = None  # a name of training/encoders/ssl.py; None: the compact encoder
    start: str | None = None  # a file of start weights (training/pretrain.py writes some); None: those named in training/paths.py
    encoder_of: str | None = None  # a run, trained before, whose blocks above the frozen ones the encoder starts with
    readouts_of: str | None = None  # a run, trained before, whose mix and read-outs this one starts with, label by label
    blocks: int = 3
    frozen_blocks: int = 1
    first_layer: int | None = None  # lowest layer (0: before the blocks) that mix and read-outs see; None: the last frozen one
    pool: int = 2  # hidden frames averaged into one before the head: 2 gives 25 Hz
    head: str = "shiftcnn"
    head_options: dict[str, Any] = field(default_factory=dict)
    specaugment: dict[str, Any] = field(default_factory=dict)  # of the head's feature masking; empty: the paper's spans
    statistics: int = 0  # width of a second read-out, from the layers' means and deviations; 0: the paper's head alone
    statistics_dropout: float = 0.3
    # Another second read-out, of standardised statistics, that takes the first one's place for `schedule.whole_clip_steps` and stays. None:
    # the first one begins anew there.
    statistics_anew: Anew | None = None
    # Logits are the mean of both read-outs instead of their sum: right where each is a classifier by itself; and frames, which are of the
    # head alone, then have the scale of clips.
    mean_of_readouts: bool | None = None
    standardise_statistics: bool | None = None  # each of them by mean and deviation of the training clips, before the second read-out

    @property
    def in_the_end(self) -> Model:
        """The options of the model that the training leaves."""
        if (anew := self.statistics_anew) is None:
            return self
        second = {"statistics": anew.width, "statistics_dropout": anew.dropout, "standardise_statistics": True}
        return dataclasses.replace(self, **second, statistics_anew=None)

    @property
    def cached_pool(self) -> int:
        """Frames averaged into one in the cache already: where the encoder is wholly frozen, all after it reads pooled frames. Of 40 ms at
        most, so that what is read from deviations over time stays the same for heads that read longer ones."""
        if self.frozen_blocks < self.blocks:
            return 1
        return 2 if self.pool % 2 == 0 else self.pool


@dataclass(frozen=True)
class Augmentation:
    """Degraded copies of each training clip, made once and cached; which copy and which crop of it is drawn anew at every step."""

    views: int = 3  # degraded copies beside the clean one
    clean_share: float = 0.3  # of the training steps' clips
    chances: Chances = field(default_factory=Chances)


@dataclass(frozen=True)
class Schedule:
    steps: int = 1000
    batch_size: int = 48
    learning_rate: float = 5e-4  # of the head
    encoder_learning_rate: float = 5e-5  # of the blocks that are not frozen
    layer_decay: float = 1.0  # factor on the rate a block further down
    warm_up: float = 0.1  # share of the steps
    final_rate: float = 0.02  # share of the peak at the end
    weight_decay: float = 0.05
    clip_norm: float = 5.0
    label_smoothing: float = 0.1
    mixup: float = 0.0  # alpha of the Beta distribution by which pooled clips are mixed in pairs, and their targets; 0 is off
    voices: float | None = None  # chance that a pooled clip is put in another speaker's place (training/voices.py)
    head_loss: float = 0.3  # weight of the loss of the paper's head by itself where `model.statistics` adds a second read-out
    apart: bool | None = None  # both read-outs learn by losses of their own, and not by one of the sum of their logits
    subset_loss: float = 0.5  # weight of the loss over the checkpoint's own labels where `more_labels` are trained too
    average: float = 0.995  # decay of the averaged weights, which are the ones that are kept; 0 is off
    evaluate_every: int = 200
    keep: str = "best"  # best on validation, or last
    statistics_steps: int | None = None  # before all others, in which the second read-out learns alone, at a twentieth of a step's cost
    whole_clip_steps: int | None = None  # after all others, in which it learns anew, alone, from whole clips (training/pooled.py)
    whole_clip_voices: float | None = None  # the share of clips put in another speaker's place in those steps; None: as `voices`
    precision: str = "bf16"
    seed: int = 42


@dataclass(frozen=True)
class Recipe:
    name: str = ""
    summary: str = ""
    task: str = "utterance"
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    augmentation: Augmentation = field(default_factory=Augmentation)
    schedule: Schedule = field(default_factory=Schedule)
    register: dict[str, Any] = field(default_factory=dict)  # fields that the registry entry takes as they stand: system, license, ...

    @property
    def all_labels(self) -> tuple[str, ...]:
        return self.data.labels + self.data.more_labels

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def checksum(self) -> str:
        """Of everything that changes the weights: the registry's fields and the summary do not, nor does an option left at None, so that a
        recipe keeps its checksum when a new option comes."""
        parts = {name: value for name, value in self.to_dict().items() if name not in ("name", "summary", "register")}
        parts = without_none(parts)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    """The fields that are set, of sections too."""
    return {name: without_none(value) if isinstance(value, dict) else value for name, value in values.items() if value is not None}


def read_recipe(path: str | Path, overrides: typing.Sequence[str] = (), name: str | None = None) -> Recipe:
    """A recipe file, or the name of one in recipes/, over the defaults; `overrides` are `section.field=value`, values in YAML."""
    path = _file(path)
    values = _merge(_read(RECIPES / "defaults.yaml"), _with_bases(path))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise RecipeError(f"{override!r} is not section.field=value")
        try:
            nested: Any = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"{override!r}: the value is not YAML") from error
        for part in reversed(key.split(".")):
            nested = {part: nested}
        values = _merge(values, nested)
    values.setdefault("name", path.stem)
    if name:
        values["name"] = name
    recipe: Recipe = _build(_kind(values), values, path.name)
    _check(recipe)
    return recipe


def _kind(values: dict[str, Any]) -> type[Recipe]:
    """What a recipe's task adds to its sections."""
    if values.get("task") == "transducer":
        from training.systems.transducer.recipe import TransducerRecipe

        return TransducerRecipe
    if values.get("task") == "pretraining":
        from training.pretraining.recipe import PretrainingRecipe

        return PretrainingRecipe
    return Recipe


def _check(recipe: Recipe) -> None:
    if len(recipe.data.labels) < 2 and recipe.task != "pretraining":
        raise RecipeError("data.labels needs two labels at least")
    if set(recipe.data.labels) & set(recipe.data.more_labels):
        raise RecipeError("data.more_labels repeats labels of data.labels")
    if not 0 <= recipe.model.frozen_blocks <= recipe.model.blocks:
        raise RecipeError(f"model.frozen_blocks {recipe.model.frozen_blocks} is not within the encoder's {recipe.model.blocks} blocks")
    first = recipe.model.first_layer
    if first is not None and not 0 <= first <= recipe.model.frozen_blocks:
        raise RecipeError(f"model.first_layer {first} is not within 0 and model.frozen_blocks {recipe.model.frozen_blocks}")
    if recipe.model.statistics_anew is not None and not (recipe.model.statistics and recipe.schedule.whole_clip_steps):
        raise RecipeError("model.statistics_anew takes a second read-out's place for schedule.whole_clip_steps: both are needed")
    if recipe.schedule.keep not in ("best", "last"):
        raise RecipeError(f"schedule.keep is best or last, not {recipe.schedule.keep!r}")


def _file(recipe: str | Path) -> Path:
    path = Path(recipe)
    if not path.suffix:
        path = RECIPES / f"{path}.yaml"
    if not path.is_file():
        raise RecipeError(f"no recipe {path}; there are: {', '.join(known_recipes())}")
    return path


def known_recipes() -> list[str]:
    """The names of the recipes in recipes/."""
    return sorted(file.stem for file in RECIPES.glob("*.yaml") if file.stem not in ("defaults", "splits"))


def _with_bases(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a recipe file over those of the recipe that it is like; a name is looked up beside the file, then in recipes/."""
    if path in above:
        raise RecipeError(f"recipes are like each other in a circle: {' -> '.join(file.stem for file in (*above, path))}")
    values = _read(path)
    base = values.pop("like", None)
    if base is None:
        return values
    beside = path.with_name(f"{base}.yaml")
    return _merge(_with_bases(beside if beside.is_file() else _file(str(base)), (*above, path)), values)


def _read(path: Path) -> dict[str, Any]:
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(values, dict):
        raise RecipeError(f"{path.name} is not a mapping")
    return values


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _merge(merged[key], value) if isinstance(value, dict) and isinstance(merged.get(key), dict) else value
    return merged


def _build(kind: Any, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise RecipeError(f"{where} is a section with fields, not {values!r}")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise RecipeError(f"{where}: {kind.__name__} has no {', '.join(unknown)}; it has {', '.join(hints)}")
    return kind(**{name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, {} if value is None else value, where)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):  # an option that may be left at None
        (kind,) = (kind for kind in typing.get_args(hint) if kind is not types.NoneType)
        return None if value is None else _convert(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise RecipeError(f"{where} is a list, not {value!r}")
        kinds = typing.get_args(hint)
        item = kinds[0]
        if kinds[-1] is not Ellipsis and len(value) != len(kinds):
            raise RecipeError(f"{where} is a list of {len(kinds)}, not {value!r}")
        return tuple(_convert(item, part, where) for part in value)
    if hint is Any:
        return value
    if origin is dict:
        if not isinstance(value, dict):
            raise RecipeError(f"{where} is a mapping, not {value!r}")
        return value
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 5e-4 as a string
        except ValueError:
            raise RecipeError(f"{where} is a number, not {value!r}") from None
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise RecipeError(f"{where} is {hint.__name__}, not {value!r}")
    return value
