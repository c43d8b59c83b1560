"""Recipes that go on from another run's encoder (`model.encoder_of`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from emoser.digests import sha256
from training import crossval
from training.crossval import Protocol, run_crossval
from training.encoders.compact import CompactEncoder
from training.leaving_out import without
from training.loop import fit
from training.recipe import Recipe, RecipeError
from training.runs import Places, Prepared, load_encoder_of, origin_digests, prepare, run_fit
from training.steps import RUNNING, Running


@pytest.fixture
def going_on(tiny: Callable[..., Recipe]) -> Recipe:
    recipe = tiny()
    return replace(recipe, model=replace(recipe.model, encoder_of="first", blocks=2, frozen_blocks=1))


def first_run(runs: Path, recipe: Recipe, encoder: CompactEncoder) -> None:
    (runs / "first").mkdir(parents=True)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({**state, "head.weight": torch.zeros(2)}, runs / "first" / "weights.pt")
    (runs / "first" / "record.json").write_text(json.dumps({"recipe": recipe.to_dict()}))


def trained_and_new() -> tuple[CompactEncoder, CompactEncoder]:
    torch.manual_seed(0)
    trained = CompactEncoder(2)
    new = CompactEncoder(2)
    new.load_state_dict(trained.state_dict())
    with torch.no_grad():
        for parameter in trained.blocks[1].parameters():
            parameter += 1
    return trained, new


def test_the_upper_blocks_are_taken_over(going_on: Recipe, tmp_path: Path) -> None:
    trained, new = trained_and_new()
    first_run(tmp_path, going_on, trained)
    load_encoder_of(going_on, new, tmp_path)
    assert all(torch.equal(value, new.state_dict()[name]) for name, value in trained.state_dict().items())
    assert set(origin_digests(going_on, tmp_path)) == {"encoder_of_sha256"}


def test_a_run_that_is_not_there_is_named(going_on: Recipe, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="training fit first"):
        load_encoder_of(going_on, CompactEncoder(2), tmp_path)


@pytest.mark.parametrize("name", ["conv1.weight", "blocks.0.attn_ln.weight"])
def test_what_is_frozen_must_be_the_same(going_on: Recipe, tmp_path: Path, name: str) -> None:
    trained, new = trained_and_new()
    first_run(tmp_path, going_on, trained)
    with torch.no_grad():
        new.state_dict()[name].add_(1)
    with pytest.raises(RecipeError, match=f"another {name}"):
        load_encoder_of(going_on, new, tmp_path)


def test_left_out_corpora_are_left_out_of_the_encoder_too(going_on: Recipe) -> None:
    assert without(going_on, "emodb").model.encoder_of == "first-without-emodb"


def test_folds_take_the_encoder_that_never_heard_their_corpus(
    tiny: Callable[..., Recipe], places: Places, monkeypatch: pytest.MonkeyPatch, accelerate_anew: None
) -> None:
    short = ("schedule.steps=2", "schedule.evaluate_every=2", "augmentation.views=0")
    monkeypatch.setattr("training.leaving_out.read_recipe", lambda name: tiny(*short, name=name))
    recipe = tiny(*short, "model.encoder_of=first", "model.frozen_blocks=2", "model.first_layer=1", name="second")
    run_crossval(recipe, places, Protocol("ravdess", "leave-one-speaker-out", only=("1",)))
    record = json.loads((places.runs / "first-without-ravdess" / "record.json").read_text())
    assert "ravdess" not in record["clips"]["train"] | record["clips"]["validation"]
    (fold,) = (places.runs / "crossval" / "second").rglob("record.json")
    assert json.loads(fold.read_text())["recipe"]["model"]["encoder_of"] == "first-without-ravdess"


def test_a_fold_of_weights_that_were_trained_anew_since_is_not_taken_as_finished(
    tiny: Callable[..., Recipe], places: Places, caplog: pytest.LogCaptureFixture, accelerate_anew: None
) -> None:
    short = ("schedule.steps=2", "schedule.evaluate_every=2", "augmentation.views=0", "model.frozen_blocks=2", "model.first_layer=1")
    before = places.runs / "tiny-without-emodb" / "weights.pt"
    run_fit(tiny(*short, "data.leave_out=[emodb]", name="tiny-without-emodb"), places)
    protocol = Protocol("emodb", "leave-one-speaker-out", multi_corpus="before", only=("1",))
    recipe = tiny(*short)
    run_crossval(recipe, places, protocol)
    (record,) = (places.runs / "crossval").rglob("record.json")
    assert json.loads(record.read_text())["readouts_of_sha256"] == sha256(before)
    weights = torch.load(before, weights_only=True)
    weights["head.classifier.bias"] += 1
    torch.save(weights, before)
    with pytest.raises(RecipeError, match=r"scores\.npz went on from other weights .* readouts_of_sha256 was \w{64} and is \w{64}; .*1-03"):
        run_crossval(recipe, places, protocol)
    found = run_crossval(recipe, places, replace(protocol, only=("2",)))
    assert [fold.fold for fold in found.scores] == ["2-08"] and "left out of the report" in caplog.text
    recorded = json.loads(record.read_text())
    del recorded["readouts_of_sha256"]
    record.write_text(json.dumps(recorded))  # as folds were recorded before
    assert [fold.fold for fold in run_crossval(recipe, places, protocol).scores] == ["1-03", "2-08"]


def test_an_unfinished_run_does_not_go_on_from_other_weights_than_it_began_with(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    state = {"step": 1}
    Running(tmp_path, tiny(), {"encoder_of_sha256": "a"}).write(state)
    assert Running(tmp_path, tiny(), {"encoder_of_sha256": "a"}).read() is not None
    with pytest.raises(RecipeError, match=r"running\.pt went on from other weights .* encoder_of_sha256 was a and is b"):
        Running(tmp_path, tiny(), {"encoder_of_sha256": "b"}).read()
    torch.save({"recipe": tiny().checksum(), **state}, tmp_path / RUNNING)  # as states were written before
    assert Running(tmp_path, tiny(), {"encoder_of_sha256": "b"}).read() is not None


def test_wholly_frozen_blocks_are_those_of_the_run(tiny: Callable[..., Recipe], places: Places, accelerate_anew: None) -> None:
    short = ("schedule.steps=2", "schedule.evaluate_every=2", "augmentation.views=0")
    run_fit(tiny(*short, "schedule.encoder_learning_rate=0.1", name="first"), places)
    after = tiny(*short, "model.encoder_of=first", "model.frozen_blocks=2", "model.first_layer=1", name="second")
    model = run_fit(after, places).trained()
    trained = torch.load(places.runs / "first" / "weights.pt", weights_only=True)
    assert all(torch.equal(value, trained[f"encoder.{name}"]) for name, value in model.encoder.state_dict().items())
    plain = prepare(replace(after, model=replace(after.model, encoder_of=None)), places)
    assert plain.source.key != prepare(after, places).source.key


def test_read_outs_start_as_another_run_left_them(tiny: Callable[..., Recipe], places: Places, accelerate_anew: None) -> None:
    short = ("schedule.steps=2", "schedule.evaluate_every=2", "augmentation.views=0", "model.statistics=8")
    frozen = (*short, "model.frozen_blocks=2", "model.first_layer=1")
    first = tiny(*frozen, "data.labels=[neutral, sad]", "data.more_labels=[fear]", "data.leave_out=[emodb]", name="first")
    run_fit(first, places)
    left = torch.load(places.runs / "first" / "weights.pt", weights_only=True)
    recipe = tiny(*frozen, "model.readouts_of=first", "data.corpora=[emodb]", "data.labels=[sad, fear, neutral]", "data.more_labels=[]")
    began = prepare(recipe, places).model().state_dict()
    assert torch.equal(began["head.blocks.0.dw.weight"], left["head.blocks.0.dw.weight"])
    for layer in ("head.classifier", "statistics.network.5"):
        for kind in ("weight", "bias"):
            assert torch.equal(began[f"{layer}.{kind}"], left[f"{layer}.{kind}"][[1, 2, 0]])  # label by label
    with pytest.raises(RecipeError, match="of another head"):
        prepare(
            tiny(*frozen, "model.readouts_of=first", "data.corpora=[emodb]", "model.head=cnn", "model.head_options={blocks: 3}"), places
        ).model()


def test_read_outs_taught_on_another_encoder_are_refused(tiny: Callable[..., Recipe], places: Places, accelerate_anew: None) -> None:
    short = ("schedule.steps=2", "schedule.evaluate_every=2", "augmentation.views=0", "schedule.encoder_learning_rate=0.1")
    run_fit(tiny(*short, name="first"), places)  # trains the second block
    with pytest.raises(RecipeError, match=r"first has another encoder \(blocks\.1\..*\); model\.encoder_of: first takes it"):
        prepare(tiny(*short, "model.readouts_of=first"), places).model()
    began = prepare(tiny(*short, "model.readouts_of=first", "model.encoder_of=first"), places).model().state_dict()
    left = torch.load(places.runs / "first" / "weights.pt", weights_only=True)
    assert all(torch.equal(value, left[name]) for name, value in began.items())


def test_other_corpora_before_need_a_wholly_frozen_encoder(tiny: Callable[..., Recipe], places: Places) -> None:
    with pytest.raises(RecipeError, match=r"--multi-corpus before: tiny trains blocks of the encoder"):
        run_crossval(tiny(), places, Protocol("ravdess", "leave-one-speaker-out", multi_corpus="before"))


def test_read_outs_keep_the_scale_that_they_were_taught_on(tiny: Callable[..., Recipe], places: Places, accelerate_anew: None) -> None:
    options = ("model.frozen_blocks=2", "model.first_layer=1", "model.statistics=8", "model.standardise_statistics=true")
    short = (*options, "schedule.steps=2", "schedule.evaluate_every=2", "augmentation.views=0")
    run_fit(tiny(*short, "data.leave_out=[emodb]", name="tiny-without-emodb"), places)
    taught = torch.load(places.runs / "tiny-without-emodb" / "weights.pt", weights_only=True)
    prepared: list[Prepared] = []

    def kept(run: Prepared, *_: object, **__: object) -> None:
        prepared.append(run)
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(crossval, "train_and_test", kept)
        run_crossval(tiny(*short), places, Protocol("emodb", "leave-one-speaker-out", multi_corpus="before", only=("1",)))
    (run,) = prepared
    fitted = fit(run.recipe, run.model(), run.examples, run.features, run.folder).state
    scales = [name for name in taught if name.endswith((".mean", ".deviation"))]
    assert len(scales) >= 4 and all(torch.equal(fitted[name], taught[name]) for name in scales)
    alone = replace(run.recipe, model=replace(run.recipe.model, readouts_of=None))
    fitted = fit(alone, replace(run, recipe=alone).model(), run.examples, run.features, run.folder).state
    assert not torch.equal(fitted["mix.mean"], taught["mix.mean"])
