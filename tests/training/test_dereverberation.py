"""The network that takes rooms off: what it does to a waveform, the pairs it learns from, its training and its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState

from emoser.digests import sha256
from training import steps
from training.dereverberation import fit
from training.dereverberation.export import export
from training.dereverberation.fit import batch_of, run_fit, spectral_distance
from training.dereverberation.network import Dereverberator
from training.dereverberation.pairs import Drawing, Source, draw
from training.dereverberation.recipe import DereverberationRecipe
from training.dereverberation.teacher import teachers_of
from training.leaving_out import without
from training.pretrain import speech_of
from training.recipe import Recipe, RecipeError, read_recipe
from training.runs import Places
from training.runs import run_fit as run_leaving_out

CHANCES = {"room": 1.0, "made_up_room": 0.5, "noise": 0.0, "speed": 0.0, "tilt": 0.0}
TINY = {
    "task": "dereverberation",
    "data": {"corpora": ["ravdess", "emodb"]},
    "augmentation": {"chances": CHANCES},
    "dereverberation": {
        "width": 8,
        "hidden": 12,
        "pairs": 12,
        "validation_pairs": 12,
        "seconds": 0.6,
        "spectrum_steps": 40,
        "spectrum_batch": 4,
        "spectrum_rate": 3e-2,
        "corpora": ["emodb"],
    },
    "schedule": {"steps": 4, "batch_size": 4, "evaluate_every": 20, "learning_rate": 1e-4, "average": 0.5, "precision": "no", "seed": 3},
}


@pytest.fixture
def recipe(tmp_path: Path) -> DereverberationRecipe:
    file = tmp_path / "dry.yaml"
    file.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    found = read_recipe(file, ["dereverberation.teacher=tiny"])
    assert isinstance(found, DereverberationRecipe)
    return found


@pytest.fixture(scope="module")
def taught(tree: Path, cache: Path, tiny: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with the one that never heard emodb. Shared: do not change it."""
    runs = tmp_path_factory.mktemp("taught")
    AcceleratorState._reset_state(reset_partial_state=True)
    run_leaving_out(without(tiny("schedule.steps=4"), "emodb"), Places(runs, cache, tree / "corpora", tree / "weights", workers=1))
    AcceleratorState._reset_state(reset_partial_state=True)
    return runs


@pytest.fixture
def places(taught: Path, places: Places) -> Places:
    """With a folder of runs that holds the teacher."""
    places.runs.mkdir()
    (places.runs / "tiny-without-emodb").symlink_to(taught / "tiny-without-emodb")
    return places


def perturbed() -> Dereverberator:
    """One that does something."""
    torch.manual_seed(0)
    model = Dereverberator(16, 24)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def source(recipe: DereverberationRecipe, places: Places, **chances: float) -> Source:
    speech = speech_of(recipe, places)
    return Source(speech.train, replace(recipe.augmentation.chances, **chances), 0.5, 1, places.corpora)


