"""What an installation takes on the disk: the size of this interpreter's site-packages, without pip, setuptools and emoser's checkpoints.

    python scripts/install_size.py [--largest MIB] [--without PACKAGE ...]

Exits 1 above `--largest`, or if a package named by `--without` is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import sysconfig
from pathlib import Path

NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
MEBIBYTE = 2**20


def size_by_package(folder: Path) -> dict[str, int]:
    """Bytes by the first part of each file's path."""
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_symlink() or not path.is_file() or "bundled" in parts:
            continue
        top = parts[0]
        if not any(top == name or top.startswith((f"{name}-", f"{name}.")) for name in NOT_OURS):
            sizes[top] = sizes.get(top, 0) + path.stat().st_size
    return sizes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=float, help="MiB")
    parser.add_argument("--without", nargs="*", default=[])
    arguments = parser.parse_args()
    sizes = size_by_package(Path(sysconfig.get_path("purelib")))
    total = sum(sizes.values()) / MEBIBYTE
    largest = ", ".join(f"{name} {size / MEBIBYTE:.0f}" for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:5])
    print(f"site-packages: {total:.0f} MiB ({largest})")
    present = [name for name in arguments.without if importlib.util.find_spec(name)]
    if present:
        print(f"installed and should not be: {', '.join(present)}", file=sys.stderr)
    too_large = arguments.largest is not None and total > arguments.largest
    if too_large:
        print(f"more than {arguments.largest:g} MiB", file=sys.stderr)
    return int(bool(present) or too_large)


if __name__ == "__main__":
    sys.exit(main())
