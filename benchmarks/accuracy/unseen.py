"""The page of all heads on corpora that they never saw, as they are and adapted, from the result files of adaptation.py.

python -m benchmarks.accuracy.unseen [--check]    -> unseen.md
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pages
from benchmarks.accuracy.scoring import RESULTS
from benchmarks.accuracy.table import markdown, read
from emoser.adaptation import EVEN, LEAST, STRENGTH, UNEVEN
from emoser.adaptation import TOLD as BELIEVED

PAGE = Path(__file__).parent / "unseen.md"
SUFFIX = "-adaptation"
HEAD = """# Corpora that were never heard

Four emotions; more at the end. Each head is trained without one corpus (encoder and read-out) and tested on all of its clips; UAR in
percent, one run each, no interval. *Adapted* figures are transductive: unlabelled clips of the corpus, among them those that are tested,
moved the read-outs (`emoser adapt` does the same). Made by `python -m training unseen NAME --scores-only` and
`python -m benchmarks.accuracy.adaptation NAME`, with runs shorter than those of the shipped checkpoints. *Told so*: with `--shares`, the
true ones.

The constants of the adaptation (`STRENGTH`, `EVEN`, `UNEVEN` and `TOLD` in emoser/adaptation.py) were chosen on these same five corpora,
left out in turn; so what adaptation brings here is somewhat flattered, and on a sixth corpus it was not tried.

Heads are to be compared where they bear the same number, which says how the settings of their runs differ from their recipes
(`training/recipes/`); between numbers the difference may be that of the settings. `A-with-B` is the mean of both, each adapted by itself,
as an ensemble does it.

"""
EARLIER = "¶"
OF_EARLIER = f"\n\n{EARLIER} Measured with other constants than the adaptation has now (docs/experiments.md)."
NUMBERS = "¹²³⁴⁵⁶⁷⁸⁹"
OWN = "the recipe's own settings"
UNKNOWN = "the settings were not recorded, and need not be the same for all of these"
Settings = tuple[str, ...] | None  # what a run set beside its recipe; None where its file does not say
LABELS = ("neutral", "happy", "angry", "sad")
TOLD = ", shares told"  # after the name of draws of clips
AS_IT_IS = ", as it is"  # the same clips without adaptation
EACH = "each speaker's own"
MIXED = ("none", "10 clips", "30 clips", EACH, EACH + TOLD, "all")
TITLES = {
    "none": "As it is",
    "10 clips": "Adapted to 10 clips drawn at random",
    "30 clips": "Adapted to 30 clips drawn at random",
    EACH: "Adapted to each speaker's own clips",
    EACH + TOLD: "Adapted to each speaker's own clips, and told so",
    "all": "Adapted to all clips of the corpus",
    **{f"100 {label} alone": f"Adapted to 100 {label} clips alone" for label in LABELS},
    **{f"100 {label} alone{TOLD}": f"Adapted to 100 {label} clips alone, and told so" for label in LABELS},
    **{f"two thirds {label}": f"Adapted to 90 clips, two thirds of them {label}" for label in LABELS},
    **{f"two thirds {label}{TOLD}": f"Adapted to 90 clips, two thirds of them {label}, and told so" for label in LABELS},
}


OWN_DRAWS = ("30 clips", "all", *(f"two thirds {label}" for label in LABELS), *(f"100 {label} alone" for label in LABELS))
OWN_WAYS = {AS_IT_IS: "As it is", "": "Adapted to them", TOLD: "Adapted to them, and told so"}
OWN_HEAD = """
## The clips adapted to

How many of them are labelled rightly, in percent, mean over the five corpora: what a user has of it whose own recordings these are. The
shares told are the true ones; they weigh the scores, too, so that the labels which a user says are frequent are heard more often. That is
paid by clips of other shares, which the tables above are of; and where all clips are of one label, little is left to find out.
"""


OTHERS_HEAD = """
## More emotions

{labels}. Calm is not among them, for only
RAVDESS has it, and what was trained without RAVDESS cannot tell it. A corpus counts with those that it has, the model may answer with any.
Numbers stand for settings, as above; `-before` are those of the revision before the one that ships.
"""


def records() -> dict[str, dict[str, Any]]:
    """Head -> its result file."""
    found = {file.stem.removesuffix(SUFFIX): read(file.stem) for file in sorted(RESULTS.glob(f"*{SUFFIX}.json"))}
    return {name: record for name, record in found.items() if record}


def mark(record: dict[str, Any]) -> str:
    """Whether the adaptation that was measured is that of the present code."""
    measured = tuple(record.get(name) for name in ("strength", "evenness", "shares_believed", "least_share"))
    return "" if measured == (STRENGTH, [UNEVEN, EVEN], BELIEVED, LEAST) else f" {EARLIER}"


def settings_of(record: dict[str, Any]) -> Settings:
    """In an order of their own, for the same settings given in another order are the same."""
    return tuple(sorted(record["set"])) if "set" in record else None


def grouped(found: dict[str, dict[str, Any]]) -> dict[Settings, list[str]]:
    """The heads by their settings; those that are not known come last."""
    groups: dict[Settings, list[str]] = {}
    for name, record in sorted(found.items(), key=lambda item: settings_of(item[1]) is None):
        groups.setdefault(settings_of(record), []).append(name)
    return groups


def notes(found: dict[str, dict[str, Any]]) -> str:
    """A line for each group: its number, its heads, and what it set."""
    lines = []
    for number, (settings, names) in zip(NUMBERS, grouped(found).items(), strict=False):
        text = UNKNOWN if settings is None else ", ".join(f"`{each}`" for each in settings) or OWN
        lines.append(f"- {number} {', '.join(names)}: {text}")
    return "\n".join(lines)


def ordered(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The heads with the number of their group, group after group."""
    return {name: number for number, names in zip(NUMBERS, grouped(found).values(), strict=False) for name in names}


