"""The emotions of a recording as a strip of colours and letters with a list below, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from emoser.formats import cells
from emoser.formats.colours import letters
from emoser.results import SILENCE

LONGEST_CELL = 6.0  # seconds: a recording that would need longer ones in one line gets several lines
STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200)  # seconds that a line may show then
MOST_LINES = 12
WIDEST = 100  # cells of a line: more are no easier to read
PLACE = 9  # columns for the time before a line


def strip(result: dict[str, Any], labels: Sequence[str], width: int) -> list[Text]:
    """Lines of the strip: the time at which they begin, then a letter a cell for the emotion that has most of its time, `·` for silence."""
    duration = result["duration"]
    if not result["segments"]:
        return []
    columns = max(10, min(WIDEST, width - PLACE))
    span = duration
    if duration > LONGEST_CELL * columns:
        span = next((step for step in STEPS if duration / step <= MOST_LINES), STEPS[-1])
    short = letters(labels)
    lines = []
    first = 0
    for number in range(max(1, -int(-duration // span))):
        line = Text(f"{cells.seconds(number * span).plain:>{PLACE - 2}}  ")
        for column in range(columns):
            start, end = number * span + column * span / columns, number * span + (column + 1) * span / columns
            if start >= duration:
                break
            while first + 1 < len(result["segments"]) and result["segments"][first]["end"] <= start:
                first += 1
            label = _most(result["segments"], first, start, end)
            line.append(" " if label == SILENCE else short.get(label, "?"), style_of(label))
        lines.append(line)
    return lines


def legend(labels: Sequence[str]) -> Text:
    short = letters(labels)
    return Text("  ").join([Text.assemble((f" {short[label]} ", style_of(label)), f" {label}") for label in labels])


def style_of(label: str) -> str:
    if label == SILENCE:
        return "on grey15"
    return f"black on {cells.HUES.get(label, 'white')}"


def rows(result: dict[str, Any]) -> Table:
    """A line for each segment of speech."""
    speakers = any(segment.get("speaker") for segment in result["segments"])
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("start", "end", "emotion", "score", "next", *(["speaker"] if speakers else []), "notes"):
        table.add_column(title, justify="right" if title in ("start", "end", "score") else "left", no_wrap=True)
    for segment in result["segments"]:
        if segment["label"] != SILENCE:
            table.add_row(*_cells(segment, speakers))
    return table


def _cells(segment: dict[str, Any], speakers: bool) -> Iterator[Text]:
    label = segment["label"]
    score, other = max(((score, each) for each, score in segment["scores"].items() if each != label), default=(0.0, ""))
    yield Text(f"{segment['start']:.2f}")
    yield Text(f"{segment['end']:.2f}")
    yield Text(label, cells.HUES.get(label, ""))
    yield Text(f"{segment['confidence']:.2f}")
    yield Text(f"{other} {score:.2f}", "dim")
    if speakers:
        yield cells.name(segment.get("speaker") or "")
    yield Text(" ".join(segment.get("warnings", ())), "yellow")


def _most(segments: list[dict[str, Any]], first: int, start: float, end: float) -> str:
    shares: dict[str, float] = {}
    for segment in segments[first:]:
        if segment["start"] >= end:
            break
        shares[segment["label"]] = shares.get(segment["label"], 0.0) + min(end, segment["end"]) - max(start, segment["start"])
    return max(shares, key=shares.__getitem__, default=SILENCE)
