"""Models that are sent to other processes: joblib, multiprocessing, a DataLoader's workers."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import emoser
from emoser import UtteranceModel
from emoser.diarization.activity import SpeechActivity

CLIP = str(Path(__file__).parents[2] / "examples" / "clip.wav")


def again(model: UtteranceModel) -> UtteranceModel:
    found: UtteranceModel = pickle.loads(pickle.dumps(model))
    return found


@pytest.mark.parametrize(("name", "precision"), [("shiftcnn", None), ("shiftcnn", "int8"), ("ensemble", None), ("ent", None)])
def test_a_pickled_model_answers_alike(name: str, precision: str | None) -> None:
    model = emoser.load(name, precision=precision, threads=1)
    other = again(model)
    assert other(CLIP) == model(CLIP)
    assert np.array_equal(other.embed(CLIP).vector, model.embed(CLIP).vector)
    assert (repr(other), other.sha256) == (repr(model), model.sha256)


@pytest.mark.skipif(find_spec("torch") is None, reason="needs torch")
def test_torchscript_too() -> None:
    model = emoser.load(runtime="torchscript", threads=1)
    assert again(model)(CLIP) == model(CLIP)


@pytest.mark.parametrize("name", ["shiftcnn", "ensemble"])
def test_what_a_model_was_adapted_by_comes_with_it(name: str, tmp_path: Path) -> None:
    model = emoser.load(name, threads=1)
    adapted = model.adapt([CLIP] * 3, shares={"happy": 1})
    other = again(adapted)
    assert other(CLIP) == adapted(CLIP) != model(CLIP)
    other.save(tmp_path / "mine")
    assert emoser.load(tmp_path / "mine", threads=1)(CLIP).scores == adapted(CLIP).scores


def test_another_process_opens_it(tmp_path: Path) -> None:
    model = emoser.load(threads=1)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(model, CLIP).result() == model(CLIP)


def test_speech_activity_keeps_its_settings() -> None:
    other = pickle.loads(pickle.dumps(SpeechActivity(threads=2, block=8)))
    assert (other.threads, other.block) == (2, 8)
