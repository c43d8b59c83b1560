"""Who a run has heard: what a recipe goes on from must not have heard whoever it is tested on.

A run's record.json holds its recipe, which says who trained and validated in it. Besides, a run has heard all that those runs had heard
which it went on from itself: by `model.encoder_of`, `model.readouts_of`, `model.start` or `pretrain.teacher`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.corpora import Utterance, default_split, load
from training.corpora.defaults import HELD_OUT
from training.corpora.registry import CORPORA
from training.recipe import Recipe, RecipeError

RECORD = "record.json"
NAMED = 4  # speakers that an error names, at most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """A file of weights of an earlier run, and the field that names it; `by`: the name of the run that went on from it, where that is
    itself one that the recipe goes on from."""

    field: str
    file: Path
    by: str = ""

    @property
    def name(self) -> str:
        return self.file.parent.name

    @property
    def record(self) -> Path:
        return self.file.with_name(RECORD)

    def __str__(self) -> str:
        return f"{self.name} ({self.field}{f' of {self.by}' if self.by else ''})"


@dataclass(frozen=True)
class Heard:
    """The clips of one corpus that a run trained on, and those that it was selected or calibrated on."""

    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]


def check_unheard(recipe: Recipe, tested: Iterable[Utterance], validated: Iterable[Utterance], runs: Path, corpora: Path | None) -> None:
    """Raises RecipeError where a run that `recipe` goes on from, at whatever remove, has heard a speaker that is tested here, or was
    trained on one that validates here. A file of weights without a record beside it is only warned of: nobody can tell."""
    tested, validated = tuple(tested), tuple(validated)
    for origin, before in origins_of(recipe.to_dict(), runs):
        for heard in heard_in(before, {clip.corpus for clip in (*tested, *validated)}, corpora):
            if who := known(tested, (*heard.train, *heard.validation)):
                raise RecipeError(f"{origin} has heard {who}, on whom {recipe.name} is tested")
            if who := known(validated, heard.train):
                raise RecipeError(f"{origin} was trained on {who}, on whom {recipe.name} is validated")


def origins_of(recipe: Mapping[str, Any], runs: Path) -> Iterator[tuple[Origin, dict[str, Any]]]:
    """All runs that one goes on from, near and far, each with its recipe as its record holds it; `recipe` is in that form too."""
    waiting, seen = named_in(recipe, runs), set()
    while waiting:
        origin = waiting.pop()
        if origin.record in seen or not origin.file.is_file():  # what is not there is an error where it is loaded
            continue
        seen.add(origin.record)
        before = recorded(origin.record)
        if before is None:
            log.warning("%s: there is no %s beside it, so that nobody can tell whom it has heard", origin.file, RECORD)
            continue
        yield origin, before
        waiting += named_in(before, runs, origin.name)


def named_in(recipe: Mapping[str, Any], runs: Path, by: str = "") -> list[Origin]:
    """The files of weights that a recipe names itself."""
    model = recipe["model"]
    found = [
        Origin(f"model.{field}", runs / model[field] / "weights.pt", by) for field in ("encoder_of", "readouts_of") if model.get(field)
    ]
    for field, given in (("model.start", model.get("start")), ("pretrain.teacher", recipe.get("pretrain", {}).get("teacher"))):
        if given:
            file = Path(given)  # of a record, as its command was given it: perhaps from another folder
            found.append(Origin(field, file if file.is_file() else runs / file.parent.name / file.name, by))
    return found


def recorded(record: Path) -> dict[str, Any] | None:
    """The recipe that a record is of; None where there is none."""
    found: dict[str, Any] | None = json.loads(record.read_text(encoding="utf-8")).get("recipe") if record.is_file() else None
    return found


def heard_in(recipe: Mapping[str, Any], of: set[str], corpora: Path | None) -> Iterator[Heard]:
    """What a run of this recipe has heard of the corpora named in `of`, one after the other."""
    data = recipe["data"]
    for name in data["corpora"]:
        if name in data["leave_out"] or (name in CORPORA and name not in of):
            continue
        manifest = load(name, corpora)
        if recipe["task"] == "transducer" and (name not in HELD_OUT or name in (recipe["transducer"].get("folds") or {})):
            yield Heard((), manifest.utterances)  # split in a way of its own: any of its speakers may have been heard
        else:
            split = default_split(manifest, data["split"])
            yield Heard(split.train.utterances, split.validation.utterances)


def known(clips: Iterable[Utterance], heard: Iterable[Utterance]) -> str:
    """The speakers of `clips` that are in `heard`, as text; a corpus for its clips of unknown speakers. Empty where there are none."""
    heard = tuple(heard)
    voices, corpora = {clip.voice for clip in heard}, {clip.corpus for clip in heard}
    nameless = {clip.corpus for clip in heard if not clip.speaker}
    found = sorted(
        {
            clip.voice or clip.corpus
            for clip in clips
            if (clip.voice in voices if clip.speaker else clip.corpus in corpora) or clip.corpus in nameless
        }
    )
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more
