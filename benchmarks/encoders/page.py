"""benchmarks/encoders/README.md, from results.json."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accuracy.table import markdown, with_interval
from benchmarks.encoders.results import Record, read

PAGE = Path(__file__).with_name("README.md")
WIDTH = 140
NONE = "-"

INTRODUCTION = """\
# Encoders

Made from `results.json` by `python -m benchmarks.encoders table`; nothing here is written by hand. What is compared stands in
`variants.yaml`; `python -m benchmarks.encoders run` trains and scores it, `collect` takes what that left under runs/ into the result file.

All figures are of **validation speakers**, clean clips, {labels}; test speakers are not scored here. UAR is the mean recall of the
classes, in percent, without class offsets, which would be fitted on the same clips. Within a run nothing is chosen: the last step is
kept. But whoever takes the best row takes one that was chosen on these speakers, and its figure flatters it.

Each row is one run of one seed. Brackets hold 95 % intervals from a bootstrap over speakers, {draws} draws: they know nothing of what
another seed would give, and are not widened for the number of rows. "mean" is the mean of the corpora, "all clips" takes these together,
"minus" is the difference to the row named there, in points, on the same draws.
"""
ONE_SPEAKER = (
    "Where there is one speaker ({names}) there is no interval; in the draws of the mean that speaker stands still, so that the mean's"
    " interval is too narrow. Of two speakers it is little more than the range between them."
)
SECONDS = (
    "Seconds are of the steps in which everything learns (of a ridge classifier: of its fit), beside whatever else ran; those of the second"
    " read-out alone and of computing states are not in them."
)


def page(names: Sequence[str]) -> str:
    """names: of all variants; those without a result are named as such. Empty without any result."""
    found = read()
    if not found:
        return ""
    title, *paragraphs = INTRODUCTION.format(labels=", ".join(found["labels"]), draws=found["interval"]["draws"]).split("\n\n")
    parts = [
        "\n\n".join([title, *map(wrapped, paragraphs)]) + "\n",
        f"{of_speakers(found['scored'])}\n\n{wrapped(SECONDS)}\n\n{machines(found['variants'])}\n",
    ]
    for name, group in found["groups"].items():
        rows = {variant: record for variant, record in found["variants"].items() if record["group"] == name}
        title = f"## {name[0].upper()}{name[1:]}\n\n{about(group)}\n"
        parts.append(f"{title}\n{overview(rows, group['reference'])}\n\n{by_corpus(rows, found['scored'])}\n\n{settings(rows)}\n")
    if lacking := [name for name in names if name not in found["variants"]]:
        parts.append(f"## Not run\n\n{wrapped(', '.join(lacking))}\n")
    return "\n".join(parts)


def wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)


def of_speakers(scored: Record) -> str:
    """How many clips and speakers stand behind the figures, and what follows for the intervals."""
    counts = [f"{name} {each['clips']} clips of {each['speakers']}" for name, each in scored.items()]
    single = [name for name, each in scored.items() if each["speakers"] == 1]
    text = f"Clips and speakers: {', '.join(counts)}."
    return wrapped(f"{text} {ONE_SPEAKER.format(names=', '.join(single))}" if single else text)


def machines(variants: Record) -> str:
    """Versions and cores, and which variants ran on them where not all ran on the same."""
    found: dict[str, list[str]] = {}
    for name, record in variants.items():
        versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items() if package != "python")
        found.setdefault(f"Python {record['python']}, {versions}; {record['cores']} cores", []).append(name)
    lines = [f"{text}" if len(found) == 1 else f"{', '.join(names)}: {text}" for text, names in found.items()]
    return "\n\n".join(wrapped(f"{line}.") for line in lines)


def about(group: Record) -> str:
    alpha = f" (alpha {group['alpha']:g})" if "alpha" in group else ""
    own = ", ".join(f"`{each}`" for each in group["set"])
    return wrapped(f"{group['text'][0].upper()}{group['text'][1:]}{alpha}. Recipe `{group['recipe']}` with {own}.")


def overview(rows: Record, reference: str) -> str:
    """A row a variant: what it is, mean and all clips, and both less the reference's."""
    body = []
    for name, record in rows.items():
        scores, minus = record["scores"], record["minus_reference"]
        cells = [text for part in ("mean_of_corpora", "pooled") for text in (with_interval(scores[part]), less(minus and minus[part]))]
        body.append([f"**{name}**", record["text"], *cells, str(record["seconds"])])
    return markdown(["UAR", "what it is", "mean", f"minus {reference}", "all clips", f"minus {reference}", "s"], body, text=2)


def less(found: Record | None) -> str:
    """
    >>> less({"difference": 0.012, "interval": [-0.004, 0.03]}), less({"difference": -0.01, "interval": None}), less(None)
    ('+1.2 (-0.4 to +3.0)', '-1.0', '-')
    """
    if found is None:
        return NONE
    text = f"{100 * found['difference']:+.1f}"
    return text if found["interval"] is None else f"{text} ({100 * found['interval'][0]:+.1f} to {100 * found['interval'][1]:+.1f})"


def by_corpus(rows: Record, scored: Record) -> str:
    """A row a variant, a column a corpus."""
    body = [[f"**{name}**", *(with_interval(record["scores"]["corpora"][corpus]) for corpus in scored)] for name, record in rows.items()]
    return markdown(["UAR", *scored], body)


def settings(rows: Record) -> str:
    """What each variant sets beside its group."""
    return "\n".join(f"- {name}: {', '.join(f'`{each}`' for each in record['set']) or 'nothing'}" for name, record in rows.items())
