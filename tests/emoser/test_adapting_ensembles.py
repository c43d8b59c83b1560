"""Ensembles adapted to a user's recordings: each member for itself, in memory and as a folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import yaml

from emoser import list_checkpoints, load
from emoser.adaptation import Adaptation, EnsembleAdaptation, Reference
from emoser.errors import CheckpointError, ChecksumMismatch, OutputError, UsageError
from emoser.models.ensemble import EnsembleModel
from emoser.registry import find, folder_entries
from emoser.runtimes.onnx import OnnxGraph
from emoser.saving import check_folder

MEANS = np.array([[0.01, 0.05, 1.0], [0.04, 0.15, 1.2], [0.09, 0.25, 1.3], [0.02, 0.1, 1.1]])
LOUD = Reference(MEANS, np.array([0.02, 0.05, 0.3]))
QUIET = Reference(MEANS[::-1] / 2, np.array([0.03, 0.04, 0.2]))
LISTING = "checkpoint.yaml"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a registry with `both`, an ensemble that can be adapted. Noise counts as speech."""
    monkeypatch.setattr("emoser.diarization.activity.SpeechActivity.holds_speech", lambda self, waveform: True)
    monkeypatch.setenv("EMOSER_REGISTRY", str(miniature.write_ensemble(tmp_path / "registry", LOUD, QUIET)))
    return tmp_path / "registry"


def noises(count: int = 12) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [(0.02 * (1 + index % 6) * random.standard_normal(8000 + 700 * index)).astype(np.float32) for index in range(count)]


def change(listing: Path, **fields: Any) -> None:
    """Sets fields of the ensemble's entry."""
    data = yaml.safe_load(listing.read_text())
    data["checkpoints"][0].update(fields)
    listing.write_text(yaml.safe_dump(data))


@pytest.mark.parametrize("shares", [None, {"angry": 0.7}])
def test_each_member_is_adapted_for_itself(root: Path, shares: dict[str, float] | None) -> None:
    sounds, ensemble = noises(), load("both")
    before = ensemble(sounds)
    adapted = ensemble.adapt(sounds, shares=shares)
    members = [load(name).adapt(sounds, shares=shares) for name in ("miniature", "reversed")]
    for sound, found in zip(sounds, adapted(sounds), strict=True):
        apart = [member(sound).scores for member in members]
        for label in miniature.LABELS:
            assert found.scores[label] == pytest.approx((apart[0][label] + apart[1][label]) / 2, abs=1e-6)
    assert adapted(sounds) != before == ensemble(sounds) and ensemble.adaptation is None
    assert (ensemble.name, adapted.name) == ("both", "both-adapted") and adapted.sha256 != ensemble.sha256
    again = adapted.adapt(sounds, shares=shares)  # starts from the files
    assert again.name == "both-adapted" and again(sounds) == adapted(sounds)


def test_what_the_members_report_is_said_together(root: Path) -> None:
    adapted = load("both").adapt(noises(3))
    assert adapted.adaptation is not None and adapted.adaptation.clips == 3
    assert sum(" few: " in warning for warning in adapted.adaptation.warnings) == 1

    def made(evenness: float) -> Adaptation:
        return Adaptation(np.ones(3, np.float32), np.zeros(3, np.float32), 30, evenness)

    both = EnsembleAdaptation({"a": made(0.2), "b": made(0.9)})
    (said,) = both.warnings
    assert said.startswith("a: ") and "few emotions" in said and both.evenness == pytest.approx(0.55) and not both.told
    (said,) = EnsembleAdaptation({"a": made(0.2), "b": made(0.3)}).warnings
    assert said.startswith("by what the checkpoint says")


