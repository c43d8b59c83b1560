"""Data flows one way: no module of the package knows one that comes after it (docs/architecture.md, "Rooms")."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "emoser"
FACE = "__init__"  # what `from emoser import load` asks

# A room stands after all that it imports, lazily or for its types alone.
ROOMS = (
    *(
        "errors",
        "results",
        "digests",
        "records",
        "headers",
        "decoding",
        "audio",
        "settings",
        "pooling",
        "adaptation",
        "hub",
        "checkpoints",
        "registry",
        "resolving",
        "saving",
    ),
    *("metrics", "evaluation", "timelines", "plots", "runtimes", "batching", "diarization", "quality", "models", "loading"),
    *("__init__", "formats", "cli", "__main__"),
)


def imported(file: Path) -> Iterator[str]:
    """The full names that a module imports, of modules or of what is in them."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(name: str) -> str:
    room = [*name.split("."), FACE][1]
    return room if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file() else FACE


def modules() -> list[tuple[str, Path]]:
    """Each module with its room."""
    return [(file.relative_to(PACKAGE).parts[0].removesuffix(".py"), file) for file in PACKAGE.rglob("*.py")]


def test_every_module_is_in_a_room() -> None:
    assert {room for room, _ in modules()} <= set(ROOMS)


def test_a_room_knows_only_those_before_it() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for room, file in modules()
        for name in imported(file)
        if name.split(".")[0] == "emoser" and ROOMS.index(room_of(name)) > ROOMS.index(room)
    ]
    assert not wrong


def test_the_package_does_not_know_who_uses_it() -> None:
    others = {"training", "benchmarks", "tests", "torch"}
    allowed = {PACKAGE / "runtimes" / "torchscript.py"}
    assert not [file for _, file in modules() if file not in allowed for name in imported(file) if name.split(".")[0] in others]


def test_the_architecture_lists_the_rooms_in_this_order() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^  (\w+)(?:\.py|/) ", text.partition("\nemoser/ ")[2].partition("\ncheckpoints.yaml")[0], re.MULTILINE)
    assert len(listed) > 15
    assert listed == [room for room in ROOMS if room in listed]
