"""benchmarks/accuracy/crossval.md and README.md's block, from the result files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.accuracy.crossval import results
from benchmarks.accuracy.crossval.paired import MEAN, Difference, differences
from benchmarks.accuracy.crossval.protocols import ABLATION, BASE, CORPORA, HEADS, OWN, PROTOCOLS, RIDGE, TWINS, Clips
from benchmarks.accuracy.crossval.results import Record, Result, by_protocol
from benchmarks.accuracy.table import markdown
from emoser.formats.evaluation import TITLES, percent

PAGE = Path(__file__).resolve().parents[1] / "crossval.md"
PUBLISHED = Path(__file__).with_name("published.yaml")
WIDTH = 140
NONE = "-"
WITH = {"plain": "as the model is", "adapted": "adapted to each test speaker's unlabelled clips"}

INTRODUCTION = """\
# All heads under one protocol

Made from `results/crossval.json`, `results/crossval-baselines.json` and `crossval/published.yaml` by
`python -m benchmarks.accuracy.crossval table`; nothing here is written by hand.

All labels of a corpus, and every speaker tested once by a model that never heard them. The folds:

{folds}

Heads are trained on the fold's training speakers of the corpus alone or, in rows named *multi-corpus*, beside the training speakers of the
recipe's other corpora (`--multi-corpus beside`). Nothing is chosen within a fold (`--select nothing`): the number of steps is the same for
all, nobody but the test speakers is held out, and the last step is kept. The settings stand in `crossval/settings.yaml`; how they were
found, and on which folds test speakers were looked at meanwhile, in docs/experiments.md. The test clips are scored once. The recipes with
`-frozen` train a head over the cached states of the start weights' encoder; which of the others train the encoder's upper blocks, and
which a head on an encoder trained before, stands in `training/recipes/`. Rows with `-own-blocks` are shiftcnn's recipe with another head,
so that each of them trains its blocks on the fold as shiftcnn does. `-` is what was not run, "(3 of 6)" how many folds ran where not all
did: such a figure is of other speakers than its column's.

Our own reference rows: classifiers on fixed features, on the same folds and clips, their parameter chosen on validation
speakers out of the fold's training speakers, then trained with it on all of these.

