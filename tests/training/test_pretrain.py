"""Pre-training without labels, by either objective: who is heard, what is learnt, and start weights that a fit takes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from emoser.digests import sha256
from training import paths, pretrain, steps
from training.corpora import default_split, defaults, load
from training.encoders.compact import CompactEncoder
from training.pretrain import run_pretrain, speech_of
from training.pretraining.masked import MaskedPrediction
from training.pretraining.objective import Crops
from training.pretraining.recipe import OBJECTIVES, PretrainingRecipe
from training.recipe import Recipe, RecipeError, read_recipe
from training.runs import Places, prepare

TINY = {
    "task": "pretraining",
    "data": {"corpora": ["ravdess", "emodb"], "longest_crop": 0.5},
    "model": {"blocks": 2, "frozen_blocks": 0},
    "augmentation": {"views": 0},
    "pretrain": {"layer": 1, "clusters": 4, "span": 3, "dimension": 8},
    "schedule": {"steps": 30, "batch_size": 8, "evaluate_every": 15, "precision": "no", "encoder_learning_rate": 1e-3, "seed": 3},
}


def tiny_recipe(folder: Path, *overrides: str) -> PretrainingRecipe:
    file = folder / "unlabelled.yaml"
    file.write_text(yaml.safe_dump(TINY))
    found = read_recipe(file, overrides)
    assert isinstance(found, PretrainingRecipe)
    return found


@pytest.fixture
def recipe(tmp_path: Path) -> PretrainingRecipe:
    return tiny_recipe(tmp_path)


@pytest.fixture(params=OBJECTIVES)
def either(request: pytest.FixtureRequest, tmp_path: Path) -> PretrainingRecipe:
    """The recipe, of each objective in turn."""
    return tiny_recipe(tmp_path, f"pretrain.objective={request.param}")


def test_test_speakers_and_corpora_left_out_are_not_heard(recipe: PretrainingRecipe, places: Places) -> None:
    speech = speech_of(recipe, places)
    assert {example.speaker for example in speech.train} == {"ravdess/01", "ravdess/03", "emodb/08", "emodb/09"}
    assert {example.speaker for example in speech.validation} == {"ravdess/02", "emodb/03"}
    assert "boredom" in {example.utterance.label for example in speech.train}  # labels do not count
    without = replace(recipe, data=replace(recipe.data, leave_out=("emodb",)))
    assert {example.corpus for example in speech_of(without, places).train} == {"ravdess"}
    with pytest.raises(RecipeError, match="none left"):
        speech_of(replace(recipe, data=replace(recipe.data, leave_out=("ravdess", "emodb"))), places)


def test_clips_without_labels_are_heard(recipe: PretrainingRecipe, places: Places, with_read_speech: Callable[..., Path]) -> None:
    """Read speech too, but for the speakers that its makers test on."""
    lists = yaml.safe_load(defaults.FILE.read_text(encoding="utf-8"))["default"]["speechocean762"]
    places = replace(places, corpora=with_read_speech("speechocean762", [lists[part][0] for part in lists]))
    recipe = replace(recipe, data=replace(recipe.data, corpora=("ravdess", "emodb", "speechocean762")))
    speech = speech_of(recipe, places)
    heard = {example.speaker for example in (*speech.train, *speech.validation) if example.corpus == "speechocean762"}
    assert heard == {f"speechocean762/{lists[part][0]}" for part in ("train", "validation")}
    assert default_split(load("speechocean762", places.corpora)).test.speakers == (f"speechocean762/{lists['test'][0]}",)


def test_a_run_learns_and_its_weights_start_another(
    either: PretrainingRecipe, places: Places, tiny: Callable[..., Recipe], start_weights: Path
) -> None:
    file = run_pretrain(either, places)
    record = json.loads((file.parent / "record.json").read_text())
    first, last = record["history"]
    assert last["validation_loss"] < first["validation_loss"]
    if either.pretrain.objective == "distillation":
        assert last["validation_explained_variance"] > 0.1  # the mean of the training clips has 0
        assert record["teacher_weights_sha256"] == sha256(paths.weights("efficientat-mn04", places.weights))
    else:
        assert first["validation_loss"] < math.log(4) * 1.5
    before, after = CompactEncoder(2).load_whisper(start_weights), CompactEncoder(2).load_whisper(file)
    assert torch.equal(before.conv1.weight, after.conv1.weight)
    assert not torch.equal(before.blocks[0].mlp[0].weight, after.blocks[0].mlp[0].weight)
    run = prepare(tiny(f"model.start={file}"), places)
    assert run.source.weights == file
    assert torch.equal(run.model().encoder.blocks[1].mlp[0].weight, after.blocks[1].mlp[0].weight)
    with pytest.raises(FileNotFoundError, match=r"model\.start"):
        prepare(tiny("model.start=nowhere.npz"), places)


def test_a_killed_run_goes_on_as_if_it_had_not_been(either: PretrainingRecipe, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.load(run_pretrain(either, places))
    monkeypatch.setattr(steps, "SAVE_SECONDS", -1.0)
    original = pretrain._loss
    calls = 0

    def killed(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 11:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    other = replace(either, name="killed")
    monkeypatch.setattr(pretrain, "_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run_pretrain(other, places)
    monkeypatch.setattr(pretrain, "_loss", original)
    again = np.load(run_pretrain(other, places))
    assert all(np.array_equal(whole[name], again[name]) for name in whole.files)


@pytest.mark.parametrize(("precision", "expected"), [("bf16", torch.bfloat16), ("no", torch.float32)])
def test_steps_run_in_the_recipes_precision_and_validation_in_float32(
    recipe: PretrainingRecipe, places: Places, monkeypatch: pytest.MonkeyPatch, precision: str, expected: torch.dtype
) -> None:
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    original = MaskedPrediction.forward

    def watched(self: MaskedPrediction, crops: Crops, random: np.random.Generator) -> dict[str, Tensor]:
        hook = self.projection.register_forward_hook(lambda _, __, output: seen[self.training].add(output.dtype))
        figures = original(self, crops, random)
        hook.remove()
        assert figures["loss"].dtype == torch.float32
        return figures

    monkeypatch.setattr(MaskedPrediction, "forward", watched)
    schedule = replace(recipe.schedule, steps=2, evaluate_every=1, precision=precision)
    file = run_pretrain(replace(recipe, schedule=schedule), places)
    assert seen == {True: {expected}, False: {torch.float32}}
    assert all(np.load(file)[name].dtype != np.float16 for name in np.load(file).files)


def test_a_trained_run_may_teach(recipe: PretrainingRecipe, places: Places, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    model = prepare(tiny(), places).model()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    taught = replace(recipe, name="taught", pretrain=replace(recipe.pretrain, teacher=str(tmp_path / "weights.pt"), layer=2))
    taught = replace(taught, schedule=replace(taught.schedule, steps=1, evaluate_every=1))
    assert run_pretrain(taught, places).is_file()
    torch.save({"encoder.conv1.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(RecipeError, match="has no encoder of 2 blocks"):
        run_pretrain(taught, places)


def test_what_cannot_be_pretrained(recipe: PretrainingRecipe, places: Places, tiny: Callable[..., Recipe]) -> None:
    with pytest.raises(RecipeError, match="task: pretraining"):
        run_pretrain(tiny(), places)
    for section, field, value, message in (
        ("model", "frozen_blocks", 2, "a block above"),
        ("model", "encoder", "wavlm-base", "the compact encoder"),
        ("pretrain", "layer", 3, "model.frozen_blocks to model.blocks"),
        ("pretrain", "objective", "cloze", "masked-prediction or distillation, not 'cloze'"),
        ("schedule", "precision", "fp16", "no or bf16, not 'fp16'"),
    ):
        changed = replace(getattr(recipe, section), **{field: value})
        with pytest.raises(RecipeError, match=message):
            run_pretrain(replace(recipe, **{section: changed}), places)
    with pytest.raises(RecipeError, match="the teacher of distillation is mn04"):
        run_pretrain(replace(recipe, pretrain=replace(recipe.pretrain, objective="distillation", teacher="weights.pt")), places)


def test_the_shipped_recipes_are_of_both_objectives() -> None:
    found = {name: read_recipe(name) for name in ("pretrain", "distil")}
    assert all(isinstance(recipe, PretrainingRecipe) for recipe in found.values())
    assert {recipe.pretrain.objective for recipe in found.values()} == set(OBJECTIVES)  # type: ignore[attr-defined]
    assert found["pretrain"].data == found["distil"].data


def test_a_trained_run_may_be_the_start(either: PretrainingRecipe, places: Places, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    model = prepare(tiny(), places).model()
    with torch.no_grad():
        model.encoder.blocks[0].mlp[0].bias += 1
    file = tmp_path / "another" / "weights.pt"
    file.parent.mkdir()
    torch.save(model.state_dict(), file)
    started = replace(either, model=replace(either.model, start=str(file), frozen_blocks=1), pretrain=replace(either.pretrain, layer=2))
    started = replace(started, schedule=replace(started.schedule, steps=1, evaluate_every=1))
    found = CompactEncoder(2).load(run_pretrain(started, places))
    assert torch.equal(found.blocks[0].mlp[0].bias, model.encoder.blocks[0].mlp[0].bias)
    assert not torch.equal(found.blocks[1].mlp[0].weight, model.encoder.blocks[1].mlp[0].weight)
    with pytest.raises(FileNotFoundError, match=r"model\.start"):
        run_pretrain(replace(started, model=replace(started.model, start="nowhere.npz")), places)
