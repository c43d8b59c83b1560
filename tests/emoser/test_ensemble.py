"""Several checkpoints at once: an ensemble's mean, and each one's own answer from one decoding."""

from __future__ import annotations

from pathlib import Path

import miniature
import numpy as np
import pytest
import yaml

from emoser import load
from emoser.audio import load_audio
from emoser.errors import AudioTooShort, CheckpointError, UsageError
from emoser.models.several import predict_with
from emoser.registry import list_checkpoints
from emoser.results import Failure, Prediction
from training.ensemble import run_ensemble

OTHER = ("sad", "angry", "happy", "neutral")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of `miniature` and `reversed`: the same graph, whose labels mean something else, at another temperature."""
    path = miniature.write_registry(tmp_path)
    data = yaml.safe_load(path.read_text())
    second = data["checkpoints"][1]
    second |= {"name": "reversed", "labels": list(OTHER), "temperature": 3.0}
    miniature.write_onnx(tmp_path / "onnx" / "miniature-nc.onnx", miniature.INSIDE | {"name": "reversed", "labels": list(OTHER)})
    second["parts"] = miniature.entry(tmp_path, {"onnx/miniature-nc.onnx": "onnx"})["parts"]
    path.write_text(yaml.safe_dump(data))
    monkeypatch.setenv("EMOSER_REGISTRY", str(path))
    return tmp_path


def noises(count: int = 5) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [(0.05 * (1 + index) * random.standard_normal(6000 + 900 * index)).astype(np.float32) for index in range(count)]


def test_an_ensemble_gives_the_mean_of_its_members(root: Path) -> None:
    entry = run_ensemble("both", ["miniature", "reversed"], root)
    model, members = load("both"), [load("miniature"), load("reversed")]
    assert model.labels == miniature.LABELS and entry["commercial_use"] is False
    for sound, found in zip(noises(), model(noises()), strict=True):
        single = [member(sound).scores for member in members]
        for label in miniature.LABELS:
            assert found.scores[label] == pytest.approx((single[0][label] + single[1][label]) / 2, abs=1e-5)
    assert model.embed(noises(1)[0]).vector.shape == (6,)
    # what doctor and the registry compare
    outputs = model.opened.run(miniature.tone()[None], np.array([32_000]))
    np.testing.assert_allclose(outputs["logits"][0], entry["golden"]["logits"], atol=1e-4)
    assert outputs["frames"].shape == (1, 100, 4) and np.isfinite(outputs["frames"]).all()
    assert (entry["revision"], run_ensemble("both", ["reversed", "miniature"], root, revision="2")["revision"]) == ("1", "2")


def test_members_are_those_of_the_registry_that_is_written_to(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run_ensemble("both", ["miniature", "reversed"], root)["golden"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("EMOSER_REGISTRY", str(miniature.write_registry(elsewhere)))
    path = root / "checkpoints.yaml"
    data = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({"checkpoints": [item for item in data["checkpoints"] if item["name"] != "both"]}))
    assert run_ensemble("both", ["miniature", "reversed"], root)["golden"] == expected


def test_an_ensemble_that_cannot_be_opened_leaves_the_registry_as_it_was(root: Path) -> None:
    path = root / "checkpoints.yaml"
    data = yaml.safe_load(path.read_text())
    other = data["checkpoints"][0] | {"name": "other", "labels": ["fear", "angry", "happy", "neutral"]}
    miniature.write_onnx(root / "onnx" / "other.onnx", miniature.INSIDE | {"name": "other", "labels": other["labels"]})
    other["parts"] = miniature.entry(root, {"onnx/other.onnx": "onnx"})["parts"]
    path.write_text(yaml.safe_dump({"checkpoints": [*data["checkpoints"], other]}))
    before = path.read_bytes()
    for members, words in (
        (["miniature", "other"], "has other labels"),
        (["miniature"], "two other entries"),
        (["miniature", "both"], "both"),
    ):
        with pytest.raises(CheckpointError, match=words):
            run_ensemble("both", members, root)
        assert path.read_bytes() == before


def test_what_is_no_ensemble_is_refused(root: Path) -> None:
    run_ensemble("both", ["miniature", "reversed"], root)
    with pytest.raises(CheckpointError, match="no checkpoint unknown"):
        run_ensemble("more", ["miniature", "unknown"], root)
    with pytest.raises(CheckpointError, match="cannot be adapted"):
        load("both").adapt(noises())
    (entry,) = [entry for entry in list_checkpoints() if entry.members]
    with pytest.raises(CheckpointError, match="has no file of its own"):
        entry.part("onnx")
    path = root / "checkpoints.yaml"
    good = path.read_text()
    wrong: tuple[tuple[dict[str, object], str], ...] = (
        ({"members": ["miniature"]}, "two other entries"),
        ({"members": []}, "either parts or"),
        ({"temperature": 2.0}, "temperature 1"),
    )
    for change, words in wrong:
        data = yaml.safe_load(good)
        next(item for item in data["checkpoints"] if item["name"] == "both").update(change)
        path.write_text(yaml.safe_dump(data))
        with pytest.raises(CheckpointError, match=words):
            load("both")
    data = yaml.safe_load(good)
    next(item for item in data["checkpoints"] if item["name"] == "both")["labels"] = ["neutral", "happy", "angry", "calm"]
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(CheckpointError, match="other labels"):
        load("both")


def test_several_models_decode_each_input_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [load("miniature"), load("reversed")]
    sounds: list[np.ndarray] = [*noises(3), np.zeros(10, np.float32), *noises(2)]
    calls: list[int] = []

    def counted(x: np.ndarray, **options: object) -> object:
        calls.append(len(x))
        return load_audio(x, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("emoser.models.utterance.load_audio", counted)
    results = list(predict_with(models, sounds))
    assert len(calls) == len(sounds)
    assert [type(result) for result in results] == [Prediction] * 6 + [Failure] + [Prediction] * 4
    assert isinstance(results[6], Failure) and isinstance(results[6].error, AudioTooShort)
    predictions = [result for result in results if isinstance(result, Prediction)]
    assert [result.model for result in predictions] == ["miniature", "reversed"] * 5
    for found, model in zip(predictions[2:4], models, strict=True):
        assert found.scores == pytest.approx(model(sounds[1]).scores, abs=1e-5)
    with pytest.raises(UsageError, match="twice"):
        predict_with([models[0], models[0]], sounds)
