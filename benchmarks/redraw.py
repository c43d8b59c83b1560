"""Draws the intervals of all result files anew, after a change in how they are drawn, from what the files hold; no model is run.

    python -m benchmarks.redraw [--corpora DIR]

Of systems whose predictions stand in their files (benchmarks/accuracy) all scores and differences are made again; of time lines
(benchmarks/diarization, benchmarks/lattice), which keep the EDER of each mixture, the interval of its mean. Intervals of other means over
corpora cannot be made of what is stored: they become null until the benchmark runs again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.accuracy import clips as data
from benchmarks.accuracy import scoring
from benchmarks.accuracy.baselines import PROTOCOLS, UNSEEN
from benchmarks.accuracy.clips import Clip
from benchmarks.accuracy.evaluate import against
from benchmarks.diarization import scoring as timelines
from benchmarks.diarization.table import BASELINES
from benchmarks.lattice.run import RESULTS as LATTICE

Record = dict[str, Any]


def labels(record: Record, clips: list[Clip]) -> Record:
    """A result file of benchmarks/accuracy, `clips` being all there are."""
    unseen = record["protocol"] == "unseen"
    tested = [clip for clip in clips if (clip.corpus in UNSEEN if unseen else clip.part == "test")]
    what = data.described(tested)["tested"]
    if what["sha256"] != record["tested"]["sha256"]:
        raise SystemExit("a result file is of other clips than those of these corpora")
    truth = scoring.Truth(tested)
    for system in [record, *record.get("systems", [])]:
        if "predictions" in system:
            guess = scoring.unpacked(system["predictions"])
            system["scores"] = scoring.score(truth, guess)
            if "minus_baselines" in system:
                system["minus_baselines"] = against(PROTOCOLS[record["protocol"]][1], truth, guess, what)
    return record | ({"conditions": conditions(record["conditions"], truth)} if "conditions" in record else {})


def conditions(found: list[Record], truth: scoring.Truth) -> list[Record]:
    """Those of the robustness benchmark, the clean clips first. Measured before predictions were kept, they lose the mean's interval."""
    made = []
    for each in found:
        if "predictions" in each:
            clean, guess = (scoring.unpacked(of["predictions"]) for of in (found[0], each))
            each = each | {"scores": scoring.score(truth, guess)}
            each |= {"minus_clean": scoring.compare(truth, clean, guess)} if "minus_clean" in each else {}
        else:
            for name in {"scores", "minus_clean"} & set(each):
                each = each | {name: each[name] | {"mean_of_corpora": each[name]["mean_of_corpora"] | {"interval": None}}}
        made.append(each)
    return made


def rates(scores: Record, owners: dict[str, list[str]]) -> Record:
    """The scores of a system on mixtures: the interval of the mean EDER, from the EDER of each; the other means lose theirs."""
    nothing = [0.0] * len(scores["rates"])
    found = timelines.difference(owners["speakers"], owners["corpora"], nothing, scores["rates"])["interval"]
    means = {name: figure and figure | {"interval": None} for name, figure in scores["mean_of_corpora"].items()}
    means["eder"] |= {"interval": scoring.rounded(found)}
    return scores | {"mean_of_corpora": means}


def drawn_anew(record: Record, owners: dict[str, list[str]]) -> Record:
    """A result file of time lines."""
    if "diarization" in record:
        return record | {"diarization": rates(record["diarization"], owners)}
    return record | {"systems": {name: rates(scores, owners) for name, scores in record["systems"].items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path)
    options = parser.parse_args()
    clips = data.four_classes(options.corpora)
    for path in sorted(scoring.RESULTS.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("protocol") in PROTOCOLS:
            print(scoring.write(path.stem, labels(record, clips)))
    baselines = json.loads((timelines.RESULTS / f"{BASELINES}.json").read_text(encoding="utf-8"))
    for path in sorted([*timelines.RESULTS.glob("*.json"), *LATTICE.glob("*.json")]):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("tested", {}).get("sha256") == baselines["tested"]["sha256"]:
            print(scoring.write_to(path, drawn_anew(record, baselines["recordings"])))


if __name__ == "__main__":
    main()
