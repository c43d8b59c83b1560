"""All heads under one protocol, beside reference rows on the same folds.

    python -m benchmarks.accuracy.crossval baselines [--corpora DIR] [--weights DIR] [--only NAME...]   # -> results/crossval-baselines.json
    python -m benchmarks.accuracy.crossval run NAME... [--on CORPUS...] [...]             # folds, into runs/crossval
    python -m benchmarks.accuracy.crossval collect [--runs DIR]                        # runs/crossval -> results/crossval.json
    python -m benchmarks.accuracy.crossval table [--check]                             # both -> crossval.md

`run` takes the settings of settings.yaml and hands what it does not know (--multi-corpus beside, --set ...) to
`python -m training crossval`; finished folds are kept. `collect` can be run as often as one likes, while folds are still training. What is
no longer under runs/ stays in the result file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import pages
from benchmarks.accuracy.crossval import page, results
from benchmarks.accuracy.crossval.protocols import CORPORA, HEADS

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
    baselines.add_argument("--only", nargs="+", default=[], metavar="NAME", help="systems; the others' figures stay as they are")
    commands.add_parser("collect").add_argument("--runs", type=Path, default=RUNS)
    commands.add_parser("table")
    runs = commands.add_parser("run")
    runs.add_argument("names", nargs="+", choices=HEADS, metavar="NAME", help=", ".join(HEADS))
    runs.add_argument("--on", nargs="+", default=[each.name for each in CORPORA], choices=[each.name for each in CORPORA])
    options, more = parser.parse_known_args(arguments)
    if more and options.command != "run":
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if options.command == "run":
        from benchmarks.accuracy.crossval.run import run

        return run(options.names, options.on, more)
    if options.command == "baselines":
        from benchmarks.accuracy.crossval import references
        from benchmarks.accuracy.scoring import write

        if unknown := sorted(set(options.only) - {each.name for each in references.SYSTEMS}):
            parser.error(f"--only: no system {', '.join(unknown)}")
        print(write(results.BASELINES, references.run(options.corpora, options.weights, options.only)))
    else:
        from benchmarks.accuracy.crossval.collect import collect
        from benchmarks.accuracy.scoring import write

        print(write(results.RUNS, collect(options.runs)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
