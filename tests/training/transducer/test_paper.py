"""The recipes of the paper: their sizes and numbers, and a run of each on a small random backbone over generated trees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from training import paths
from training.encoders import ssl
from training.encoders.ssl import WAV2VEC2, Spec, SslEncoder
from training.paths import Weights
from training.recipe import RecipeError, read_recipe
from training.runs import Places
from training.systems.transducer.data import clips_of
from training.systems.transducer.export import run_export
from training.systems.transducer.losses import AS_PUBLISHED
from training.systems.transducer.model import NETWORKS, sizes_of
from training.systems.transducer.networks import Sizes
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.runs import prepare, run_evaluate, run_fit

pytestmark = pytest.mark.usefixtures("accelerate_anew")

RATE = 16_000
CODES = {"neu": "neutral", "hap": "happy", "ang": "angry", "sad": "sad", "fru": "neutral"}  # fru is none of ours; it sounds like one
PITCH = {"neutral": 200, "happy": 900, "angry": 3000, "sad": 450}
BACKBONE = {
    "num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
SMALL = [
    *("model.blocks=3", "model.frozen_blocks=3"),
    *("transducer.hidden=8", "transducer.predictor=8", "transducer.inner=12", "transducer.cap=4"),
    *("schedule.steps=4", "schedule.evaluate_every=2", "transducer.mixtures.validation_limit=2"),
]


def paper(name: str, *overrides: str) -> TransducerRecipe:
    recipe = read_recipe(name, overrides)
    assert isinstance(recipe, TransducerRecipe)
    return recipe


@pytest.mark.parametrize(("name", "parameters"), [("ent-paper", 9_737_653), ("fent-paper", 14_712_899)])
def test_the_network_is_the_papers(name: str, parameters: int) -> None:
    recipe = paper(name)
    layers = recipe.model.blocks - (recipe.model.first_layer or 0) + 1
    sizes = sizes_of(recipe, 31, layers, 768)
    assert sizes == Sizes(vocabulary=31)
    assert sum(parameter.numel() for parameter in NETWORKS[recipe.transducer.system](sizes).parameters()) == parameters
    weights = recipe.transducer.weights
    assert (weights.head, weights.rnnt, weights.lattice, weights.language) == (0.5, 0.5, 0.5, 0)
    assert recipe.transducer.pooling == AS_PUBLISHED and recipe.transducer.cap == 32
    assert recipe.data.labels == ("happy", "angry", "sad", "neutral")
    schedule = recipe.schedule
    assert (schedule.steps, schedule.batch_size, schedule.learning_rate, schedule.weight_decay) == (50 * 2223, 2, 5e-4, 0.05)
    assert schedule.learning_rate * schedule.final_rate == pytest.approx(5e-6) and schedule.warm_up * 50 == 5


# runs


def sound(emotion: str, seconds: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.2 * np.sin(2 * np.pi * PITCH[emotion] * time) + 0.01 * random.standard_normal(len(time))


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IEMOCAP: five sessions of a dialogue each, in which both speakers have every label once. ZED: three recordings."""
    root = tmp_path_factory.mktemp("corpora")
    for session in range(1, 6):
        name, home = f"Ses0{session}F_impro01", root / "iemocap" / f"Session{session}"
        for folder in ("dialog/EmoEvaluation", "dialog/transcriptions", f"sentences/wav/{name}"):
            (home / folder).mkdir(parents=True)
        lines, said = [], []
        for number, (code, emotion) in enumerate(CODES.items()):
            for letter in "FM":
                clip = f"{name}_{letter}00{number}"
                lines.append(f"[{number}.0000 - {number}.5000]\t{clip}\t{code}\t[2.5000, 2.5000, 2.5000]")
                said.append(f"{clip} [000.0000-000.5000]: Oh, {emotion}!")
                soundfile.write(home / f"sentences/wav/{name}/{clip}.wav", sound(emotion, 0.5, session), RATE)
        (home / f"dialog/EmoEvaluation/{name}.txt").write_text("\n".join(lines))
        (home / f"dialog/transcriptions/{name}.txt").write_text("\n".join(said))
    entries: dict[str, Any] = {}
    (root / "zed" / "clips").mkdir(parents=True)
    for number, emotion in enumerate(("happy", "angry", "sad")):
        samples = np.concatenate([sound("neutral", 0.5, number), sound(emotion, 0.5 + 0.1 * number, number)])
        soundfile.write(root / "zed" / "clips" / f"{number}.wav", samples, RATE)
        duration = len(samples) / RATE
        emotions = [{"emo": emotion, "start": 0.5, "end": duration}]
        entries[f"utt_{number}"] = {
            "wav": f"datafolder/clips/{number}.wav", "duration": duration, "emotion": emotions, "transcription": f"Oh, {emotion}."
        }  # fmt: skip
    (root / "zed" / "ZED.json").write_text(json.dumps(entries))
    return root


