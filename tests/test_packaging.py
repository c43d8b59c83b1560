"""What is shipped: the wheel, the source archive, the README's commands, and pages that are made from results."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REGISTRY = ROOT / "checkpoints.yaml"
SPEECH_ACTIVITY = "emoser/bundled/checkpoints/onnx/silero-vad.onnx"
LARGEST_WHEEL = 100_000_000  # bytes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("wheel"), "standard")


def built(folder: Path, version: str) -> Path:
    wheels = pytest.importorskip("hatchling.builders.wheel")
    return Path(next(iter(wheels.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=[version]))))


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_registry_and_the_onnx_files_it_names(wheel: Path) -> None:
    entries = yaml.safe_load(REGISTRY.read_text(encoding="utf-8"))["checkpoints"]
    named = {f"emoser/bundled/{part['path']}" for entry in entries for part in entry["parts"] if part["format"] == "onnx"}
    inside = set(names(wheel))
    assert {"emoser/py.typed", "emoser/bundled/checkpoints.yaml"} <= inside
    assert named
    assert named <= inside
    # and no ONNX file that nothing uses: it would be bytes for nothing
    assert {name for name in inside if name.endswith(".onnx")} <= named | {SPEECH_ACTIVITY}


def test_the_wheel_holds_the_package_alone(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert tops == {"emoser", f"emoser-{PROJECT['version']}.dist-info"}
    assert not [name for name in names(wheel) if name.endswith((".ts", ".torchscript", ".pt", ".npz", ".wav"))]
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_the_wheel_asks_for_torch_only_in_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        path = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        required = message_from_bytes(archive.read(path)).get_all("Requires-Dist") or []
    core = [line for line in required if "extra ==" not in line]
    assert len(core) == len(PROJECT["dependencies"])
    assert not [line for line in core if re.match(r"(torch|onnxruntime|transformers|scipy)", line)]


def test_an_editable_install_copies_nothing(tmp_path: Path) -> None:
    inside = names(built(tmp_path, "editable"))
    assert not [name for name in inside if name.startswith("emoser/")]
    assert [name for name in inside if name.endswith(".pth")]


def test_the_source_archive_can_make_the_wheel_and_leaves_the_twins_out(tmp_path: Path) -> None:
    sources = pytest.importorskip("hatchling.builders.sdist")
    path = next(iter(sources.SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    with tarfile.open(path) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "checkpoints.yaml", "emoser/__init__.py"} <= inside
    assert [name for name in inside if name.startswith("checkpoints/onnx/")]
    assert not [name for name in inside if "torchscript/" in name or name.startswith(("cache/", "runs/"))]


def test_no_two_onnxruntimes_in_one_extra() -> None:
    for extra, requirements in PROJECT["optional-dependencies"].items():
        runtimes = [line for line in requirements if line.startswith("onnxruntime")]
        assert len(runtimes) <= 1, extra
    assert not [line for line in PROJECT["dependencies"] if line.startswith("onnxruntime")]


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    latest = re.search(r"^## (\d\S*)", changelog, re.MULTILINE)
    assert latest is not None
    assert PROJECT["version"] == str(citation["version"]) == latest[1]
    assert citation["license"] == PROJECT["license"]


def test_the_readme_opens_with_its_two_commands() -> None:
    blocks = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[:2]
    assert [language for language, _ in blocks] == ["sh", "sh"]
    commands = [text.strip() for _, text in blocks]
    assert all("\n" not in command for command in commands)
    assert commands[0].endswith("emoser predict examples/clip.wav")
    assert commands[1].endswith("-m pytest")
    assert "torch" not in commands[0]


@pytest.mark.parametrize(
    "script",
    [
        "scripts/readme_tables.py",
        "scripts/third_party.py",
        "benchmarks/accuracy/table.py",
        "benchmarks/accuracy/unseen.py",
        "scripts/model_card.py",
    ],
)
def test_generated_pages_are_up_to_date(script: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "EMOSER_REGISTRY"}
    done = subprocess.run([sys.executable, script, "--check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run: python {script}\n{done.stdout}{done.stderr}"
