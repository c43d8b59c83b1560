"""Starting: fast, light, and with help that can be followed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from emoser.cli import COMMANDS, main
from emoser.cli.options import DEFAULT_MODEL, Settings
from emoser.errors import EmoserError

from .conftest import ROOT, VALID, environment

Emoser = Callable[..., Any]
LOADED = """
import json, sys
from emoser.cli import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], env=environment(), capture_output=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stderr)}


@pytest.mark.parametrize("arguments", [("--help",), ("predict", "--help"), ("doctor", "--help")])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    heavy = {"numpy", "onnxruntime", "rich", "yaml", "soundfile", "soxr", "huggingface_hub", "torch"}
    assert modules(*arguments) & heavy == set()


def test_the_list_of_commands_costs_hardly_more_than_click() -> None:
    """At most 1.5 times `import click`; the fastest of several, since the machine does other things too."""

    def fastest(*arguments: str) -> float:
        times = []
        for _ in range(8):
            before = time.perf_counter()
            subprocess.run([sys.executable, *arguments], env=environment(), stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - before)
        return min(times)

    ratios = []
    for _ in range(3):
        ratios.append(fastest("-c", "from emoser.cli import main; main(['--help'])") / fastest("-c", "import click"))
        if ratios[-1] <= 1.5:
            return
    pytest.fail(f"{ratios} times the start of click")


def test_every_command_has_help_with_examples(emoser: Emoser) -> None:
    text = emoser("--help").out.decode()
    for command, summary in COMMANDS.items():
        assert re.search(rf"^  {command} +{re.escape(summary)}$", text, re.MULTILINE)
        ran = emoser(command, "-h")
        assert (ran.code, ran.err) == (0, "")
        assert "Examples:" in ran.out.decode()
        assert max(map(len, ran.out.decode().splitlines())) <= 100


def parse(line: str) -> None:
    """Raises where what follows `emoser` is no command, option or argument."""
    context = main.make_context("emoser", ["models"])
    words = shlex.split(re.split(r"  +\(|  +#| > | \| ", line)[0])
    called = main.get_command(context, words[0])
    assert called is not None, line
    called.make_context(words[0], words[1:])


EXAMPLE = re.compile(r"^ *(?:.*\| )?emoser (.+)$", re.MULTILINE)


def test_the_examples_of_the_help_can_be_parsed() -> None:
    context = main.make_context("emoser", ["models"])
    lines = []
    for command in (main, *(main.get_command(context, name) for name in COMMANDS)):
        assert command is not None and command.epilog
        lines += EXAMPLE.findall(command.epilog)
    assert len(lines) >= 25
    for line in lines:
        parse(line)


def test_the_examples_of_the_documents_can_be_parsed() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "usage.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in EXAMPLE.findall(block)]
    assert len(lines) >= 8
    for line in lines:
        parse(line)


def test_the_json_of_the_documents_keeps_the_contract() -> None:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "json.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        VALID.validate(json.loads(block))


def test_the_documents_name_every_finding_and_warning() -> None:
    schema = json.loads((ROOT / "emoser" / "formats" / "emoser-1.schema.json").read_text(encoding="utf-8"))["$defs"]
    usage, contract = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("usage.md", "json.md"))
    codes = set(schema["quality"]["properties"]["findings"]["items"]["properties"]["code"]["enum"])
    assert codes == set(re.findall(r'Finding\(\s*"(\w+)"', (ROOT / "emoser" / "quality.py").read_text(encoding="utf-8")))
    assert [code for code in codes if f"`{code}`" not in usage] == []
    assert [code for code in schema["warnings"]["items"]["enum"] if f"| `{code}`" not in contract] == []


def test_the_version_is_that_of_the_project(emoser: Emoser) -> None:
    ran = emoser("--version")
    released = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert ran.code == 0
    assert ran.out.decode().split()[0] == "emoser"
    assert ran.out.decode().split()[1] in (released, "0+source")


def test_exit_codes_are_those_of_the_contract() -> None:
    def all_errors(kind: type[EmoserError]) -> list[type[EmoserError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in all_errors(child))]

    assert {kind.exit_code for kind in all_errors(EmoserError)} == {1, 2, 3, 4}


def test_the_defaults_are_said_once() -> None:
    context = main.make_context("emoser", ["models"])
    command = main.get_command(context, "predict")
    assert command is not None
    parsed = command.make_context("predict", ["a.wav"]).params
    own = {"inputs", "models", "min_confidence", "labels", "scores", "adapt", "shares"}
    assert Settings(**{name: value for name, value in parsed.items() if name not in own}) == Settings()
    from emoser.loading import DEFAULT

    assert DEFAULT_MODEL == DEFAULT
