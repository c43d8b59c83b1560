"""Makes benchmarks/lattice/README.md from the result files.

python -m benchmarks.lattice.table [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import pages
from benchmarks.accuracy import transcripts
from benchmarks.accuracy.table import markdown, percent, with_interval
from benchmarks.diarization import scoring
from benchmarks.diarization.table import BASELINES, cell
from benchmarks.diarization.table import read as read_diarization
from benchmarks.lattice.run import RESULTS
from benchmarks.lattice.variants import VARIANTS

PAGE = Path(__file__).resolve().parent / "README.md"
REFERENCE = "ent"  # the variant that the others are compared with

Record = dict[str, Any]

PAGE_FORM = """\
# The lattice loss of ENT

Made from `results/*.json` by `python -m benchmarks.lattice.table`; `python -m benchmarks.lattice.run` trains and measures.

Variants of the recipe `ent` (`variants.py`), each trained for {steps} steps with the seed {seed}: **one seed and short runs**, so that
small differences mean nothing; intervals are over speakers of the test and not over runs. The shipped checkpoints are trained longer.

{table}

EDER and frame UAR are of the test mixtures, {mixtures} of {speakers} speakers, made into segments by `emoser diarize` with the settings
that the recipe registers; EDER is the share of time whose label is wrong, the mean of the corpora (benchmarks/diarization). Clip UAR is
that of the utterance head on the recipe's test clips, and CER the errors for each character, mean of the corpora both; sentences that stand
in the training clips too ("seen") apart from others. All in percent. Brackets hold 95 % intervals; those of "less" are of differences on
the same draws of speakers.

- one: the loss takes the one node where the clip's emotion is most probable; full-t all nodes of that node's frame; full-u all nodes with
  its count of tokens. "softly" weighs all nodes by their probability instead.
- as published, the node that is least neutral is pulled to neutral beside it, though it lies in the most emotional place, neutral clips are
  pulled at two nodes alone, and padding counts (`training/systems/transducer/losses.py`). Mended, the node that is most neutral already is
  pulled, neutral clips are at all nodes, and padding does not count.
- The recipe as it is: {pooling}.
"""


def records() -> dict[str, Record]:
    """The result files by variant, in the order of `VARIANTS`. SystemExit where they are not comparable."""
    found = {}
    for name in VARIANTS:
        file = RESULTS / f"{name}.json"
        if file.is_file():
            found[name] = json.loads(file.read_text(encoding="utf-8"))
    alike = {(own["tested"]["sha256"], own["run"]["steps"], own["run"]["seed"]) for own in found.values()}
    if len(alike) > 1:
        raise SystemExit("the result files differ in mixtures, steps or seed; run those again that are not alike")
    return found


def less(record: Record, reference: Record | None) -> str:
    """EDER less that of the reference, on the same draws of speakers; "-" where these mixtures' speakers are not known."""
    baselines = read_diarization(BASELINES)
    if reference is None or reference is record or baselines is None or baselines["tested"]["sha256"] != record["tested"]["sha256"]:
        return "-" if reference is not record else ""
    owners = baselines["recordings"]
    rates = (found["diarization"]["rates"] for found in (reference, record))
    gain = scoring.difference(owners["speakers"], owners["corpora"], *rates)
    interval = gain["interval"]
    return f"{100 * gain['difference']:+.1f}" + (f" ({100 * interval[0]:+.1f} to {100 * interval[1]:+.1f})" if interval else "")


def overview(found: dict[str, Record]) -> str:
    rows = []
    for name, record in found.items():
        mean, clips = record["diarization"]["mean_of_corpora"], record["clips"]
        rows.append(
            [
                f"**{name}**",
                VARIANTS[name].text,
                cell(mean["eder"]),
                less(record, found.get(REFERENCE)),
                cell(mean["frame_uar"]),
                percent(clips["mean_uar"]),
                with_interval(clips["pooled"]),
                *(transcripts.cell(clips["transcripts"], kind, "cer") for kind in transcripts.KINDS),
            ]
        )
    head = ["", "what it is", "EDER", f"less that of {REFERENCE}", "frame UAR", "clip UAR", "all clips", "CER, seen", "CER, unseen"]
    return markdown(head, rows, text=2)


def page(found: dict[str, Record]) -> str:
    if not found:
        return ""
    first = next(iter(found.values()))
    totals = {name: sum(first["tested"][name].values()) for name in ("mixtures", "speakers")}
    run, own = first["run"], found.get(REFERENCE)
    pooling = "not measured" if own is None else ", ".join(f"{name} {value}" for name, value in own["pooling"].items())
    return PAGE_FORM.format(table=overview(found), steps=run["steps"], seed=run["seed"], pooling=pooling, **totals)


def main() -> int:
    return pages.main(__doc__, page(records()), PAGE, "python -m benchmarks.lattice.run")


if __name__ == "__main__":
    sys.exit(main())
