"""The second read-out: its statistics on one scale, and the steps in which it learns alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from training import loop, steps
from training.crossval import Protocol, run_crossval
from training.loop import Draws
from training.pooled import PooledDraws
from training.recipe import Recipe, RecipeError
from training.runs import Places, Prepared, prepare, run_evaluate, run_fit
from training.steps import UNTRAINED

pytestmark = pytest.mark.usefixtures("accelerate_anew")


@pytest.fixture
def prepared(tiny: Callable[..., Recipe], places: Places) -> Callable[..., Prepared]:
    """prepared("schedule.steps=3", ...): over the shared cache, in a folder of its own."""
    return lambda *overrides: prepare(tiny(*overrides), places)


def test_statistics_are_standardised_by_the_training_clips(prepared: Callable[..., Prepared]) -> None:
    run = prepared("model.statistics=8", "model.standardise_statistics=true", "schedule.steps=1")
    model = run.model()
    draws = Draws(run.recipe, run.examples.train, run.features)
    loop._standardise(model, draws)
    assert model.statistics is not None and model.statistics.standardised is not None
    batches = [draws[UNTRAINED + index] for index in range(8)]  # what it was taken from
    with torch.no_grad():
        seen = torch.cat(
            [model.pool_states(batch.hidden, batch.frames).vector[:, -model.statistics.standardised.mean.numel() :] for batch in batches]
        )
        scaled = model.statistics.standardised(seen)
    moving = seen.std(0) > 1e-3
    torch.testing.assert_close(scaled.mean(0)[moving], torch.zeros(int(moving.sum())), atol=1e-3, rtol=0)
    torch.testing.assert_close(scaled.std(0)[moving], torch.ones(int(moving.sum())), atol=1e-3, rtol=0)
    # and the read-out reads them so
    torch.testing.assert_close(model.eval().statistics(seen), model.statistics.network(scaled))


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_read_out_that_begins_anew_takes_its_scale_then(prepared: Callable[..., Prepared], precision: str) -> None:
    options = ("model.statistics=8", "model.standardise_statistics=true", "schedule.steps=1", "schedule.evaluate_every=1")
    later = prepared(*options, "schedule.whole_clip_steps=1", f"schedule.precision='{precision}'")
    model = later.model()
    assert model.statistics is not None and model.statistics.standardised is not None
    scale = model.statistics.standardised
    draws = Draws(later.recipe, later.examples.train, later.features)
    loop._standardise(model, draws, statistics=False)
    assert (scale.mean == 0).all() and (scale.deviation == 1).all() and (model.mix.mean != 0).any()
    loop.fit(later.recipe, model, later.examples, later.features, later.folder)
    number = range(later.recipe.augmentation.views + 1)
    clips = [loop.pooled_clips(model, later.examples.train, later.features, view, precision == "bf16") for view in number]
    views = torch.cat([each.statistics for each in clips if each.statistics is not None])
    torch.testing.assert_close(scale.mean, views.mean(0), atol=1e-3, rtol=1e-3)
    first = model.statistics.network[1].weight
    assert isinstance(first, torch.Tensor)
    assert torch.equal(first, first.bfloat16().float()) == (precision == "bf16")


def test_the_second_read_out_learns_alone_before_all_else(prepared: Callable[..., Prepared]) -> None:
    options = ("model.statistics=8", "schedule.statistics_steps=3", "schedule.steps=1")
    run = prepared(*options)
    model = run.model()
    assert model.statistics is not None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draws = Draws(run.recipe, run.examples.train, run.features)
    loop._fit_statistics(run.recipe, model, draws, run.folder / "statistics", steps.begin(run.recipe.schedule))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("statistics.network.")}
    batch = draws[0]
    pooled = model.eval().pool_states(batch.hidden, batch.frames)
    assert pooled.statistics is not None
    torch.testing.assert_close(model.statistics_of(batch.hidden, batch.frames), pooled.statistics)


def test_the_second_read_out_learns_anew_from_whole_clips(prepared: Callable[..., Prepared]) -> None:
    options = ("model.statistics=8", "model.standardise_statistics=true", "schedule.whole_clip_steps=40", "schedule.average=0.0")
    run = prepared(*options)
    model, examples = run.model(), run.examples.train
    assert model.statistics is not None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loop._fit_whole_clips(run.recipe, model, examples, run.features, run.folder / "whole-clips", steps.begin(run.recipe.schedule))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("statistics.")}
    again = run.model()  # where it came from is no matter
    assert again.statistics is not None
    with torch.no_grad():
        again.statistics.network[1].weight.zero_()
    loop._fit_whole_clips(run.recipe, again, examples, run.features, run.folder / "again", steps.begin(run.recipe.schedule))
    torch.testing.assert_close(again.statistics.state_dict(), model.statistics.state_dict())
    targets = torch.tensor([example.target for example in examples])
    vectors = loop.pooled_clips(model, examples, run.features).statistics
    assert vectors is not None
    before_it, after_it = (F.cross_entropy(each.eval().statistics(vectors), targets) for each in (run.model(), model))
    assert after_it < before_it


def test_another_read_out_takes_its_place_for_whole_clips(tiny: Callable[..., Recipe], places: Places) -> None:
    options = ("model.statistics=8", "schedule.steps=2", "schedule.evaluate_every=2", "schedule.whole_clip_steps=2")
    same = run_fit(tiny(*options), places)
    (same.folder / "weights.pt").rename(same.folder / "same.pt")
    other = run_fit(tiny(*options, "model.statistics_anew={width: 4, dropout: 0.1}"), places)
    before, after = torch.load(same.folder / "same.pt", weights_only=True), other.trained().state_dict()
    assert {name for name in after if name.startswith("statistics.standardised.")} and after["statistics.network.1.weight"].shape[0] == 4
    offsets = "head.classifier.bias"  # class offsets are fitted on both read-outs
    for name in before:  # all steps before are as they are without it
        if not name.startswith("statistics.") and name != offsets:
            assert torch.equal(after[name], before[name])
    assert run_evaluate(other.recipe, places)["pooled"]["clips"] > 0
    assert other.recipe.model.in_the_end.statistics == 4 and same.recipe.model.in_the_end is same.recipe.model


@pytest.mark.parametrize("missing", [("model.statistics=0", "schedule.whole_clip_steps=2"), ("model.statistics=8",)])
def test_another_read_out_has_a_place_and_steps(tiny: Callable[..., Recipe], missing: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match=r"statistics_anew takes a second read-out's place for schedule\.whole_clip_steps"):
        tiny(*missing, "model.statistics_anew={width: 4, dropout: 0.1}")


def test_whole_clips_are_pooled_in_their_order(prepared: Callable[..., Prepared]) -> None:
    run = prepared("model.statistics=8")
    model = run.model().eval()
    examples = run.examples.train[:5]
    found = loop.pooled_clips(model, examples, run.features, view=1).statistics
    assert found is not None
    for row, example in zip(found, examples, strict=True):
        batch = loop.stack([run.features.get(example, 1)], [0])
        torch.testing.assert_close(row[None], model.statistics_of(batch.hidden, batch.frames))


def test_pooled_clips_change_voices(prepared: Callable[..., Prepared]) -> None:
    run = prepared("model.statistics=8", "schedule.voices=1.0", "schedule.batch_size=64")
    examples = run.examples.train
    speakers = sorted({example.speaker for example in examples})
    # A clip is its speaker's number: moved all of the way, it is another's.
    vectors = torch.tensor([[float(speakers.index(example.speaker))] for example in examples])
    silent = torch.full_like(vectors, -100.0)
    still, moved = (PooledDraws(replace_voices(run.recipe, share), examples, [vectors]) for share in (None, 1.0))
    assert set(still[0].vectors.flatten().tolist()) <= set(range(len(speakers)))
    where = moved[0].vectors.flatten()
    assert (where >= 0).all() and (where <= len(speakers) - 1).all() and not torch.equal(where, still[0].vectors.flatten())
    copies = PooledDraws(replace_voices(run.recipe, None), examples, [vectors, silent])[0]
    assert 0 < int((copies.vectors == -100).sum()) < 64
    alone = replace(run.recipe, schedule=replace(run.recipe.schedule, voices=0.0, whole_clip_voices=1.0))
    torch.testing.assert_close(PooledDraws(alone, examples, [vectors])[0].vectors, moved[0].vectors)
    neither = replace(run.recipe, schedule=replace(run.recipe.schedule, voices=1.0, whole_clip_voices=0.0))
    torch.testing.assert_close(PooledDraws(neither, examples, [vectors])[0].vectors, still[0].vectors)
    for draws in (still, moved):
        torch.testing.assert_close(draws[3].vectors, draws[3].vectors)


def replace_voices(recipe: Recipe, share: float | None) -> Recipe:
    return replace(recipe, schedule=replace(recipe.schedule, voices=share))


@pytest.mark.parametrize("phase", ["statistics_steps", "whole_clip_steps"])
def test_without_a_second_read_out_its_steps_are_an_error(prepared: Callable[..., Prepared], phase: str) -> None:
    run = prepared(f"schedule.{phase}=3", "schedule.steps=1")
    with pytest.raises(RecipeError, match=rf"{phase}: there is no second read-out; model\.statistics"):
        loop.fit(run.recipe, run.model(), run.examples, run.features, run.folder)


def test_a_finished_run_leaves_no_resumable_state_of_either_phase(
    tiny: Callable[..., Recipe], places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SAVE_SECONDS", -1.0)  # saved after every step, as in long phases
    phases = ("model.statistics=8", "schedule.statistics_steps=3", "schedule.whole_clip_steps=3")
    options = (*phases, "schedule.steps=3", "schedule.evaluate_every=3", "augmentation.views=0")
    folder = run_fit(tiny(*options), places).folder
    record = json.loads((folder / "record.json").read_text())
    assert (
        [entry["step"] for entry in record["phases"]["whole-clips"]]
        == [1, 2, 3]
        == [entry["step"] for entry in record["phases"]["statistics"]]
    )
    assert all(entry["loss"] > 0 for phase in record["phases"].values() for entry in phase)
    assert (folder / "statistics").is_dir() and (folder / "whole-clips").is_dir() and not list(folder.rglob(steps.RUNNING))
    run_fit(tiny(*options, "schedule.batch_size=6"), places)  # other settings under the same name
    frozen = ("model.frozen_blocks=2", "model.first_layer=1")
    _, _, root = run_crossval(tiny(*options, *frozen), places, Protocol("emodb", "leave-one-speaker-out", only=("1",)))[:3]
    assert list(root.rglob("statistics")) and not list(root.rglob(steps.RUNNING))
