"""Fills the generated blocks of README.md from checkpoints.yaml and the benchmarks' result files.

    python scripts/readme_tables.py [--check]

A block stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`. It stays empty while there is no result to fill it with.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.accuracy import table  # noqa: E402
from benchmarks.diarization import table as diarization  # noqa: E402
from emoser.checkpoints import Checkpoint, list_checkpoints  # noqa: E402

PAGE = ROOT / "README.md"
REGISTRY = ROOT / "checkpoints.yaml"
SPEED_PAGE = ROOT / "benchmarks" / "speed" / "README.md"


def size_of(checkpoint: Checkpoint) -> str:
    sizes = [f"{part.size / 1e6:.1f} MB ({part.precision})" for part in checkpoint.parts if part.format == "onnx"]
    return ", ".join(sizes)


def checkpoints() -> str:
    if not REGISTRY.is_file():
        return ""
    rows = [
        [
            f"`{entry.name}`",
            f"{entry.system.name} ([{entry.system.year}]({entry.system.link}))",
            ", ".join(entry.labels),
            ", ".join(entry.languages),
            f"{entry.parameters / 1e6:.1f} M",
            size_of(entry),
            entry.license + ("" if entry.commercial_use else "; no commercial use"),
        ]
        for entry in list_checkpoints(REGISTRY)
    ]
    return table.markdown(["name", "system", "labels", "languages", "parameters", "ONNX file", "licence"], rows, numbers=False)


def speed() -> str:
    """The table between the markers `table: begin` and `table: end` of the speed benchmark's own page."""
    if not SPEED_PAGE.is_file():
        return ""
    found = re.search(r"<!-- table: begin -->\n(.*?)\n?<!-- table: end -->", SPEED_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return found[1].strip() if found else ""


BLOCKS = {
    "checkpoints": checkpoints,
    "accuracy": lambda: table.accuracy("speakers"),
    "unseen": lambda: table.accuracy("unseen"),
    "robustness": table.robustness,
    "diarization": diarization.overview,
    "speed": speed,
}


def filled(page: str) -> str:
    for name, make in BLOCKS.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, rest = page.split(begin)
        content = make()
        page = f"{before}{begin}\n{content + chr(10) if content else ''}{end}{rest.split(end)[1]}"
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is not up to date")
    page = PAGE.read_text(encoding="utf-8")
    made = filled(page)
    if parser.parse_args().check:
        return int(made != page)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
