"""sha256 of files, remembered: a checkpoint of some megabytes is hashed once, not at every start."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

MEMORY = "sha256.json"
CHUNK = 1 << 20  # bytes


def cache_folder() -> Path:
    """Where emoser keeps small files of its own: EMOSER_CACHE, or the platform's cache folder."""
    if chosen := os.environ.get("EMOSER_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "emoser" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "emoser"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emoser"


def joined(digests: Iterable[str]) -> str:
    """The digest of files that make one checkpoint, or of checkpoints that make an ensemble, in their order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def sha256(path: Path) -> str:
    """The file's sha256 as 64 hexadecimal digits; read from memory where path, size and time of change (ns) are those remembered."""
    path = path.resolve()
    status = path.stat()
    stamp = [status.st_size, status.st_mtime_ns]
    known = _read(cache_folder() / MEMORY)
    entry = known.get(str(path))
    if isinstance(entry, list) and entry[:2] == stamp and len(entry) == 3 and isinstance(entry[2], str):
        return entry[2]
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    _write(cache_folder() / MEMORY, known | {str(path): [*stamp, digest.hexdigest()]})
    return digest.hexdigest()


def _read(memory: Path) -> dict[str, object]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, unreadable, or damaged: hash again
        return {}
    return known if isinstance(known, dict) else {}


def _write(memory: Path, known: dict[str, object]) -> None:
    """Whole or not at all (another process may be reading); a folder that cannot be written only costs the time to hash again."""
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=memory.parent, prefix=MEMORY, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(known, file)
            Path(name).replace(memory)
        except OSError:
            Path(name).unlink(missing_ok=True)
    except OSError:
        return
