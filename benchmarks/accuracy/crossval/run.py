"""Folds of the table: `python -m training crossval` with the settings of settings.yaml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.accuracy.crossval.protocols import CORPORA, VARIANTS
from training.__main__ import main as training
from training.recipe import read_recipe

SETTINGS = Path(__file__).with_name("settings.yaml")


def arguments_of(name: str, corpus: str, more: Sequence[str] = ()) -> list[str]:
    """What `python -m training` is given for the folds of one recipe or variant on one corpus; `more` comes last and so decides.

    >>> arguments_of("lstm-frozen", "emovo")[:6]
    ['crossval', 'lstm-frozen', '--corpus', 'emovo', '--folds', 'leave-one-speaker-out']
    """
    (found,) = [each for each in CORPORA if each.name == corpus]
    recipe, own = VARIANTS.get(name, (name, {}))
    model = read_recipe(recipe).model
    settings: dict[str, dict[str, Any]] = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))
    chosen = overrides_of(settings["frozen" if model.frozen_blocks == model.blocks else "fine-tuned"])
    if "--multi-corpus" in more:
        chosen += overrides_of(settings["multi-corpus"])
    chosen += overrides_of(own)
    return [
        "crossval",
        recipe,
        "--corpus",
        corpus,
        "--folds",
        found.kind,
        "--select",
        "nothing",
        *(f"--set={each}" for each in chosen),
        *(["--name", name] if name in VARIANTS else []),
        *more,
    ]


def overrides_of(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sections of a recipe as `--set` takes them.

    >>> overrides_of({"model": {"blocks": 3, "start": None}})
    ['model.blocks=3', 'model.start=null']
    """
    return [f"{section}.{field}={json.dumps(value)}" for section, fields in settings.items() for field, value in fields.items()]


def run(names: Sequence[str], corpora: Sequence[str], more: Sequence[str]) -> int:
    """0 when all folds of all names are done; the first failure's exit code otherwise."""
    for corpus in corpora:
        for name in names:
            if code := training(arguments_of(name, corpus, more)):
                return code
    return 0