@pytest.fixture
def small_places(corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states_in_this_process: None) -> Places:
    """A random backbone of three blocks under the name of the paper's; states are computed in this process, which knows of it."""
    monkeypatch.setitem(ssl.SPECS, "wav2vec2-base", Spec(*WAV2VEC2, BACKBONE))
    monkeypatch.setattr(paths, "WEIGHTS", {"wav2vec2-base": Weights("wav2vec2-base/model.safetensors", "here", "CC0")})
    SslEncoder("wav2vec2-base", 3).network.save_pretrained(tmp_path / "weights" / "wav2vec2-base")
    folders = {name: tmp_path / name for name in ("runs", "cache", "weights")}
    return Places(corpora=corpora, workers=1, **folders)


@pytest.mark.parametrize("name", ["ent-paper", "fent-paper"])
def test_a_fold_is_trained_and_tested_with_zed_beside_it(name: str, small_places: Places) -> None:
    recipe = paper(name, *SMALL, "transducer.folds.iemocap=sessions/2")
    prepared = run_fit(recipe, small_places)
    clips = prepared.clips
    speakers = {part: {example.speaker for example in getattr(clips, part)} for part in ("train", "validation", "test")}
    assert speakers["validation"] == {"iemocap/Ses03F", "iemocap/Ses03M"} and len(speakers["train"]) == 6
    assert speakers["test"] == {"iemocap/Ses02F", "iemocap/Ses02M", ""}  # ZED names nobody
    assert len(clips.train) == 24  # of four labels, and not the frustrated ones, though they have a text
    assert prepared.shelf.vocabulary.size == 31
    model = prepared.trained()
    assert model.network.sizes.layers == 4 and model.frame_hop == 0.02
    assert not model.standardise.mean.any() and (model.standardise.deviation == 1).all()
    assert prepared.record()["kept_step"] in (2, 4)

    found = run_evaluate(recipe, small_places)
    assert set(found["corpora"]) == {"iemocap", "zed"} and found["corpora"]["iemocap"]["clips"] == 8
    assert set(found["transcripts"]) == {"iemocap/seen", "zed/seen"}
    scores = {each["name"]: each for each in found["timelines"]["zed"]["checkpoints"]}
    assert list(scores) == ["frames", "as_published", "clip", "neutral"] and scores["frames"]["recordings"] == 3
    assert scores["neutral"]["eder"]["value"] == pytest.approx(np.mean([0.5 / 1, 0.6 / 1.1, 0.7 / 1.2]))
    assert scores["frames"]["parts"]["uncovered"] == pytest.approx(0)
    tail = scores["as_published"]["eder"]["value"] - scores["frames"]["eder"]["value"]
    assert 0 <= tail < 0.03  # the frames stop 5 to 25 ms before the end
    with pytest.raises(RecipeError, match="stands on wav2vec2-base: such models train and are scored, they are not exported"):
        run_export(recipe, small_places)


def test_without_a_fold_all_sessions_train_but_for_one_speaker(small_places: Places) -> None:
    clips = clips_of(paper("ent-paper"), small_places.corpora)
    assert {example.corpus for example in clips.test} == {"zed"} and len(clips.test) == 3
    assert len({example.speaker for example in clips.validation}) == 1 and len({example.speaker for example in clips.train}) == 9


def test_layers_cached_for_a_mix_of_all(small_places: Places) -> None:
    prepared = prepare(paper("ent-paper", *SMALL), small_places)
    example = prepared.clips.test[0]
    state = prepared.shelf.features(example).get(example, 0)
    samples = soundfile.info(example.file).frames
    assert state.shape == ((samples - 400) // 320 + 1, 4 * 16)
    batch = prepared.shelf.batch([(example, state)])
    layers, lengths = prepared.model().layers_of(batch.hidden, batch.frames)
    assert layers.shape == (4, 1, len(state), 16) and lengths.tolist() == [len(state)]
    np.testing.assert_array_equal(layers[2, 0].numpy(), state[:, 32:48].astype(np.float32))


@pytest.mark.parametrize(
    ("fold", "says"),
    [("sessions", "no KIND/NUMBER"), ("weeks/1", "no KIND/NUMBER"), ("sessions/6", "sessions has no fold 6; there are 1, 2, 3")],
)
def test_a_fold_that_is_not_there(fold: str, says: str, small_places: Places) -> None:
    with pytest.raises(RecipeError, match=says):
        clips_of(paper("ent-paper", f"transducer.folds.iemocap={fold}"), replace(small_places).corpora)
    with pytest.raises(RecipeError, match="emodb: 'sessions/1' is no KIND/NUMBER of a corpus of the recipe"):
        paper("ent-paper", "transducer.folds.emodb=sessions/1")
