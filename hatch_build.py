"""Build hook: puts the registry and its ONNX files, which stand at the repository's root, inside the wheel as package data.

An editable install reads them where they are, so it gets no copies.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLED = ("checkpoints.yaml", "checkpoints/onnx")


class BundledCheckpoints(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"].update({path: f"emoser/bundled/{path}" for path in BUNDLED})
