"""An `Evaluation` as JSON, CSV, Markdown or a table: one function each, whole document in, text out."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from emoser.evaluation import METRICS, Evaluation, Figure
from emoser.formats.json import dumps
from emoser.results import SCHEMA, Failure

TITLES = {"uar": "UAR", "wa": "WA", "macro_f1": "macro F1"}
SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".txt": "table"}


def as_json(found: Evaluation, failures: Sequence[Failure]) -> str:
    content = {"schema": SCHEMA, "evaluation": found.to_dict(), "failures": [failure.to_dict() for failure in failures]}
    return dumps(content, indent=2) + "\n"


def as_csv(found: Evaluation, failures: Sequence[Failure]) -> str:
    """One row for each checkpoint and corpus; every number as a share of one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = [f"{name}{suffix}" for name in METRICS for suffix in ("", "_low", "_high")]
    writer.writerow(["checkpoint", "corpus", "clips", found.unit if found.unit == "speakers" else "groups", *bounds, "ece"])
    for name, scores in found.scores.items():
        for corpus, each in scores.items():
            numbers = [value for figure in each.figures().values() for value in (figure.value, *(figure.interval or ("", "")))]
            writer.writerow([name, corpus, each.clips, each.groups, *map(rounded, numbers), rounded(each.ece)])
    return text.getvalue()


def as_markdown(found: Evaluation, failures: Sequence[Failure]) -> str:
    """Tables in percent."""
    parts = [markdown(*_figures(found))]
    if found.comparisons:
        parts.append(markdown(*_differences(found)))
    parts += [f"{title}\n\n{markdown(head, rows)}" for title, head, rows in confusions(found)]
    return "\n\n".join([*parts, note(found)]) + "\n"


def as_table(found: Evaluation, failures: Sequence[Failure]) -> str:
    """Aligned columns for a terminal, in percent."""
    parts = [aligned(*_figures(found))]
    if found.comparisons:
        parts.append(aligned(*_differences(found)))
    parts += [f"{title}\n{aligned(head, rows)}" for title, head, rows in confusions(found)]
    return "\n\n".join([*parts, note(found)]) + "\n"


WRITERS: Mapping[str, Callable[[Evaluation, Sequence[Failure]], str]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
    "markdown": as_markdown,
}


def percent(figure: Figure) -> str:
    """
    >>> percent(Figure(0.7125, (0.65, 0.781)))
    '71.2 [65.0, 78.1]'
    """
    value = f"{100 * figure.value:.1f}"
    return value if figure.interval is None else f"{value} [{100 * figure.interval[0]:.1f}, {100 * figure.interval[1]:.1f}]"


def note(found: Evaluation) -> str:
    """What the reader of the figures must know."""
    if found.unit == "speakers":
        text = "Percent, with 95 % intervals by bootstrap over speakers."
    else:
        text = "Percent, with 95 % intervals by bootstrap over clips: no speakers are named, and where voices recur these are too narrow."
    left = ", ".join(f"{count} {label}" for label, count in found.left_out.items())
    return text + (f" Left out, for not every checkpoint knows their label: {left}." if left else "")


def confusions(found: Evaluation) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """(title, head, rows) of each checkpoint's confusion matrix over all clips: a row for each label, recall last."""
    for name, scores in found.scores.items():
        pooled, labels = scores["pooled"], found.labels[name]
        rows = [
            [label, *map(str, counts), "-" if recall is None else f"{100 * recall:.1f}"]
            for label, counts, recall in zip(labels, pooled.confusion.tolist(), pooled.recalls, strict=True)
        ]
        yield f"{name}: rows said, columns recognised", ["", *labels, "recall"], rows


def _figures(found: Evaluation) -> tuple[list[str], list[list[str]]]:
    rows = [
        [name, corpus, str(each.clips), str(each.groups), *(percent(figure) for figure in each.figures().values()), f"{100 * each.ece:.1f}"]
        for name, scores in found.scores.items()
        for corpus, each in scores.items()
    ]
    groups = "speakers" if found.unit == "speakers" else "groups"
    return ["checkpoint", "corpus", "clips", groups, *TITLES.values(), "ECE"], rows


def _differences(found: Evaluation) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            f"{item.second} - {item.first}",
            item.corpus,
            TITLES[item.metric],
            f"{100 * item.difference:+.1f} [{100 * item.interval[0]:+.1f}, {100 * item.interval[1]:+.1f}]",
            f"{item.p_value:.3f}",
        ]
        for item in found.comparisons
    ]
    return ["difference", "corpus", "metric", "points", "p"], rows


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def aligned(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(line[index]) for line in (head, *rows)) for index in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in (head, *rows))


def rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
