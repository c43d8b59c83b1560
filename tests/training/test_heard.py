"""No run goes on from one that has heard whoever it is tested on, by whatever way."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from training.corpora import Utterance, load
from training.crossval import Protocol, run_crossval
from training.data import examples_of
from training.heard import check_unheard, known
from training.pretrain import run_pretrain
from training.pretraining.recipe import PretrainingRecipe
from training.recipe import Recipe, RecipeError, read_recipe
from training.runs import Places, prepare

FROZEN = ("model.frozen_blocks=2", "model.first_layer=1", "augmentation.views=0", "schedule.steps=2", "schedule.evaluate_every=2")


def left(places: Places, name: str, recipe: Recipe, file: str = "weights.pt") -> Path:
    """What a run of `recipe` leaves under `name`, as far as its history goes: a file of weights and a record."""
    folder = places.runs / name
    folder.mkdir(parents=True)
    torch.save({}, folder / file)
    (folder / "record.json").write_text(json.dumps({"recipe": recipe.to_dict()}), encoding="utf-8")
    return folder / file


def check(recipe: Recipe, places: Places) -> None:
    found = examples_of(recipe.data, places.corpora)
    tested, validated = ([example.utterance for example in part] for part in (found.test, found.validation))
    check_unheard(recipe, tested, validated, places.runs, places.corpora)


def pretraining(recipe: Recipe) -> PretrainingRecipe:
    return PretrainingRecipe(name="unlabelled", task="pretraining", data=recipe.data, model=recipe.model)


@pytest.mark.parametrize("field", ["encoder_of", "readouts_of"])
def test_the_same_split_is_fine_and_a_corpus_left_out_must_be_left_out_before(
    tiny: Callable[..., Recipe], places: Places, field: str
) -> None:
    left(places, "first", tiny())
    check(tiny(f"model.{field}=first"), places)
    without = tiny(f"model.{field}=first", "data.leave_out=[emodb]", name="second")
    with pytest.raises(RecipeError, match=rf"first \(model\.{field}\) has heard emodb/03, emodb/08, emodb/09, on whom second is tested"):
        check(without, places)
    left(places, "third", tiny("data.leave_out=[emodb]"))
    check(tiny(f"model.{field}=third", "data.leave_out=[emodb]"), places)


def test_a_run_whose_name_alone_says_that_it_never_heard_a_corpus(tiny: Callable[..., Recipe], places: Places) -> None:
    left(places, "first-without-ravdess", tiny())
    recipe = tiny(*FROZEN, "model.encoder_of=first", name="second")
    with pytest.raises(RecipeError, match=r"first-without-ravdess \(model\.encoder_of\) has heard ravdess/01"):
        run_crossval(recipe, places, Protocol("ravdess", "leave-one-speaker-out", only=("1",)))


def test_start_weights_of_a_run(tiny: Callable[..., Recipe], places: Places, start_weights: Path) -> None:
    file = left(places, "unlabelled", pretraining(tiny()), "encoder.npz")
    file.write_bytes(start_weights.read_bytes())
    prepare(tiny("augmentation.views=0", f"model.start={file}"), places)  # the same split
    with pytest.raises(RecipeError, match=r"unlabelled \(model\.start\) has heard emodb/03"):
        prepare(tiny("augmentation.views=0", f"model.start={file}", "data.leave_out=[emodb]"), places)
    with pytest.raises(RecipeError, match=r"unlabelled \(model\.start\) has heard ravdess/01"):
        run_crossval(tiny(*FROZEN, f"model.start={file}"), places, Protocol("ravdess", "leave-one-speaker-out", only=("1",)))


def test_what_a_run_went_on_from_counts_too(tiny: Callable[..., Recipe], places: Places) -> None:
    """A teacher that heard the corpus taught an encoder without labels, which an honest run started from."""
    teacher = left(places, "teacher", tiny())
    pretrained = pretraining(tiny("data.leave_out=[emodb]"))
    pretrained = replace(pretrained, pretrain=replace(pretrained.pretrain, teacher=str(teacher)))
    left(places, "unlabelled", pretrained, "encoder.npz")
    left(places, "first", tiny("data.leave_out=[emodb]", "model.start=elsewhere/unlabelled/encoder.npz"))  # of another machine
    with pytest.raises(RecipeError, match=r"teacher \(pretrain\.teacher of unlabelled\) has heard emodb/03"):
        check(tiny("data.leave_out=[emodb]", "model.encoder_of=first"), places)


def test_a_teacher_must_not_know_what_is_held_out(places: Places, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    file = tmp_path / "unlabelled.yaml"
    values = {
        "task": "pretraining",
        "data": {"corpora": ["ravdess", "emodb"], "leave_out": ["emodb"]},
        "model": {"blocks": 2, "frozen_blocks": 0},
    }
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    recipe = read_recipe(file, [f"pretrain.teacher={left(places, 'teacher', tiny())}"])
    with pytest.raises(RecipeError, match=r"teacher \(pretrain\.teacher\) has heard emodb/03, .*, on whom unlabelled is tested"):
        run_pretrain(recipe, places)


def test_validation_speakers_must_not_have_trained(tiny: Callable[..., Recipe], places: Places) -> None:
    left(places, "first", tiny())
    recipe = tiny("model.encoder_of=first", name="second")
    clips = load("emodb", places.corpora)
    check_unheard(recipe, [], clips.where(speaker="03"), places.runs, places.corpora)  # it validated there
    with pytest.raises(RecipeError, match="was trained on emodb/08, on whom second is validated"):
        check_unheard(recipe, [], clips.where(speaker=["03", "08"]), places.runs, places.corpora)


def test_runs_may_go_on_from_each_other_in_a_circle_and_what_has_no_record_is_warned_of(
    tiny: Callable[..., Recipe], places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    left(places, "first", tiny("model.readouts_of=second"))
    left(places, "second", tiny("model.encoder_of=first"))
    nobody = places.runs / "nobody.npz"
    nobody.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        check(tiny("model.encoder_of=first", f"model.start={nobody}"), places)
    assert "nobody can tell whom it has heard" in caplog.text


def test_clips_of_unknown_speakers_count_as_anybody_of_their_corpus() -> None:
    ada, bo, nobody, other = Utterance("a", "1", "ada"), Utterance("a", "2", "bo"), Utterance("a", "3"), Utterance("b", "4", "ada")
    assert known([ada, other], [bo]) == "" and known([ada, other], [ada]) == "a/ada"
    assert known([nobody], [ada]) == "a" and known([ada], [nobody]) == "a/ada" and known([other], [nobody]) == ""
    assert known([Utterance("a", str(number), str(number)) for number in range(6)], [nobody]) == "a/0, a/1, a/2, a/3 and 2 more"
