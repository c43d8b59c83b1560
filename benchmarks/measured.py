"""Whether a result file is of the files that the registry names today, or of earlier files of that checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from emoser.checkpoints import Checkpoint
from emoser.digests import joined
from emoser.registry import list_checkpoints

EARLIER = "◊"  # beside the name of what was measured with earlier files


def digests(entry: Checkpoint, entries: Sequence[Checkpoint] = ()) -> set[str]:
    """What a result file may name as the sha256 of this checkpoint: that of a file, or of the digests of all files that run together; of an
    ensemble, of the digests of its members, which stand in `entries`."""
    found = {part.sha256 for part in entry.parts}
    for files in (entry.files(*kind) for kind in entry.kinds):
        if len(files) > 1:
            found.add(joined([part.sha256 for part in files]))
    of_members = [digests(each, entries) for name in entry.members for each in entries if each.name == name]
    return found | ({joined(chosen) for chosen in product(*of_members)} if of_members else set())


def earlier(about: Mapping[str, Any], entries: Sequence[Checkpoint] | None = None) -> bool:
    """about: what holds the `name` and `sha256` of a checkpoint. What the registry does not know is of no earlier file."""
    known = list_checkpoints() if entries is None else entries
    return any(entry.name == about["name"] and about["sha256"] not in digests(entry, known) for entry in known)


def mark(about: Mapping[str, Any]) -> str:
    return f" {EARLIER}" if earlier(about) else ""
