"""The cache of frozen states: the right numbers, computed once, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from training import features
from training.corpora import CorpusError, Utterance
from training.data import Example, examples_of, read, samples_of
from training.encoders.compact import CompactEncoder
from training.features import CODE_FILE, Source, StaleCache, build
from training.mixing import CORPUS as MIXTURES
from training.mixing import Plan, render, write
from training.mixing import Source as Clip
from training.recipe import Recipe


@pytest.fixture
def source(start_weights: Path, tree: Path, tiny: Callable[..., Recipe]) -> Source:
    return Source(start_weights, 1, tiny().augmentation.chances, tree / "corpora")


@pytest.fixture
def few(tree: Path, tiny: Callable[..., Recipe]) -> tuple[Example, ...]:
    """Three clips of each corpus."""
    train = examples_of(tiny().data, tree / "corpora").train
    return tuple(example for corpus in ("ravdess", "emodb") for example in [item for item in train if item.corpus == corpus][:3])


class Inline:
    """The pool's `map` in this process, and how often it was asked for."""

    asked = 0

    def __init__(self, workers: int, initializer: Callable[..., None], initargs: tuple[Any, ...]) -> None:
        Inline.asked += 1
        initializer(*initargs)

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *error: object) -> None:
        features._worker = None

    @staticmethod
    def map(function: Callable[..., str], parts: Sequence[Any]) -> Any:
        return map(function, parts)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> type[Inline]:
    threads = torch.get_num_threads()
    monkeypatch.setattr(features, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(Inline, "asked", 0)
    yield Inline
    torch.set_num_threads(threads)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != CODE_FILE}


def test_states_are_those_of_the_encoder(source: Source, few: tuple[Example, ...], tmp_path: Path, start_weights: Path) -> None:
    """Through real worker processes."""
    built = build(source, tmp_path, [(0, few)], workers=1)
    encoder = CompactEncoder(1).load_whisper(start_weights).eval()
    for example in few:
        samples = torch.from_numpy(read(example.file))[None]
        with torch.no_grad():
            hidden, frames, _ = encoder.lower(samples, torch.tensor([samples.shape[1]]), blocks=1)
        state = built.get(example, 0)
        assert state.dtype == np.float16 and len(state) == built.frames(example, 0) == int(frames[0])
        np.testing.assert_allclose(state.astype(np.float32), hidden[0, : int(frames[0])].numpy(), atol=4e-3, rtol=1e-3)


def test_a_second_build_computes_nothing_and_a_wider_one_what_is_missing(
    source: Source, few: tuple[Example, ...], tmp_path: Path, inline: type[Inline]
) -> None:
    build(source, tmp_path, [(0, few[:4])])
    before = files(tmp_path)
    again = build(source, tmp_path, [(0, few[:4])])
    assert inline.asked == 1 and files(tmp_path) == before
    wider = build(source, tmp_path, [(0, few)])
    after = files(tmp_path)
    assert inline.asked == 2 and {name: after[name] for name in before} == before
    written = [path for name, data in after.items() if name.endswith(".json") and name not in before for path in json.loads(data)]
    assert sorted(written) == sorted(example.utterance.path for example in few[4:])
    for example in few[:4]:
        assert np.array_equal(again.get(example, 0), wider.get(example, 0))


