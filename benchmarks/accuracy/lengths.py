"""What becomes of accuracy where a recording is longer than the clips of the training: several clips of one speaker and one emotion as one.

    python -m benchmarks.accuracy.lengths shiftcnn [--corpora DIR]         test speakers -> results/<name>-lengths.json
    python -m benchmarks.accuracy.lengths shiftcnn --part validation       a table of other windows to choose from; nothing is written

Each recording is heard in the checkpoint's own windows (`longest_window` of its registry entry, of equal length, scores averaged as
`emoser predict` does it) and in windows of up to 20 s, which is whole for most. Of real recordings these have the pauses between sentences,
but not their changes of mood and place.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import emoser
from benchmarks.accuracy import clips as data
from benchmarks.accuracy import scoring, table
from benchmarks.accuracy.clips import Clip
from benchmarks.accuracy.conditions import RATE, Samples
from benchmarks.accuracy.evaluate import probabilities
from emoser.audio import load_audio
from emoser.models.utterance import UtteranceModel

COUNTS = (1, 2, 4, 6)  # clips in a recording
MOST = 6  # recordings of a speaker and emotion: else the two speakers of nEMO would take all the time
WHOLE = 20.0  # s
TRIED = (3.0, 4.0, 5.0, 6.0, 8.0, WHOLE)
SEED = 1


def recordings(clips: Sequence[Clip], count: int) -> list[list[Clip]]:
    """`count` clips each, of one speaker and one label and in an order drawn by the seed; no clip is in two of them."""
    random = np.random.default_rng(SEED)
    groups: dict[tuple[str, int], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.speaker, clip.label].append(clip)
    found = []
    for group in groups.values():
        order = random.permutation(len(group))[: MOST * count]
        found += [[group[i] for i in order[start : start + count]] for start in range(0, len(order) - count + 1, count)]
    return found


def joined(clips: Sequence[Clip]) -> Samples:
    """One after the other, with the silence that each has at its ends."""
    return np.concatenate([load_audio(clip.path, target_rate=RATE)[0].waveform for clip in clips])


def with_windows(model: UtteranceModel, longest: float) -> UtteranceModel:
    """The same model with windows of up to `longest` seconds."""
    other = copy.copy(model)
    other.checkpoint = dataclasses.replace(model.checkpoint, longest_window=longest)
    return other


def measure(model: UtteranceModel, clips: Sequence[Clip], windows: Sequence[float]) -> list[dict[str, Any]]:
    """One entry for each number of clips: scores by longest window, and those of the first window less those of the last."""
    found = []
    for count in COUNTS:
        groups = recordings(clips, count)
        truth = scoring.Truth([group[0] for group in groups])
        waves = [joined(group) for group in groups]
        seconds = float(np.mean([len(wave) / RATE for wave in waves]))
        inputs = [(wave, RATE) for wave in waves]
        guesses = {longest: probabilities(with_windows(model, longest), inputs).argmax(axis=1) for longest in windows}
        scores = {f"{longest:g}": brief(scoring.score(truth, guess)) for longest, guess in guesses.items()}
        gain = scoring.compare(truth, guesses[windows[-1]], guesses[windows[0]])["mean_of_corpora"]
        found.append({"clips": count, "seconds": round(seconds, 1), "recordings": len(groups), "windows": scores, "gain": gain})
        means = ", ".join(f"{longest} s {100 * one['mean_of_corpora']['uar']:.1f}" for longest, one in scores.items())
        print(
            f"{model.name}, {len(groups)} recordings of {count} clips, {seconds:.1f} s: mean UAR by longest window {means}", file=sys.stderr
        )
    return found


def brief(scores: dict[str, Any]) -> dict[str, Any]:
    """Without WA, F1 and confusions."""
    corpora = {name: {"uar": one["uar"], "interval": one["interval"]} for name, one in scores["corpora"].items()}
    return {"corpora": corpora, "mean_of_corpora": scores["mean_of_corpora"]}


def overview(name: str = "shiftcnn") -> str:
    """Markdown: a row a number of clips, from the result file; empty without one."""
    record = table.read(f"{name}-lengths")
    if record is None:
        return ""
    own, whole = (f"{longest:g}" for longest in (record["longest_window"], WHOLE))
    rows = []
    for one in record["lengths"]:
        low, high = one["gain"]["interval"]
        gain = f"{100 * one['gain']['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        by_window = [table.with_interval(one["windows"][each]["mean_of_corpora"]) for each in (own, whole)]
        rows.append([str(one["clips"]), f"{one['seconds']:g}", str(one["recordings"]), *by_window, gain])
    head = ["clips in a recording", "seconds", "recordings", f"in windows of up to {own} s", f"of up to {whole} s", "difference"]
    return table.markdown(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a registered checkpoint, or a checkpoint's file")
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    model = emoser.load(arguments.name, threads=arguments.threads)
    clips = [clip for clip in data.four_classes(arguments.corpora) if clip.part == arguments.part]
    if arguments.part == "validation":
        measure(model, clips, TRIED)
        return
    own = model.checkpoint.longest_window
    record = {
        "protocol": "lengths",
        "system": scoring.about(model),
        "longest_window": own,
        **data.described(clips),
        "seed": SEED,
        "interval": {"confidence": scoring.CONFIDENCE, "draws": scoring.REPEATS, "of": "speakers"},
        "versions": scoring.versions("emoser", "numpy", "onnxruntime"),
        "lengths": measure(model, clips, (own, WHOLE)),
    }
    print(scoring.write(f"{model.name}-lengths", record))


if __name__ == "__main__":
    main()
