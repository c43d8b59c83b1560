"""Adaptation without labels: what the arithmetic recovers, where it holds back, and the folder that it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import yaml

from emoser import load
from emoser.adaptation import NARROWEST, STRENGTH, TOLD, WIDEST, Adaptation, Reference, adapt, shares_of
from emoser.errors import AudioTooShort, CheckpointError, ChecksumMismatch, UsageError
from emoser.resolving import resolve

MEANS = np.array([[2.0, 0.0, 0.0], [-2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [0.0, -3.0, -1.0]])
REFERENCE = Reference(MEANS, np.array([1.0, 1.0, 1.0]))
OFFSET = np.array([1.5, -2.0, 4.0])  # of a user's microphone


def clips(labels: np.ndarray, spread: float = 1.0, seed: int = 0) -> np.ndarray:
    """A user's vectors: that of the label, off by OFFSET, `spread` times as wide as in training."""
    return MEANS[labels] * spread + OFFSET + spread * np.random.default_rng(seed).standard_normal((len(labels), 3))


def moved(found: Adaptation, vectors: np.ndarray) -> np.ndarray:
    return vectors * found.scale + found.shift


def even(count: int) -> np.ndarray:
    return np.arange(count) % 4


def test_an_offset_and_a_spread_are_taken_away() -> None:
    labels = even(4000)
    found = adapt(clips(labels), np.eye(4)[labels], REFERENCE)
    assert found.warnings == () and found.clips == 4000 and found.evenness == pytest.approx(1.0)
    seen = moved(found, clips(labels, seed=1))
    np.testing.assert_allclose([seen[labels == label].mean(0) for label in range(4)], MEANS, atol=0.2)
    wide = adapt(clips(labels, 1.5), np.eye(4)[labels], REFERENCE)
    assert wide.scale.min() > 0.5 and wide.scale.max() < 0.8
    np.testing.assert_allclose(moved(wide, clips(labels, 1.5, seed=1)).mean(0), MEANS.mean(0), atol=0.1)


def test_even_labels_need_not_be_recognised() -> None:
    """Where every clip is taken for any label alike, their mean still is known to lie in the middle."""
    labels = even(2000)
    found = adapt(clips(labels), np.full((2000, 4), 0.25), REFERENCE)
    np.testing.assert_allclose(-found.shift / found.scale, OFFSET, atol=0.1)


def test_the_emotion_of_one_sided_clips_is_not_taken_away() -> None:
    labels = np.zeros(500, dtype=int)
    found = adapt(clips(labels), np.eye(4)[labels], REFERENCE)
    np.testing.assert_allclose(moved(found, clips(labels, seed=1)).mean(0), MEANS[0], atol=0.3)
    assert any("few emotions" in warning for warning in found.warnings)


def test_shares_that_are_told_are_believed_half() -> None:
    """Clips of one label that every label might be: what the predictions would have taken away, the user keeps half of."""
    labels = np.zeros(4000, dtype=int)
    blind = np.full((4000, 4), 0.25)
    alone, told = (adapt(clips(labels), blind, REFERENCE, strength=0.0, shares=shares) for shares in (None, np.array([1.0, 0.0, 0.0, 0.0])))
    kept = moved(told, clips(labels)).mean(0) - moved(alone, clips(labels)).mean(0)
    np.testing.assert_allclose(kept, TOLD * told.scale * (MEANS[0] - MEANS.mean(0)), atol=0.02)
    one_sided = adapt(clips(labels), np.eye(4)[labels], REFERENCE, shares=np.array([1.0, 0.0, 0.0, 0.0]))
    assert one_sided.told and one_sided.evenness < 0.01 and one_sided.warnings == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"calm": 0.5}, 'no label "calm"'),
        ({"happy": -0.1}, "-0.1"),
        ({"happy": float("nan")}, "nan"),
        ({"neutral": 0.8, "happy": 0.3}, "sum to 1.1"),
        ({"neutral": 0.5, "happy": 0.1, "angry": 0.1, "sad": 0.1}, "sum to 0.8"),
        ({"neutral": "0.5"}, "a mapping from labels to numbers"),
        ([0.5, 0.5], "a mapping from labels to numbers"),
    ],
)
def test_what_is_no_share_is_an_error(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        shares_of(given, ("neutral", "happy", "angry", "sad"))


def test_shares_may_be_rounded() -> None:
    found = shares_of({"neutral": 0.33, "happy": 0.33, "angry": 0.33, "sad": 0.0}, ("neutral", "happy", "angry", "sad"))
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 1 / 3, 0])


