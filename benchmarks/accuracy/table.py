"""Makes benchmarks/accuracy/README.md from the result files; the README and the model cards take their tables from here too.

python -m benchmarks.accuracy.table [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import pages

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE / "README.md"

Record = dict[str, Any]

INTRODUCTION = """\
# Accuracy

Made from `results/*.json` by `python -m benchmarks.accuracy.table`; nothing here is written by hand.

Four classes: neutral, happy, angry, sad. UAR is the mean recall of the classes, in percent, with a 95 % interval from a bootstrap over
speakers. "mean" is the mean over the corpora; "all clips" takes the clips of all corpora together. Speakers of training, validation
and test are disjoint (`training/recipes/splits.yaml`); choices were made on validation speakers, and some on corpora left out:
`docs/experiments.md` says which, and when the test speakers were looked at. Where a corpus has two test speakers (emodb, emovo, nemo), its
interval is hardly more than the range between the two. In emospeech-in, `calm` stands for neutral and no one is sad. tess has two speakers
and trains only.

With all labels of a corpus and every speaker tested once, all heads beside reference rows and published ones: [crossval.md](crossval.md).
`python -m benchmarks.accuracy.crossval` has the commands that make it: `baselines` runs the reference rows, `run` the heads, `collect`
takes what that left under runs/ into `results/crossval.json`, and `table` writes the page.
"""

UNSEEN = """\
## Unseen corpora

Trained on the other corpora, tested on all clips of the one named: another room, another microphone, mostly another language, nothing
of it seen before. Acted speech with one clear emotion a clip still; spontaneous speech is harder. Checkpoints are trained anew for this by
the same recipe, with fewer steps than the shipped one; that shiftcnn has class offsets, and how its second read-out is taught, was
decided with such figures in view (`docs/experiments.md`).
"""

ROBUSTNESS = """\
## Robustness

Test speakers, each clip made worse. "same label" is the share of clips, in percent, whose label did not change.

