"""A corpora folder of a few dozen half-second clips, start weights at random under Whisper's names, and a run over both."""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from accelerate.state import AcceleratorState

from training import features, paths
from training.encoders.compact import CompactEncoder, mel_filterbank
from training.encoders.mn04 import FFT, MELS, TEACHER_RATE, Mn04
from training.recipe import Recipe, read_recipe
from training.runs import Places, Prepared, prepare, run_evaluate, run_fit

RATE = 16_000
CLIP = 9_600  # samples: 0.6 s, 30 hidden frames
LABELS = ("neutral", "happy", "angry", "sad")
SPEAKERS = {  # of the shipped split: two that train, one that validates, and one or two that test
    "ravdess": ("01", "03", "02", "09", "10"),
    "emodb": ("08", "09", "03", "10"),
}
COLUMNS = ("path", "speaker", "gender", "language", "emotion", "intensity", "text", "session", "duration", "sha256")
SOUNDS = {  # what tells the "emotions" apart: pitch in Hz, level of the noise, depth of a tremble
    "neutral": (200, 0.01, 0.0),
    "happy": (900, 0.3, 0.0),
    "angry": (3000, 0.01, 0.0),
    "sad": (450, 0.01, 0.9),
    "fear": (1700, 0.1, 0.9),
    "boredom": (120, 0.1, 0.0),
}

TINY = {
    "summary": "Pitches, for tests.",
    "data": {"corpora": ["ravdess", "emodb"], "labels": list(LABELS), "more_labels": ["fear"], "longest_crop": 0.4},
    "model": {"blocks": 2, "frozen_blocks": 1, "head": "shiftcnn", "head_options": {"expansion": 1, "dropout": 0.2}},
    "augmentation": {"views": 1, "chances": {"cut": 0.0, "mp3": 0.0, "opus": 0.0, "telephone": 0.0}},
    "schedule": {
        "steps": 12,
        "batch_size": 12,
        "evaluate_every": 6,
        "learning_rate": 1.0e-3,
        "encoder_learning_rate": 1.0e-4,
        "average": 0.5,
        "mixup": 0.0,
        "precision": "no",
        "seed": 7,
    },
    "register": {
        "license": "CC0-1.0",
        "commercial_use": True,
        "languages": ["en", "de"],
        "system": {"name": "Tiny", "paper": "Pitches", "year": 2026, "link": "https://example.org/tiny"},
        "trained_on": [{"corpus": "ravdess", "license": "CC0-1.0"}],
        "diarization": {"window": 2.0},
    },
}


def write_corpus(folder: Path, clips: dict[str, tuple[np.ndarray, str, str]]) -> None:
    """path -> (samples, speaker, emotion), in the packed layout."""
    rows = []
    for path, (samples, speaker, emotion) in clips.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, samples, RATE)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        rows.append(dict.fromkeys(COLUMNS, "") | {"path": path, "speaker": speaker, "emotion": emotion, "sha256": digest})
        rows[-1]["duration"] = str(len(samples) / RATE)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def utterance(emotion: str, random: np.random.Generator, samples: int = CLIP) -> np.ndarray:
    time = np.arange(samples) / RATE
    pitch, noise, tremble = SOUNDS[emotion]
    pitch *= random.uniform(0.97, 1.03)
    sound = 0.2 * np.sin(2 * np.pi * pitch * time) + noise * random.standard_normal(samples)
    return 0.5 * sound * (1 - tremble * (0.5 + 0.5 * np.sin(2 * np.pi * 9 * time)))


