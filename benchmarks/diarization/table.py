"""Makes benchmarks/diarization/README.md from the result files; the README takes its table from here too.

python -m benchmarks.diarization.table [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import measured, pages
from benchmarks.accuracy.table import markdown, percent
from benchmarks.diarization import scoring
from emoser.timelines import PARTS

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
BASELINES, SPEECH = "baselines", "-speech"
OTHERS = ("tuning-", "adapting-")  # which the page does not show
WAYS = {"diarize": "", "windows": ", windows", "stretched": ", one label a recording"}  # what a row is called after the checkpoint
REFERENCE = "shiftcnn"  # whose windows, and whose label for all of a recording, every checkpoint is compared with

Record = dict[str, Any]

INTRODUCTION = """\
# Emotions over time

Made from `results/*.json` by `python -m benchmarks.diarization.table`; nothing here is written by hand.

The recordings are mixtures of test speakers (`python -m training mix`, seed {seed}): {mixtures} of {speakers} speakers, {minutes:.0f}
minutes, of {corpora}. In each, one speaker's clip of an emotion stands alone, or before, after or between neutral clips, with silence at
the ends cut, levels matched and a cross-fade of 50 ms; so boundaries are known to the sample. These are acted clips of one clear emotion
each, and a boundary is also the end of a sentence: recordings of conversations are harder.

EDER is the share of a recording's time whose label is wrong (`docs/diarization.md`); less is better. Of frame UAR and segment F1 more is
better; the boundary error is in seconds, all else in percent. "mean" is the mean over the corpora, in brackets with a 95 % interval from a
bootstrap over speakers; where a corpus has two test speakers (emodb, emovo, nemo), its part of the interval is hardly more than the range
between the two. Silence counts as neutral. No published figure is of these recordings: on ZED, another set, SpeechBrain's recipe with WavLM
large reports an EDER of 30.2.

A checkpoint's own row is `emoser diarize` as a user runs it. "windows": each window gets one emotion. "one label a recording": that of
`emoser predict` over all of it. "best constant": the emotion that is best on these very recordings. Settings were chosen on mixtures of
validation speakers (`tune.py`).
"""

EARLIER = f"{measured.EARLIER} Measured with an earlier file of the checkpoint than the one that is shipped."

SPEECH_TEXT = """\
## Silence, noise and music

Recordings put together of test speakers' clips, silence, ESC-10 (fold 5, which training never hears) and made-up music. Shares of time in
percent, with 95 % intervals over recordings: of speech that which lost its emotion, pauses of more than `shortest_pause` inside clips
included; of the others that which got one.
"""


def read(name: str) -> Record | None:
    path = scoring.RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def names(suffix: str = "") -> list[str]:
    """The checkpoints with a result file of this kind, by name."""
    found = sorted(path.stem for path in scoring.RESULTS.glob(f"*{suffix}.json"))
    if suffix:
        return [name.removesuffix(suffix) for name in found]
    return [name for name in found if name != BASELINES and not name.endswith(SPEECH) and not name.startswith(OTHERS)]


def constants(record: Record) -> Iterator[tuple[str, Record]]:
    """All neutral, and the best of the other labels."""
    systems = record["systems"]
    yield "all neutral", systems["neutral"]
    best = min(
        (label for label in systems if label != "neutral"), key=lambda label: float(systems[label]["mean_of_corpora"]["eder"]["value"])
    )
    yield f"best constant ({best})", systems[best]


def systems() -> list[tuple[str, Record]]:
    """Name and scores of everything measured on the present mixtures: checkpoints, then constants."""
    baselines = read(BASELINES)
    if baselines is None:
        return []
    found = []
    for name in names():
        record = read(name) or {}
        if record["tested"]["sha256"] != baselines["tested"]["sha256"]:
            raise SystemExit(f"{name}.json was measured on other mixtures than {BASELINES}.json; run evaluate again")
        mark = measured.mark(record["system"])
        found += [
            (f"**{name}**{mark}" if way == "diarize" else f"{name}{WAYS[way]}{mark}", each) for way, each in record["systems"].items()
        ]
    return [*found, *constants(baselines)]


def cell(figure: Record | None, seconds: bool = False) -> str:
    if figure is None:
        return "-"
    show = (lambda value: f"{value:.2f}") if seconds else percent
    interval = figure["interval"]
    return show(figure["value"]) + (f" ({show(interval[0])} to {show(interval[1])})" if interval else "")


def overview() -> str:
    """One row a system, the best EDER first."""
    rows = sorted(systems(), key=lambda row: float(row[1]["mean_of_corpora"]["eder"]["value"]))
    if not rows:
        return ""
    corpora = list(rows[0][1]["corpora"])
    body = []
    for name, scores in rows:
        mean = scores["mean_of_corpora"]
        body.append(
            [name, cell(mean["eder"]), *(percent(scores["corpora"][corpus]["eder"]["value"]) for corpus in corpora),
             cell(mean["frame_uar"]), cell(mean["segment_f1"]), cell(mean["boundary_error"], seconds=True)]
        )  # fmt: skip
    return explained(markdown(["", "EDER, mean", *corpora, "frame UAR", "segment F1", "boundary error"], body))


def explained(table: str) -> str:
    """With a line that says what the mark means, where it stands in the table."""
    return f"{table}\n\n{EARLIER}" if measured.EARLIER in table else table


def kinds() -> str:
    """What EDER is made of, of all mixtures together."""
    rows = [[name, *(percent(scores["pooled"]["parts"][part]) for part in PARTS)] for name, scores in systems()]
    return markdown(["EDER by kind of error", *(part.replace("_", " ") for part in PARTS)], rows)


def differences() -> str:
    """EDER of each checkpoint's diarization less that of the others, on the same draws of speakers."""
    baselines = read(BASELINES)
    if baselines is None or not names():
        return ""
    owners = baselines["recordings"]
    files = {name: read(name) or {} for name in names()}
    records = {name: file["systems"] for name, file in files.items()}
    marks = {name: measured.mark(file["system"]) for name, file in files.items()}
    others = dict(constants(baselines))
    others |= {f"{REFERENCE}{WAYS[way]}": scores for way, scores in records.get(REFERENCE, {}).items()}
    others |= {name: found["diarize"] for name, found in records.items()}
    rows = []
    for name, found in records.items():
        row = [f"**{name}**{marks[name]}"]
        for other, scores in others.items():
            if other == name:
                row.append("")
                continue
            gain = scoring.difference(owners["speakers"], owners["corpora"], scores["rates"], found["diarize"]["rates"])
            interval = gain["interval"]
            row.append(
                f"{100 * gain['difference']:+.1f}" + (f" ({100 * interval[0]:+.1f} to {100 * interval[1]:+.1f})" if interval else "")
            )
        rows.append(row)
    return markdown(["EDER less that of", *others], rows)


