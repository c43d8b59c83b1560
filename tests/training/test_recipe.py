"""Recipes: a diff against the defaults, in the types of the dataclasses; what is wrong is named, with what there is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from training.__main__ import main
from training.recipe import RECIPES, Recipe, RecipeError, Schedule, read_recipe

SHIPPED = sorted(file.stem for file in RECIPES.glob("*.yaml") if file.stem not in ("defaults", "splits"))


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


DATA = "data: {corpora: [ravdess], labels: [happy, sad]}\n"


def test_a_recipe_is_a_diff_against_the_defaults(recipe_file: Callable[[str], Path]) -> None:
    defaults = read_recipe(recipe_file(DATA))
    changed = read_recipe(recipe_file(DATA + "schedule: {steps: 5}\naugmentation: {chances: {noise: 0.25}}\n"))
    assert defaults.schedule.steps != 5 and defaults.augmentation.chances.noise != 0.25
    assert changed.schedule == dataclasses.replace(defaults.schedule, steps=5)
    chances = dataclasses.replace(defaults.augmentation.chances, noise=0.25)
    assert changed == dataclasses.replace(
        defaults, schedule=changed.schedule, augmentation=dataclasses.replace(defaults.augmentation, chances=chances)
    )


def test_defaults_file_stands_above_the_fields_own_defaults(recipe_file: Callable[[str], Path]) -> None:
    recipe = read_recipe(recipe_file(DATA))
    assert recipe.data.longest_crop == 2.5 != type(recipe.data)().longest_crop
    assert recipe.schedule.weight_decay == Schedule().weight_decay  # not in defaults.yaml


def test_name_is_the_files_or_the_given_one(recipe_file: Callable[[str], Path]) -> None:
    assert read_recipe(recipe_file(DATA)).name == "mine"
    assert read_recipe(recipe_file(DATA + "name: theirs\n")).name == "theirs"
    assert read_recipe(recipe_file(DATA), name="ours").name == "ours"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_by_name(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name and recipe.summary
    if recipe.task == "pretraining" or recipe.model.encoder is not None:  # what it makes is no checkpoint
        return
    assert {"license", "commercial_use", "system", "languages", "trained_on"} <= set(recipe.register)
    assert {entry["corpus"] for entry in recipe.register["trained_on"]} == set(recipe.data.corpora)
    assert recipe.all_labels == recipe.data.labels + recipe.data.more_labels


def test_a_recipe_may_be_like_another(recipe_file: Callable[[str], Path], tmp_path: Path) -> None:
    for shift, twin in (("shiftcnn", "cnn"), ("shiftformer", "transformer"), ("shiftlstm", "lstm")):
        for suffix in ("-frozen", "") if shift != "shiftcnn" else ("-frozen",):  # twins differ in the head alone
            found, base = read_recipe(shift + suffix), read_recipe(twin + suffix)
            assert found.model == replace(base.model, head=shift) and found.schedule == base.schedule and found.data == base.data
    file = recipe_file("like: cnn\nmodel: {pool: 1}\n")
    assert read_recipe(file).model == replace(read_recipe("cnn").model, pool=1)
    (tmp_path / "a.yaml").write_text("like: b\n")
    (tmp_path / "b.yaml").write_text("like: a\n")
    with pytest.raises(RecipeError, match="a -> b -> a"):
        read_recipe(tmp_path / "a.yaml")
    with pytest.raises(RecipeError, match="no recipe"):
        read_recipe(recipe_file("like: nothing\n"))


def test_an_option_left_at_none_does_not_change_the_checksum(tiny: Callable[..., Recipe]) -> None:
    before = tiny()
    assert before.model.first_layer is None
    assert replace(before, model=replace(before.model, first_layer=0)).checksum() != before.checksum()
    parts = {name: value for name, value in before.to_dict().items() if name not in ("name", "summary", "register")}
    later = (
        "first_layer",
        "encoder",
        "start",
        "encoder_of",
        "readouts_of",
        "standardise_statistics",
        "mean_of_readouts",
        "statistics_anew",
    )
    for section, options in (
        ("data", ("first_share",)),
        ("model", later),
        ("schedule", ("voices", "statistics_steps", "whole_clip_steps", "whole_clip_voices", "apart")),
    ):
        parts[section] = {name: value for name, value in parts[section].items() if name not in options}
    chances = parts["augmentation"]["chances"]
    parts["augmentation"]["chances"] = {name: value for name, value in chances.items() if name != "made_up_room"}
    assert hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest() == before.checksum()


# overrides


def test_overrides_are_yaml_and_change_their_field_alone(tiny: Callable[..., Recipe]) -> None:
    before = tiny()
    after = tiny("data.leave_out=[emodb]", "schedule.steps=7", "model.head_options.dropout=0.5", "data.rename={emodb: {fear: sad}}")
    assert after.data.leave_out == ("emodb",) and after.schedule.steps == 7
    assert after.model.head_options == {"expansion": 1, "dropout": 0.5}
    assert after.data.rename == {"emodb": {"fear": "sad"}}
    assert after.data.labels == before.data.labels and after.model.blocks == before.model.blocks


def test_a_later_override_wins(tiny: Callable[..., Recipe]) -> None:
    assert tiny("schedule.steps=7", "schedule.steps=9").schedule.steps == 9


# types


@pytest.mark.parametrize(("text", "value"), [("5e-4", 0.0005), ("5.0e-4", 0.0005), ("1", 1.0), ("0.25", 0.25), ("'2e-3'", 0.002)])
def test_numbers_as_people_write_them(tiny: Callable[..., Recipe], text: str, value: float) -> None:
    found = tiny(f"schedule.learning_rate={text}").schedule.learning_rate
    assert found == value and isinstance(found, float)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("schedule.voices=5e-1", 0.5),
        ("data.first_share=0.5", 0.5),
        ("schedule.apart=false", False),
        ("model.first_layer=0", 0),
        ("model.encoder_of=another", "another"),
        ("schedule.voices=", None),
        ("model.first_layer=null", None),
    ],
)
def test_an_option_that_may_be_none_is_of_its_type_where_it_is_not(tiny: Callable[..., Recipe], override: str, value: object) -> None:
    section, _, field = override.partition("=")[0].partition(".")
    found = getattr(getattr(tiny(override), section), field)
    assert found == value and type(found) is type(value)


def test_lists_become_tuples_of_their_type(tiny: Callable[..., Recipe]) -> None:
    chances = tiny("augmentation.chances.snr_db=[5, 2e1]", "augmentation.chances.kilobits=[8, 16, 32]").augmentation.chances
    assert chances.snr_db == (5.0, 20.0) and all(isinstance(value, float) for value in chances.snr_db)
    assert chances.kilobits == (8, 16, 32)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.steps=2.5", "steps is int"),
        ("schedule.steps=true", "steps is int"),
        ("schedule.keep=3", "keep is str"),
        ("schedule.learning_rate=fast", "learning_rate is a number"),
        ("schedule.learning_rate=true", "learning_rate"),
        ("schedule.learning_rate=", "learning_rate"),
        ("data.labels=happy", "labels is a list"),
        ("data.labels=[1, 2]", "labels is str"),
        ("augmentation.chances.snr_db=[5]", "snr_db is a list of 2"),
        ("schedule.voices=many", "voices is a number"),
        ("schedule.apart=nein", "apart is bool"),
        ("schedule.apart=1", "apart is bool"),
        ("schedule.statistics_steps=2.5", "statistics_steps is int"),
        ("model.first_layer=x", "first_layer is int"),
        ("model.encoder_of=3", "encoder_of is str"),
        ("model.head_options=3", "head_options is a mapping"),
        ("schedule=3", "schedule is a section"),
        ("schedule.steps=[1", "not YAML"),
        ("schedule.steps", "section.field=value"),
        # fields and sections that do not exist: what there is, is listed
        ("schedule.stepps=3", "Schedule has no stepps; it has steps, batch_size"),
        ("scheduel.steps=3", "Recipe has no scheduel; it has name, summary, task, data, model, augmentation, schedule, register"),
        ("augmentation.chances.nois=1", "Chances has no nois; it has noise"),
        # values that cannot be
        ("data.labels=[happy]", "two labels"),
        ("data.more_labels=[happy]", "repeats"),
        ("model.frozen_blocks=3", "frozen_blocks 3 is not within the encoder's 2 blocks"),
        ("schedule.keep=worst", "best or last"),
    ],
)
def test_what_is_wrong_is_named(tiny: Callable[..., Recipe], override: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        tiny(override)
    assert message in str(error.value)


def test_a_file_that_is_no_mapping(recipe_file: Callable[[str], Path]) -> None:
    with pytest.raises(RecipeError, match=r"mine\.yaml is not a mapping"):
        read_recipe(recipe_file("- 3\n"))


def test_an_unknown_recipe_is_an_error_that_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError) as error:
        read_recipe("shiftcn")
    assert all(name in str(error.value) for name in SHIPPED) and "defaults," not in str(error.value)
    assert main(["fit", "shiftcn"]) == 2
    assert capsys.readouterr().err.startswith("error: no recipe")


def test_an_unknown_field_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", SHIPPED[0], "--set", "schedule.stepps=3"]) == 2
    assert "it has steps" in capsys.readouterr().err


# the checksum


def test_checksum_is_of_what_changes_the_weights(tiny: Callable[..., Recipe]) -> None:
    recipe = tiny()
    same = tiny("summary=Another", "register={license: MIT}", name="another")
    assert same != recipe and same.checksum() == recipe.checksum()
    changes = ("schedule.seed=8", "data.labels=[happy, sad]", "model.pool=1", "augmentation.chances.room=1", "model.head_options.kernel=3")
    sums = {recipe.checksum(), *(tiny(change).checksum() for change in changes)}
    assert len(sums) == 1 + len(changes)


def test_checksum_is_of_values_and_not_of_how_they_are_written(tiny: Callable[..., Recipe]) -> None:
    first = tiny("schedule.learning_rate=5e-4", "augmentation.chances.snr_db=[5, 30]")
    second = tiny("schedule.learning_rate=0.0005", "augmentation.chances.snr_db=[5.0, 3e1]")
    assert first.checksum() == second.checksum()