def test_states_of_other_code_are_not_read(
    source: Source, few: tuple[Example, ...], tmp_path: Path, inline: type[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "encoder.py"
    monkeypatch.setattr(features, "CODE", [code])
    code.write_text('"""Says."""\nWIDTH = 1\n\ndef f():\n    """More."""\n')
    build(source, tmp_path, [(0, few[:1])])
    code.write_text("# said otherwise\nWIDTH = 1\ndef f():\n    pass\n")
    build(source, tmp_path, [(0, few[:2])])
    code.write_text("WIDTH = 2\ndef f():\n    pass\n")
    with pytest.raises(StaleCache, match=r"changed: encoder\.py"):
        build(source, tmp_path, [(0, few[:1])])


def test_a_part_without_its_index_is_computed_anew(source: Source, few: tuple[Example, ...], tmp_path: Path, inline: type[Inline]) -> None:
    build(source, tmp_path, [(0, few)])
    before = files(tmp_path)
    next(tmp_path.rglob("emodb-*.json")).unlink()
    build(source, tmp_path, [(0, few)])
    assert inline.asked == 2 and files(tmp_path) == before


@pytest.mark.parametrize("moment", ["np.save", "json"])
def test_a_part_is_written_whole_or_not_at_all(
    source: Source, few: tuple[Example, ...], tmp_path: Path, inline: type[Inline], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class Killed(BaseException):
        pass

    def half(file: Any, array: np.ndarray) -> None:
        file.write(array.tobytes()[: array.nbytes // 2])
        raise Killed

    def half_text(path: Path, text: str, *rest: Any, **more: Any) -> int:
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        if moment == "json":
            patch.setattr(Path, "write_text", half_text)
        else:
            patch.setattr(features.np, "save", half)
        build(source, tmp_path, [(0, few)])
    assert not list(tmp_path.rglob("*.json"))
    built = build(source, tmp_path, [(0, few)])
    assert all(len(built.get(example, 0)) == built.frames(example, 0) > 0 for example in few)


def test_views_are_degraded_differ_and_are_the_same_each_time(
    source: Source, few: tuple[Example, ...], tmp_path: Path, inline: type[Inline]
) -> None:
    loud = replace(source, chances=replace(source.chances, noise=1.0, tilt=1.0))
    first = build(loud, tmp_path / "first", [(view, few) for view in (0, 1, 2)])
    build(loud, tmp_path / "second", [(view, few) for view in (2, 1)])
    views = {name: data for name, data in files(tmp_path / "first").items() if "view0" not in name}
    assert len(views) == 8 and files(tmp_path / "second") == views
    for example in few:
        states = [np.array(first.get(example, view), dtype=np.float32) for view in (0, 1, 2)]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            frames = min(len(states[one]), len(states[other]))
            assert np.abs(states[one][:frames] - states[other][:frames]).max() > 0.02


def test_parts_are_of_bounded_size(
    source: Source, few: tuple[Example, ...], tmp_path: Path, inline: type[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build(source, tmp_path / "whole", [(0, few)])
    monkeypatch.setattr(features, "CLIPS_A_PART", 2)
    monkeypatch.setattr(features, "SECONDS_A_BATCH", 0.7)  # one clip a batch
    parted = build(source, tmp_path / "parted", [(0, few)])
    assert len(list((tmp_path / "parted").rglob("*.npy"))) == 4 and len(list((tmp_path / "whole").rglob("*.npy"))) == 2
    for example in few:
        np.testing.assert_allclose(whole.get(example, 0).astype(float), parted.get(example, 0).astype(float), atol=4e-3, rtol=2e-3)


def test_a_cache_is_of_one_encoder_depth_and_augmentation(source: Source, tmp_path: Path) -> None:
    other_weights = tmp_path / "other.npz"
    other_weights.write_bytes(source.weights.read_bytes() + b"\0")
    others = [
        replace(source, frozen_blocks=2),
        replace(source, chances=replace(source.chances, noise=0.9)),
        replace(source, weights=other_weights),
    ]
    assert len({source.key, *(other.key for other in others)}) == 4
    assert replace(source, corpora=tmp_path).key == source.key  # where the corpora lie does not matter


def test_clean_clips_need_no_noises(source: Source, few: tuple[Example, ...], tmp_path: Path, tree: Path, inline: type[Inline]) -> None:
    bare = tmp_path / "corpora"
    bare.mkdir()
    built = build(replace(source, corpora=bare), tmp_path / "cache", [(0, few[:1])])
    assert built.frames(few[0], 0) > 0


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two seconds, of another pitch in each half second and each channel."""
    time = np.arange(8000) / 16_000
    lanes = [
        np.concatenate([0.3 * np.sin(2 * np.pi * pitch * time) for pitch in pitches]) for pitches in ((300, 500, 700, 900), (1500,) * 4)
    ]
    soundfile.write(tmp_path / "long.wav", np.stack(lanes, axis=1), 16_000, subtype="FLOAT")
    return tmp_path / "long.wav"


def part_of(recording: Path, **part: Any) -> Example:
    return Example(Utterance("demo", recording.name, speaker="ada", emotion="sad", **part), recording, 0)


def test_clips_cut_out_of_one_file_are_heard_and_kept_apart(source: Source, recording: Path, inline: type[Inline], tmp_path: Path) -> None:
    parts = [part_of(recording, start=0.5, end=1.0), part_of(recording, start=1.5), part_of(recording, channel=1), part_of(recording)]
    left, right = soundfile.read(recording, dtype="float32")[0].T
    heard = [((left + right) / 2)[8000:16000], ((left + right) / 2)[24000:], right, (left + right) / 2]
    alone = []
    for index, (part, samples) in enumerate(zip(parts, heard, strict=True)):
        np.testing.assert_allclose(samples_of(part), samples, atol=1e-6)
        soundfile.write(tmp_path / f"{index}.wav", samples, 16_000, subtype="FLOAT")
        alone.append(Example(Utterance("demo", f"{index}.wav"), tmp_path / f"{index}.wav", 0))
    built, expected = build(source, tmp_path / "parts", [(0, parts), (1, parts)]), build(source, tmp_path / "alone", [(0, alone)])
    for part, whole in zip(parts, alone, strict=True):
        np.testing.assert_allclose(built.get(part, 0).astype(float), expected.get(whole, 0).astype(float), atol=4e-3, rtol=2e-3)
        assert built.frames(part, 1) > 0
    assert set(built.places("demo", 0)) == {
        "long.wav [0.5, 1.0, null]",
        "long.wav [1.5, null, null]",
        "long.wav [null, null, 1]",
        "long.wav",  # a whole file has the name that it always had
    }


@pytest.mark.parametrize("part", [{"start": 2.5}, {"start": 1.0, "end": 1.0}, {"start": 1.0, "end": 1.05}])
def test_a_part_without_audio_is_an_error(recording: Path, part: dict[str, float]) -> None:
    with pytest.raises(CorpusError, match=r"long\.wav \[.* s of audio; the file lasts 2\.00 s"):
        samples_of(part_of(recording, **part))


def test_two_folders_of_mixtures_do_not_share_states(source: Source, recording: Path, inline: type[Inline], tmp_path: Path) -> None:
    found = []
    for name, start in (("train", 0.0), ("test", 1.0)):
        clip = Clip(part_of(recording, start=start, end=start + 0.5).utterance, recording)
        manifest = write(iter([render(Plan("ada-0000", "demo/ada", (clip,)))]), tmp_path / name)
        found += [Example(clip, manifest.file(clip), 0) for clip in manifest]
    first, second = found
    assert first.utterance.path == second.utterance.path and first.corpus == MIXTURES
    both = build(source, tmp_path / "both", [(0, [first])]) and build(source, tmp_path / "both", [(0, [second])])
    alone = build(source, tmp_path / "alone", [(0, [second])])
    assert np.array_equal(both.get(second, 0), alone.get(second, 0)) and not np.array_equal(both.get(first, 0), both.get(second, 0))
    # mixtures that were written before their files were hashed keep the states that they have
    before = replace(first, utterance=replace(first.utterance, sha256=""))
    assert list(build(source, tmp_path / "before", [(0, [before])]).places(MIXTURES, 0)) == ["audio/ada-0000.flac"]
