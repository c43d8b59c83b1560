"""What every `table.py` does from the command line: its page is written, or compared with what is there (`--check`)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(doc: str | None, made: str, page: Path, missing: str = "", arguments: Sequence[str] | None = None) -> int:
    """doc: of the script. made: the page's text, "" without results. page: its file. missing: what to say then. arguments: else the command
    line's. Returns the exit code."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is not up to date")
    if parser.parse_args(arguments).check:
        return int((page.read_text(encoding="utf-8") if page.is_file() else "") != made)
    if not made:
        print(f"no results yet: {missing}", file=sys.stderr)
        return 1
    page.write_text(made, encoding="utf-8")
    return 0
