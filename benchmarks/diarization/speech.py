"""How much of silence, noise and music gets an emotion, and how much speech loses its own.

    python -m benchmarks.diarization.speech [NAME] [--part test|validation] [--count N] [--corpora DIR] [--threads N]

Recordings of a minute or more are put together of clips of held-out speakers, from their first to their last sound, and between them
silence (with the faint noise of any microphone), sounds of ESC-10 and made-up music. Of ESC-10, training hears folds 1 to 4; the test part
takes fold 5 and the validation part fold 4. Counted is the time that got any emotion, neutral included, and the time that got one other
than neutral; a pause of more than `shortest_pause` inside a clip counts as speech that lost its emotion. Test: the checkpoint's
settings -> results/<name>-speech.json. Validation: a table of other thresholds (`GATES`) to choose from; nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emoser
from benchmarks.accuracy.scoring import about, rounded, versions, write_to
from benchmarks.accuracy.table import markdown
from benchmarks.diarization import scoring
from benchmarks.diarization.evaluate import LABELS
from benchmarks.diarization.mixtures import CORPORA
from benchmarks.long.mixture import background, music
from emoser.audio import SAMPLE_RATE
from emoser.diarization.segments import segments_of
from emoser.metrics import labels_at
from emoser.metrics.bootstrap import drawn, interval_of
from emoser.metrics.diarization import NEUTRAL
from emoser.models.utterance import UtteranceModel
from emoser.results import SILENCE, Frames
from emoser.settings import DiarizationSettings
from training.corpora import default_split, load
from training.data import read
from training.mixing import trimmed

Samples = NDArray[np.float32]

COUNT = 40  # recordings
SECONDS = 60.0  # of each, at least
SHARES = {"speech": 0.55, "silence": 0.15, "noise": 0.2, "music": 0.1}  # of the pieces
FADE = round(0.01 * SAMPLE_RATE)  # samples: no click where pieces meet
FOLDS = {"test": "5", "validation": "4"}
SEEDS = {"test": 21, "validation": 22}
STEP = 0.01  # s between the times at which a recording is looked at
GATES: dict[str, tuple[float, ...]] = {"speech_on": (0.4, 0.5, 0.6, 0.7, 0.8), "shortest_pause": (0.4, 0.8, 1.2)}
BELOW = 0.15  # what speech_off is below speech_on (Silero VAD's own distance)


@dataclass(frozen=True)
class Spliced:
    """A recording (16 kHz) and what is where: start and end in s, kind, and of noise which."""

    samples: Samples
    pieces: tuple[tuple[float, float, str, str], ...]


@dataclass(frozen=True)
class Material:
    speech: Sequence[Path]
    noise: Sequence[tuple[str, Path]]  # class and file


def material(part: str, corpora: Path | None = None) -> Material:
    speech = []
    for corpus in CORPORA:
        manifest = default_split(load(corpus, corpora)).parts[part]
        speech += [manifest.file(item) for item in manifest if item.emotion in LABELS]
    noises = load("esc10", corpora)
    named = [(*class_and_fold(item.path), noises.file(item)) for item in noises]
    return Material(speech, [(name, file) for name, fold, file in named if fold == FOLDS[part]])


def class_and_fold(path: str) -> tuple[str, str]:
    """Clips are named `<class number>_<class>_<fold>-<source>-<take>`.

    >>> class_and_fold("noise/001_dog_bark_5-9032-A.opus")
    ('dog bark', '5')
    """
    _, *words, rest = Path(path).stem.split("_")
    return " ".join(words), rest.split("-")[0]


def spliced(found: Material, seed: tuple[int, ...], seconds: float = SECONDS) -> Spliced:
    """Pieces in random order until `seconds` are full."""
    random = np.random.default_rng(seed)
    sounds: list[Samples] = []
    pieces: list[tuple[float, float, str, str]] = []
    at = 0
    while at < seconds * SAMPLE_RATE:
        kind, which = str(random.choice(list(SHARES), p=list(SHARES.values()))), ""
        if kind == "speech":
            sound = trimmed(read(found.speech[int(random.integers(len(found.speech)))]))
        elif kind == "silence":
            sound = background(random, float(random.uniform(1, 6)))
        elif kind == "noise":
            which, path = found.noise[int(random.integers(len(found.noise)))]
            sound = read(path)
        else:
            sound = music(random, float(random.uniform(4, 10)))
        sounds.append(faded(sound))
        pieces.append((at / SAMPLE_RATE, (at + len(sound)) / SAMPLE_RATE, kind, which))
        at += len(sound)
    return Spliced(np.concatenate(sounds), tuple(pieces))


def faded(sound: Samples) -> Samples:
    count = min(FADE, len(sound) // 2)
    up = ((np.arange(count) + 0.5) / max(1, count)).astype(np.float32)
    return np.concatenate([sound[:count] * up, sound[count : len(sound) - count], sound[len(sound) - count :] * up[::-1]])


def counts(pieces: Sequence[tuple[float, float, str, str]], segments: Sequence[tuple[float, float, str]]) -> dict[str, NDArray[np.int64]]:
    """By kind (and `noise: class`), the times looked at: (all, with any label but silence, with one other than neutral too)."""
    found: dict[str, NDArray[np.int64]] = {}
    for start, end, kind, which in pieces:
        times = np.arange(round(start / STEP), round(end / STEP)) * STEP + STEP / 2
        labels = labels_at(segments, times, SILENCE)
        row = np.array([len(labels), sum(label != SILENCE for label in labels), sum(label not in (SILENCE, NEUTRAL) for label in labels)])
        for name in (kind, f"{kind}: {which}") if which else (kind,):
            found[name] = found.get(name, np.zeros(3, np.int64)) + row
    return found


def shares(found: Sequence[dict[str, NDArray[np.int64]]]) -> dict[str, Any]:
    """By kind, seconds and the shares of them that got an emotion and one other than neutral, with intervals over the recordings; `other`
    is silence, noise and music together."""
    kinds = sorted({kind for each in found for kind in each})
    record: dict[str, Any] = {}
    for kind in [*kinds, "other"]:
        members = [name for name in SHARES if name != "speech"] if kind == "other" else [kind]
        rows = np.array([sum((each.get(name, np.zeros(3, np.int64)) for name in members), np.zeros(3, np.int64)) for each in found])
        total = rows.sum(axis=0)
        if total[0] == 0:
            continue
        record[kind] = {"seconds": float(total[0] * STEP)}
        for name, column in (("emotion", 1), ("not_neutral", 2)):
            record[kind][name] = {"value": float(total[column] / total[0]), "interval": None}
            if len(rows) > 1 and ":" not in kind:
                _, draws = drawn(np.arange(len(rows)), scoring.REPEATS, scoring.SEED)
                sums = draws @ rows
                some = sums[:, 0] > 0
                record[kind][name]["interval"] = list(interval_of(sums[some, column] / sums[some, 0], scoring.CONFIDENCE))
    return record


def heard(model: UtteranceModel, recordings: Sequence[Spliced]) -> list[tuple[Frames, float]]:
    """Frames and duration (s) of each."""
    results = (model.diarize(each.samples) for each in recordings)
    return [(result.frames, result.duration) for result in results]


def measured(recordings: Sequence[Spliced], frames: Sequence[tuple[Frames, float]], settings: DiarizationSettings) -> dict[str, Any]:
    found = []
    for each, (own, duration) in zip(recordings, frames, strict=True):
        segments = [(segment.start, segment.end, segment.label) for segment in segments_of(own, settings, duration)]
        found.append(counts(each.pieces, segments))
    return shares(found)


def gates(recordings: Sequence[Spliced], frames: Sequence[tuple[Frames, float]], settings: DiarizationSettings) -> str:
    """A row for each combination of `GATES`: time of silence, noise and music with an emotion, and of speech without."""
    rows = []
    for values in product(*GATES.values()):
        changes = dict(zip(GATES, values, strict=True))
        found = measured(recordings, frames, replace(settings, **changes, speech_off=max(0.0, changes["speech_on"] - BELOW)))
        others = [found[kind]["emotion"]["value"] if kind in found else float("nan") for kind in ("other", "silence", "noise", "music")]
        rows.append([*map(str, values), *(f"{100 * value:.1f}" for value in (*others, 1 - found["speech"]["emotion"]["value"]))])
    return markdown([*GATES, "not speech, with emotion", "silence", "noise", "music", "speech without"], rows, text=len(GATES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="shiftcnn")
    parser.add_argument("--part", choices=list(FOLDS), default="test")
    parser.add_argument("--count", type=int, default=COUNT, help=f"recordings (default: {COUNT}; with fewer, nothing is written)")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    found = material(options.part, options.corpora)
    recordings = [spliced(found, (SEEDS[options.part], index)) for index in range(options.count)]
    model = emoser.load(options.name, threads=options.threads)
    frames = heard(model, recordings)
    if options.part == "validation":
        print(gates(recordings, frames, model.checkpoint.diarization))
        return
    result = rounded(measured(recordings, frames, model.checkpoint.diarization))
    for kind, row in result.items():
        print(f"{kind}: {row['seconds']:.0f} s, {100 * row['emotion']['value']:.1f} % with an emotion")
    if options.count >= COUNT:
        record = {
            "system": about(model),
            "recordings": len(recordings),
            "seed": SEEDS[options.part],
            "interval": {"confidence": scoring.CONFIDENCE, "draws": scoring.REPEATS, "of": "recordings"},
            "versions": versions("emoser", "numpy", "onnxruntime"),
            "shares": result,
        }
        print(write_to(scoring.RESULTS / f"{model.name}-speech.json", record))


if __name__ == "__main__":
    main()
