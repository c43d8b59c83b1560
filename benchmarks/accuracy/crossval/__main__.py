"""All heads under one protocol, beside reference rows on the same folds.

    python -m benchmarks.accuracy.crossval baselines [--corpora DIR] [--weights DIR]   # -> results/crossval-baselines.json
    python -m benchmarks.accuracy.crossval collect [--runs DIR]                        # runs/crossval -> results/crossval.json
    python -m benchmarks.accuracy.crossval table [--check]                             # both -> crossval.md

`collect` can be run as often as one likes, while `python -m training crossval` works too: finished folds count. What is no longer under
runs/ stays in the result file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import pages
from benchmarks.accuracy.crossval import page, results

RUNS = Path(__file__).resolve().parents[3] / "runs"


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["table"]:
        return pages.main(__doc__, page.page(), page.PAGE, "run the command baselines first", arguments[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    baselines = commands.add_parser("baselines")
    baselines.add_argument("--corpora", type=Path)
    baselines.add_argument("--weights", type=Path)
    commands.add_parser("collect").add_argument("--runs", type=Path, default=RUNS)
    commands.add_parser("table")
    options = parser.parse_args(arguments)
    if options.command == "baselines":
        from benchmarks.accuracy.crossval import references
        from benchmarks.accuracy.scoring import write

        print(write(results.BASELINES, references.run(options.corpora, options.weights)))
    else:
        from benchmarks.accuracy.crossval.collect import collect
        from benchmarks.accuracy.scoring import write

        print(write(results.RUNS, collect(options.runs)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
