"""The example clip is what its script makes, and the code in the README runs."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

import emoser

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "examples" / "clip.wav"


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_the_clip() -> None:
    made = script(ROOT / "examples" / "make_clip.py").synthesise()
    committed, rate = soundfile.read(CLIP, dtype="int16")
    assert rate == 16_000
    assert made.shape == committed.shape
    assert np.abs(made.astype(int) - committed.astype(int)).max() <= 1


def test_the_clip_is_plain_and_short() -> None:
    info = soundfile.info(CLIP)
    assert (info.channels, info.samplerate, info.subtype) == (1, 16_000, "PCM_16")
    assert 2.0 <= info.duration <= 3.0


def test_the_code_of_the_readme_runs_and_both_ways_agree(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("EMOSER_REGISTRY", raising=False)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    ours, plain = ({}, {})
    for block, names in zip(blocks, (ours, plain), strict=True):
        exec(compile(block, "README.md", "exec"), names)
    assert "import emoser" not in blocks[1]
    assert len([line for line in blocks[1].splitlines() if line and not line.startswith("import")]) <= 10
    # The file for a product has int8 weights.
    same = emoser.load("shiftcnn", precision="int8")("examples/clip.wav")
    assert list(plain["scores"]) == list(same.scores) and same.label == ours["result"].label
    assert [*plain["scores"].values()] == pytest.approx([*same.scores.values()], abs=1e-3)
    assert capsys.readouterr().out.startswith(ours["result"].label)
