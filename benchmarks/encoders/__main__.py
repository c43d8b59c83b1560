"""Encoders compared on validation speakers, frozen and fine-tuned; what is compared: variants.yaml.

    python -m benchmarks.encoders run [NAME...] [--corpora DIR] [--weights DIR] [...]   # trains and scores, into runs/encoders-NAME
    python -m benchmarks.encoders collect [--runs DIR]                                  # runs/ -> results.json
    python -m benchmarks.encoders table [--check]                                       # results.json -> README.md

Each variant is a run of the training system. What is finished is kept, an unfinished run goes on where it stopped, and one of the same name
by other settings is an error. A variant that goes on from a run which is not there is named, and left out.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from benchmarks import pages
from benchmarks.encoders import page
from benchmarks.encoders.variants import variants
from emoser.errors import EmoserError
from training.recipe import RecipeError


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    known = variants()
    if arguments[:1] == ["table"]:
        return pages.main(__doc__, page.page(list(known)), page.PAGE, "python -m benchmarks.encoders run, then collect", arguments[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("names", nargs="*", metavar="NAME", help=f"all if none is given: {', '.join(known)}")
    run.add_argument("--corpora", type=Path, help="folder with one folder a corpus (else EMOSER_CORPORA)")
    run.add_argument("--weights", type=Path, help="folder of start weights (else EMOSER_WEIGHTS)")
    run.add_argument("--cache", type=Path, help="folder for cached states (else cache/features in the clone)")
    run.add_argument("--workers", type=int, help="processes that compute features (else one a core)")
    for command in (run, commands.add_parser("collect")):
        command.add_argument("--runs", type=Path, help="folder of runs (else runs/ in the clone)")
    commands.add_parser("table")
    options = parser.parse_args(arguments)
    from training.runs import Places

    given = {name: getattr(options, name, None) for name in ("runs", "cache", "corpora", "weights", "workers")}
    places = Places(**{name: value for name, value in given.items() if value is not None})
    try:
        if options.command == "run":
            if unknown := [name for name in options.names if name not in known]:
                parser.error(f"no variant {', '.join(unknown)}; there are {', '.join(known)}")
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
            from benchmarks.encoders.run import run as run_all

            return run_all([known[name] for name in options.names or known], places)
        from benchmarks.accuracy.scoring import write_to
        from benchmarks.encoders import results
        from benchmarks.encoders.collect import collect

        if not (found := collect(known, places.runs)):
            print(f"error: no variant has run in {places.runs}: python -m benchmarks.encoders run", file=sys.stderr)
            return 1
        print(write_to(results.FILE, found))
    except (EmoserError, RecipeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
