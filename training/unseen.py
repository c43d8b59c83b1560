"""`python -m training unseen RECIPE`: the recipe once for each corpus left out, tested on the whole of that corpus.

These checkpoints say what a user's own recordings are like: another room, another microphone, mostly another language. They stay in the
runs' folder and are scored by `python -m benchmarks.accuracy.evaluate NAME --unseen CORPUS=FILE ...`, which this command spells out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from training.export import run_export
from training.leaving_out import fit_encoder, is_trained, without
from training.recipe import Recipe
from training.runs import Places, run_evaluate, run_fit

CORPORA = ("ravdess", "emodb", "emovo", "ased", "nemo")

log = logging.getLogger(__name__)


def run_unseen(recipe: Recipe, places: Places, corpora: Sequence[str] = CORPORA, files_too: bool = True) -> None:
    """Fits, tests and exports one checkpoint for each of `corpora`; what is there already of the same recipe is left as it is. Without
    `files_too` nothing is exported: benchmarks/accuracy/adaptation.py needs the runs alone.

    Raises RecipeError, before anything is trained, where a run of one of the names is of another recipe.
    """
    for corpus in corpora:
        is_trained(without(recipe, corpus), places)
    files = {}
    for corpus in corpora:
        changed = without(recipe, corpus)
        exported = places.runs / changed.name / "exported"
        files[corpus] = exported / "checkpoints" / "onnx" / f"{changed.name}.onnx"
        if not is_trained(changed, places):
            log.info("without %s", corpus)
            fit_encoder(changed, places)
            run_fit(changed, places)
        if not (places.runs / changed.name / "test.json").is_file():  # a fit takes that of other weights away
            run_evaluate(changed, places, whole=True)
        if files_too and not newer(files[corpus], places.runs / changed.name / "weights.pt"):
            run_export(changed, places, root=exported, record=False, whole=True)
    if not files_too:
        log.info("now: python -m benchmarks.accuracy.adaptation %s", recipe.name)
        return
    given = " ".join(f"--unseen {corpus}={file}" for corpus, file in files.items())
    log.info("now: python -m benchmarks.accuracy.evaluate %s %s", recipe.name, given)


def newer(file: Path, source: Path) -> bool:
    """Whether `file` is there and was written after `source`."""
    return file.is_file() and file.stat().st_mtime >= source.stat().st_mtime
