"""`python -m training corpora`: which corpora are at hand, what is in them, on what terms."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from emoser.errors import EmoserError
from training import paths
from training.corpora.defaults import proposed, written
from training.corpora.labels import CorpusError
from training.corpora.manifest import Manifest
from training.corpora.registry import CORPORA, corpus, load


def describe(name: str, corpora: str | Path | None = None) -> str:
    """A few lines on one corpus: where it is, clips, speakers, hours, labels, what is missing or dropped, licence, source."""
    entry = corpus(name)
    lines = [f"{name} ({', '.join(entry.languages) or 'no speech'})"]
    try:
        manifest = load(name, corpora)
    except paths.MissingInputError:
        lines.append("  not found")
    except CorpusError as error:
        lines.append(f"  not readable: {error}")
    else:
        lines.append(f"  {manifest.root}")
        lines += [f"  {line}" for line in contents(manifest)]
    return "\n".join([*lines, f"  licence: {entry.licence}", f"  source: {entry.source}"])


def manifests(names: Sequence[str], corpora: str | Path | None = None) -> Iterator[Manifest]:
    """Those of the named corpora, or of all that are there. Raises MissingInputError for a named one that is not."""
    for name in names or CORPORA:
        try:
            yield load(name, corpora)
        except paths.MissingInputError:
            if names:
                raise


def contents(manifest: Manifest) -> list[str]:
    hours = sum(item.duration or 0.0 for item in manifest) / 3600
    length = f", {hours:.2f} h" if hours else ""
    lines = [f"{len(manifest)} clips, {len(manifest.speakers)} speakers{length}"]
    if any(item.emotion for item in manifest):
        counts = manifest.count("emotion")
        lines.append(", ".join(f"{word or 'without one of the eight words'} {count}" for word, count in counts.items()))
    if manifest.missing:
        lines.append(f"{len(manifest.missing)} listed files are missing, the first: {manifest.missing[0]}")
    lines += [f"{count} dropped: {reason}" for reason, count in manifest.dropped.items()]
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Print one report a corpus. 2 where a name is unknown or the folder is not there, 3 where a corpus that is to be written is not."""
    parser = argparse.ArgumentParser("python -m training corpora", description="List the corpora that training can read.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which corpora (default: all)")
    parser.add_argument("--corpora", metavar="DIR", help="folder with one folder for each corpus (or EMOSER_CORPORA)")
    parser.add_argument("--found", action="store_true", help="leave out corpora that are not there")
    parser.add_argument("--csv", metavar="FILE", help="write one manifest of these corpora (default: all that are there) to a CSV file")
    parser.add_argument("--draw-splits", action="store_true", help="draw the default split anew and print its YAML")
    options = parser.parse_args(argv)
    if options.draw_splits:
        sys.stdout.write(written(proposed(options.corpora)))
        return 0
    if options.corpora is not None and not Path(options.corpora).is_dir():
        parser.error(f"--corpora {options.corpora}: no such folder")
    try:
        for name in options.names:
            corpus(name)
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 2
    if options.csv:
        try:
            manifest = Manifest.join(manifests(options.names, options.corpora))
            manifest.to_csv(options.csv)
        except (EmoserError, OSError) as error:
            print(error, file=sys.stderr)
            return getattr(error, "exit_code", 1)
        print(f"{len(manifest)} clips to {options.csv}; paths start from {manifest.root}")
        return 0
    reports = [describe(name, options.corpora) for name in options.names or CORPORA]
    print("\n\n".join(report for report in reports if not (options.found and "\n  not found" in report)))
    return 0
