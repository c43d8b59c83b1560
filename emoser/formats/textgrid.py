"""TextGrid, for Praat."""

from __future__ import annotations

from emoser.formats.timed import OneRecording, Result, caption

Interval = tuple[float, float, str]


class TextGrid(OneRecording):
    """Praat's long text format: a tier of emotions for each channel, with tiers of speakers and of words where these are known. Where
    nobody speaks the text is empty, as is the custom in Praat."""

    extension = ".TextGrid"

    def document(self, results: list[Result]) -> str:
        end = max((result["duration"] for result in results), default=0.0)
        tiers: list[tuple[str, list[Interval]]] = []
        for result in results:
            place = "" if result["channel"] is None else f" {result['channel']}"
            segments = result["segments"]
            emotions = [(each["start"], each["end"], _text(each)) for each in segments]
            tiers.append((f"emotion{place}", emotions))
            if any(each.get("speaker") for each in segments):
                tiers.append((f"speaker{place}", [(each["start"], each["end"], each.get("speaker", "")) for each in segments]))
            if result["transcript"] is not None:
                words = result["transcript"]["words"]
                tiers.append((f"words{place}", [(each["start"], each["end"], each["word"]) for each in words]))
        lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}"]
        lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
        for number, (name, intervals) in enumerate(tiers, start=1):
            lines += _tier(number, name, filled(intervals, end), end)
        return "\n".join(lines) + "\n"


def filled(intervals: list[Interval], end: float) -> list[Interval]:
    """Without gap or overlap from 0 to `end`, as Praat requires.

    >>> filled([(1.0, 2.0, "a"), (1.5, 9.0, "b")], 4.0)
    [(0.0, 1.0, ''), (1.0, 2.0, 'a'), (2.0, 4.0, 'b')]
    """
    found: list[Interval] = []
    at = 0.0
    for start, stop, text in intervals:
        start, stop = max(at, start), min(end, stop)
        if stop <= start:
            continue
        if start > at:
            found.append((at, start, ""))
        found.append((start, stop, text))
        at = stop
    return [*found, (at, end, "")] if at < end else found


def _text(segment: Result) -> str:
    return "" if segment["label"] == "silence" else caption({**segment, "speaker": None})


def _tier(number: int, name: str, intervals: list[Interval], end: float) -> list[str]:
    lines = [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}", "        xmin = 0"]
    lines += [f"        xmax = {end}", f"        intervals: size = {len(intervals)}"]
    for place, (start, stop, text) in enumerate(intervals, start=1):
        lines += [f"        intervals [{place}]:", f"            xmin = {start}", f"            xmax = {stop}"]
        lines.append(f"            text = {_quoted(text)}")
    return lines


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
