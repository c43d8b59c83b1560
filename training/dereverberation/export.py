"""`python -m training export dereverberation`: the trained network as an ONNX file in the run's folder.

Nothing in `emoser/` runs it yet (docs/roadmap.md).
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import onnx
import torch
from onnx import helper

from emoser.digests import sha256
from training.dereverberation.network import Dereverberator
from training.dereverberation.recipe import DereverberationRecipe
from training.encoders.compact import SAMPLE_RATE
from training.files import written_whole
from training.graphs import Exportable, onnx_of, store_as_half, strip_traces
from training.recipe import Recipe, RecipeError
from training.runs import Places, left_by, record_of

FILE = "dereverberation.onnx"
LONGEST = 30 * SAMPLE_RATE  # samples, of what the exporter traces
FEWEST_HALVED = 1000  # numbers: the small vectors take little room, and all that is heard would show their rounding

log = logging.getLogger(__name__)


def run_export(recipe: Recipe, places: Places) -> Path:
    """Returns the file. Raises RecipeError and FileNotFoundError where the run is of another recipe, or not finished."""
    if not isinstance(recipe, DereverberationRecipe):
        raise RecipeError(f"{recipe.name} has the task {recipe.task}, not dereverberation")
    folder = places.runs / recipe.name
    record_of(recipe, folder)
    model = Dereverberator(recipe.dereverberation.width, recipe.dereverberation.hidden)
    model.load_state_dict(torch.load(left_by(recipe, folder, "weights.pt"), weights_only=True))
    export(model, recipe, folder / FILE)
    log.info("%s: %d bytes, sha256 %s", FILE, (folder / FILE).stat().st_size, sha256(folder / FILE))
    return folder / FILE


def export(model: Dereverberator, recipe: Recipe, path: Path) -> None:
    """Inputs `waveform` (batch, samples) and `lengths` (batch,), output `dry` (batch, samples)."""
    batch, samples = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("samples", min=SAMPLE_RATE // 10, max=LONGEST)
    graph = Exportable(
        model,
        ("waveform", "lengths"),
        ("dry",),
        (torch.randn(2, SAMPLE_RATE) * 0.1, torch.tensor([SAMPLE_RATE, SAMPLE_RATE // 2])),
        ({0: batch, 1: samples}, {0: batch}),
    )
    proto = onnx_of(graph)
    store_as_half(proto, fewest=FEWEST_HALVED)
    strip_traces(proto)
    about = {"name": recipe.name, "task": recipe.task, "sample_rate": SAMPLE_RATE, "summary": recipe.summary, **recipe.register}
    helper.set_model_props(proto, {"emoser": json.dumps(about)})
    onnx.checker.check_model(proto, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        onnx.save(proto, partial)
