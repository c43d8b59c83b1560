"""Writes the table of docs/third-party.md: every direct dependency of pyproject.toml, and its licence as its own metadata states it.

    python scripts/third_party.py            # rewrite the table from the packages installed here
    python scripts/third_party.py --check    # exit 1 if the table does not name exactly the direct dependencies

A package that is not installed keeps the row it has. `--check` does not compare licences: how a licence is spelt changes between releases.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "third-party.md"
BEGIN, END = "<!-- dependencies: begin -->", "<!-- dependencies: end -->"
# where the metadata contradict themselves, what the package's own licence file says
CORRECTED = {
    "opensmile": "audEERING Research License (so its LICENSE; a classifier says MIT)",
    "textgrid": "MIT (so its LICENSE; the metadata say nothing)",
}
HEAD = "| package | licence by its metadata | needed for |\n| --- | --- | --- |"


def dependencies() -> dict[str, list[str]]:
    """Package -> where it is needed: `core`, `build`, or the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {"core": project["project"]["dependencies"], **project["project"]["optional-dependencies"]}
    groups["build"] = project["build-system"]["requires"]
    needed: dict[str, list[str]] = {}
    for group, requirements in groups.items():
        for requirement in requirements:
            name = re.match(r"[A-Za-z0-9._-]+", requirement)
            assert name is not None, requirement
            needed.setdefault(name[0].lower().replace("_", "-"), []).append(group)
    return dict(sorted(needed.items()))


def licence(package: str) -> str | None:
    """What the installed package says: SPDX expression, else its classifiers, else the first line of the free text."""
    try:
        found = metadata(package)
    except PackageNotFoundError:
        return None
    if package in CORRECTED:
        return CORRECTED[package]
    if expression := found.get("License-Expression"):
        return str(expression)
    classifiers = [line.rsplit(" :: ", 1)[1] for line in found.get_all("Classifier") or [] if line.startswith("License ::")]
    specific = [name for name in classifiers if name != "OSI Approved"]
    if specific:
        return ", ".join(specific)
    text = (found.get("License") or "").strip()
    return text.splitlines()[0][:60] if text else "not stated"


def rows(page: str) -> dict[str, str]:
    """Package -> licence, from the table as it stands."""
    inside = page.split(BEGIN)[1].split(END)[0]
    return {cells[1].strip(): cells[2].strip() for cells in (line.split("|") for line in inside.splitlines()) if len(cells) == 5}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    known = rows(page)
    if arguments.check:
        wrong = sorted(set(known) ^ {"package", "---", *dependencies()})
        print("\n".join(f"{package}: not in both pyproject.toml and {PAGE.name}" for package in wrong), file=sys.stderr)
        return int(bool(wrong))
    found = {package: licence(package) or known.get(package) for package in dependencies()}
    missing = [package for package, text in found.items() if text is None]
    if missing:
        print(f"neither installed nor in {PAGE.name}: {', '.join(missing)}", file=sys.stderr)
        return 1
    table = "\n".join(f"| {package} | {found[package]} | {', '.join(groups)} |" for package, groups in dependencies().items())
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{HEAD}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
