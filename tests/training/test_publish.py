"""The registry file, as entries are put into it."""

from __future__ import annotations

from pathlib import Path

import yaml

from training.publish import register


def test_register_puts_an_entry_in_place_of_its_namesake(tmp_path: Path) -> None:
    registry = tmp_path / "checkpoints.yaml"
    for entry in ({"name": "b", "revision": "1"}, {"name": "a", "revision": "1"}, {"name": "b", "revision": "2", "summary": "Zażółć"}):
        register(entry, registry)
    text = registry.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["checkpoints"] == [
        {"name": "a", "revision": "1"},
        {"name": "b", "revision": "2", "summary": "Zażółć"},
    ]
    assert text.startswith("# ") and "Zażółć" in text