def test_few_clips_move_little() -> None:
    for count in (1, 4, 20):
        labels = even(count)
        found = adapt(MEANS[labels] + OFFSET, np.full((count, 4), 0.25), REFERENCE)
        offset = (MEANS[labels] + OFFSET).mean(0) - MEANS.mean(0)
        centre = MEANS.mean(0)
        np.testing.assert_allclose((centre - found.shift) / found.scale - centre, offset * count / (count + STRENGTH), atol=1e-5)
        assert any(" few: " in warning for warning in found.warnings) == (count < 10)
        assert found.scale.min() >= NARROWEST and found.scale.max() <= WIDEST


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(UsageError, match="no clip"):
        adapt(np.zeros((0, 3)), np.zeros((0, 4)), REFERENCE)
    with pytest.raises(UsageError, match="do not fit"):
        adapt(np.zeros((2, 5)), np.full((2, 4), 0.25), REFERENCE)
    with pytest.raises(CheckpointError, match="no adaptation reference"):
        Reference(MEANS, np.zeros(3))
    with pytest.raises(UsageError, match="label 1 has no clips"):
        Reference.of(np.zeros((2, 1)), np.array([0, 2]), np.array(["a", "a"]))


def test_the_reference_counts_speakers_alike_and_looks_inside_them() -> None:
    vectors = np.array([[0.0], [2.0], [2.0], [2.0], [10.0], [12.0]])
    labels = np.array([0, 1, 1, 1, 0, 1])
    found = Reference.of(vectors, labels, np.array(["a", "a", "a", "a", "b", "b"]))
    np.testing.assert_allclose(found.means, [[5.0], [7.0]])
    assert found.deviation[0] < 0.01  # two speakers far apart, and nothing else
    again = Reference.from_text(found.to_text())
    np.testing.assert_allclose(again.means, found.means)
    np.testing.assert_allclose(again.deviation, found.deviation)
    with pytest.raises(CheckpointError, match="damaged"):
        Reference.from_text("bm90aGluZw==")


# with a checkpoint

