"""A file that several entries of the registry have in common stays what it is."""

from __future__ import annotations

from pathlib import Path

import miniature
import pytest

from emoser.registry import list_checkpoints
from training.parts import unchanged_for_others


@pytest.mark.parametrize("broken", [KeyboardInterrupt, ValueError])
def test_a_shared_file_is_put_back_where_writing_breaks_off(tmp_path: Path, broken: type[BaseException]) -> None:
    entry = list_checkpoints(miniature.write_registry(tmp_path))[0]
    file, alone = tmp_path / entry.parts[0].path, tmp_path / "alone.ts"
    before = file.read_bytes()
    with pytest.raises(broken), unchanged_for_others(file, alone, tmp_path, "another"):
        file.write_bytes(b"half of anoth")
        raise broken
    assert file.read_bytes() == before and not alone.exists()


def test_both_shared_files_are_put_back(tmp_path: Path) -> None:
    entries = list_checkpoints(miniature.write_registry(tmp_path))
    first, second = files = [tmp_path / path for path in sorted({part.path for entry in entries for part in entry.parts})[:2]]
    before = [file.read_bytes() for file in files]
    with pytest.raises(RuntimeError, match="would change"), unchanged_for_others(first, second, tmp_path, "another"):
        for file in files:
            file.write_bytes(b"other weights")
    assert [file.read_bytes() for file in files] == before
