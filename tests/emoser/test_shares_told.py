"""What a user says about how often each label occurs, and what the scores make of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import soundfile

from emoser import load
from emoser.adaptation import LEAST, STRENGTH, TOLD, Adaptation, Reference, told_offsets
from emoser.errors import CheckpointError, UsageError

LOUD = Reference(np.array([[0.01, 0.05, 1.0], [0.04, 0.15, 1.2], [0.09, 0.25, 1.3], [0.02, 0.1, 1.1]]), np.array([0.02, 0.05, 0.3]))
SHARES = np.array([0.7, 0.1, 0.1, 0.1])


def scores(logits: np.ndarray) -> np.ndarray:
    likely = np.exp(logits)
    return likely / likely.sum(-1, keepdims=True)


def test_the_whole_of_the_offsets_gives_the_shares() -> None:
    logits = 2 * np.random.default_rng(0).standard_normal((500, 4)) + [0.0, 2.0, -1.0, 0.5]
    offsets = told_offsets(logits, SHARES, strength=0.0)
    np.testing.assert_allclose(scores(logits + offsets / TOLD).mean(0), SHARES, atol=1e-5)
    before, after = (np.abs(scores(logits + moved).mean(0) - SHARES).sum() for moved in (0, offsets))
    assert 0.2 * before < after < 0.8 * before
    np.testing.assert_allclose(told_offsets(logits[:10], SHARES, strength=0.0) * 10 / (10 + STRENGTH), told_offsets(logits[:10], SHARES))


def test_offsets_are_of_raw_logits() -> None:
    logits = np.random.default_rng(1).standard_normal((50, 4))
    np.testing.assert_allclose(told_offsets(3 * logits, SHARES, temperature=3.0), 3 * told_offsets(logits, SHARES), atol=1e-6)


def test_what_never_occurs_may_occur_yet() -> None:
    logits = np.zeros((100, 4))
    found = told_offsets(logits, np.array([1.0, 0.0, 0.0, 0.0]), strength=0.0) / TOLD
    np.testing.assert_allclose(scores(found), np.array([1.0, LEAST, LEAST, LEAST]) / (1 + 3 * LEAST), atol=1e-6)


def test_labels_that_a_checkpoint_rules_out_end_somewhere() -> None:
    """Scores of nothing cannot be scaled to a share; the offsets stay finite."""
    logits = np.tile([100.0, -100.0, 0.0, 0.0], (20, 1))
    assert np.isfinite(told_offsets(logits, np.array([0.0, 1.0, 0.0, 0.0]))).all()


# with a checkpoint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint that can be adapted; noise counts as speech here."""
    monkeypatch.setattr("emoser.diarization.activity.SpeechActivity.holds_speech", lambda self, waveform: True)
    return miniature.write_folder(tmp_path / "adaptable", reference=LOUD)


def noises(count: int = 12) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [(0.02 * (1 + index % 6) * random.standard_normal(8000)).astype(np.float32) for index in range(count)]


def test_scores_go_towards_what_was_told(folder: Path, tmp_path: Path) -> None:
    model, sounds = load(folder), noises()
    told = model.adapt(sounds, shares={"angry": 0.7})
    assert isinstance(told.adaptation, Adaptation) and told.adaptation.offsets is not None
    place = model.labels.index("angry")
    assert told.adaptation.offsets.argmax() == place
    without = model.adapted(Adaptation(told.adaptation.scale, told.adaptation.shift, 12, 1.0))
    mean, mean_without = (np.mean([list(found.scores.values()) for found in each(sounds)], axis=0) for each in (told, without))
    assert mean_without[place] < mean[place] < 0.7
    logits = [np.log(list(without(sound).scores.values())) for sound in sounds]  # by hand
    expected = scores(np.array(logits) + told.adaptation.offsets / miniature.TEMPERATURE)
    np.testing.assert_allclose([list(found.scores.values()) for found in told(sounds)], expected, atol=1e-5)
    told.save(tmp_path / "mine")
    again = load(tmp_path / "mine")
    assert again(sounds) == told(sounds) and again.sha256 == told.sha256 != without.sha256


def test_frames_are_weighed_where_something_is_heard(folder: Path) -> None:
    model, sounds = load(folder), noises()
    told = model.adapt(sounds, shares={"angry": 0.7})
    assert isinstance(told.adaptation, Adaptation)
    without = model.adapted(Adaptation(told.adaptation.scale, told.adaptation.shift, 12, 1.0))
    batch = np.zeros((2, 8000), np.float32)
    batch[0], batch[1, :4000] = sounds[0], sounds[1][:4000]
    lengths = np.array([8000, 4000])
    with_offsets, plain = (each.opened.run(batch, lengths)["frames"] for each in (told, without))
    heard = plain.any(-1)
    assert heard[0].all() and not heard[1].all()
    np.testing.assert_allclose(with_offsets[heard] - plain[heard], np.tile(told.adaptation.offsets, (heard.sum(), 1)), atol=1e-5)
    assert not with_offsets[~heard].any()


def as_files(sounds: list[np.ndarray]) -> list[Any]:
    found = []
    for sound in sounds:
        file = io.BytesIO()
        soundfile.write(file, sound, 16000, format="WAV", subtype="FLOAT")
        file.seek(0)
        found.append(file)
    return found


def no_iterator(sounds: list[np.ndarray]) -> Any:
    class Opened:
        """Opens its files anew each time."""

        def __iter__(self) -> Any:
            return iter(as_files(sounds))

    return Opened()


@pytest.mark.parametrize("given", [iter, as_files, no_iterator, lambda sounds: (each for each in as_files(sounds))])
def test_whatever_can_be_read_once_is_read_once(folder: Path, given: Callable[[list[np.ndarray]], Any]) -> None:
    model, sounds = load(folder), noises()
    expected, found = (model.adapt(each, shares={"sad": 0.8}).adaptation for each in (sounds, given(sounds)))
    assert isinstance(expected, Adaptation) and isinstance(found, Adaptation)
    np.testing.assert_allclose(found.offsets, expected.offsets, atol=1e-6)


def test_a_failure_is_said_once(folder: Path) -> None:
    failed: list[object] = []
    found = load(folder).adapt([*noises(3), np.zeros(10, np.float32)], shares={"sad": 0.8}, on_failure=failed.append)
    assert len(failed) == 1 and found.adaptation is not None and found.adaptation.clips == 3


def test_files_that_are_gone_the_second_time(folder: Path, tmp_path: Path) -> None:
    class Once:
        def __iter__(self) -> Any:
            path = tmp_path / "clip.wav"
            if path.exists():
                path.unlink()
            else:
                soundfile.write(path, noises(1)[0], 16000)
            yield path

    with pytest.raises(UsageError, match="a second time"):
        load(folder).adapt(Once(), shares={"sad": 0.8})


def test_offsets_of_other_labels_are_refused(folder: Path, tmp_path: Path) -> None:
    ones = np.ones(3, np.float32)
    with pytest.raises(CheckpointError, match="of 2 labels, the file has 4"):
        load(folder).adapted(Adaptation(ones, 0 * ones, 1, 1.0, True, np.zeros(2, np.float32)))
    (tmp_path / "adaptation.npz").write_bytes(Adaptation(ones, 0 * ones, 1, 1.0, True, np.zeros((2, 2), np.float32)).to_bytes())
    with pytest.raises(CheckpointError, match="no adaptation: offsets"):
        Adaptation.read(tmp_path / "adaptation.npz")
