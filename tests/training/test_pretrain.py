"""Pre-training without labels: the loss and the masks of the paper, what is learnt, and start weights that a fit takes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from training import pretrain, steps
from training.encoders.compact import CompactEncoder
from training.pretrain import Pretraining, PretrainingRecipe, cosine_logits, run_pretrain, spans, speech_of
from training.recipe import Recipe, RecipeError, read_recipe
from training.runs import Places, prepare

TINY = {
    "task": "pretraining",
    "data": {"corpora": ["ravdess", "emodb"], "longest_crop": 0.5},
    "model": {"blocks": 2, "frozen_blocks": 0},
    "augmentation": {"views": 0},
    "pretrain": {"layer": 1, "clusters": 4, "span": 3, "dimension": 8},
    "schedule": {"steps": 30, "batch_size": 8, "evaluate_every": 15, "encoder_learning_rate": 1e-3, "seed": 3},
}


@pytest.fixture
def recipe(tmp_path: Path) -> PretrainingRecipe:
    file = tmp_path / "unlabelled.yaml"
    file.write_text(yaml.safe_dump(TINY))
    found = read_recipe(file)
    assert isinstance(found, PretrainingRecipe)
    return found


def test_logits_are_the_papers() -> None:
    """Over K columns at temperature 0.1; the original's form has K + 1, the positive first and minus infinity in its own column."""
    torch.manual_seed(0)
    projected, clusters = torch.randn(5, 8), torch.rand(7, 8)
    target = torch.tensor([0, 3, 6, 2, 2])
    logits = cosine_logits(projected, clusters, 0.1)
    assert float(logits.abs().max()) <= 10.0
    cosines = F.cosine_similarity(projected[:, None], clusters[None], dim=-1) / 0.1
    published = torch.cat([cosines.gather(1, target[:, None]), cosines.scatter(1, target[:, None], -torch.inf)], dim=1)
    expected = F.cross_entropy(published, torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(F.cross_entropy(logits, target), expected, atol=1e-6, rtol=1e-6)


def test_masks_are_the_papers() -> None:
    options = Pretraining()
    random = np.random.default_rng(0)
    drawn = [spans(200, options, random) for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(1 - math.exp(-0.8), abs=0.03)
    for mask in drawn:
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]]))))[::2]
        assert runs.min() >= options.span
    assert not spans(10, options, random).any() and spans(12, options, random).sum() >= 10


def test_test_speakers_and_corpora_left_out_are_not_heard(recipe: PretrainingRecipe, places: Places) -> None:
    speech = speech_of(recipe, places)
    assert {example.speaker for example in speech.train} == {"ravdess/01", "ravdess/03", "emodb/08", "emodb/09"}
    assert {example.speaker for example in speech.validation} == {"ravdess/02", "emodb/03"}
    assert {example.utterance.label for example in speech.train} > {"boredom"} or len(speech.train) > 20  # labels do not count
    without = replace(recipe, data=replace(recipe.data, leave_out=("emodb",)))
    assert {example.corpus for example in speech_of(without, places).train} == {"ravdess"}
    with pytest.raises(RecipeError, match="none left"):
        speech_of(replace(recipe, data=replace(recipe.data, leave_out=("ravdess", "emodb"))), places)


def test_a_run_learns_and_its_weights_start_another(
    recipe: PretrainingRecipe, places: Places, tiny: Callable[..., Recipe], start_weights: Path
) -> None:
    file = run_pretrain(recipe, places)
    record = json.loads((file.parent / "record.json").read_text())
    first, last = record["history"]
    assert last["validation_loss"] < first["validation_loss"] < math.log(4) * 1.5
    before, after = CompactEncoder(2).load_whisper(start_weights), CompactEncoder(2).load_whisper(file)
    assert torch.equal(before.conv1.weight, after.conv1.weight)
    assert not torch.equal(before.blocks[0].mlp[0].weight, after.blocks[0].mlp[0].weight)
    run = prepare(tiny(f"model.start={file}"), places)
    assert run.source.weights == file
    assert torch.equal(run.model().encoder.blocks[1].mlp[0].weight, after.blocks[1].mlp[0].weight)
    with pytest.raises(FileNotFoundError, match=r"model\.start"):
        prepare(tiny("model.start=nowhere.npz"), places)


def test_a_killed_run_goes_on_as_if_it_had_not_been(recipe: PretrainingRecipe, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.load(run_pretrain(recipe, places))
    monkeypatch.setattr(steps, "SAVE_SECONDS", -1.0)
    original = pretrain._loss
    calls = 0

    def killed(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 11:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    other = replace(recipe, name="killed")
    monkeypatch.setattr(pretrain, "_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run_pretrain(other, places)
    monkeypatch.setattr(pretrain, "_loss", original)
    again = np.load(run_pretrain(other, places))
    assert all(np.array_equal(whole[name], again[name]) for name in whole.files)


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
    with pytest.raises(RecipeError, match="a block above"):
        run_pretrain(replace(recipe, model=replace(recipe.model, frozen_blocks=2)), places)
    assert isinstance(read_recipe("pretrain"), PretrainingRecipe)
