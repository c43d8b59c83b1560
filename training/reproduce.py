"""`python -m training reproduce NAME`: makes a shipped checkpoint anew and says whether it is the same.

Where the new file's sha256 is the registry's, nothing more is to be said. Floating point differs between machines and thread counts, so
elsewhere the figures decide: each corpus's UAR on the test speakers, and the pooled one, must lie inside the recorded 95 % interval.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from typing import Any

from training.export import run_export
from training.leaving_out import fit_encoder
from training.publish import file_key
from training.recipe import Recipe
from training.runs import RECORDS, Places, prepare, run_evaluate, run_fit

log = logging.getLogger(__name__)


def run_reproduce(recipe: Recipe, places: Places) -> int:
    """0 where the checkpoint is the same or its figures are, else 1. The shipped files stay; the new ones stand in the run's folder."""
    committed = RECORDS / f"{recipe.name}.json"
    if not committed.is_file():
        raise FileNotFoundError(f"there is no record {committed.name} to compare with; recorded are: {_recorded()}")
    recorded: dict[str, Any] = json.loads(committed.read_text())
    if recorded["recipe_sha256"] != recipe.checksum():
        log.warning("the recipe has changed since the record was made")
    places = replace(places, runs=places.runs / "reproduced")
    fit_encoder(recipe, places)
    prepared = prepare(recipe, places)
    if prepared.examples.checksum != recorded["corpora_sha256"]:
        log.warning("the corpora are not those of the record: their manifests differ")
    shutil.rmtree(prepared.folder, ignore_errors=True)
    run_fit(recipe, places)
    test = run_evaluate(recipe, places)
    entry = run_export(recipe, places, root=prepared.folder / "exported", record=False)
    made = {file_key(part["role"], part["format"], part["precision"]): part["sha256"] for part in entry["parts"]}
    if made == recorded["files"]:
        log.info("the same files, byte for byte")
        return 0
    inside = True
    for name, new in {**test["corpora"], "pooled": test["pooled"]}.items():
        old = recorded["test"]["pooled"] if name == "pooled" else recorded["test"]["corpora"][name]
        if old["interval"] is None:  # of one speaker
            continue
        low, high = old["interval"]
        fits = low <= new["uar"] <= high
        inside &= fits
        log.info("%-16s UAR %.4f, recorded %.4f [%.4f, %.4f]%s", name, new["uar"], old["uar"], low, high, "" if fits else "  OUTSIDE")
    log.info("not the same bytes; its figures %s inside the recorded intervals", "are all" if inside else "are not all")
    return 0 if inside else 1


def _recorded() -> str:
    return ", ".join(sorted(file.stem for file in RECORDS.glob("*.json"))) or "none"