def table(found: dict[str, dict[str, Any]], column: str) -> str:
    """A row a head, a column a corpus, and their mean where all were run."""
    rows = []
    corpora = list(dict.fromkeys(corpus for record in found.values() for corpus in record["uar"]))
    for name, number in ordered(found).items():
        record = found[name]
        values = [record["uar"].get(corpus, {}).get(column) for corpus in corpora]
        known = [value for value in values if value is not None]
        mean = f"{100 * float(np.mean(known)):.1f}" if len(known) == len(corpora) else "-"
        rows.append([f"**{name}** {number}{mark(record)}", mean, *("-" if value is None else f"{100 * value:.1f}" for value in values)])
    return markdown(["UAR", "mean", *corpora], rows)


def right_of_own(record: dict[str, Any], column: str) -> str:
    """In percent, the mean over the corpora; - where it was not measured on all of them."""
    values = [each.get(column) for each in record.get("right_of_own", {}).values()]
    known = [value for value in values if value is not None]
    return f"{100 * float(np.mean(known)):.1f}" if known and len(known) == len(values) else "-"


def own_tables(found: dict[str, dict[str, Any]]) -> str:
    """A table a way of adapting: a row a head, a column a draw. Empty where nothing was measured."""
    measured = {name: record for name, record in found.items() if record.get("right_of_own")}
    if not measured:
        return ""
    marks = ordered(found)
    made = []
    for way, title in OWN_WAYS.items():
        rows = [
            [f"**{name}** {marks[name]}{mark(measured[name])}", *(right_of_own(measured[name], draw + way) for draw in OWN_DRAWS)]
            for name in marks
            if name in measured
        ]
        made.append(f"\n### {title}\n\n{markdown(['right', *OWN_DRAWS], rows)}\n")
    return OWN_HEAD + "".join(made)


def other_labels(found: dict[str, dict[str, Any]]) -> str:
    """The tables of what tells other emotions apart than those four. Empty where there is nothing."""
    if not found:
        return ""
    labels = dict.fromkeys(label for record in found.values() for label in record["labels"])
    columns = [column for column in MIXED if all(_on_all(record["uar"], column) for record in found.values())]
    tables = "".join(f"\n### {TITLES[column]}\n\n{table(found, column)}\n" for column in columns)
    return f"{OTHERS_HEAD.format(labels=', '.join(labels).capitalize())}\n{notes(found)}\n{tables}"


def of(name: str) -> str:
    """One head: a row a way of adapting to mixed clips. Empty without a result file."""
    record = records().get(name)
    if record is None:
        return ""
    uar = record["uar"]
    rows = [[TITLES[column], *(f"{100 * each[column]:.1f}" for each in uar.values())] for column in MIXED if _on_all(uar, column)]
    return markdown([f"UAR of {name}{mark(record)}", *uar], rows)


def own(name: str) -> str:
    """One head: how many of the clips adapted to are labelled rightly, a row a draw of clips. Empty where it was not measured."""
    record = records().get(name, {})
    if not record.get("right_of_own"):
        return ""
    rows = [[draw, *(right_of_own(record, draw + way) for way in OWN_WAYS)] for draw in OWN_DRAWS]
    return markdown([f"right of the clips that {name} was adapted to", *(title.lower() for title in OWN_WAYS.values())], rows)


def settings_said(name: str) -> str:
    """What the runs of one head set beside its recipe, as a sentence. Empty without a result file."""
    record = records().get(name)
    if record is None:
        return ""
    settings = settings_of(record)
    told = "not recorded" if settings is None else ", ".join(f"`{each}`" for each in settings) or OWN
    return f"Settings of these runs beside the recipe's: {told}."


def _on_all(uar: dict[str, dict[str, float]], column: str) -> bool:
    return all(column in each for each in uar.values())


def page() -> str:
    everything = records()
    found = {name: record for name, record in everything.items() if tuple(record["labels"]) == LABELS}
    if not found:
        return ""
    measured = {column for record in found.values() for each in record["uar"].values() for column in each}
    legend = OF_EARLIER if any(mark(record) for record in everything.values()) else ""
    return (
        f"{HEAD}{notes(found)}{legend}\n"
        + "".join(f"\n## {title}\n\n{table(found, column)}\n" for column, title in TITLES.items() if column in measured)
        + own_tables(found)
        + other_labels({name: record for name, record in everything.items() if name not in found})
    )


def main() -> int:
    return pages.main(__doc__, page(), PAGE, "python -m benchmarks.accuracy.adaptation NAME")


if __name__ == "__main__":
    sys.exit(main())
