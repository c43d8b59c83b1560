"""Makes benchmarks/speed/README.md from results.json.

python -m benchmarks.speed.table [--check]
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import pages
from benchmarks.speed.run import summary

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
PAGE = HERE / "README.md"
REFERENCE = "wav2vec2-base"

RUNS = """\
All runs so far, times real time and in brackets the ratio to wav2vec2-base; machines of one name are not equally fast, nor do two of their
cores always give twice what one gives:
"""

Record = dict[str, Any]

PAGE_FORM = """\
# Speed

Made from `results.json` by `python -m benchmarks.speed.table`; `python -m benchmarks.speed.run` measures.

<!-- table: begin -->
{table}

{conditions}
<!-- table: end -->

"times real time" is seconds of audio in a second. The comparison is wav2vec 2.0 base (95 M parameters) with a linear classifier, the
architecture behind most public emotion recognisers, with random weights, through transformers' `pipeline("audio-classification")` in
PyTorch: the same clips, in memory, one by one, on as many threads. A first prediction is `emoser predict` on one clip, from the start of
the process to its end, against a Python that only imports numpy, onnxruntime and soundfile; all files were read before (the system has them
in memory, and emoser remembers the checkpoint's sha256). The folder is `emoser predict DIR` from start to end, decoding included. Memory
is the largest that the process took (resident), libraries included.

{runs}
All systems took turns in every repeat; a ratio is the median over the repeats of both figures taken one after the other, the figures are
medians of their own. Seconds depend on the machine and on what else it does, ratios much less; but where the load before the start was
not near 0, do not trust what was measured on all cores at once.
"""


def middle(values: Iterable[float]) -> float:
    return statistics.median(values)


def megabytes(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"


def figure(value: float) -> str:
    """Three digits that count.

    >>> [figure(value) for value in (214.6, 21.04, 2.5, 0.01234)]
    ['215', '21.0', '2.50', '0.0123']
    """
    digits = 0
    while digits < 4 and abs(value) * 10**digits < 100:
        digits += 1
    return f"{value:.{digits}f}"


def threads(number: int) -> str:
    return f"{number} thread{'s' * (number > 1)}"


def rows(record: Record) -> list[list[str]]:
    start, systems = record["start"], record["inference"]["systems"].values()
    seconds = {name: f"{figure(middle(values))} s" for name, values in start["seconds"].items()}
    bare = "import numpy, onnxruntime, soundfile"
    made = [
        ["`emoser --help`", seconds["help"], f"{seconds['import click']} (`import click`)", f"{start['ratios']['help']:.1f} times as long"],
        ["first prediction", seconds["predict"], f"{seconds[bare]} (`{bare}`)", f"{start['ratios']['predict']:.1f} times as long"],
    ]
    ours = [system for system in systems if system["system"] != REFERENCE]
    several = len({system["system"] for system in ours}) > 1
    theirs = {system["threads"]: system for system in systems if system["system"] == REFERENCE}
    for system in ours:
        other = theirs[system["threads"]]
        which = f"{system['system']}, " * several + threads(system["threads"])
        made.append(
            [
                f"times real time, {which}",
                figure(middle(system["speed"])),
                f"{figure(middle(other['speed']))} ({REFERENCE})",
                f"**{figure(system['ratios']['speed'])} times as fast**",
            ]
        )
    for system in (system for system in ours if system["threads"] == 1):
        other = theirs[1]
        which = f", {system['system']}" * several
        made += [
            [
                f"processor seconds for a second of audio{which}",
                figure(middle(system["cpu"])),
                f"{figure(middle(other['cpu']))} ({REFERENCE})",
                f"{figure(system['ratios']['cpu'])} times less",
            ],
            [
                f"largest memory{which}",
                megabytes(system["peak_bytes"]),
                f"{megabytes(other['peak_bytes'])} ({REFERENCE})",
                f"{figure(system['ratios']['peak'])} times less",
            ],
        ]
    folder = record["folder"]
    wall = middle(folder["wall"])
    made.append(
        [
            f"a folder of {folder['clips']} clips",
            f"{figure(wall)} s: {folder['clips'] / wall:.0f} clips a second, {figure(folder['seconds_of_audio'] / wall)} times real time, "
            f"{megabytes(folder['peak_bytes'])}",
            "",
            "",
        ]
    )
    return made


def runs(record: Record) -> str:
    """All runs so far, the last one too, or nothing where it is the only one."""
    if not record.get("earlier"):
        return ""
    found = [*record["earlier"], summary(record)]
    labels = [label for label in found[-1]["systems"] if not label.startswith(REFERENCE)]
    head = ["day", "revision", "processor", "load before", *map(titled, labels), "folder"]
    lines = [head, ["---"] * 4 + ["---:"] * (len(labels) + 1)]
    for one in found:
        cells = [f"{figure(each['speed'])} ({figure(each['ratio'])})" if each else "-" for each in map(one["systems"].get, labels)]
        about = f"{one['machine']['cpu']}, {one['machine']['cores']} cores"
        lines.append([one["day"], one["revision"], about, str(one["load_before"]), *cells, str(one["folder"])])
    return f"{RUNS}\n{markdown(lines)}\n"


def titled(label: str) -> str:
    """
    >>> titled("int8 x2")
    'int8, 2 threads'
    """
    system, number = label.rsplit(" x", 1)
    return f"{system}, {threads(int(number))}"


def markdown(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def conditions(record: Record) -> str:
    about, inference, apart = record["checkpoint"], record["inference"], record["start"].get("measured_apart")
    later = f" The starts were measured later than the rest, on {surroundings(apart)}." if apart else ""
    return (
        f"{about['name']} (revision {about['revision']}) on {surroundings(record)}. Clips: {record['clips']}; "
        f"one by one {inference['clips']} of {inference['seconds_of_audio'] / inference['clips']:.1f} s on average. "
        f"{record['repeats']} repeats.{later}"
    )


def surroundings(record: Record) -> str:
    """What a measurement ran on."""
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    load = "" if record["load_before"] is None else f", load {record['load_before']} before the start"
    return f"{machine['cpu']}, {machine['cores']} cores{load}; Python {machine['python']}, {versions}"


def page(record: Record) -> str:
    lines = [["", record["checkpoint"]["name"], "compared with", "ratio"], ["---", "---:", "---:", "---:"], *rows(record)]
    return PAGE_FORM.format(table=markdown(lines), conditions=conditions(record), runs=runs(record))


def main() -> int:
    return pages.main(__doc__, page(json.loads(RESULTS.read_text(encoding="utf-8"))), PAGE)


if __name__ == "__main__":
    sys.exit(main())
