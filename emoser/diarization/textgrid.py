"""Reading TextGrid, Praat's format of annotations.

Praat reads its text files as a row of numbers, "strings" and <flags> that stand freely, and skips all else (Praat manual, "TextGrid file
formats"). So does this, and to it the long and the short form are one.
"""

from __future__ import annotations

import re
from pathlib import Path

from emoser.errors import UsageError
from emoser.metrics.diarization import Segment

TOKEN = re.compile(r'"(?:[^"]|"")*"|![^\n]*|[^\s"]+')
FREE = re.compile(r'".*"|<\w+>|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?', re.DOTALL)
INTERVALS, POINTS = "IntervalTier", "TextTier"


def intervals_of(file: Path, tier: str, channel: int | None = None) -> list[Segment]:
    """(start, end, text), in s, of all intervals with a text in the tier called `tier`, or in the only tier of intervals.

    channel: takes the tier called `tier` and its number instead, where there is one. Raises UsageError for what is no TextGrid, and where
    it cannot be told which tier is meant.
    """
    try:
        tiers = _tiers(_text(file))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as a TextGrid in text form: {getattr(error, 'strerror', None) or error}") from None
    wanted = {tier, tier if channel is None else f"{tier} {channel}"}
    chosen = [name for name in tiers if name.lower() in wanted] or (list(tiers) if len(tiers) == 1 else [])
    if len(chosen) != 1:
        hint = "; take one channel with --channel" if any(name.startswith(f"{tier} ") for name in tiers) else ""
        raise UsageError(f"{file}: its tiers of intervals are {', '.join(tiers) or 'none'}; one must be called {tier}{hint}")
    return [segment for segment in tiers[chosen[0]] if segment[2].strip()]


class _Tokens:
    """What stands freely in a text, one after the other."""

    def __init__(self, text: str) -> None:
        self._tokens = (token for token in TOKEN.findall(text) if FREE.fullmatch(token))

    def text(self) -> str:
        """A string without its quotes, or a number or flag as it stands."""
        token = next(self._tokens, None)
        if token is None:
            raise ValueError("it breaks off")
        return str(token[1:-1].replace('""', '"') if token.startswith('"') else token)

    def number(self) -> float:
        return float(self.text())

    def count(self) -> int:
        return int(self.text())


def _tiers(text: str) -> dict[str, list[Segment]]:
    """The tiers of intervals, by name."""
    tokens = _Tokens(text)
    kind, content, _, _, flag = (tokens.text() for _ in range(5))  # between them the times of the whole
    if not kind.startswith("ooTextFile") or content != "TextGrid" or flag != "<exists>":
        raise ValueError("it begins otherwise")
    found: dict[str, list[Segment]] = {}
    for _ in range(tokens.count()):
        kind, name, _, _ = (tokens.text() for _ in range(4))
        if kind not in (INTERVALS, POINTS):
            raise ValueError(f"a tier has the class {kind!r}")
        size = tokens.count()
        if kind == INTERVALS:
            found[name] = [(tokens.number(), tokens.number(), tokens.text()) for _ in range(size)]
        else:
            for _ in range(2 * size):
                tokens.text()
    return found


def _text(file: Path) -> str:
    """Praat writes UTF-16 where UTF-8 was not asked for and a character needs it; the mark at the beginning tells."""
    data = file.read_bytes()
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
