"""Chooses the settings of diarization on the validation mixtures.

    python -m benchmarks.diarization.tune [NAME] [--corpora DIR] [--threads N] [--limit N]

In two steps, by EDER (mean of the corpora): what the model is shown (`FRONTS`, each with the checkpoint's other settings as they are), then
for the best one of each kind of posteriors every combination of `GRID`. Frames are computed once for each front; all else is made of them.
Writes results/tuning-<name>.json with all that was tried, prints the best, and what a registry entry would have to say.

Where speech is (`speech_on`, `speech_off`, `shortest_speech`) is not chosen here, where nearly all is speech, but in speech.py.
`shortest_pause` is of both: here a long one is right, since references count the pauses inside a clip as part of its emotion; there its
price is seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import emoser
from benchmarks.accuracy.scoring import rounded, write_to
from benchmarks.accuracy.table import markdown
from benchmarks.diarization import scoring
from benchmarks.diarization.mixtures import Mixed, described, mixtures
from benchmarks.diarization.scoring import Lines
from emoser.diarization.segments import segments_of
from emoser.metrics import eder
from emoser.models.utterance import UtteranceModel
from emoser.results import Diarization, Frames
from emoser.settings import DiarizationSettings

FRONTS = [
    {"posteriors": kind, "window": window, "hop": hop}
    for kind in ("frames", "windows")
    for window, hop in ((1.0, 0.5), (2.0, 0.5), (2.0, 1.0), (3.0, 1.0), (4.0, 2.0), (6.0, 3.0))
]
# A transducer reads its frames from what was said in a window, so that short ones cost it words; it has no posteriors of whole windows.
WRITTEN_FRONTS = [
    {"posteriors": "frames", "window": window, "hop": hop} for window, hop in ((1.0, 0.5), (2.0, 0.5), (2.0, 1.0), (4.0, 2.0))
]
GRID: dict[str, tuple[float, ...]] = {
    "smoothing": (0.0, 0.5, 1.0, 2.0),
    "margin": (0.0, 0.1, 0.2),
    "shortest": (0.3, 0.6, 1.0),
    "shortest_pause": (0.4, 0.8, 1.2),
}
SHOWN = 10

Changes = dict[str, Any]


def frames_of(model: UtteranceModel, mixed: Sequence[Mixed], settings: DiarizationSettings) -> list[Frames]:
    found = []
    for result in model.diarize_each((each.path for each in mixed), settings=settings):
        if not isinstance(result, Diarization) or result.error is not None:
            raise SystemExit(f"{model.name} failed: {result}")
        found.append(result.frames)
    return found


def lines_of(frames: Iterable[Frames], mixed: Sequence[Mixed], settings: DiarizationSettings) -> Lines:
    return [
        [(segment.start, segment.end, segment.label) for segment in segments_of(own, settings, each.recording.duration)]
        for own, each in zip(frames, mixed, strict=True)
    ]


def eder_of(mixed: Sequence[Mixed], lines: Lines) -> float:
    """Mean of the corpora."""
    rates = [eder(line, each.recording.segments, each.recording.duration).rate for each, line in zip(mixed, lines, strict=True)]
    return scoring.mean_eder(np.array([each.corpus for each in mixed]), np.array(rates))


def combinations(grid: dict[str, tuple[float, ...]]) -> list[Changes]:
    """
    >>> combinations({"smoothing": (0.0, 1.0), "margin": (0.1,)})
    [{'smoothing': 0.0, 'margin': 0.1}, {'smoothing': 1.0, 'margin': 0.1}]
    """
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def tuned(
    model: UtteranceModel, mixed: Sequence[Mixed], fronts: Sequence[Changes] | None = None, grid: dict[str, tuple[float, ...]] = GRID
) -> dict[str, Any]:
    """Everything tried, best first, and the full scores of the start and of the best; without `fronts` those of the model's task."""
    if fronts is None:
        fronts = WRITTEN_FRONTS if model.checkpoint.task == "transducer" else FRONTS
    start = model.checkpoint.diarization
    begun = lines_of(frames_of(model, mixed, start), mixed, start)
    front_rows = []
    kept: dict[Any, tuple[float, Changes, list[Frames]]] = {}  # by kind of posteriors
    for changes in fronts:
        settings = replace(start, **changes)
        frames = frames_of(model, mixed, settings)
        value = eder_of(mixed, lines_of(frames, mixed, settings))
        print(f"{changes}: EDER {100 * value:.2f} %", flush=True)
        front_rows.append({**changes, "eder": value})
        kind = changes["posteriors"]
        kept[kind] = min(kept.get(kind, (value, changes, frames)), (value, changes, frames), key=lambda row: row[0])
    rows = []
    for _, front, frames in kept.values():
        for changes in combinations(grid):
            settings = replace(start, **front, **changes)
            rows.append({**front, **changes, "eder": eder_of(mixed, lines_of(frames, mixed, settings))})
    rows.sort(key=lambda row: float(row["eder"]))
    chosen = {name: value for name, value in rows[0].items() if name != "eder"}
    best = replace(start, **chosen)
    of_best = kept[best.posteriors][2]
    return {
        "fronts": front_rows,
        "grid": rows,
        "start": {"settings": start.differing(), "scores": scoring.score(mixed, begun)},
        "best": {"settings": best.differing(), "scores": scoring.score(mixed, lines_of(of_best, mixed, best))},
    }


def shown(record: dict[str, Any]) -> str:
    """The fronts, the best of the grid, and the start beside the best."""
    parts = []
    for rows in (sorted(record["fronts"], key=lambda row: float(row["eder"])), record["grid"][:SHOWN]):
        names = [name for name in rows[0] if name != "eder"]
        parts.append(markdown([*names, "EDER"], [[*(str(row[name]) for name in names), f"{100 * row['eder']:.2f}"] for row in rows]))
    compared = []
    for name in ("start", "best"):
        mean = record[name]["scores"]["mean_of_corpora"]
        compared.append([name, *(f"{100 * mean[metric]['value']:.1f}" for metric in ("eder", "frame_uar", "segment_f1"))])
    parts.append(markdown(["", "EDER", "frame UAR", "segment F1"], compared))
    said = ", ".join(f"{name}: {value}" for name, value in record["best"]["settings"].items()) or "nothing"
    return "\n\n".join([*parts, f"What a registry entry says, since it is not the default: {said}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="shiftcnn")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--limit", type=int, metavar="N", help="mixtures a speaker, at most; nothing is written")
    options = parser.parse_args()
    mixed = mixtures("validation", options.corpora, options.limit)
    model = emoser.load(options.name, threads=options.threads)
    record = tuned(model, mixed)
    print(shown(record))
    if options.limit is None:
        content = {"name": model.name, "sha256": model.sha256, "tuned_on": described(mixed), **rounded(record, 5)}
        print(write_to(scoring.RESULTS / f"tuning-{model.name}.json", content))


if __name__ == "__main__":
    main()