UAR is the mean recall of the classes over all clips of all folds together, in percent; where it says "(2 seeds)" these are pooled, a clip
once for each; how far two seeds lie apart stands in docs/experiments.md. Brackets hold a 95 % interval from a bootstrap over speakers,
which EMOVO has six of: it is rough there.
"""

ADAPTED = """\
Transductive: the model is adapted to the test speaker's own clips, their labels unused, with all of that speaker's clips at hand; so these
figures are not to be set beside those above. The speakers of these corpora act every emotion about equally often, which flatters
adaptation. The reference rows standardise the features of every speaker by that speaker's own clips, in training too.
"""

TOLD = """\
As above, and the scores weighed towards how often each emotion occurs among the test speaker's clips, which is counted from their labels:
what a user can say who knows it (`emoser adapt --shares`, which moves the vectors by it too; here they are moved as above). In these
corpora all emotions are nearly equally frequent; a user whose recordings are mostly of one emotion will see other figures.
"""

TWINS_TEXT = """\
The head with the temporal shift minus its twin without, UAR in points, on the same clips, folds and seeds. The recipes of a pair differ in
the head alone; a column with \\* is of two that do not. 95 % intervals by a paired bootstrap over speakers; "mean" is the mean of the
corpora that have more than one speaker compared, speakers drawn inside each. Intervals are not widened for the number of comparisons, and
know nothing of what another seed of the training would give. "(3 of 6)" is how many folds were compared, where not all.
"""

RIDGE_TEXT = """\
Each head minus `{ridge}`, which reads the mean and deviation over the clip of the states of Whisper's encoder, frozen: UAR in points,
paired as above, on the folds that the head ran. Ahead or behind is a head whose interval leaves zero out; of the others these speakers
cannot tell. The folds on which the heads' settings were found (docs/experiments.md) are among them, which flatters the heads.
"""

FROZEN_TEXT = """\
Each head minus the one over Whisper's encoder, frozen: UAR in points, paired as above. Of shiftcnn and those with `-own-blocks` the fold
trains the upper blocks; the others stand on an encoder that another run taught, where they ran so (above).
"""

ABLATIONS_TEXT = """\
Runs that differ from the one they are compared with in the options named (`default` where a run leaves unset what the other sets), and the
paired difference to it in UAR, in points. `alone` is `{base}` without its second read-out and without the shift: what the shift does
to the paper's head by itself is seen against that.
"""

Systems = dict[str, dict[str, Result]]  # by name, then by corpus


def heads(runs: Record, names: tuple[str, ...] = HEADS) -> Systems:
    """A row for each head, and below it one for its multi-corpus runs, if there are any."""
    found: Systems = {}
    for name in names:
        found[f"**{name}**"] = by_protocol(runs.get(name, {}), False)
        if multi := by_protocol(runs.get(name, {}), True):
            found[f"**{name}**, multi-corpus"] = multi
    return found


def references(baselines: Record) -> Systems:
    return {name: by_protocol(system["protocols"], False) for name, system in baselines.get("systems", {}).items()}


def overview(read_out: str, systems: Systems, clips: Mapping[str, Clips], published: Record | None = None) -> str:
    """UAR: a row a system, a column a corpus."""
    rows = []
    for name, found in systems.items():
        cells = []
        for corpus in CORPORA:
            result = found.get(corpus.name)
            if result is None or read_out not in result.record:
                cells.append(NONE)
                continue
            own = clips[corpus.name]
            notes = [result.ran(own)] * (not result.whole(own)) + [f"{len(result.folds)} seeds"] * (len(result.folds) > 1)
            cells.append(f"{100 * result.figure(read_out, 'uar').value:.1f}" + (f" ({', '.join(notes)})" if notes else ""))
        rows.append([name, *cells])
    for row in (published or {}).get("rows", []):
        rows += [[f"{row['name']} (published)", *(quoted(row["uar"].get(corpus.name)) for corpus in CORPORA)]]
    return markdown(["UAR", *(corpus.title for corpus in CORPORA)], rows)


def quoted(value: Any) -> str:
    """
    >>> quoted([91.26, "†"]), quoted(48.8), quoted(None)
    ('91.3 †', '48.8', '-')
    """
    if value is None:
        return NONE
    number, mark = value if isinstance(value, list) else (value, "")
    return f"{number:.1f} {mark}".strip()


def run_earlier(baselines: Record) -> str:
    """Which reference rows were trained on less than the others, for where they are not described one by one; empty where none was."""
    found = [(name, system["trained_on"]) for name, system in baselines.get("systems", {}).items() if "trained_on" in system]
    said = [
        f"{', '.join(name for name, on in found if on == what)}: run earlier, trained on {what}."
        for what in dict.fromkeys(dict(found).values())
    ]
    return textwrap.fill(" ".join(said), WIDTH, break_on_hyphens=False)


def sources(published: Record) -> str:
    """What the published rows are, and what their marks mean."""
    marks = " ".join(f"{mark} {text}" for mark, text in published["marks"].items())
    return textwrap.fill(f"Published rows were not run here. {'. '.join(published['sources'].values())}. {marks}", WIDTH)


def encoders(runs: Record) -> str:
    """Which heads stand on an encoder that another run trained, in one paragraph; empty where none does."""
    found = {
        f"{name} ({record['options']['model.encoder_of'].removesuffix(PROTOCOLS[protocol].name)}CORPUS)"
        for name, protocols in runs.items()
        for protocol, record in protocols.items()
        if not name.startswith(ABLATION) and "model.encoder_of" in record["options"]
    }
    text = (
        "These are trained on the encoder of another run (named in brackets), which learned from the other corpora and never heard the one "
        f"tested; so the other corpora stand behind their rows without *multi-corpus* too: {', '.join(sorted(found))}."
    )
    return textwrap.fill(text, WIDTH, break_on_hyphens=False) if found else ""


def details(corpus: str, read_out: str, systems: Systems, clips: Clips) -> str:
    """One corpus, what ran on it, with intervals, WA and macro F1."""
    rows = []
    for name, found in systems.items():
        if corpus in found:
            result = found[corpus]
            mean = result.record[read_out]["mean_of_folds"]["uar"]
            deviation = "" if mean["deviation"] is None else f" ± {100 * mean['deviation']:.1f}"
            figures = [percent(result.figure(read_out, metric)) for metric in TITLES]
            rows.append([name, result.ran(clips), str(len(result.folds)), *figures, f"{100 * mean['mean']:.1f}{deviation}"])
    return markdown(["", "folds", "seeds", *TITLES.values(), "UAR, mean of folds ± SD"], rows)


def cell(found: Difference | None, clips: Clips | None) -> str:
    """A difference, and of how many folds it is where these are not all; of how many corpora, where it is their mean (no `clips`)."""
    if found is None:
        return NONE
    if clips is None:
        return f"{found} (of {found.count})"
    return str(found) + ("" if found.count == len(clips.folds) else f" ({found.count} of {len(clips.folds)})")


def twins(read_out: str, multi: bool, runs: Record, clips: Mapping[str, Clips]) -> str:
    """A row a corpus and their mean, a column a pair, and what else differs in a pair than its heads; empty where no pair ran."""
    columns, notes = {}, []
    for shift, plain in TWINS:
        one, other = by_protocol(runs.get(shift, {}), multi), by_protocol(runs.get(plain, {}), multi)
        found = differences(one, other, read_out, clips)
        more = unlike(one, other)
        if found:
            columns[f"{shift} - {plain}" + (" \\*" if more else "")] = found
        if found and more:
            notes.append(f"\\* {shift} differs from {plain} in more than the head, so that its column is no measure of the shift: {more}.")
    if not columns:
        return ""
    rows = [[corpus.title, *(cell(found.get(corpus.name), clips[corpus.name]) for found in columns.values())] for corpus in CORPORA]
    rows.append(["mean", *(cell(found.get(MEAN), None) for found in columns.values())])
    return "\n\n".join([markdown(["", *columns], rows), *notes])


def minus_ridge(read_out: str, runs: Record, baselines: Record, clips: Mapping[str, Clips]) -> str:
    """A row a head, a column a corpus and their mean; empty where no head ran that the ridge probe can be compared with."""
    ridge = references(baselines).get(RIDGE, {})
    rows = []
    for name, results_of_head in heads(runs).items():
        if found := differences(results_of_head, ridge, read_out, clips, any_seed=True):
            rows.append(by_corpus(name, found, clips))
    return markdown([f"minus {RIDGE}", *(corpus.title for corpus in CORPORA), "mean"], rows) if rows else ""


def minus_frozen(read_out: str, runs: Record, clips: Mapping[str, Clips]) -> str:
    """A row a head that ran under its own name and as `-frozen`, a column a corpus and their mean; empty where none did both."""
    rows = []
    for name in HEADS:
        one, other = (by_protocol(runs.get(each, {}), False) for each in (name, f"{name.removesuffix(OWN)}-frozen"))
        if found := differences(one, other, read_out, clips):
            rows.append(by_corpus(f"**{name}**", found, clips))
    return markdown(["minus the same, `-frozen`", *(corpus.title for corpus in CORPORA), "mean"], rows) if rows else ""


def by_corpus(name: str, found: Mapping[str, Difference], clips: Mapping[str, Clips]) -> list[str]:
    """A row of differences: each corpus, and their mean."""
    return [name, *(cell(found.get(corpus.name), clips[corpus.name]) for corpus in CORPORA), cell(found.get(MEAN), None)]


def unlike(one: dict[str, Result], other: dict[str, Result]) -> str:
    """The options but `model.head` in which two systems differ on any corpus, by name."""
    found = {
        name
        for corpus in one
        if corpus in other
        for first, second in [(one[corpus].record["options"], other[corpus].record["options"])]
        for name in {*first, *second} - {"model.head"}
        if first.get(name) != second.get(name)
    }
    return ", ".join(f"`{name}`" for name in sorted(found))


def ablations(runs: Record, clips: Mapping[str, Clips]) -> str:
    """A row for each run whose name begins with `ablation-`, under each protocol; empty where there is none."""
    rows = []
    for name in [each for each in runs if each.startswith(ABLATION)]:
        compared = base_of(name, runs)
        for protocol, record in runs[name].items():
            corpus = PROTOCOLS[protocol]
            result, own = Result(record), clips[corpus.name]
            base = runs.get(compared, {}).get(protocol)
            cells = [differing(record["options"], base["options"]) if base else NONE]
            multi = "" if protocol == corpus.protocol else ", multi-corpus"
            cells += [f"{corpus.title}{multi}", result.ran(own)]
            for read_out in WITH:
                found = differences({corpus.name: result}, {corpus.name: Result(base)}, read_out, clips) if base else {}
                cells += [percent(result.figure(read_out, "uar")), cell(found.get(corpus.name), own)]
            rows.append([name.removeprefix(ABLATION), compared.removeprefix(ABLATION), *cells])
    head = ["run", "compared with", "what differs", "corpus", "folds", "UAR", "minus that", "adapted UAR", "adapted, minus that"]
    return markdown(head, rows, text=5) if rows else ""


def base_of(name: str, runs: Iterable[str]) -> str:
    """What an ablation run is compared with: the ablation whose name its own goes on from, or, where there is none, `BASE`.

    >>> base_of("ablation-alone-residual-4", ["ablation-alone", "ablation-alone-residual-4", "cnn-frozen"])
    'ablation-alone'
    >>> base_of("ablation-alone", ["ablation-alone", "cnn-frozen"])
    'shiftcnn-frozen'
    """
    return max((each for each in runs if each.startswith(ABLATION) and name.startswith(f"{each}-")), key=len, default=BASE)


def differing(options: dict[str, Any], base: dict[str, Any]) -> str:
    """
    >>> differing({"model.head": "shiftcnn", "model.head_options.n_div": 8}, {"model.head": "shiftcnn", "schedule.mixup": 0.4})
    '`model.head_options.n_div: 8`, `schedule.mixup: default`'
    """
    names = [name for name in sorted({*options, *base}) if options.get(name) != base.get(name)]
    return ", ".join(f"`{name}: {options.get(name, 'default')}`" for name in names) or "nothing"


def page() -> str:
    """Empty where there are not even reference rows."""
    baselines, runs = results.read(results.BASELINES), results.read(results.RUNS).get("runs", {})
    clips = results.clips_of(baselines)
    if not clips:
        return ""
    published = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    systems = heads(runs) | references(baselines)
    folds = "\n".join(f"- {corpus.title} classes: {corpus.folds}" for corpus in CORPORA)
    named = "\n".join(
        f"- `{name}`: {system['summary']}" + (f"; run earlier, trained on {system['trained_on']}" if "trained_on" in system else "")
        for name, system in baselines["systems"].items()
    )
    parts = [INTRODUCTION.format(folds=folds), f"{named}\n"]
    parts += [f"{note}\n"] if (note := encoders(runs)) else []
    parts.append(f"## Unseen speakers\n\n{overview('plain', systems, clips, published)}\n\n{sources(published)}\n")
    parts.append(f"## Adapted to each test speaker's unlabelled clips\n\n{ADAPTED}\n{overview('adapted', systems, clips)}\n")
    if measured := {name: found for name, found in heads(runs).items() if any("told" in each.record for each in found.values())}:
        parts.append(f"## Adapted, and told how often each emotion occurs\n\n{TOLD}\n{overview('told', measured, clips)}\n")
    tables = [
        f"### {text}{', multi-corpus' if multi else ''}\n\n{table}\n"
        for multi in (False, True)
        for read_out, text in (("plain", "Unseen speakers"), ("adapted", "Adapted"))
        if (table := twins(read_out, multi, runs, clips))
    ]
    if tables:
        parts += [f"## With the shift and without\n\n{TWINS_TEXT}", *tables]
    tables = [
        f"### {text}\n\n{table}\n"
        for read_out, text in (("plain", "Unseen speakers"), ("adapted", "Adapted"))
        if (table := minus_ridge(read_out, runs, baselines, clips))
    ]
    if tables:
        parts += [f"## Heads and the ridge probe\n\n{RIDGE_TEXT.format(ridge=RIDGE)}", *tables]
    tables = [
        f"### {text}\n\n{table}\n"
        for read_out, text in (("plain", "Unseen speakers"), ("adapted", "Adapted"))
        if (table := minus_frozen(read_out, runs, clips))
    ]
    if tables:
        parts += [f"## Another encoder than Whisper's\n\n{FROZEN_TEXT}", *tables]
    if table := ablations(runs, clips):
        parts.append(f"## Placement and n_div\n\n{ABLATIONS_TEXT.format(base=BASE)}\n{table}\n")
    for corpus in CORPORA:
        parts.append(
            f"## {corpus.title} classes\n\n{corpus.folds[0].upper()}{corpus.folds[1:]}; {len(clips[corpus.name].targets)} clips.\n"
        )
        parts += [
            f"{WITH[each][0].upper()}{WITH[each][1:]}:\n\n{details(corpus.name, each, systems, clips[corpus.name])}\n" for each in WITH
        ]
    return "\n".join(parts)


def block() -> str:
    """For README.md: the rows that ran, as they are and adapted. Empty until a head has run."""
    baselines, runs = results.read(results.BASELINES), results.read(results.RUNS).get("runs", {})
    ran = {name: found for name, found in heads(runs).items() if found}
    if not ran:
        return ""
    clips, systems = results.clips_of(baselines), ran | references(baselines)
    published = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    text = "The same, adapted to each test speaker's own clips without their labels; not to be set beside the figures above:"
    plain, adapted = overview("plain", systems, clips, published), overview("adapted", systems, clips)
    notes = [run_earlier(baselines), sources(published), encoders(runs), textwrap.fill(text, WIDTH)]
    return "\n\n".join(filter(None, [plain, *notes, adapted]))