def test_before_training_a_waveform_comes_back_as_it_went_in() -> None:
    torch.manual_seed(0)
    waveform, lengths = torch.randn(2, 16_123) * 0.1, torch.tensor([16_123, 9_001])
    dry = Dereverberator()(waveform, lengths).detach()
    torch.testing.assert_close(dry[0], waveform[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(dry[1, :9_001], waveform[1, :9_001], atol=1e-5, rtol=0)
    assert not dry[1, 9_001:].any()


def test_a_gain_is_that_of_its_band_and_frame() -> None:
    """20 dB less above 1 kHz, in the second half alone."""
    model = Dereverberator()
    time = torch.arange(16_000) / 16_000
    low, high = torch.sin(2 * torch.pi * 300 * time), torch.sin(2 * torch.pi * 3000 * time)
    lengths = torch.tensor([16_000])
    heard = model.hear((low + high)[None] * 0.3, lengths)
    gains = torch.zeros_like(heard.mel)
    gains[:, 50:, 40:] = -0.5  # of four powers of ten
    dry = model.apply(gains, heard, 16_000, lengths)[0]
    part = slice(9_000, 15_000)
    torch.testing.assert_close(dry[1000:7000], 0.3 * (low + high)[1000:7000], atol=1e-4, rtol=0)
    torch.testing.assert_close(dry[part], 0.3 * (low + 0.1 * high)[part], atol=2e-3, rtol=0)


def test_a_clip_is_what_it_is_alone() -> None:
    model = perturbed()
    torch.manual_seed(1)
    waveform, lengths = torch.randn(3, 12_000) * 0.1, torch.tensor([12_000, 5_000, 1_600])
    together = model(waveform, lengths)
    assert (together - waveform).abs().max() > 0.01
    for row, clip, length in zip(together, waveform, lengths.tolist(), strict=True):
        torch.testing.assert_close(row[:length], model(clip[None, :length], torch.tensor([length]))[0], atol=1e-5, rtol=0)


def test_level_does_not_matter() -> None:
    model = perturbed()
    torch.manual_seed(2)
    waveform, lengths = torch.randn(1, 8_000) * 0.1, torch.tensor([8_000])
    torch.testing.assert_close(model(waveform * 0.01, lengths) * 100, model(waveform, lengths), atol=1e-5, rtol=0)


def test_pairs_know_their_corpus(recipe: DereverberationRecipe, places: Places) -> None:
    pairs = draw(source(recipe, places), 12, 1)
    assert set(pairs.corpora) == {"ravdess", "emodb"}
    assert sorted([*pairs.of("ravdess"), *pairs.of("emodb")]) == list(range(12))


def test_pairs_depend_on_their_number_alone(recipe: DereverberationRecipe, places: Places) -> None:
    one, two = (draw(source(recipe, places, room=0.5, noise=0.5, speed=0.5, tilt=0.5), 6, workers) for workers in (1, 2))
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("room", "dry", "lengths"))
    for room, dry, length in zip(one.room, one.dry, one.lengths, strict=True):
        assert 8_000 == length == len(room)
        assert np.abs(room).max() == np.abs(dry).max() == 29_000


def test_only_the_room_tells_a_pair_apart(recipe: DereverberationRecipe, places: Places) -> None:
    without = draw(source(recipe, places, room=0.0, noise=1.0), 4, 1)
    assert np.array_equal(without.room, without.dry)
    within = draw(source(recipe, places, room=1.0, noise=0.0), 4, 1)
    assert all(not np.array_equal(room, dry) for room, dry in zip(within.room, within.dry, strict=True))


def test_validation_has_rooms_of_its_own(recipe: DereverberationRecipe, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.dereverberation import pairs

    monkeypatch.setattr(pairs, "rooms", lambda corpora: [np.full(3, index, np.float32) for index in range(13)])
    train = Drawing(source(recipe, places))
    held = Drawing(replace(source(recipe, places), held_out=True))
    assert [room[0] for room in held.rooms] == [0, 6, 12]
    assert not {room[0] for room in train.rooms} & {room[0] for room in held.rooms}


def test_test_speakers_are_not_heard(recipe: DereverberationRecipe, places: Places) -> None:
    speech = speech_of(recipe, places)
    assert {example.speaker for example in speech.train} == {"ravdess/01", "ravdess/03", "emodb/08", "emodb/09"}
    assert {example.speaker for example in speech.validation} == {"ravdess/02", "emodb/03"}
    with pytest.raises(RecipeError, match="none left"):
        speech_of(replace(recipe, data=replace(recipe.data, leave_out=("ravdess", "emodb"))), places)


def test_a_run_learns_and_exports(recipe: DereverberationRecipe, places: Places, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    file = run_fit(recipe, places)
    record = json.loads((file.parent / "record.json").read_text(encoding="utf-8"))
    assert [entry["step"] for entry in record["history"]] == [0, 20, 40, 44]
    assert record["teachers_sha256"] == {"tiny-without-emodb": sha256(places.runs / "tiny-without-emodb" / "weights.pt")}
    model = Dereverberator(8, 12)
    heard = Source(speech_of(recipe, places).train, recipe.augmentation.chances, 0.6, recipe.schedule.seed, places.corpora)
    batch = batch_of(draw(heard, 12, 1), np.arange(12))
    before = spectral_distance(model, *batch, nullcontext())
    model.load_state_dict(torch.load(file, weights_only=True))
    assert spectral_distance(model, *batch, nullcontext()) < 0.98 * before
    path = tmp_path / "deeper" / "dry.onnx"
    export(model, recipe, path)
    content = path.read_bytes()
    assert b".py" not in content
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for waveform, lengths in ((batch[0], batch[2]), (batch[0][:1, :1_700], torch.tensor([1_650]))):
        found = session.run(None, {"waveform": waveform.numpy(), "lengths": lengths.numpy()})[0]
        np.testing.assert_allclose(found, model(waveform, lengths).detach().numpy(), atol=2e-3)  # weights are stored as fp16


def test_a_killed_run_goes_on_as_if_it_had_not_been(recipe: DereverberationRecipe, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.load(run_fit(recipe, places), weights_only=True)
    monkeypatch.setattr(steps, "SAVE_SECONDS", -1.0)
    original = fit._loss

    def killed(*arguments: object) -> torch.Tensor:
        if arguments[-1] == 41:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    other = replace(recipe, name="killed")
    monkeypatch.setattr(fit, "_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run_fit(other, places)
    told = []
    monkeypatch.setattr(fit, "_loss", lambda *arguments: told.append(arguments[-1]) or original(*arguments))
    again = torch.load(run_fit(other, places), weights_only=True)
    assert told == [41, 42, 43]
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_who_may_teach(recipe: DereverberationRecipe, places: Places, taught: Path) -> None:
    def with_corpora(*corpora: str) -> DereverberationRecipe:
        return replace(recipe, dereverberation=replace(recipe.dereverberation, corpora=corpora))

    with pytest.raises(FileNotFoundError, match="tiny-without-ravdess"):
        teachers_of(with_corpora("ravdess"), places)
    (places.runs / "tiny-without-ravdess").symlink_to(taught / "tiny-without-emodb")
    with pytest.raises(RecipeError, match="has heard ravdess"):
        teachers_of(with_corpora("ravdess"), places)
    with pytest.raises(RecipeError, match="emovo"):
        run_fit(with_corpora("emovo"), places)
    with pytest.raises(RecipeError, match=r"dereverberation\.teacher"):
        run_fit(with_corpora(), places)


def test_too_few_pairs_are_an_error(recipe: DereverberationRecipe, places: Places) -> None:
    few = replace(recipe, dereverberation=replace(recipe.dereverberation, pairs=1, validation_pairs=1))
    with pytest.raises(RecipeError, match="fewer than 2 pairs for train and validation are of emodb"):
        run_fit(few, places)


def test_other_commands_say_so(recipe: DereverberationRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training.__main__ import main

    run: Callable[[list[str]], int] = main
    assert run(["evaluate", str(tmp_path / "dry.yaml")]) == 2
    assert "has fit and export" in capsys.readouterr().err


def test_the_teacher_hears_what_differs(recipe: DereverberationRecipe, places: Places) -> None:
    teachers, _ = teachers_of(recipe, places)
    pairs = draw(source(recipe, places), 12, 1)
    room, dry, lengths = batch_of(pairs, pairs.of("emodb"))
    teacher = teachers["emodb"]
    teacher.take_scale([(dry, lengths)])
    same = teacher.distance(dry, dry, lengths)
    assert float(same.vectors.max()) < 1e-6 and float(same.divergence.abs().max()) < 1e-5 and bool(same.same_label.all())
    other = teacher.distance(room, dry, lengths)
    assert bool((other.vectors > 0.01).all()) and bool((other.divergence > 0).all())