def speech() -> str:
    rows = []
    for name in names(SPEECH):
        record = read(name + SPEECH) or {}
        shares = record["shares"]
        lost = {"value": 1 - shares["speech"]["emotion"]["value"], "interval": None}
        if interval := shares["speech"]["emotion"]["interval"]:
            lost["interval"] = [1 - interval[1], 1 - interval[0]]
        others = [cell(shares[kind]["emotion"]) if kind in shares else "-" for kind in ("silence", "noise", "music", "other")]
        rows.append([f"**{name}**{measured.mark(record['system'])}", cell(lost), *others, cell(shares["other"]["not_neutral"])])
    head = ["", "speech without", "silence with", "noise with", "music with", "these three", "of it not neutral"]
    return explained(markdown(head, rows)) if rows else ""


def noises() -> str:
    """The sounds of ESC-10 one by one, of the first checkpoint that was measured: whether there is speech is told before any checkpoint."""
    for name in names(SPEECH)[:1]:
        shares = (read(name + SPEECH) or {})["shares"]
        rows = [[kind.removeprefix("noise: "), f"{row['seconds']:.0f}", percent(row["emotion"]["value"])]
                for kind, row in shares.items() if kind.startswith("noise: ")]  # fmt: skip
        return markdown([f"sound ({name})", "s", "with an emotion"], rows)
    return ""


def tuned() -> str:
    """Whose settings were chosen with earlier files; empty where all were chosen with those that are shipped."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(scoring.RESULTS.glob("tuning-*.json"))]
    found = [record["name"] for record in records if "name" in record and measured.earlier(record)]
    return f"The settings of {' and '.join(found)} were chosen with earlier files of these checkpoints.\n" if found else ""


def page() -> str:
    baselines = read(BASELINES)
    if baselines is None:
        return ""
    tested = baselines["tested"]
    totals = {name: sum(tested[name].values()) for name in ("mixtures", "speakers", "minutes")}
    introduction = INTRODUCTION.format(**totals, seed=baselines["seed"]["mixtures"], corpora=", ".join(tested["mixtures"]))
    parts = [introduction + tuned().rstrip("\n"), overview()]
    if table := differences():
        parts.append(f"Points of EDER (mean of the corpora) less than, or more than, others; below zero is better:\n\n{table}")
    parts.append(kinds())
    if table := speech():
        parts.append(f"{SPEECH_TEXT}\n{table}\n\n{noises()}")
    return "\n\n".join(parts) + "\n"


def main() -> int:
    return pages.main(__doc__, page(), PAGE, f"{scoring.RESULTS / (BASELINES + '.json')} is missing")


if __name__ == "__main__":
    sys.exit(main())