def random_mn04() -> dict[str, np.ndarray]:
    """Weights of the teacher's shapes and names, of which a sound comes out as loud as it goes in."""
    teacher = Mn04()
    teacher.mel_filters.copy_(torch.from_numpy(mel_filterbank(MELS, FFT, TEACHER_RATE)))
    for layer in teacher.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    state = {name: value.numpy() for name, value in teacher.state_dict().items() if not name.endswith("num_batches_tracked")}
    return {name.replace(".fc", ".conc_se_layers.0.fc"): value for name, value in state.items()}


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with corpora/ and weights/. Shared: do not change it."""
    root = tmp_path_factory.mktemp("tree")
    random = np.random.default_rng(0)
    for corpus, speakers in SPEAKERS.items():
        other = "boredom" if corpus == "emodb" else "calm"  # in no recipe's labels
        clips = {}
        for speaker, emotion in itertools.product(speakers, (*LABELS, "fear", other)):
            takes = 2 if emotion == "happy" else 1  # so that there is something to balance
            for take in range(takes):
                samples = utterance("boredom" if emotion == other else emotion, random, CLIP - 800 * take)
                clips[f"{speaker}/{emotion}-{take}.wav"] = (samples, speaker, emotion)
        write_corpus(root / "corpora" / corpus, clips)
    write_corpus(root / "corpora" / "emovo", {f"{label}.wav": (utterance(label, random), "f1", label) for label in LABELS})
    noise = [0.1 * random.standard_normal(RATE) for _ in range(4)]
    esc = {f"noise/001_dog_bark_{fold}-10003{fold}-A.wav": (noise[index], "", "") for index, fold in enumerate((1, 5))}
    write_corpus(root / "corpora" / "esc10", esc)
    write_corpus(root / "corpora" / "emospeech-noise", {f"House/{index}.wav": (noise[2 + index], "", "") for index in range(2)})
    decay = np.exp(-np.arange(1600) / 200)
    write_corpus(root / "corpora" / "rir", {f"{index}.wav": (decay * random.standard_normal(1600) * 0.2, "", "") for index in range(2)})
    torch.manual_seed(0)
    encoder = CompactEncoder(2)
    with torch.no_grad():
        for convolution in (encoder.conv1, encoder.conv2):
            convolution.weight *= 3  # what is heard, over the positions that are added to it
    state = {f"encoder.{name}": value.half().numpy() for name, value in encoder.state_dict().items()}
    (root / "weights").mkdir()
    np.savez(root / "weights" / paths.WEIGHTS["whisper-tiny-en"].file, **state)
    np.savez(root / "weights" / paths.WEIGHTS["efficientat-mn04"].file, **random_mn04())
    return root


@pytest.fixture(scope="session")
def start_weights(tree: Path) -> Path:
    return paths.weights("whisper-tiny-en", tree / "weights")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny tree's states are computed once for all tests. Shared: do not change it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def with_read_speech(tree: Path, tmp_path: Path) -> Callable[..., Path]:
    """with_read_speech("ljspeech-mini", ["LJ"]): a corpora folder with ravdess, emodb, and one clip of each speaker, without a label."""

    def write(corpus: str, speakers: Iterable[str]) -> Path:
        folder = tmp_path / "corpora"
        folder.mkdir()
        for name in ("ravdess", "emodb"):
            (folder / name).symlink_to(tree / "corpora" / name)
        random = np.random.default_rng(0)
        write_corpus(folder / corpus, {f"{name}.wav": (utterance("neutral", random), name, "") for name in speakers})
        return folder

    return write


@pytest.fixture
def places(tree: Path, cache: Path, tmp_path: Path) -> Places:
    return Places(runs=tmp_path / "runs", cache=cache, corpora=tree / "corpora", weights=tree / "weights", workers=1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    """tiny("schedule.steps=3", ...): the recipe over the tiny tree, with overrides."""
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(yaml.safe_dump(TINY), encoding="utf-8")

    def read(*overrides: str, name: str | None = None) -> Recipe:
        return read_recipe(file, overrides, name)

    return read


@pytest.fixture
def accelerate_anew() -> Iterator[None]:
    """Accelerate keeps one state a process: a test that trains gets a new one, with a precision of its own."""
    environment = dict(os.environ)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="session")
def trained(tree: Path, cache: Path, tiny: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Places]:
    """The tiny recipe fitted and evaluated. Shared: do not change it."""
    runs = tmp_path_factory.mktemp("runs")
    places = Places(runs=runs, cache=cache, corpora=tree / "corpora", weights=tree / "weights", workers=1)
    AcceleratorState._reset_state(reset_partial_state=True)
    run_fit(tiny(), places)
    AcceleratorState._reset_state(reset_partial_state=True)
    run_evaluate(tiny(), places)
    return prepare(tiny(), places), places


@pytest.fixture
def states_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cached states are computed in the test's own process: what a test patches does not reach another one that is spawned."""

    class Inline:
        def __init__(self, workers: int, initializer: Callable[..., None], initargs: tuple[object, ...]) -> None:
            initializer(*initargs)

        def __enter__(self) -> Inline:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        map = staticmethod(map)

    monkeypatch.setattr(features, "ProcessPoolExecutor", Inline)
