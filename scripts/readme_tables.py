"""Fills the generated blocks of README.md from checkpoints.yaml and the benchmarks' result files.

    python scripts/readme_tables.py [--check]

A block stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`. It stays empty while there is no result to fill it with.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.accuracy import lengths, table, transcripts, unseen  # noqa: E402
from benchmarks.accuracy.crossval import page as crossval  # noqa: E402
from benchmarks.diarization import table as diarization  # noqa: E402
from emoser.registry import list_checkpoints  # noqa: E402
from scripts.parts import listed, onnx_sizes, owners, shared_files, transcripts_of  # noqa: E402

PAGE = ROOT / "README.md"
REGISTRY = ROOT / "checkpoints.yaml"
WIDTH = 140
SPEED_PAGE = ROOT / "benchmarks" / "speed" / "README.md"


def checkpoints() -> str:
    if not REGISTRY.is_file():
        return ""
    entries = list_checkpoints(REGISTRY)
    shared = owners(entries)
    rows = [
        [
            f"`{entry.name}`",
            f"{entry.system.name} ([{entry.system.year}]({entry.system.link}))",
            ", ".join(entry.labels),
            ", ".join(entry.languages),
            f"{entry.parameters / 1e6:.1f} M",
            onnx_sizes(entry, shared),
            entry.license + ("" if entry.commercial_use else "; no commercial use"),
        ]
        for entry in entries
    ]
    files = "ONNX files" if any(len(entry.files(*kind)) > 1 for entry in entries for kind in entry.kinds) else "ONNX file"
    made = table.markdown(["name", "system", "labels", "languages", "parameters", files, "licence"], rows, numbers=False)
    return f"{made}\n\n{shared_files(entries, shared)}" if shared else made


def written() -> str:
    """What transcripts are worth: one row for each checkpoint that writes any, and the best of them in words."""
    if not REGISTRY.is_file():
        return ""
    found = {entry.name: scores for entry in list_checkpoints(REGISTRY) if (scores := transcripts_of(entry.name))}
    if not found:
        return ""
    pairs = [(kind, rate) for kind in transcripts.KINDS for rate in transcripts.RATES]
    rows = [[f"**{name}**", *(transcripts.cell(scores, kind, rate) for kind, rate in pairs)] for name, scores in found.items()]
    measured = {name: transcripts.mean(scores, "unseen", "cer") for name, scores in found.items()}
    best = min(measured, key=lambda name: measured[name] or 1.0)
    text = (
        f"{listed(list(found))} write{'s' * (len(found) == 1)} what is said too, in capitals without punctuation. Errors for each word "
        '(WER) and character (CER) of test speakers, in percent, mean of the corpora; "seen" are sentences that stand in the training '
        f"clips too. {transcripts.worth(found[best])}" + (f" That is the best, `{best}`." if len(found) > 1 else "")
    )
    head = ["", *(f"{rate.upper()}, {kind}" for kind, rate in pairs)]
    return f"{textwrap.fill(text, WIDTH)}\n\n{table.markdown(head, rows)}"


def adapted() -> str:
    """The default checkpoint and what `ensemble` averages, adapted to mixed clips; and what adapting does to clips that are not mixed."""
    own, both = unseen.own(DEFAULT), unseen.of("shiftcnn-with-shiftformer-frozen")
    own_text = "How many of the clips adapted to are labelled rightly, in percent, mean of these corpora, by which clips they are:"
    both_text = "Heads on two encoders err in different ways. Averaged, each adapted by itself, which is what `ensemble` does:"
    parts = [unseen.of(DEFAULT), unseen.settings_said(DEFAULT), own and own_text, own, both and both_text, both]
    return "\n\n".join(filter(None, parts))


def speed() -> str:
    """The table between the markers `table: begin` and `table: end` of the speed benchmark's own page."""
    if not SPEED_PAGE.is_file():
        return ""
    found = re.search(r"<!-- table: begin -->\n(.*?)\n?<!-- table: end -->", SPEED_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return found[1].strip() if found else ""


DEFAULT = "shiftcnn"
BLOCKS = {
    "checkpoints": checkpoints,
    "accuracy": lambda: table.accuracy("speakers"),
    "unseen": lambda: table.accuracy("unseen"),
    "lengths": lengths.overview,
    "crossval": crossval.block,
    "adapted": adapted,
    "robustness": table.robustness,
    "diarization": diarization.overview,
    "transcripts": written,
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
