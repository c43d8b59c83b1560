"""variants.yaml as types: what is compared, and the recipe of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.accuracy.crossval.run import overrides_of
from training.recipe import Recipe, RecipeError, read_recipe

FILE = Path(__file__).with_name("variants.yaml")
PREFIX = "encoders-"  # of the runs' names
RUNS = "{runs}"  # in a setting: the folder of runs


@dataclass(frozen=True)
class Group:
    """Variants that are trained alike. `reference` is the variant whose score is taken off theirs."""

    name: str
    text: str
    recipe: str  # the name of one, or a file
    reference: str
    overrides: tuple[str, ...]  # `section.field=value`
    alpha: float | None = None  # a ridge classifier of this strength, and no head


@dataclass(frozen=True)
class Variant:
    name: str
    text: str
    group: Group
    overrides: tuple[str, ...]  # beside the group's, and after them

    def recipe(self, runs: Path | None = None) -> Recipe:
        """Named as the run is. Without `runs`, paths begin with `{runs}` still: such a recipe has the same checksum on every machine."""
        overrides = (*self.group.overrides, *self.overrides)
        if runs is not None:
            overrides = tuple(each.replace(RUNS, runs.as_posix()) for each in overrides)
        return read_recipe(self.group.recipe, overrides, PREFIX + self.name)


def variants(file: Path = FILE) -> dict[str, Variant]:
    """By name, in the file's order. Raises RecipeError where a group or its reference is not there."""
    content: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    groups = {name: Group(name, overrides=tuple(overrides_of(fields.pop("set"))), **fields) for name, fields in content["groups"].items()}
    found = {}
    for name, fields in content["variants"].items():
        if fields["group"] not in groups:
            raise RecipeError(f"{file.name}: {name} is of no group {fields['group']}; there are {', '.join(groups)}")
        found[name] = Variant(name, fields["text"], groups[fields["group"]], tuple(overrides_of(fields["set"])))
    if unknown := sorted({group.reference for group in groups.values()} - set(found)):
        raise RecipeError(f"{file.name}: no variant {', '.join(unknown)}, which a group has as its reference")
    return found
