"""Whether a checkpoint that adapts to what it hears (emoser/adaptation.py) tells emotions over time better: on the validation mixtures.

    python -m benchmarks.diarization.adapting [NAME] [--corpora DIR] [--threads N] [--limit N]

Each mixture is diarized with the settings of the checkpoint's registry entry: as it is (`plain`), adapted to its own windows, as many as
diarization lays over it (`windows`) or end to end (`apart`), and adapted to the windows of all mixtures of its speaker or of its corpus,
end to end (`speaker`, `corpus`). No label is used. Writes results/adapting-<name>.json and prints the EDER of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emoser
from benchmarks.accuracy.scoring import rounded, write_to
from benchmarks.accuracy.table import markdown
from benchmarks.diarization import scoring
from benchmarks.diarization.evaluate import diarized
from benchmarks.diarization.mixtures import Mixed, described, mixtures
from benchmarks.diarization.scoring import Lines, corpora_of
from emoser.audio import SHORTEST, load_audio
from emoser.errors import UsageError
from emoser.models.utterance import UtteranceModel

Waveform = NDArray[np.float32]
PLAIN = "plain"
# Name -> whether windows overlap, and the name under which mixtures are adapted to together.
WAYS: dict[str, tuple[bool, Callable[[Mixed], str]]] = {
    "windows": (True, lambda each: each.recording.file),
    "apart": (False, lambda each: each.recording.file),
    "speaker": (False, lambda each: f"{each.corpus} {each.recording.speaker}"),
    "corpus": (False, lambda each: each.corpus),
}


def windows_of(model: UtteranceModel, each: Mixed, *, overlapping: bool) -> list[Waveform]:
    """What the model is shown of a mixture; shorter than a window, the whole is one."""
    settings, rate = model.checkpoint.diarization, model.checkpoint.sample_rate
    waveform = load_audio(each.path, target_rate=rate)[0].waveform
    window = min(settings.window, model.checkpoint.longest_window)
    length, step = round(window * rate), round((settings.hop if overlapping else window) * rate)
    starts = range(0, max(len(waveform) - length, 0) + 1, step)
    found = [waveform[start : start + length] for start in starts]
    return [window for window in found if len(window) >= SHORTEST * rate]


def adapted_lines(model: UtteranceModel, mixed: Sequence[Mixed], way: str) -> tuple[Lines, dict[str, float]]:
    """The segments of each mixture; and, of what was adapted to together, how many there are, and how many windows with speech and how even
    labels each has on average."""
    overlapping, together = WAYS[way]
    lines: dict[str, Any] = {}
    clips, evenness = [], []
    for name in dict.fromkeys(map(together, mixed)):
        group = [each for each in mixed if together(each) == name]
        try:
            own = model.adapt([window for each in group for window in windows_of(model, each, overlapping=overlapping)])
            assert own.adaptation is not None
            clips.append(own.adaptation.clips)
            evenness.append(own.adaptation.evenness)
        except UsageError:  # no window holds speech
            own = model
        lines |= {each.recording.file: found for each, found in zip(group, diarized(own, group, model.checkpoint.diarization), strict=True)}
    of_groups = {"groups": len(clips), "windows": float(np.mean(clips)), "evenness": float(np.mean(evenness))}
    return [lines[each.recording.file] for each in mixed], of_groups


def compared(model: UtteranceModel, mixed: Sequence[Mixed]) -> dict[str, Any]:
    """The scores of each way, and its EDER less that of the checkpoint as it is."""
    systems: dict[str, Any] = {PLAIN: scoring.score(mixed, diarized(model, mixed))}
    speakers, corpora = [each.recording.speaker for each in mixed], [each.corpus for each in mixed]
    for way in WAYS:
        lines, adapted_to = adapted_lines(model, mixed, way)
        scores = scoring.score(mixed, lines)
        gain = scoring.difference(speakers, corpora, systems[PLAIN]["rates"], scores["rates"])
        systems[way] = {"adapted_to": adapted_to, "less_plain": gain, **scores}
        print(f"{way}: EDER {100 * gain['difference']:+.2f}", flush=True)
    return systems


def shown(systems: dict[str, Any], corpora: Sequence[str]) -> str:
    rows = []
    for name, scores in systems.items():
        mean, about = scores["mean_of_corpora"], scores.get("adapted_to", {})
        values = [scores["corpora"][corpus]["eder"]["value"] for corpus in corpora]
        figures = [mean["eder"]["value"], *values, mean["frame_uar"]["value"], mean["segment_f1"]["value"]]
        told = [f"{about['windows']:.0f}", f"{about['evenness']:.2f}"] if about else ["", ""]
        rows.append([name, *(f"{100 * value:.1f}" for value in figures), *told])
    return markdown(["adapted to", "EDER, mean", *corpora, "frame UAR", "segment F1", "windows", "evenness"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="shiftcnn")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--limit", type=int, metavar="N", help="mixtures a speaker, at most; nothing is written")
    options = parser.parse_args()
    mixed = mixtures("validation", options.corpora, options.limit)
    model = emoser.load(options.name, threads=options.threads)
    systems = compared(model, mixed)
    print(shown(systems, corpora_of(mixed)))
    if options.limit is None:
        about = {"name": model.name, "sha256": model.sha256, "diarization": model.checkpoint.diarization.differing()}
        content = {**about, "measured_on": described(mixed), "systems": rounded(systems, 5)}
        print(write_to(scoring.RESULTS / f"adapting-{model.name}.json", content))


if __name__ == "__main__":
    main()