def test_a_saved_folder_needs_no_registry(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds, mine = noises(), tmp_path / "mine"
    adapted = load("both").adapt(sounds)
    adapted.save(mine)
    shutil.rmtree(root)
    monkeypatch.setenv("EMOSER_REGISTRY", str(root / "checkpoints.yaml"))
    again = load(mine, offline=True)
    assert again(sounds) == adapted(sounds) and (again.name, again.sha256) == (adapted.name, adapted.sha256)
    # in place of itself, adapted to others
    fewer = again.adapt(sounds[:3])
    fewer.save(mine)
    saved = load(mine)
    assert saved(sounds) == fewer(sounds) != adapted(sounds)
    assert saved.adaptation is not None and saved.adaptation.clips == 3
    assert saved.checkpoint.summary == "Both; adapted to 3 clips of a user's own."
    # as a registry, and at a hub
    monkeypatch.setenv("EMOSER_REGISTRY", str(mine / LISTING))
    assert load("both-adapted")(sounds) == fewer(sounds)
    assert [entry.name for entry in list_checkpoints()] == ["both-adapted", "miniature-adapted", "reversed-adapted"]
    monkeypatch.setattr("emoser.hub.fetch", lambda address, path, offline: mine / path)
    assert load("hf://someone/mine@v1")(sounds) == fewer(sounds)
    golden = load(mine).opened.run(miniature.tone()[None], np.array([32_000]))["logits"][0]
    np.testing.assert_allclose(list_checkpoints()[0].golden.logits, golden, atol=1e-6)


def test_a_damaged_folder_is_noticed(root: Path, tmp_path: Path) -> None:
    load("both").adapt(noises()).save(tmp_path / "mine")
    for name in sorted(path.name for path in (tmp_path / "mine").iterdir() if path.name != LISTING):
        copy = shutil.copytree(tmp_path / "mine", tmp_path / f"without-{name}")
        (copy / name).write_bytes((copy / name).read_bytes()[:-1])
        with pytest.raises(ChecksumMismatch, match=name):
            load(copy)
        (copy / name).unlink()
        with pytest.raises(CheckpointError, match="which is not there"):
            load(copy)
    listing = tmp_path / "mine" / LISTING
    change(listing, members=["miniature-adapted", "other"])
    with pytest.raises(CheckpointError, match='"both-adapted" has members that are not in it: other'):
        load(tmp_path / "mine")
    listing.write_text("checkpoints: []")
    with pytest.raises(CheckpointError, match="is for an ensemble, whose entry comes first"):
        load(tmp_path / "mine")


def test_what_breaks_off_is_no_finished_folder(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble, replace = load("both"), Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "adaptation-2.npz":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    ensemble.adapt(noises()).save(tmp_path / "earlier")
    monkeypatch.setattr(Path, "replace", full)
    for folder, error in (("new", CheckpointError), ("earlier", ChecksumMismatch)):
        with pytest.raises(OutputError, match="No space left"):
            ensemble.adapt(noises(5)).save(tmp_path / folder)
        with pytest.raises(error):
            load(tmp_path / folder)
    assert not (tmp_path / "new").exists() and not list((tmp_path / "earlier").glob(".*"))


def test_folders_are_overwritten_by_their_kind_alone(root: Path, tmp_path: Path) -> None:
    sounds, mine = noises(), tmp_path / "mine"
    ensemble, single = load("both").adapt(sounds), load("reversed").adapt(sounds)
    for model in (single, ensemble, single):
        model.save(mine)
        assert load(mine)(sounds) == model(sounds)
        parts = [part.path for entry in folder_entries(mine) for part in entry.parts]
        assert {file.name for file in mine.iterdir()} == {*parts, LISTING}  # nothing of the one before
    ensemble.save(mine)
    data = yaml.safe_load((mine / LISTING).read_text())
    data["checkpoints"][1]["parts"] = [part for part in data["checkpoints"][1]["parts"] if part["role"] != "adaptation"]
    (mine / LISTING).write_text(yaml.safe_dump(data))
    with pytest.raises(UsageError, match='"both-adapted", which is not an adapted one'):
        check_folder(mine)
    with pytest.raises(CheckpointError, match="is not adapted"):
        load("both").save(tmp_path / "x")
    with pytest.raises(CheckpointError, match="is not adapted"):
        load(mine).save(tmp_path / "x")  # one member of two is


def test_a_member_that_cannot_be_adapted_is_named(root: Path) -> None:
    miniature.write_ensemble(root, LOUD, None)
    with pytest.raises(CheckpointError, match='"both" cannot be adapted, for its member "reversed" cannot be adapted: its file'):
        load("both").adapt(noises())
    with pytest.raises(UsageError, match='no label "calm"'):
        load("both").adapt(noises(), shares={"calm": 1.0})
    one = load("miniature").adapt(noises())
    assert isinstance(one.adaptation, Adaptation)
    with pytest.raises(CheckpointError, match="2 members and takes an adaptation for each, not 1"):
        load("both").adapted(one.adaptation)
    ensemble = load("both")
    assert isinstance(ensemble, EnsembleModel)
    nested = EnsembleModel(ensemble.checkpoint, [load("miniature"), ensemble])
    with pytest.raises(CheckpointError, match="is an ensemble itself"):
        nested.adapt(noises())


def test_what_members_share_runs_once_and_is_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ensemble of shipped checkpoints whose three members read one encoder."""
    monkeypatch.setattr("emoser.diarization.activity.SpeechActivity.holds_speech", lambda self, waveform: True)
    members = ("shiftcnn", "shiftformer", "shiftlstm")
    entry = replace(find("ensemble"), name="three", members=members)
    ensemble, sound = EnsembleModel(entry, [load(name, threads=1) for name in members]), noises(1)
    heard: list[int] = []
    call = OnnxGraph.__call__

    def counted(self: OnnxGraph, feeds: dict[str, Any]) -> dict[str, Any]:
        heard.extend(feeds["lengths"].tolist() if "waveform" in feeds else [])
        return call(self, feeds)

    monkeypatch.setattr(OnnxGraph, "__call__", counted)
    adapted = ensemble.adapt(sound)
    assert heard == [8000]
    adapted.save(tmp_path / "mine")
    files = sorted(path.name for path in (tmp_path / "mine").iterdir())
    assert len(files) == 1 + 1 + 3 + 3 and sum("readout" in name for name in files) == 3
    assert load(tmp_path / "mine", threads=1)(sound) == adapted(sound)


def test_ensembles_that_are_members_of_each_other(root: Path) -> None:
    data = yaml.safe_load((root / "checkpoints.yaml").read_text())
    entry = data["checkpoints"][2]
    data["checkpoints"] += [entry | {"name": "all", "members": ["both", "miniature"]}]
    entry["members"] = ["all", "reversed"]
    (root / "checkpoints.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(CheckpointError, match="members of each other: both -> all -> both"):
        load("both")
