"""The tiny tree with texts: what a clip of ravdess says goes with how it sounds, and a corpus of read speech without emotions."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from accelerate.state import AcceleratorState

from training.recipe import read_recipe
from training.runs import Places
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.runs import Prepared, prepare, run_evaluate, run_fit

TEXTS = {"neutral": "a b.", "happy": "b a!", "angry": "c", "sad": "a, c", "fear": "b", "calm": "c c"}

TINY = {
    "summary": "Pitches and letters, for tests.",
    "task": "transducer",
    "data": {"corpora": ["ravdess", "emodb", "speechocean762"], "labels": ["neutral", "happy", "angry", "sad"]},
    "model": {"blocks": 2, "frozen_blocks": 1, "specaugment": {"time_span": 2, "time_least": 0, "channel_least": 0}},
    "augmentation": {"views": 1, "chances": {"cut": 0.0, "speed": 0.0, "mp3": 0.0, "opus": 0.0, "telephone": 0.0}},
    "schedule": {
        "steps": 6,
        "batch_size": 8,
        "evaluate_every": 3,
        "learning_rate": 2.0e-3,
        "encoder_learning_rate": 1.0e-4,
        "average": 0.5,
        "precision": "no",
        "seed": 7,
    },
    "transducer": {
        "transcripts": ["ravdess", "speechocean762"],
        "hidden": 16,
        "predictor": 12,
        "inner": 20,
        "mixtures": {"speaker_limit": 4, "validation_limit": 4},
    },
    "register": {
        "license": "CC0-1.0",
        "commercial_use": True,
        "languages": ["en", "de"],
        "system": {"name": "Tiny", "paper": "Pitches", "year": 2026, "link": "https://example.org/tiny"},
        "trained_on": [{"corpus": "ravdess", "license": "CC0-1.0"}],
    },
}


@pytest.fixture(scope="session")
def spoken_tree(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared: do not change it."""
    root = tmp_path_factory.mktemp("spoken")
    shutil.copytree(tree, root, dirs_exist_ok=True)
    rows = read(root / "corpora" / "ravdess")
    for row in rows:
        row["text"] = TEXTS[row["emotion"]]
    write(root / "corpora" / "ravdess", rows)
    # Read speech: the same sounds without emotions; two speakers train, one tests.
    shutil.copytree(root / "corpora" / "ravdess", root / "corpora" / "speechocean762")
    sessions = {"01": "train-adult", "03": "train-adult", "02": "train-adult", "09": "test-adult", "10": "test-adult"}
    rows = [{**row, "emotion": "", "session": sessions[row["speaker"]]} for row in rows if row["emotion"] != "calm"]
    write(root / "corpora" / "speechocean762", rows)
    return root


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def spoken_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def spoken_places(spoken_tree: Path, spoken_cache: Path, tmp_path: Path) -> Places:
    return places_in(spoken_tree, spoken_cache, tmp_path / "runs")


def places_in(tree: Path, cache: Path, runs: Path) -> Places:
    return Places(runs=runs, cache=cache, corpora=tree / "corpora", weights=tree / "weights", workers=1)


@pytest.fixture(scope="session")
def tiny_transducer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TransducerRecipe]:
    """tiny_transducer("transducer.system=fent", ...): the recipe over the spoken tree, with overrides."""
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(yaml.safe_dump(TINY), encoding="utf-8")

    def make(*overrides: str, name: str | None = None) -> TransducerRecipe:
        recipe = read_recipe(file, overrides, name)
        assert isinstance(recipe, TransducerRecipe)
        return recipe

    return make


@pytest.fixture(scope="session")
def trained_transducer(
    spoken_tree: Path, spoken_cache: Path, tiny_transducer: Callable[..., TransducerRecipe], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Prepared, Places]]:
    """trained_transducer("ent"): fitted and evaluated, once a session. Shared: do not change it."""
    made: dict[str, tuple[Prepared, Places]] = {}

    def train(system: str) -> tuple[Prepared, Places]:
        if system not in made:
            places = places_in(spoken_tree, spoken_cache, tmp_path_factory.mktemp("runs"))
            recipe = tiny_transducer(f"transducer.system={system}", "schedule.steps=60", "schedule.evaluate_every=30")
            for run in (run_fit, run_evaluate):
                AcceleratorState._reset_state(reset_partial_state=True)
                run(recipe, places)
            made[system] = prepare(recipe, places), places
        return made[system]

    return train
