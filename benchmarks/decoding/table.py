"""Makes benchmarks/decoding/README.md from the result files.

python -m benchmarks.decoding.table [--check]
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks import pages
from benchmarks.accuracy.table import markdown
from benchmarks.speed.table import figure, threads

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE / "README.md"
AIM = 50  # times real time that all of `emoser predict` is to reach on two threads
NAMES = {
    "encoder": "encoder and frames",
    "greedy": "**greedy**",
    "loop": "greedy, frame by frame as published",
    "training": "greedy of the training code, clip by clip",
    "together": "greedy of the training code, all clips at once",
    "beam": "beam of 8",
    "whole": "**all of `emoser predict`**",
}

Record = dict[str, Any]

PAGE_FORM = """\
# Decoding

Made from `results/*.json` by `python -m benchmarks.decoding.table`; `python -m benchmarks.decoding.run -m NAME` measures.

{overview}

Aim: all of `emoser predict` at {aim} times real time or more on two threads.

The greedy search asks for the joints of several frames at once, as long as no token comes, for until then the predictor stands still
(`emoser/models/transducer.py`). It gives what the published loop over single frames gives, token by token; each run checks that it does.
The loop runs on the same files; the training code (`training/systems/transducer/decode.py`) is PyTorch with the run's own weights. All ways
of decoding start from the same frames, at hand already; "encoder and frames" is what comes before. `emoser predict` is all of it with clips
in memory, one by one, looking for speech included; reading files is not.

"ms" is milliseconds for a second of audio, "processor ms" those in which a processor worked for it, on one thread; "of greedy" is how many
times as long as the greedy search takes. How much faster the greedy search is, is told in processor time, which depends least on what else
the machine does. All systems took turns in every repeat; a ratio is the median over the repeats of both figures taken one after the other,
the figures are medians of their own.

{parts}
"""


def records(folder: Path | None = None) -> list[Record]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder or RESULTS).glob("*.json"))]


def system(record: Record, name: str, count: int) -> Record | None:
    """The figures of one system on a number of threads, if it was measured."""
    found: Record | None = record["systems"].get(f"{name} x{count}")
    return found


def speed(record: Record, name: str, count: int) -> float:
    """Times real time."""
    return float(1 / statistics.median(record["systems"][f"{name} x{count}"]["wall"]))


def overview(found: list[Record]) -> str:
    rows = []
    for record in found:
        others = [system(record, name, 1) for name in ("loop", "training")]
        faster = ["-" if other is None else f"{figure(other['ratios']['cpu'])} times" for other in others]
        kept = "yes" if speed(record, "whole", 2) >= AIM else "**no**"
        rows.append([f"**{record['checkpoint']['name']}**", *(figure(speed(record, "whole", count)) for count in (1, 2)), kept, *faster])
    head = ["times real time", threads(1), threads(2), f"{AIM} or more", "greedy faster than frame by frame", "than the training code"]
    return markdown(head, rows)


def of_checkpoint(record: Record) -> str:
    rows = []
    for name, said in NAMES.items():
        one, two = (system(record, name, count) for count in (1, 2))
        if one is None or two is None:
            continue
        row = [said]
        for found, of in ((one, "cpu"), (one, "wall"), (two, "wall")):
            row += [figure(1000 * statistics.median(found[of])), figure(found["ratios"][of])]
        rows.append(row)
    head = ["", "processor ms", "of greedy", f"ms, {threads(1)}", "of greedy", f"ms, {threads(2)}", "of greedy"]
    return f"## {record['checkpoint']['name']}\n\n{markdown(head, rows)}\n\n{conditions(record)}"


def conditions(record: Record) -> str:
    machine, about = record["machine"], record["checkpoint"]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("numpy", "onnxruntime", "torch") if machine["versions"][name])
    load = "" if record["load_before"] is None else f", load {record['load_before']} before the start"
    different = record["decoded_otherwise_by_training"]
    training = "" if different is None else f" The training code decodes {different} of the clips otherwise."
    return (
        f"{about['name']} (revision {about['revision']}, {about['vocabulary']} symbols, a frame every {1000 * about['frame_hop']:g} ms) "
        f"on {machine['cpu']}, {machine['cores']} cores{load}; Python {machine['python']}, {versions}. {record['clips']} clips of test "
        f"speakers ({', '.join(record['corpora'])}), {record['seconds_of_audio']:g} s in all, in which {record['tokens']} tokens are "
        f"found.{training} {record['repeats']} repeats."
    )


def page(found: list[Record]) -> str:
    if not found:
        return ""
    return PAGE_FORM.format(overview=overview(found), aim=AIM, parts="\n\n".join(map(of_checkpoint, found)))


def main() -> int:
    return pages.main(__doc__, page(records()), PAGE, "python -m benchmarks.decoding.run")


if __name__ == "__main__":
    sys.exit(main())
