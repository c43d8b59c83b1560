"""Reading and writing the two result files, and what stands in them for one system under one protocol (`Result`).

results/crossval-baselines.json   {"clips": {corpus: `Clips`}, "systems": {name: {"summary", "protocols": {protocol: `Result`}}}, ...}
results/crossval.json             {"runs": {recipe: {protocol: `Result`}}, ...}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from benchmarks.accuracy import scoring
from benchmarks.accuracy.crossval.protocols import PROTOCOLS, Clips, Indices, unpacked
from emoser.evaluation import Figure

BASELINES = "crossval-baselines"
RUNS = "crossval"

Record = dict[str, Any]


def read(name: str) -> Record:
    path = scoring.RESULTS / f"{name}.json"
    found: Record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def clips_of(baselines: Record) -> dict[str, Clips]:
    return {corpus: Clips.from_dict(values) for corpus, values in baselines.get("clips", {}).items()}


@dataclass(frozen=True)
class Result:
    """A system under one protocol, from its record."""

    record: Record

    @property
    def folds(self) -> dict[int, tuple[str, ...]]:
        """The folds that ran, by seed."""
        return {int(seed): tuple(names) for seed, names in self.record["folds"].items()}

    def figure(self, read_out: str, metric: str) -> Figure:
        found = self.record[read_out][metric]
        return Figure(found["value"], None if found["interval"] is None else tuple(found["interval"]))

    def predictions(self, read_out: str, clips: Clips) -> dict[tuple[int, str], Indices]:
        """By seed and fold, in the order of the fold's clips."""
        found = {}
        for seed, names in self.folds.items():
            rest = unpacked(self.record[read_out]["predictions"][str(seed)])
            for name in names:
                count = int(clips.of_fold(name).sum())
                found[seed, name], rest = rest[:count], rest[count:]
        return found

    def ran(self, clips: Clips) -> str:
        """ "3 of 6", or "6, 3 of 6" where seeds have not run equally many."""
        counts = list(dict.fromkeys(str(len(names)) for names in self.folds.values()))
        return f"{', '.join(counts)} of {len(clips.folds)}"

    def whole(self, clips: Clips) -> bool:
        return all(len(names) == len(clips.folds) for names in self.folds.values())


def by_protocol(protocols: dict[str, Record], multi: bool) -> dict[str, Result]:
    """The results of a system by corpus, either of the corpus's own training speakers or with the other corpora's."""
    return {PROTOCOLS[name].name: Result(record) for name, record in protocols.items() if (PROTOCOLS[name].protocol != name) == multi}
