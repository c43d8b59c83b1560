"""A `TimelineEvaluation` as JSON, CSV, Markdown or a table: one function each, whole document in, text out."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

from emoser.evaluation import Figure
from emoser.formats.evaluation import aligned, markdown, percent, rounded
from emoser.formats.json import dumps
from emoser.results import SCHEMA, Failure
from emoser.timelines import METRICS, PARTS, SHARES, TimelineEvaluation

TITLES = {"eder": "EDER", "frame_uar": "frame UAR", "segment_f1": "segment F1", "boundary_error": "boundary error"}
PART_TITLES = {"false_alarm": "false alarm", "missed": "missed", "confusion": "confusion", "uncovered": "uncovered"}


def as_json(found: TimelineEvaluation, failures: Sequence[Failure]) -> str:
    content = {"schema": SCHEMA, "timelines": found.to_dict(), "failures": [failure.to_dict() for failure in failures]}
    return dumps(content, indent=2) + "\n"


def as_csv(found: TimelineEvaluation, failures: Sequence[Failure]) -> str:
    """One row a checkpoint; the boundary error in seconds, every other number as a share of one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = [f"{name}{suffix}" for name in METRICS for suffix in ("", "_low", "_high")]
    writer.writerow(["checkpoint", "recordings", found.unit if found.unit == "speakers" else "groups", *bounds, *PARTS])
    for name, each in found.scores.items():
        cells: list[float | str] = []
        for metric in METRICS:
            figure = each.metrics[metric]
            cells += ["", "", ""] if figure is None else [figure.value, *(figure.interval or ("", ""))]
        writer.writerow([name, each.recordings, each.groups, *map(rounded, [*cells, *each.parts.values()])])
    return text.getvalue()


def as_markdown(found: TimelineEvaluation, failures: Sequence[Failure]) -> str:
    parts = [markdown(head, rows) for head, rows in tables(found)]
    parts += [f"{title}\n\n{markdown(head, rows)}" for title, head, rows in confusions(found)]
    return "\n\n".join([*parts, note(found)]) + "\n"


def as_table(found: TimelineEvaluation, failures: Sequence[Failure]) -> str:
    """Aligned columns for a terminal."""
    parts = [aligned(head, rows) for head, rows in tables(found)]
    parts += [f"{title}\n{aligned(head, rows)}" for title, head, rows in confusions(found)]
    return "\n\n".join([*parts, note(found)]) + "\n"


WRITERS: Mapping[str, Callable[[TimelineEvaluation, Sequence[Failure]], str]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
    "markdown": as_markdown,
}


def shown(metric: str, figure: Figure | None) -> str:
    """
    >>> shown("eder", Figure(0.25, (0.2, 0.301))), shown("boundary_error", Figure(0.25, None)), shown("boundary_error", None)
    ('25.0 [20.0, 30.1]', '0.25 s', '-')
    """
    if figure is None:
        return "-"
    if metric in SHARES:
        return percent(figure)
    return (
        f"{figure.value:.2f} s" if figure.interval is None else f"{figure.value:.2f} s [{figure.interval[0]:.2f}, {figure.interval[1]:.2f}]"
    )


def note(found: TimelineEvaluation) -> str:
    """What the reader of the figures must know."""
    text = "Percent, with 95 % intervals by bootstrap over " + (
        "speakers." if found.unit == "speakers" else "recordings: no speakers are named."
    )
    left = ", ".join(f"{count} with {label}" for label, count in found.left_out.items())
    return text + (f" Recordings left out, for not every checkpoint knows a label in them: {left}." if left else "")


def tables(found: TimelineEvaluation) -> Iterator[tuple[list[str], list[list[str]]]]:
    """(head, rows): the figures, what EDER is made of, and the differences, if there are any."""
    groups = "speakers" if found.unit == "speakers" else "groups"
    rows = [
        [name, str(each.recordings), str(each.groups), *(shown(metric, each.metrics[metric]) for metric in METRICS)]
        for name, each in found.scores.items()
    ]
    yield ["checkpoint", "recordings", groups, *TITLES.values()], rows
    parts = [[name, *(f"{100 * each.parts[part]:.1f}" for part in PARTS)] for name, each in found.scores.items()]
    yield ["EDER by kind of error", *PART_TITLES.values()], parts
    if found.comparisons:
        yield ["difference", "metric", "points or s", "p"], [
            [f"{item.second} - {item.first}", TITLES[item.metric], _difference(item.metric, item.found.difference, item.found.interval),
             f"{item.found.p_value:.3f}"]
            for item in found.comparisons
        ]  # fmt: skip


def confusions(found: TimelineEvaluation) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """(title, head, rows) of each checkpoint's confusions in seconds, recall last."""
    for name, each in found.scores.items():
        rows = []
        for place, (label, counts) in enumerate(zip(each.labels, each.frames.tolist(), strict=True)):
            recall = f"{100 * counts[place] / sum(counts):.1f}" if sum(counts) else "-"
            rows.append([label, *(f"{count / 100:.1f}" for count in counts), recall])
        yield f"{name}: seconds; rows said, columns recognised", ["", *each.labels, "recall"], rows


def _difference(metric: str, value: float, interval: tuple[float, float]) -> str:
    if metric in SHARES:
        return f"{100 * value:+.1f} [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return f"{value:+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}]"
