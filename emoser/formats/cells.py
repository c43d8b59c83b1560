"""Results as short words and numbers for a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rich.text import Text

from emoser.formats.base import Header

# One hue an emotion, so that a long list can be taken in at a glance; the word always stands beside it.
HUES = {
    "happy": "yellow",
    "surprise": "bright_yellow",
    "angry": "red",
    "disgust": "green",
    "fear": "magenta",
    "sad": "blue",
    "calm": "cyan",
}
SEVERITIES = {"error": "red", "warning": "yellow", "info": "cyan"}


class Column(NamedTuple):
    title: str
    right: bool = False


def columns(header: Header) -> list[Column]:
    match header.kind:
        case "predict":
            scores = [Column(label, True) for label in header.labels] if header.scores else [Column("score", True), Column("next")]
            named = [Column("model")] if header.models else []
            return [Column("file"), *named, Column("emotion"), *scores, Column("length", True), Column("notes")]
        case "embed":
            return [Column("file"), Column("values", True), Column("norm", True), Column("length", True), Column("notes")]
        case "diarize":  # a failure only: a diarization has a list of its own (timeline.py)
            return [Column("file"), Column("length", True), Column("notes")]
        case "check":
            numbers = ("rate", "ch", "length", "band", "level", "speech", "SNR")
            return [Column("file"), *(Column(title, True) for title in numbers), Column("findings")]


def row(header: Header, result: dict[str, Any]) -> list[Text]:
    """The cells of one result, as many as there are columns."""
    if "error" in result:
        empty = [Text("")] * (len(columns(header)) - 2)
        return [name(result["file"]), *empty, Text(result["error"]["type"], "red")]
    return _ROWS[header.kind](header, result)


def name(file: str | None, channel: int | None = None) -> Text:
    r"""A file name that any terminal can show, on one line.

    >>> name("a\nb\udcff.wav", channel=1).plain
    'a\\nb\\xff.wav [1]'
    """
    shown = (file or "").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    # Control characters in a name could move the cursor or colour the rest of the screen.
    shown = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown)
    return Text(shown if channel is None else f"{shown} [{channel}]")


def _predict(header: Header, result: dict[str, Any]) -> list[Text]:
    label, scores = result["label"], result["scores"]
    named = [name(result["model"]["name"])] if header.models else []
    first = [name(result["file"], result["channel"]), *named, Text(label, HUES.get(label, ""))]
    last = [seconds(result["duration"]), _notes(result["warnings"])]
    if header.scores:
        shown = [Text(f"{scores[each]:.2f}" if each in scores else "", "bold" if each == label else "dim") for each in header.labels]
        return [*first, *shown, *last]
    others = sorted((score, other) for other, score in scores.items() if other != label)
    runner_up = Text(f"{others[-1][1]} {others[-1][0]:.2f}", "dim") if others else Text("")
    return [*first, Text(f"{result['confidence']:.2f}"), runner_up, *last]


def _embed(header: Header, result: dict[str, Any]) -> list[Text]:
    vector = result["embedding"]
    norm = sum(value * value for value in vector) ** 0.5
    return [
        name(result["file"], result["channel"]),
        Text(str(len(vector))),
        Text(f"{norm:.2f}"),
        seconds(result["duration"]),
        _notes(result["warnings"]),
    ]


def _diarize(header: Header, result: dict[str, Any]) -> list[Text]:
    return [name(result["file"], result["channel"]), seconds(result["duration"]), _notes(result["warnings"])]


def _check(header: Header, result: dict[str, Any]) -> list[Text]:
    findings = Text(" ").join(Text(finding["code"], SEVERITIES[finding["severity"]]) for finding in result["findings"])
    return [
        name(result["file"]),
        _number(result["sample_rate"], "{:g}k", 1000),
        Text(str(result["channels"])),
        seconds(result["duration"]),
        _number(result["bandwidth"], "{:.1f}k", 1000),
        _number(result["level"], "{:.0f} dB"),
        _number(result["speech"], "{:.0f} %", 0.01),
        _number(result["snr"], "{:.0f} dB"),
        findings if result["findings"] else Text("fine", "green"),
    ]


_ROWS: dict[str, Callable[[Header, dict[str, Any]], list[Text]]] = {
    "predict": _predict,
    "embed": _embed,
    "check": _check,
    "diarize": _diarize,
}


def seconds(value: float) -> Text:
    """
    >>> seconds(3.21).plain, seconds(754.0).plain
    ('3.2 s', '12:34')
    """
    if value < 60:
        return Text(f"{value:.1f} s")
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return Text(f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}")


def _number(value: float | None, pattern: str, unit: float = 1.0) -> Text:
    return Text("-" if value is None else pattern.format(value / unit))


def _notes(warnings: list[str]) -> Text:
    return Text(" ".join(warnings), "yellow")
