"""Training on a tree of a few dozen clips: the draws, the loss, a run that learns, and one that was killed and goes on as if it had not."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from training import loop, runs, steps
from training.__main__ import main
from training.data import Example
from training.features import Features
from training.loop import Batch, Draws, Fitted, fit, logits_of, loss_of, stack, whole_clips
from training.recipe import Recipe, RecipeError, Schedule
from training.runs import CLONE, Places, Prepared, prepare, run_evaluate
from training.steps import RUNNING, UNTRAINED, Average

pytestmark = pytest.mark.usefixtures("accelerate_anew")


@pytest.fixture
def prepared(tiny: Callable[..., Recipe], places: Places) -> Callable[..., Prepared]:
    """prepared("schedule.steps=3", ...): over the shared cache, in a folder of its own."""
    return lambda *overrides, name=None: prepare(tiny(*overrides, name=name), places)


def trained_by(run: Prepared) -> Fitted:
    return fit(run.recipe, run.model(), run.examples, run.features, run.folder)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


# draws


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in ("hidden", "frames", "targets", "order", "share"))


def test_a_draw_follows_seed_step_and_process_alone(prepared: Callable[..., Prepared], tiny: Callable[..., Recipe]) -> None:
    run = prepared("schedule.mixup=0.4")

    def draws(recipe: Recipe = run.recipe, process: int = 0) -> Draws:
        return Draws(recipe, run.examples.train, run.features, process)

    first = draws()
    expected = [first[step] for step in range(3)]
    again = draws()
    assert all(same(again[step], expected[step]) for step in (2, 0, 1))
    others = [again[3], draws(process=1)[0], draws(tiny("schedule.mixup=0.4", "schedule.seed=8"))[0]]
    assert not any(same(other, expected[0]) for other in others)


def test_a_draw_has_the_recipes_size_and_crops(prepared: Callable[..., Prepared]) -> None:
    run = prepared("data.longest_crop=0.3")
    draws = Draws(run.recipe, run.examples.train, run.features)
    firsts = set()
    for step in range(4):
        batch = draws[step]
        assert batch.hidden.shape == (12, 15, 384) and batch.frames.tolist() == [15] * 12
        assert torch.equal(batch.order, torch.arange(12)) and torch.equal(batch.share, torch.ones(12))  # mixup is off
        firsts |= {tuple(row[0, :4].tolist()) for row in batch.hidden}
    clips = len(run.examples.train)
    assert len(firsts) > 0.6 * 48 > clips  # other crops and views of the same few clips


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.0), (0.5, 0.3, 0.7), (1.0, 1.0, 1.0)])
def test_share_of_clean_clips(
    prepared: Callable[..., Prepared], tiny: Callable[..., Recipe], share: float, low: float, high: float
) -> None:
    run = prepared()
    views: list[int] = []

    class Spy(Features):
        def get(self, example: Example, view: int) -> Any:
            views.append(view)
            return super().get(example, min(view, 1))  # two of the three views are not computed here

    recipe = tiny(f"augmentation.clean_share={share}", "augmentation.views=3", "schedule.batch_size=60")
    assert Draws(recipe, run.examples.train, Spy(run.features.folder))[0].hidden.shape[0] == 60 == len(views)
    assert low <= views.count(0) / 60 <= high
    assert share == 1.0 or {1, 2, 3} <= set(views) <= {0, 1, 2, 3}


def test_mixing_shares(prepared: Callable[..., Prepared]) -> None:
    run = prepared("schedule.mixup=0.4", "schedule.batch_size=40")
    batch = Draws(run.recipe, run.examples.train, run.features)[0]
    assert sorted(batch.order.tolist()) == list(range(40))
    assert 0.5 <= float(batch.share.min()) < 0.7 and float(batch.share.max()) > 0.95
    soft = batch.soft_targets(5)
    torch.testing.assert_close(soft.sum(1), torch.ones(40))
    for row, target, other, share in zip(soft, batch.targets, batch.targets[batch.order], batch.share, strict=True):
        assert float(row[target]) == pytest.approx(1.0 if target == other else float(share))


def test_whole_clips_are_each_read_once_in_bounded_batches(prepared: Callable[..., Prepared]) -> None:
    run = prepared()
    test = run.examples.test
    seen: list[int] = []
    for indices, batch in whole_clips(test, run.features, 0, frames_a_batch=90):
        assert len(indices) * int(batch.frames.max()) <= 90
        for index, row, frames in zip(indices, batch.hidden, batch.frames.tolist(), strict=True):
            expected = torch.from_numpy(run.features.get(test[index], 0).astype(np.float32))
            assert torch.equal(row[:frames], expected) and not bool(row[frames:].any())
        seen += indices
    assert sorted(seen) == list(range(len(test)))


def test_draws_name_the_speakers_of_their_clips(prepared: Callable[..., Prepared]) -> None:
    run = prepared("schedule.voices=0.5")
    draws = Draws(run.recipe, run.examples.train, run.features)
    targets = {(example.speaker, example.target) for example in run.examples.train}
    ways = []
    for step in range(20):
        batch = draws[step]
        names = [draws.voices.speakers[number] for number in batch.speakers.tolist()]
        assert set(zip(names, batch.targets.tolist(), strict=True)) <= targets
        ways += batch.way.tolist()
    assert 0.4 < np.mean(np.array(ways) == 0) < 0.6 and max(ways) <= 1.0


def test_logits_come_in_the_order_of_the_examples(prepared: Callable[..., Prepared]) -> None:
    run = prepared()
    model = run.model()
    logits = logits_of(model, run.examples.test, run.features, 0)
    assert logits.shape == (15, 5)
    for index, example in enumerate(run.examples.test):
        single = logits_of(model, [example], run.features, 0)
        np.testing.assert_allclose(logits[index], single[0], atol=2e-5)


# the loss


def test_loss_is_cross_entropy_over_all_classes_and_over_the_checkpoints_own() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(6, 5, generator=generator), torch.tensor([0, 3, 4, 1, 4, 2])
    soft = F.one_hot(targets, 5).float()
    everything = F.cross_entropy(logits, targets, label_smoothing=0.1)
    inside = targets < 4
    own = F.cross_entropy(logits[inside, :4], targets[inside], label_smoothing=0.1)
    for weight in (0.0, 0.3, 1.0):
        found = loss_of(logits, soft, 4, Schedule(label_smoothing=0.1, subset_loss=weight))
        torch.testing.assert_close(found, (1 - weight) * everything + weight * own)
    torch.testing.assert_close(loss_of(logits, soft, 5, Schedule(label_smoothing=0.1, subset_loss=0.3)), everything)


def test_loss_of_mixed_targets_is_the_mix_of_the_losses() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, generator=generator)
    share, order = torch.tensor([0.7, 1.0, 0.5, 0.9]), torch.tensor([1, 0, 3, 2])
    targets = torch.tensor([0, 1, 2, 2])
    soft = Batch(logits, targets, targets, order, share, targets, targets, share).soft_targets(3)
    each = [F.cross_entropy(logits, goal, reduction="none") for goal in (targets, targets[order])]
    expected = (share * each[0] + (1 - share) * each[1]).mean()
    torch.testing.assert_close(loss_of(logits, soft, 3, Schedule(label_smoothing=0)), expected)


def test_no_clip_of_the_checkpoints_own_labels_in_a_batch() -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    loss = loss_of(logits, F.one_hot(torch.tensor([2, 2]), 3).float(), 2, Schedule(label_smoothing=0, subset_loss=0.5))
    torch.testing.assert_close(loss, 0.5 * F.cross_entropy(logits, torch.tensor([2, 2])))


# averaged weights


def test_average_follows_its_decay_and_forgets_the_start() -> None:
    model = nn.Linear(1, 1, bias=False)

    def set_to(value: float) -> None:
        with torch.no_grad():
            model.weight.fill_(value)

    set_to(100.0)
    average = Average(model, 0.9)
    expected = 100.0
    for step in range(200):
        set_to(float(step % 7))
        average.update(model, step)
        decay = min(0.9, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * (step % 7)
        assert average.state["weight"].item() == pytest.approx(expected, abs=1e-4)
    assert 1 < average.state["weight"].item() < 5
    off = Average(model, 0.0)
    set_to(42.0)
    off.update(model, 0)
    assert off.state["weight"].item() == 42.0


def test_average_takes_counters_as_they_are() -> None:
    model = nn.BatchNorm1d(2)
    average = Average(model, 0.9)
    model(torch.randn(3, 2))
    average.update(model, 0)
    assert average.state["num_batches_tracked"].item() == 1


def test_averaging_does_not_change_what_is_trained(prepared: Callable[..., Prepared]) -> None:
    short = ("schedule.steps=4", "schedule.evaluate_every=4", "schedule.keep=last")
    plain = trained_by(prepared(*short, "schedule.average=0", name="plain"))
    averaged = trained_by(prepared(*short, "schedule.average=0.9", name="averaged"))
    assert plain.history[-1]["loss"] == averaged.history[-1]["loss"]
    assert not equal(plain.state, averaged.state)


# a run


def test_a_run_learns(trained: tuple[Prepared, Places]) -> None:
    record = trained[0].record()
    losses = [entry["loss"] for entry in record["history"]]
    assert [entry["step"] for entry in record["history"]] == [6, 12]
    assert losses[1] < 0.75 * losses[0]
    assert record["validation"]["mean_uar"] > 0.7  # chance is 0.25


def test_what_a_run_leaves(trained: tuple[Prepared, Places]) -> None:
    run, _ = trained
    assert {path.name for path in run.folder.iterdir()} == {"weights.pt", "record.json", "test.json", "tensorboard"}
    assert list((run.folder / "tensorboard").glob("events.*"))
    record, test = run.record(), json.loads((run.folder / "test.json").read_text())
    assert record["recipe_sha256"] == test["recipe_sha256"] == run.recipe.checksum()
    assert record["clips"] == run.examples.description and record["corpora_sha256"] == run.examples.checksum
    assert record["kept_step"] in (6, 12) and 0.05 <= record["temperature"] <= 20
    assert {"clean", "degraded", "clean/emodb", "clean/ravdess", "clean/pooled", "selection"} <= set(record["history"][0])
    assert test["pooled"]["clips"] == 15 and set(test["corpora"]) == {"emodb", "ravdess"}


def test_frozen_blocks_stay_and_the_others_move(trained: tuple[Prepared, Places]) -> None:
    run, _ = trained
    start, end = run.model().state_dict(), run.trained().state_dict()
    frozen = [name for name in start if name.startswith(("encoder.conv", "encoder.positional", "encoder.blocks.0."))]
    assert len(frozen) == 20
    assert all(torch.equal(start[name], end[name]) for name in frozen)
    moved = [name for name in start if name not in frozen and not torch.equal(start[name], end[name])]
    assert {"encoder.blocks.1.attn.query.weight", "mix.weight", "mix.mean", "head.classifier.weight"} <= set(moved)


def test_two_runs_give_the_same_weights(prepared: Callable[..., Prepared]) -> None:
    short = ("schedule.steps=3", "schedule.evaluate_every=3")
    first, second = (trained_by(prepared(*short, name=name)) for name in ("first", "second"))
    assert equal(first.state, second.state)
    assert not equal(first.state, trained_by(prepared(*short, "schedule.seed=8", name="third")).state)


@pytest.mark.parametrize(("keep", "step"), [("best", 2), ("last", 3)])
def test_which_weights_are_kept(prepared: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch, keep: str, step: int) -> None:
    selections, averages = iter([0.5, 0.9, 0.4]), []

    def scripted(recipe: Recipe, model: nn.Module, *rest: Any) -> dict[str, float]:
        averages.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"selection": next(selections)}

    monkeypatch.setattr(loop, "_validate", scripted)
    run = prepared("schedule.steps=3", "schedule.evaluate_every=1", f"schedule.keep={keep}")
    model = run.model()
    fitted = fit(run.recipe, model, run.examples, run.features, run.folder)
    assert fitted.step == step
    assert equal(model.state_dict(), fitted.state)
    kept = averages[step - 1]
    kept["head.classifier.bias"][:4] += torch.tensor(fitted.offsets)
    torch.testing.assert_close(fitted.state.pop("head.classifier.bias"), kept.pop("head.classifier.bias"))
    assert equal(fitted.state, kept) and not equal(averages[1], averages[2])


def test_rates_and_decay_by_depth(prepared: Callable[..., Prepared]) -> None:
    run = prepared("model.frozen_blocks=0", "schedule.layer_decay=0.5", "schedule.encoder_learning_rate=0.01", "schedule.learning_rate=0.1")
    model = run.model()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(parameter)]: group for group in steps.parameter_groups(model, run.recipe.schedule) for parameter in group["params"]}
    rates = {name: group["peak"] for name, group in found.items()}
    assert rates["head.classifier.weight"] == 0.1
    assert rates["encoder.blocks.1.mlp.0.weight"] == 0.01 and rates["encoder.blocks.0.mlp.0.weight"] == 0.005
    assert found["head.classifier.weight"]["weight_decay"] == run.recipe.schedule.weight_decay
    assert found["head.classifier.bias"]["weight_decay"] == 0 and found["encoder.blocks.0.mlp_ln.weight"]["weight_decay"] == 0
    still = steps.parameter_groups(model, replace(run.recipe.schedule, encoder_learning_rate=0.0))
    assert {group["peak"] for group in still} == {0.1}
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())


# killed and gone on


class Killed(BaseException):
    """As a signal ends a process: nothing catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    drawn = Draws.__getitem__

    def draw(self: Draws, index: int) -> Batch:
        if index == step:
            raise Killed
        return drawn(self, index)

    monkeypatch.setattr(Draws, "__getitem__", draw)


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (
            "schedule.precision=bf16",
            "schedule.mixup=0.4",
            "schedule.voices=0.7",
            "model.statistics=16",
            "schedule.average=0.9",
            "schedule.keep=last",
        ),
    ],
    ids=["plain", "bf16, statistics, mixing"],
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    prepared: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch, changes: tuple[str, ...]
) -> None:
    """Killed twice: between two validations, and right after one. Weights to the bit, and the history but for its clock."""
    options = ("schedule.steps=7", "schedule.evaluate_every=3", *changes)
    whole = trained_by(prepared(*options, name="whole"))
    run = prepared(*options, name="killed")
    for step in (2, 6):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(steps, "SAVE_SECONDS", -1.0)
            kill_at(patch, step)
            trained_by(run)
        saved = torch.load(run.folder / RUNNING, weights_only=False)
        assert saved["step"] == step
    resumed = trained_by(run)
    assert equal(resumed.state, whole.state)
    assert resumed.temperature == whole.temperature and resumed.step == whole.step
    assert len(whole.history) == 3
    for first, second in zip(resumed.history, whole.history, strict=True):
        assert first | {"seconds": 0} == second | {"seconds": 0}


