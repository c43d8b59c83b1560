"""Pictures of an evaluation (extra "plot"). matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emoser.errors import EmoserError, MissingExtra, UsageError
from emoser.metrics import Reliability

SUFFIXES = (".png", ".svg", ".pdf")


class PlotError(EmoserError):
    """The picture cannot be written."""


def need_matplotlib() -> None:
    """Raises MissingExtra where the extra "plot" is not installed: before the work, not after it."""
    if find_spec("matplotlib") is None:
        raise MissingExtra("A plot", "plot")


def check_plot(path: str | Path) -> None:
    """Raises UsageError for what is no name of a plot, and PlotError for a folder that is not there."""
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a plot ends in {', '.join(SUFFIXES)}")
    if not target.parent.is_dir():
        raise PlotError(f"could not write {path}: there is no folder {target.parent}")


def reliability_diagram(found: Mapping[str, tuple[Reliability, float]], path: str | Path) -> None:
    """Accuracy over confidence, one panel for each name of `found` with its reliability and expected calibration error; shares of clips
    in grey below. A calibrated checkpoint keeps to the diagonal (Guo et al. 2017, figure 1)."""
    figure = _figure(4.0 * len(found), 4.0)
    for index, (name, (bins, error)) in enumerate(found.items(), 1):
        axes = figure.add_subplot(1, len(found), index)
        width = 1.0 / len(bins.centres)
        axes.bar(bins.centres, bins.counts / max(1, bins.counts.sum()), width, color="0.85", label="share of the clips")
        axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--")
        used = bins.counts > 0
        axes.plot(bins.confidence[used], bins.accuracy[used], marker="o", markersize=4, label="accuracy")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", title=f"{name}: ECE {error:.3f}", aspect="equal")
        axes.legend(loc="upper left", frameon=False)
    _save(figure, path)


def confusion_plot(matrix: ArrayLike, labels: Sequence[str], path: str | Path, title: str = "") -> None:
    """Counts (classes, classes), rows being what was said; coloured by the share of each row."""
    counts = np.asarray(matrix, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 1.6 + 0.75 * len(labels)
    figure = _figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set(xticks=range(len(labels)), yticks=range(len(labels)), xlabel="recognised as", ylabel="said", title=title)
    axes.set_xticklabels(labels, rotation=45, ha="right")
    axes.set_yticklabels(labels)
    for row, column in np.ndindex(counts.shape):
        shade = "white" if shares[row, column] > 0.5 else "black"
        text = f"{100 * shares[row, column]:.0f}\n({counts[row, column]})"
        axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=8)
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    need_matplotlib()
    from matplotlib.figure import Figure  # without pyplot: no window system, no state

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: str | Path) -> None:
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:  # ValueError: a suffix that matplotlib does not know
        raise PlotError(f"could not write the plot {path}: {error}") from error
