"""Recipes without a corpus: what is finished is kept, and a run of other settings under the same name is not taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from training import unseen
from training.leaving_out import fit_encoder, without
from training.recipe import Recipe, RecipeError
from training.runs import Places
from training.unseen import run_unseen

SHORT = ("schedule.steps=2", "schedule.evaluate_every=2", "augmentation.views=0")


@pytest.fixture
def done(places: Places, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done, in its order, instead of training."""
    steps: list[str] = []

    def fitted(recipe: Recipe, places: Places) -> None:
        folder = places.runs / recipe.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.pt").write_bytes(b"")
        (folder / "test.json").unlink(missing_ok=True)
        (folder / "record.json").write_text(json.dumps({"recipe_sha256": recipe.checksum()}))
        steps.append(f"fit {recipe.name}")

    def evaluated(recipe: Recipe, places: Places, whole: bool) -> None:
        (places.runs / recipe.name / "test.json").write_text("{}")
        steps.append("evaluate")

    def exported(recipe: Recipe, places: Places, root: Path, record: bool, whole: bool) -> None:
        file = root / "checkpoints" / "onnx" / f"{recipe.name}.onnx"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        steps.append("export")

    for name, step in (("run_fit", fitted), ("run_evaluate", evaluated), ("run_export", exported)):
        monkeypatch.setattr(unseen, name, step)
    monkeypatch.setattr("training.leaving_out.run_fit", fitted)
    return steps


def test_what_is_there_is_kept_and_what_is_missing_is_made(tiny: Callable[..., Recipe], places: Places, done: list[str]) -> None:
    run_unseen(tiny(*SHORT), places, ["emodb"], files_too=False)
    assert done == ["fit tiny-without-emodb", "evaluate"]
    run_unseen(tiny(*SHORT), places, ["emodb"], files_too=False)
    run_unseen(tiny(*SHORT), places, ["emodb"])  # the same run
    assert done == ["fit tiny-without-emodb", "evaluate", "export"]
    run_unseen(tiny(*SHORT), places, ["emodb"])
    assert len(done) == 3
    (places.runs / "tiny-without-emodb" / "record.json").unlink()  # killed before it was written
    run_unseen(tiny(*SHORT), places, ["emodb"], files_too=False)
    assert done[3:] == ["fit tiny-without-emodb", "evaluate"]


def test_other_settings_under_the_same_name_are_an_error(tiny: Callable[..., Recipe], places: Places, done: list[str]) -> None:
    run_unseen(tiny(*SHORT), places, ["emodb"])
    with pytest.raises(RecipeError, match=r"tiny-without-emodb was trained by other settings than .* the --set of its training"):
        run_unseen(tiny(*SHORT, "schedule.steps=3"), places, ["ravdess", "emodb"])
    assert done == ["fit tiny-without-emodb", "evaluate", "export"]  # nor was ravdess begun


def test_an_encoder_of_other_settings_is_an_error(
    tiny: Callable[..., Recipe], places: Places, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.leaving_out.read_recipe", lambda name: tiny(*SHORT, name=name))
    going_on = without(tiny("model.encoder_of=shiftcnn"), "emodb")
    fit_encoder(going_on, places)
    fit_encoder(going_on, places)
    assert done == ["fit shiftcnn-without-emodb"]
    monkeypatch.setattr("training.leaving_out.read_recipe", lambda name: tiny(*SHORT, "schedule.steps=3", name=name))
    with pytest.raises(RecipeError, match="shiftcnn-without-emodb was trained by other settings"):
        fit_encoder(going_on, places)
    folder = places.runs / "shiftcnn-without-emodb"
    folder.rename(folder.with_name("shiftcnn-short-without-emodb"))
    fit_encoder(without(tiny("model.encoder_of=shiftcnn-short"), "emodb"), places)  # named by hand: of whatever settings
    assert len(done) == 1