def test_a_run_goes_on_and_does_not_begin_anew(prepared: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared("schedule.steps=4", "schedule.evaluate_every=4")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(steps, "SAVE_SECONDS", -1.0)
        kill_at(patch, 3)
        trained_by(run)
    drawn_steps: list[int] = []
    drawn = Draws.__getitem__
    monkeypatch.setattr(Draws, "__getitem__", lambda self, index: drawn_steps.append(index) or drawn(self, index))
    trained_by(run)
    assert [step for step in drawn_steps if step < UNTRAINED] == [3]


def test_a_half_written_state_is_not_taken(prepared: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared("schedule.steps=3", "schedule.evaluate_every=3")
    save = torch.save

    def half(state: dict[str, Any], path: Path) -> None:
        save(state, path)
        path.write_bytes(path.read_bytes()[:1000])
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(steps, "SAVE_SECONDS", -1.0)
        patch.setattr(torch, "save", half)
        trained_by(run)
    assert not (run.folder / RUNNING).exists()
    assert trained_by(run).history[-1]["step"] == 3


def test_the_state_of_another_recipe_is_refused(prepared: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch) -> None:
    short = ("schedule.steps=3", "schedule.evaluate_every=3")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(steps, "SAVE_SECONDS", -1.0)
        kill_at(patch, 1)
        trained_by(prepared(*short))
    with pytest.raises(RecipeError, match=r"running\.pt is of another recipe; remove .* or give the run another --name"):
        trained_by(prepared(*short, "schedule.learning_rate=5e-4"))


def test_a_run_of_another_recipe_is_not_evaluated(trained: tuple[Prepared, Places], tiny: Callable[..., Recipe]) -> None:
    _, places = trained
    with pytest.raises(RecipeError, match=r"record\.json is of another recipe"):
        run_evaluate(tiny("data.leave_out=[emodb]"), places)  # its speakers have trained these weights
    with pytest.raises(FileNotFoundError, match="python -m training fit another"):
        run_evaluate(tiny(name="another"), places)


# the command line


def arguments(file: Path, places: Places, *overrides: str) -> list[str]:
    given = [word for override in overrides for word in ("--set", override)]
    for name in ("corpora", "weights", "runs", "cache", "workers"):
        given += [f"--{name}", str(getattr(places, name))]
    return [str(file), *given]


@pytest.fixture
def recipe_file(tiny: Callable[..., Recipe], tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    values = json.loads(json.dumps(tiny().to_dict()))  # tuples as lists
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


def test_fit_and_evaluate_as_commands(recipe_file: Path, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    words = arguments(recipe_file, places, "schedule.steps=2", "schedule.evaluate_every=2")
    assert main(["evaluate", *words]) == 2
    assert "error: tiny is not trained yet: python -m training fit tiny" in capsys.readouterr().err
    assert main(["fit", *words]) == 0
    assert main(["evaluate", *words]) == 0
    record = json.loads((places.runs / "tiny" / "record.json").read_text())
    assert record["history"][-1]["step"] == 2 and math.isfinite(record["history"][-1]["loss"])
    assert (places.runs / "tiny" / "test.json").is_file() and not (places.runs / "tiny" / RUNNING).exists()


@pytest.mark.slow
def test_two_processes_train_as_one_would_on_both_their_draws(
    recipe_file: Path, places: Places, prepared: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exact = (
        "schedule.steps=3",
        "schedule.evaluate_every=3",
        "schedule.keep=last",
        "schedule.subset_loss=0",
        "schedule.average=0",
        "model.head_options={expansion: 1, specaugment: false, dropout: 0}",
    )
    words = arguments(recipe_file, Places(**{**vars(places), "cache": tmp_path / "cache"}), *exact)  # an empty cache: both compute it
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, "-m", "training", "fit", *words],
        cwd=CLONE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    together = torch.load(places.runs / "tiny" / "weights.pt", weights_only=True)

    class Both(Draws):
        def __init__(self, *rest: Any) -> None:
            super().__init__(*rest)
            self.other = Draws(*rest[:3], process=1)

        def __getitem__(self, step: int) -> Batch:
            own = super().__getitem__(step)
            if step >= UNTRAINED:
                return own
            batches = (own, self.other[step])
            rows = [row[:count].numpy() for batch in batches for row, count in zip(batch.hidden, batch.frames.tolist(), strict=True)]
            return stack(rows, [target for batch in batches for target in batch.targets.tolist()])

    run = prepared(*exact, name="one")
    alone = trained_by(run).state
    monkeypatch.setattr(loop, "Draws", Both)
    both = trained_by(prepared(*exact, name="both")).state
    start = run.model().state_dict()

    def away(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
        names = [name for name in first if name.startswith(("head.blocks.", "encoder.blocks.1."))]
        return math.sqrt(sum(float((first[name] - second[name]).square().sum()) for name in names))

    assert away(both, start) > 0
    assert away(together, both) < 0.03 * away(both, start)
    assert away(together, alone) > 0.3 * away(both, start)


def test_without_validation_speakers_a_run_is_recorded_without_them(
    prepared: Callable[..., Prepared], places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared("schedule.steps=2", "schedule.evaluate_every=2")
    examples = replace(run.examples, train=(*run.examples.train, *run.examples.validation), validation=())
    monkeypatch.setattr(runs, "prepare", lambda *_: replace(run, examples=examples))
    record = runs.run_fit(run.recipe, places).record()
    assert not {"validation", "validation_ece"} & set(record)
    assert record["kept_step"] == 2 and record["temperature"] == 1.0 and set(record["class_offsets"]) == {0.0}