{places}
"""
PLACES = """\
The impulse responses took no part in training, but most are other positions in rooms whose other responses did (warehouse, one hall, one
house), and a part of the noises are other moments in places that did: in a room quite unknown expect to lose more than here.
"""


def read(name: str) -> Record | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


HOLDS = {"": "scores", "-unseen": "scores", "-robustness": "conditions"}  # what tells such a result file from others


def evaluated(suffix: str = "") -> list[str]:
    """The checkpoints that have a result file with this suffix (`-unseen`, `-robustness`, or none: the test speakers), by name."""
    names = []
    for path in sorted(RESULTS.glob(f"*{suffix}.json")):
        name = path.stem.removesuffix(suffix)
        inner = not suffix and path.stem.endswith(tuple(filter(None, HOLDS)))
        if name != "baselines" and not inner and HOLDS[suffix] in (read(path.stem) or {}):
            names.append(name)
    return names


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def with_interval(score: Record) -> str:
    low, high = score["interval"] or (None, None)
    return percent(score["uar"]) + (f" ({percent(low)} to {percent(high)})" if low is not None else "")


def markdown(head: list[str], rows: list[list[str]], numbers: bool = True, text: int = 1) -> str:
    """A table; `numbers` sets all columns but the first `text` flush right."""
    lines = [head, [*["---"] * text, *["---:" if numbers else "---"] * (len(head) - text)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def systems(protocol: str) -> list[tuple[str, Record]]:
    """Name and scores of everything measured by a protocol: checkpoints first, then the baselines."""
    suffix, baselines = {"speakers": ("", "baselines"), "unseen": ("-unseen", "baselines-unseen")}[protocol]
    found = [(f"**{name}**", read(name + suffix)["scores"]) for name in evaluated(suffix)]  # type: ignore[index]
    record = read(baselines)
    return found + [(system["name"], system["scores"]) for system in (record["systems"] if record else [])]


def accuracy(protocol: str) -> str:
    """One row a system: mean of the corpora, all clips, and each corpus."""
    rows = systems(protocol)
    if not rows:
        return ""
    corpora = list(rows[0][1]["corpora"])
    body = [
        [
            name,
            *(with_interval(scores[part]) for part in ("mean_of_corpora", "pooled")),
            *(percent(scores["corpora"][c]["uar"]) for c in corpora),
        ]
        for name, scores in rows
    ]
    return markdown(["UAR", "mean", "all clips", *corpora], body)


def of_corpora(scores: Record) -> str:
    """One system, one row a corpus, with intervals, WA and macro F1."""
    rows = [
        [name, with_interval(part), percent(part["wa"]), percent(part["macro_f1"]), str(part["clips"]), str(part["speakers"])]
        for name, part in [*scores["corpora"].items(), ("all clips", scores["pooled"])]
    ]
    return markdown(["corpus", "UAR", "WA", "macro F1", "clips", "speakers"], rows)


def differences(record: Record) -> str:
    """A checkpoint minus each baseline, on the same draws of speakers."""

    def cell(found: Record) -> str:
        return f"{100 * found['difference']:+.1f} ({100 * found['interval'][0]:+.1f} to {100 * found['interval'][1]:+.1f})"

    rows = [[name, cell(found["mean_of_corpora"]), cell(found["pooled"])] for name, found in record["minus_baselines"].items()]
    return markdown(["minus", "mean", "all clips"], rows) if rows else ""


def robustness() -> str:
    """One row a condition, one column a system: mean UAR of the corpora, and for checkpoints the labels that stayed."""
    columns: list[tuple[str, list[Record]]] = [(f"**{n}**", read(f"{n}-robustness")["conditions"]) for n in evaluated("-robustness")]  # type: ignore[index]
    stayed = len(columns)
    record = read("baselines-robustness")
    columns += [(system["name"], system["conditions"]) for system in (record["systems"] if record else [])]
    if not columns:
        return ""
    head = ["mean UAR", "what was done"]
    for index, (name, _) in enumerate(columns):
        head += [name, "same label"] if index < stayed else [name]
    body = []
    for place, condition in enumerate(columns[0][1]):
        row = [condition["name"], condition["how"]]
        for index, (_, entries) in enumerate(columns):
            row.append(percent(entries[place]["scores"]["mean_of_corpora"]["uar"]))
            row += [percent(entries[place]["same_label"])] if index < stayed else []
        body.append(row)
    return markdown(head, body, text=2)


def calibration(record: Record) -> str:
    pooled = record["calibration"]["pooled"]
    rows = [[name, percent(value)] for name, value in record["calibration"]["ece_of_corpora"].items()]
    return markdown(["corpus", "ECE"], [*rows, ["all clips", percent(pooled["ece"])]])


def of_checkpoint(name: str, record: Record) -> str:
    bins = record["calibration"]["pooled"]["bins"]
    return (
        f"### {name}\n\n{of_corpora(record['scores'])}\n\nMinus the baselines, UAR in points:\n\n{differences(record)}\n\n"
        f"Calibration (expected calibration error in points, {bins} bins):\n\n{calibration(record)}\n\n"
        f"![Reliability diagram of {name}](results/{name}-reliability.png)\n"
    )


def page() -> str:
    parts = [INTRODUCTION]
    if baselines := read("baselines"):
        lines = [f"- `{system['name']}`: {system['summary']} (parameter {system['parameter']:g})" for system in baselines["systems"]]
        parts.append("Baselines, each with the parameter that was best on validation speakers:\n\n" + "\n".join(lines) + "\n")
    parts.append(f"## Unseen speakers of known corpora\n\n{accuracy('speakers')}\n")
    parts += [of_checkpoint(name, read(name) or {}) for name in evaluated()]
    if table := accuracy("unseen"):
        parts.append(f"{UNSEEN}\n{table}\n")
    for name in evaluated("-unseen"):
        parts.append(f"{name} minus the baselines, UAR in points:\n\n{differences(read(f'{name}-unseen') or {})}\n")
    if table := robustness():
        parts.append(f"{ROBUSTNESS.format(places=PLACES)}{table}\n")
    return "\n".join(parts)


def main() -> int:
    return pages.main(__doc__, page(), PAGE)


if __name__ == "__main__":
    sys.exit(main())
