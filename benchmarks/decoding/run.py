"""Times the decoding of a transducer, in one run: the package's greedy search, the published loop over single frames, the training code, a
beam; and the whole of `emoser predict`, of which decoding is a part.

    python -m benchmarks.decoding.run [-m ent] [--count 48] [--repeats 5] [--corpora DIR] [--runs DIR]

Writes results/<name>.json; `python -m benchmarks.decoding.table` makes README.md from all of them. Needs the extras `cpu` and `train`. The
training code is measured where the checkpoint's run is at hand (runs/<name>/weights.pt).

Each system is a process of its own, and all take turns in every repeat, so that a machine that gets busier slows all alike: compare ratios,
not seconds. All must decode the same tokens greedily, or nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy.clips import Clip, four_classes
from benchmarks.speed.run import ROOT, Record, column, in_turns, machine, measured, ratio

RESULTS = Path(__file__).parent / "results"
RUNS = ROOT / "runs"
THREADS = (1, 2)
REFERENCE = "greedy"  # what the others are compared with
OURS = ("encoder", "greedy", "loop", "beam", "whole")
TRAINING = ("training", "together")
SAME = ("greedy", "loop", *TRAINING)  # all of these look for the best token at each node
MOST_DIFFERENT = 0.02  # of the clips: the training code adds up in another order, and a tie at one node changes all after it


def chosen(clips: Sequence[Clip], count: int) -> list[Clip]:
    """`count` clips of test speakers, mixed over the corpora and always the same.

    >>> made = [Clip("a", Path(f"{n}.wav"), f"{n}.wav", "a/1", 0, "test" if n % 2 else "train") for n in range(40)]
    >>> [clip.name for clip in chosen(made, 3)] == [clip.name for clip in chosen(made[::-1], 3)]
    True
    """
    held = [clip for clip in clips if clip.part == "test"]
    return sorted(held, key=lambda clip: hashlib.sha256(f"{clip.corpus}/{clip.name}".encode()).digest())[:count]


def worker(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.decoding.worker", *map(str, arguments)]


def described(model: str) -> Record:
    """What the checkpoint is, asked of a process of its own."""
    found: Record = json.loads(measured(worker("--describe", "-m", model))["output"].splitlines()[-1])
    return found


def decoding(
    model: str, about: Record, clips: Sequence[Path], cache: Path, repeats: int, runs: Path = RUNS, recipe: str | None = None
) -> Record:
    """Everything measured, in turns. `wall` and `cpu` are seconds for a second of audio."""
    listing = cache / "clips.json"
    listing.write_text(json.dumps([str(clip) for clip in clips]), encoding="utf-8")
    trained = (runs / about["name"] / "weights.pt").is_file()

    def job(system: str, threads: int) -> Callable[[], Record]:
        command = worker(listing, "--system", system, "--threads", threads, "-m", model)
        command += ["--runs", str(runs), "--recipe", recipe or about["recipe"]]

        def run() -> Record:
            found: Record = json.loads(measured(command, threads, cache)["output"].splitlines()[-1])
            return found | {"wall": found["wall"] / found["audio"], "cpu": found["cpu"] / found["audio"]}

        return run

    systems = (*OURS, *(TRAINING if trained else ()))
    found = in_turns({f"{system} x{threads}": job(system, threads) for threads in THREADS for system in systems}, repeats)
    different = disagreements(found)
    made: Record = {}
    for name, records in found.items():
        system, threads = name.rsplit(" x", 1)
        reference = found[f"{REFERENCE} x{threads}"]
        made[name] = {
            "system": system,
            "threads": int(threads),
            "wall": column(records, "wall", 6),
            "cpu": column(records, "cpu", 6),
            "ratios": {of: ratio(column(records, of, 9), column(reference, of, 9)) for of in ("wall", "cpu")},
        }
    greedy = found[f"{REFERENCE} x1"][0]
    return {
        "clips": len(clips),
        "seconds_of_audio": round(greedy["audio"], 1),
        "tokens": sum(map(len, greedy["tokens"])),
        "decoded_otherwise_by_training": different,
        "systems": made,
    }


def disagreements(found: dict[str, list[Record]]) -> int | None:
    """Of how many clips the training code decodes other tokens than the package, None where it was not measured.

    Raises SystemExit where the package's greedy search is not the published loop, or training is not nearly so.
    """
    expected = found[f"{REFERENCE} x1"][0]["tokens"]
    worst: int | None = None
    for name, records in found.items():
        if name.rsplit(" x", 1)[0] not in SAME:
            continue
        for record in records:
            others = sum(one != other for one, other in zip(record["tokens"], expected, strict=True))
            by_training = name.startswith(TRAINING)
            if others > (MOST_DIFFERENT * len(expected) if by_training else 0):
                raise SystemExit(f"{name} decodes {others} of {len(expected)} clips otherwise than {REFERENCE}: nothing is comparable")
            worst = max(worst or 0, others) if by_training else worst
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="ent", help="a transducer: name or folder")
    parser.add_argument("--count", type=int, default=48, help="clips (default: 48)")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement (default: 5)")
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the checkpoint's run is (default: runs/ in the clone)")
    parser.add_argument("--recipe", help="of the run (default: the one that the checkpoint names)")
    parser.add_argument("-o", "--out", type=Path, help="default: results/<name>.json beside this file")
    options = parser.parse_args()

    clips = chosen(four_classes(options.corpora), options.count)
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    about = described(options.model)
    with tempfile.TemporaryDirectory() as name:
        found = decoding(
            options.model, about, [clip.path for clip in clips], Path(name), options.repeats, options.runs.resolve(), options.recipe
        )
    listing = "\n".join(f"{clip.corpus}/{clip.name}" for clip in clips)
    record: dict[str, Any] = {
        "machine": machine(),
        "load_before": load,
        "checkpoint": about,
        "corpora": sorted({clip.corpus for clip in clips}),
        "clips_sha256": hashlib.sha256(listing.encode()).hexdigest(),
        "repeats": options.repeats,
        **found,
    }
    out = options.out or RESULTS / f"{about['name']}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {out.name}; now: python -m benchmarks.decoding.table")


if __name__ == "__main__":
    main()
