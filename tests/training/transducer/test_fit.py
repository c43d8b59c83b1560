"""Training on the spoken tree: each clip teaches what it has, a run learns, goes on where it was killed, and is scored once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from training import steps
from training.__main__ import main
from training.data import Example
from training.recipe import RecipeError
from training.runs import Places
from training.steps import RUNNING
from training.systems.transducer.data import Batch, Draws
from training.systems.transducer.fit import Step, fit, said_of
from training.systems.transducer.losses import NONE
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.runs import Prepared, prepare, run_fit

pytestmark = pytest.mark.usefixtures("accelerate_anew")

Trained = Callable[[str], tuple[Prepared, Places]]
SYSTEMS = ["ent", "fent", "framewise"]
EVERYTHING = [
    "transducer.mixtures.share=0.25",
    "transducer.weights={head: 0.5, rnnt: 0.5, lattice: 0.5, language: 0.1, mixture_head: 0.5, mixture_lattice: 0.5}",
]


@pytest.fixture
def prepared(tiny_transducer: Callable[..., TransducerRecipe], spoken_places: Places) -> Callable[..., Prepared]:
    return lambda *overrides, name=None: prepare(tiny_transducer(*overrides, name=name), spoken_places)


def trained_by(run: Prepared) -> Any:
    mixtures = {part: mixed.examples for part, mixed in run.mixtures.items()}
    return fit(
        run.recipe,
        run.model(),
        run.shelf,
        (run.clips.train, mixtures.get("train", ())),
        (run.clips.validation, mixtures["validation"]),
        run.folder,
    )


def batch_of(run: Prepared, *examples: Example) -> Batch:
    return run.shelf.batch([(example, run.shelf.features(example).get(example, 0)) for example in examples])


def moved(run: Prepared, batch: Batch) -> dict[str, set[str]]:
    """Which parts of the network each loss of a batch moves."""
    torch.manual_seed(0)
    model = run.model()
    losses = Step(model, run.recipe).parts(batch)
    found = {}
    for name, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        own = {
            key.split(".")[1]
            for key, value in model.named_parameters()
            if key.startswith("network.") and value.grad is not None and value.grad.any()
        }
        found[name] = own
    return found


# the losses of a batch


@pytest.mark.parametrize("system", ["ent", "fent"])
def test_each_clip_teaches_what_it_has(prepared: Callable[..., Prepared], system: str) -> None:
    run = prepared(*EVERYTHING, f"transducer.system={system}")
    clips = run.clips.train
    (read, *_) = [item for item in clips if item.target == NONE]
    (emotional, *_) = [item for item in clips if item.corpus == "emodb"]
    (both, *_) = [item for item in clips if item.corpus == "ravdess" and item.target != NONE]
    (mixture, *_) = [item for item in run.mixtures["train"].examples if run.shelf.tokens(item)]
    found = {
        name: {loss for loss, parts in moved(run, batch_of(run, item)).items() if parts}
        for name, item in vars_of(read, emotional, both, mixture)
    }
    assert found == {
        "read": {"rnnt", "language"},
        "emotional": {"head", "lattice"},
        "both": {"head", "lattice", "rnnt", "language"},
        "mixture": {"rnnt", "language", "mixture_head", "mixture_lattice"},
    }


def vars_of(*examples: Example) -> list[tuple[str, Example]]:
    return list(zip(("read", "emotional", "both", "mixture"), examples, strict=True))


def test_a_batch_gives_what_its_clips_give_one_by_one(prepared: Callable[..., Prepared]) -> None:
    run = prepared(*EVERYTHING, "schedule.label_smoothing=0")
    model = run.model().eval()
    step = Step(model, run.recipe).parts
    chosen = [*run.clips.train[:3], run.clips.train[-1], *run.mixtures["train"].examples[:2]]
    assert run.clips.train[-1].target == NONE
    together = step(batch_of(run, *chosen))
    apart = [step(batch_of(run, item)) for item in chosen]
    emotional = [losses for losses, item in zip(apart, chosen, strict=True) if item.target != NONE]
    spoken = [losses for losses, item in zip(apart, chosen, strict=True) if run.shelf.tokens(item)]
    for name, of in (("head", emotional), ("lattice", emotional), ("rnnt", spoken), ("mixture_lattice", apart[-2:])):
        torch.testing.assert_close(together[name], torch.stack([losses[name] for losses in of]).mean(), atol=1e-4, rtol=1e-4)


def test_what_has_no_weight_is_not_computed(prepared: Callable[..., Prepared]) -> None:
    run = prepared("transducer.weights={lattice: 0, rnnt: 0}")
    assert set(Step(run.model(), run.recipe).parts(batch_of(run, *run.clips.train[:2]))) == {"head"}


# runs


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_run_learns(trained_transducer: Trained, system: str) -> None:
    run, _ = trained_transducer(system)
    record = run.record()
    first, last = record["history"][0], record["history"][-1]
    assert last["loss/head"] < first["loss/head"]
    assert record["validation"]["pooled"]["uar"] > 0.5  # of 0.25 by chance
    assert record["temperature"] > 0 and record["frame_temperature"] > 0 and record["kept_step"] in (30, 60)
    assert ("cer" in last) == (system != "framewise") and 0 < last["frames"] <= 1
    if system != "framewise":
        assert last["loss/rnnt"] < first["loss/rnnt"]
    assert not (run.folder / RUNNING).exists() and (run.folder / "vocabulary.json").is_file()
    assert list((run.folder / "tensorboard").glob("events.*"))


@pytest.mark.parametrize("system", ["ent", "fent"])
def test_test_speakers_are_scored_with_their_transcripts(trained_transducer: Trained, system: str) -> None:
    run, _ = trained_transducer(system)
    test = json.loads((run.folder / "test.json").read_text())
    assert set(test["corpora"]) == {"ravdess", "emodb"} and test["corpora"]["ravdess"]["clips"] == 10
    assert set(test["transcripts"]) == {"ravdess/seen", "speechocean762/seen"}
    assert all(item["cer"] >= 0 and item["clips"] > 0 for item in test["transcripts"].values())
    said = said_of(run.recipe, run.trained(), run.shelf, run.clips.test)
    assert [item.logits.shape for item in said] == [(4,)] * len(run.clips.test)
    for item, example in zip(said, run.clips.test, strict=True):
        assert len(item.frames) == -(-run.shelf.frames(example) // 2)


def test_a_trained_run_of_another_recipe_is_not_taken_for_this_one(trained_transducer: Trained) -> None:
    run, _ = trained_transducer("ent")
    with pytest.raises(RecipeError, match="is of another recipe"):
        replace(run, recipe=replace(run.recipe, schedule=replace(run.recipe.schedule, steps=61))).record()


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_killed_run_goes_on_as_if_it_had_not_been(prepared: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained_by(prepared(*EVERYTHING, name="whole"))
    monkeypatch.setattr(steps, "SAVE_SECONDS", 0.0)
    run = prepared(*EVERYTHING, name="killed")
    drawn = Draws.__getitem__

    def killed(draws: Draws, step: int) -> Batch:
        if step == 4:
            raise KeyboardInterrupt
        return drawn(draws, step)

    with monkeypatch.context() as patch:
        patch.setattr(Draws, "__getitem__", killed)
        with pytest.raises(KeyboardInterrupt):
            trained_by(run)
    assert (run.folder / RUNNING).is_file()
    again = trained_by(run)
    assert equal(again.state, whole.state)
    assert [entry["selection"] for entry in again.history] == [entry["selection"] for entry in whole.history]
    other = replace(run, recipe=replace(run.recipe, schedule=replace(run.recipe.schedule, learning_rate=1e-4)))
    with pytest.raises(RecipeError, match="give the run another --name"):
        trained_by(other)


def test_an_encoder_without_a_rate_stays_as_it_is(tiny_transducer: Callable[..., TransducerRecipe], spoken_places: Places) -> None:
    recipe = tiny_transducer("schedule.encoder_learning_rate=0", "schedule.steps=2", "schedule.evaluate_every=2", name="still")
    run = run_fit(recipe, spoken_places)
    before, after = run.model().state_dict(), run.trained().state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("encoder."))
    assert not torch.equal(before["network.head.classifier.weight"], after["network.head.classifier.weight"])


def test_cached_layers_of_a_frozen_encoder(prepared: Callable[..., Prepared]) -> None:
    run = prepared("model.frozen_blocks=2", "model.first_layer=1", "schedule.steps=2", "schedule.evaluate_every=2", name="frozen")
    assert run.model().network.sizes.layers == 2
    assert trained_by(run).step == 2


@pytest.mark.parametrize("command", [["unseen", "ent"], ["reproduce", "framewise"]])
def test_commands_of_utterance_recipes_are_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 2
    assert f"{command[1]} has features, fit, evaluate and export" in capsys.readouterr().err