LOUD = Reference(np.array([[0.01, 0.05, 1.0], [0.04, 0.15, 1.2], [0.09, 0.25, 1.3], [0.02, 0.1, 1.1]]), np.array([0.02, 0.05, 0.3]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return miniature.write_folder(tmp_path / "adaptable", reference=LOUD)


def noises(count: int = 12) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [(0.02 * (1 + index % 6) * random.standard_normal(8000)).astype(np.float32) for index in range(count)]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise counts as speech here."""
    monkeypatch.setattr("emoser.diarization.activity.SpeechActivity.holds_speech", lambda self, waveform: True)


@pytest.mark.usefixtures("heard")
def test_an_adapted_model_differs_and_the_other_stays(folder: Path) -> None:
    model, sounds = load(folder), noises()
    before = model(sounds)
    adapted = model.adapt(sounds)
    assert model.adaptation is None and adapted.adaptation is not None and adapted.adaptation.clips == 12
    assert (model.name, adapted.name) == ("miniature", "miniature-adapted") and adapted.sha256 != model.sha256
    assert model(sounds) == before != adapted(sounds)
    # by hand: the embedding moved, then the read-out
    vector = miniature.reference(sounds[0])["embedding"] * adapted.adaptation.scale + adapted.adaptation.shift
    logits = (vector @ miniature.WEIGHTS.astype(float) + miniature.BIAS.astype(float)) / miniature.TEMPERATURE
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(list(adapted(sounds[0]).scores.values()), expected, atol=1e-5)
    np.testing.assert_array_equal(adapted.embed(sounds[0]).vector, model.embed(sounds[0]).vector)
    # adapting starts from the file, not from the last adaptation
    again = adapted.adapt(sounds)
    assert again.name == "miniature-adapted" and again(sounds) == adapted(sounds)


@pytest.mark.usefixtures("heard")
def test_a_saved_folder_loads_like_any_other(folder: Path, tmp_path: Path) -> None:
    sounds = noises()
    adapted = load(folder).adapt(sounds)
    adapted.save(tmp_path / "mine")
    again = load(tmp_path / "mine")
    assert again(sounds) == adapted(sounds) and (again.name, again.sha256) == (adapted.name, adapted.sha256)
    entry = resolve(tmp_path / "mine").checkpoint
    assert entry is not None and entry.metrics == () and "adapted to 12 clips" in entry.summary
    assert entry.golden.logits != resolve(folder).checkpoint.golden.logits  # type: ignore[union-attr]
    # told how often labels occur, anew, over itself
    told = again.adapt(sounds, shares={"angry": 1.0})
    assert told(sounds) != adapted(sounds)
    told.save(tmp_path / "mine")
    assert load(tmp_path / "mine").adaptation.told  # type: ignore[union-attr]
    with pytest.raises(UsageError, match='no label "calm"'):
        again.adapt(sounds, shares={"calm": 1.0})
    again.adapt(sounds[:3]).save(tmp_path / "mine")
    assert load(tmp_path / "mine").adaptation.clips == 3  # type: ignore[union-attr]
    file = tmp_path / "mine" / "adaptation.npz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ChecksumMismatch, match=r"adaptation\.npz"):
        load(tmp_path / "mine")
    file.unlink()
    with pytest.raises(CheckpointError, match="which is not there"):
        load(tmp_path / "mine")


@pytest.mark.usefixtures("heard")
def test_what_cannot_be_adapted_or_saved_says_so(folder: Path, checkpoint_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be adapted"):
        load(checkpoint_folder).adapt(noises())
    with pytest.raises(CheckpointError, match="is not adapted"):
        load(folder).save(tmp_path / "x")
    with pytest.raises(CheckpointError, match="single file"):
        load(folder / "miniature.onnx").adapt(noises()).save(tmp_path / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="no checkpoint folder"):
        load(folder).adapt(noises()).save(tmp_path / "full")
    with pytest.raises(UsageError, match="no clip with speech"):
        load(folder).adapt([np.zeros(8000, np.float32)])
    with pytest.raises(AudioTooShort):
        load(folder).adapt([*noises(3), np.zeros(10, np.float32)])
    failed: list[object] = []
    for one in ("clip.wav", b"RIFF", tmp_path):
        for method in ("adapt", "stream", "diarize_each"):
            with pytest.raises(UsageError, match="put it into a list"):
                list(getattr(load(folder), method)(one))
    adapted = load(folder).adapt([*noises(3), np.zeros(10, np.float32)], on_failure=failed.append)
    assert len(failed) == 1 and adapted.adaptation is not None and adapted.adaptation.clips == 3
    wrong = Adaptation(np.ones(2, np.float32), np.zeros(2, np.float32), 1, 1.0)
    with pytest.raises(CheckpointError, match="made for another one"):
        load(folder).adapted(wrong)


def test_speech_alone_counts(folder: Path) -> None:
    with pytest.raises(UsageError, match="no clip with speech"):
        load(folder).adapt(noises(2))  # noise


def test_a_file_whose_reference_does_not_fit_is_refused(tmp_path: Path) -> None:
    wide = Reference(np.zeros((4, 5)), np.ones(5))
    file = miniature.write_onnx(tmp_path / "wide.onnx", reference=wide)
    with pytest.raises(CheckpointError, match="reference of 5 values"):
        load(file)


def test_the_entry_is_plain_yaml(folder: Path, tmp_path: Path, heard: None) -> None:
    load(folder).adapt(noises()).save(tmp_path / "mine")
    content = yaml.safe_load((tmp_path / "mine" / "checkpoint.yaml").read_text())
    assert [part["role"] for part in content["parts"]] == ["model", "adaptation"]
    assert content["hub"] is None and content["license"] == "Apache-2.0"
