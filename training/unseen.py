"""`python -m training unseen RECIPE`: the recipe once for each corpus left out, tested on the whole of that corpus.

These checkpoints say what a user's own recordings are like: another room, another microphone, mostly another language. They stay in the
runs' folder and are scored by `python -m benchmarks.accuracy.evaluate NAME --unseen CORPUS=FILE ...`, which this command spells out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from training.export import run_export
from training.leaving_out import fit_encoder, without
from training.recipe import Recipe
from training.runs import Places, run_evaluate, run_fit

CORPORA = ("ravdess", "emodb", "emovo", "ased", "nemo")

log = logging.getLogger(__name__)


def run_unseen(recipe: Recipe, places: Places, corpora: Sequence[str] = CORPORA, files_too: bool = True) -> None:
    """Fits, tests and exports one checkpoint for each of `corpora`; those whose file is there already are left as they are. Without
    `files_too` nothing is exported: benchmarks/accuracy/adaptation.py needs the runs alone."""
    files = {}
    for corpus in corpora:
        changed = without(recipe, corpus)
        exported = places.runs / changed.name / "exported"
        files[corpus] = exported / "checkpoints" / "onnx" / f"{changed.name}.onnx"
        done = files[corpus] if files_too else places.runs / changed.name / "test.json"
        if done.is_file():
            continue
        log.info("without %s", corpus)
        fit_encoder(changed, places)
        run_fit(changed, places)
        run_evaluate(changed, places, whole=True)
        if files_too:
            run_export(changed, places, root=exported, record=False, whole=True)
    if not files_too:
        log.info("now: python -m benchmarks.accuracy.adaptation %s", recipe.name)
        return
    given = " ".join(f"--unseen {corpus}={file}" for corpus, file in files.items())
    log.info("now: python -m benchmarks.accuracy.evaluate %s %s", recipe.name, given)
