"""results.json -> README.md beside it.

python -m benchmarks.long.table [--check] [--results FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KINDS = ("speech", "silence", "noise", "music")
TEXT = """# Long recordings

Made from `results.json` by `python -m benchmarks.long.table`; `python -m benchmarks.long.run` measures.

{table}

{machine}

The recordings are put together by `mixture.py` from real speech, silence, the noises of ESC-10 and made-up music; all systems get the same.
"times real time" is seconds of audio in a second, from the start of the process to its end. Memory is the largest that the process took
(resident), libraries included; what a longer recording takes more is its frames and its segments. The last columns say which share of each
kind of time got an emotion: of speech it should be 100, of the others 0. A clip is speech from its first to its last sound; pauses inside
it of more than 0.4 s are counted as silence, though shiftcnn bridges those of up to 0.8 s, a setting chosen for recordings in which a
clip's pauses belong to its emotion: most of the silence with an emotion is of this kind.

The single pass is wav2vec 2.0 base (95 M parameters, random weights) with a classifier at each frame over the whole file at once, the way
SpeechBrain's emotion diarization works, in a process that may take {memory:g} GiB; its times leave the start and the decoding out.
"""


def length(seconds: float) -> str:
    """
    >>> length(20), length(60), length(5400), length(21600)
    ('20 s', '1 min', '90 min', '6 h')
    """
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{seconds / 3600:g} h" if seconds % 3600 == 0 else f"{seconds / 60:g} min"


def table(record: dict[str, Any]) -> str:
    rows = [["", "recording", "times real time", "memory", "more than the first", *(f"emotion in {kind}" for kind in KINDS)]]
    first = record["diarize"][0]["peak_bytes"]
    for each in record["diarize"]:
        shares = [each["emotion"].get(kind) for kind in KINDS]
        memory, more = each["peak_bytes"] / 2**20, (each["peak_bytes"] - first) / 2**20
        cells = [f"{each['speed']:.0f}", f"{memory:.0f} MiB", f"{more:+.0f} MiB"]
        rows.append(
            ["emoser diarize", length(each["seconds"]), *cells, *("" if share is None else f"{100 * share:.1f} %" for share in shares)]
        )
    for each in record["forward"]:
        cells = [
            f"{each['speed']:.1f}" if each["fits"] else "does not fit",
            f"{each['peak_bytes'] / 2**20:.0f} MiB" if each["fits"] else "",
        ]
        rows.append(["single pass", length(each["seconds"]), *cells, *[""] * 5])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- | --- |" + " ---: |" * (len(rows[0]) - 2), *lines[1:]])


def page(record: dict[str, Any]) -> str:
    about, used = record["machine"], record["checkpoint"]
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items() if version)
    machine = (
        f"{used['name']} (revision {used['revision']}) with {record['threads']} threads on {about['cpu']}, {about['cores']} cores, load "
        f"{record['load_before']} before the start; Python {about['python']}, {versions}."
    )
    return TEXT.format(table=table(record), machine=machine, memory=record["memory_gib"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether README.md is up to date")
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    text, target = page(json.loads(options.results.read_text(encoding="utf-8"))), options.results.parent / "README.md"
    if options.check:
        sys.exit(0 if target.read_text(encoding="utf-8") == text else f"{target.name} is not what {options.results.name} says")
    target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
