"""The second read-out: its statistics on one scale, and the steps in which it learns alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from training import loop, steps
from training.crossval import Protocol, run_crossval
from training.loop import Draws
from training.recipe import Recipe, RecipeError
from training.runs import Places, Prepared, prepare, run_fit
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


def test_without_a_second_read_out_its_steps_are_an_error(prepared: Callable[..., Prepared]) -> None:
    run = prepared("schedule.statistics_steps=3")
    with pytest.raises(RecipeError, match=r"no second read-out; model\.statistics"):
        loop.fit(run.recipe, run.model(), run.examples, run.features, run.folder)


def test_a_finished_run_leaves_no_resumable_state_of_either_phase(
    tiny: Callable[..., Recipe], places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SAVE_SECONDS", -1.0)  # saved after every step, as in long phases
    options = ("model.statistics=8", "schedule.statistics_steps=3", "schedule.steps=3", "schedule.evaluate_every=3", "augmentation.views=0")
    folder = run_fit(tiny(*options), places).folder
    assert (folder / "statistics").is_dir() and not list(folder.rglob(steps.RUNNING))
    run_fit(tiny(*options, "schedule.batch_size=6"), places)  # other settings under the same name
    frozen = ("model.frozen_blocks=2", "model.first_layer=1")
    _, _, root = run_crossval(tiny(*options, *frozen), places, Protocol("emodb", "leave-one-speaker-out", only=("1",)))[:3]
    assert list(root.rglob("statistics")) and not list(root.rglob(steps.RUNNING))
