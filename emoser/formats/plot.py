"""A picture of a diarization (extra `plot`): waveform, posteriors and segments above one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emoser.audio import Progress
from emoser.formats.colours import COLOURS, OTHER, letters
from emoser.formats.envelope import envelope, thinned
from emoser.results import Diarization

COLUMNS = 2000  # more than a picture has pixels for
SIZE = (12.0, 5.0)  # inches


def write_plot(path: Path, result: Diarization, audio: str, progress: Progress | None = None) -> None:
    """The kind is that of the suffix: .png, .pdf or .svg. progress: as in `Diarizing.diarize_each`, for the recording is read once more."""
    from matplotlib.figure import Figure  # not pyplot: no window system, no global state

    figure = Figure(figsize=SIZE, layout="constrained")
    waves, scores, bar = figure.subplots(3, 1, sharex=True, height_ratios=(3, 4, 1))
    low, high = envelope(result, audio, COLUMNS, progress=progress)
    waves.fill_between(np.linspace(0, result.duration, COLUMNS), low, high, color="#555555", linewidth=0)
    waves.set_ylabel("waveform")
    shown = thinned(np.where(_spoken(result)[:, None], result.frames.scores, np.float32(0)), COLUMNS)
    times = (np.arange(len(shown)) + 0.5) * result.duration / max(1, len(shown))
    colours = [COLOURS.get(label, OTHER) for label in result.frames.labels]
    scores.stackplot(times, shown.T, colors=colours, labels=result.frames.labels)
    scores.set_ylim(0, 1)
    scores.set_ylabel("posterior")
    _segments(bar, result)
    bar.set_xlabel("seconds")
    bar.set_xlim(0, max(result.duration, 1e-3))
    figure.legend(loc="outside upper right", ncols=len(colours), frameon=False)
    figure.suptitle(_title(result), x=0.01, ha="left", fontsize="medium")
    figure.savefig(path, format=path.suffix[1:].lower(), dpi=120)


def _title(result: Diarization) -> str:
    name = (result.file or "").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    name = name.replace("$", r"\$")  # of mathematics, to matplotlib
    return name if result.channel is None else f"{name}, channel {result.channel}"


def _spoken(result: Diarization) -> Any:
    spoken = np.zeros(len(result.frames.scores), bool)
    for segment in result.segments:
        spoken[round(segment.start / result.frames.hop) : round(segment.end / result.frames.hop)] = segment.speech
    return spoken


def _segments(axes: Any, result: Diarization) -> None:
    """Bars with letters, where there is room for one, so that colours alone need not tell."""
    short = letters(result.frames.labels)
    for segment in result.segments:
        length = segment.end - segment.start
        axes.barh(0, length, left=segment.start, height=1, color=COLOURS.get(segment.label, OTHER), linewidth=0)
        if segment.speech and length > result.duration / 100:
            axes.text(segment.start + length / 2, 0, short[segment.label], ha="center", va="center", fontsize="small")
    axes.set_yticks([])
    axes.set_ylabel("emotion")
