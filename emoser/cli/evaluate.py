"""emoser evaluate"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emoser.cli.options import Settings, audio_options, models_options, parse_labels, report_options

if TYPE_CHECKING:
    from emoser.evaluation import Labelled
    from emoser.models.utterance import UtteranceModel
    from emoser.results import Failure, Prediction


def parse_renames(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for each in (part for given in value for part in given.split(",")):
        theirs, equals, ours = each.partition("=")
        if not (theirs.strip() and equals and ours.strip()):
            raise click.BadParameter(f"{each!r} is not THEIRS=OURS, for instance --rename anger=angry.")
        pairs[theirs.strip().lower()] = ours.strip().lower()
    return pairs


@click.command(
    short_help="Score checkpoints on labelled recordings.",
    epilog="""\b
Examples:
  emoser evaluate test.csv
  emoser evaluate test.csv -m shiftcnn -m ./mine --plot reliability.png
  emoser evaluate recordings/ --rename anger=angry -o scores.md
  emoser evaluate test.csv --labels neutral,happy,angry,sad -f json
  emoser evaluate --diarization ZED.json -m shiftcnn -m ./mine
  emoser evaluate recordings/ --diarization truth.rttm

\b
MANIFEST is a CSV with the columns path (or file), label (or emotion) and, if
known, speaker and corpus (paths start from its folder), or a folder whose
folders are named by label.
UAR, WA and macro F1 come with 95 % intervals by bootstrap over speakers; with
several -m, the first is compared with each other one on the same draws.

\b
With --diarization, time lines are scored: EDER, frame UAR, segment F1, boundary
error. REFERENCE is ZED.json, an .rttm, .TextGrid, .csv or .tsv file, or a folder
of RTTM or TextGrid; MANIFEST then is the folder of the recordings, by default
that of REFERENCE. What no segment of a reference covers is neutral.

\b
Exit codes: 0 all done, 1 some file failed (the others are scored), 2 usage,
3 checkpoint not available, 4 an extra is missing, 130 interrupted.
""",
)
@click.argument("manifest", metavar="[MANIFEST]", required=False)
@click.option("--diarization", metavar="REFERENCE", help="Score emotions over time against these instead.")
@models_options
@audio_options
@click.option("--labels", callback=parse_labels, metavar="A,B,...", help="Choose among these labels only; clips of others are left out.")
@click.option(
    "--rename",
    "renamed",
    multiple=True,
    callback=parse_renames,
    metavar="THEIRS=OURS,...",
    help="Labels in our words; separated by commas, or repeated.",
)
@click.option("--plot", metavar="FILE", help="A reliability diagram (png, svg, pdf); needs the extra `plot`.")
@report_options("table", "json", "csv", "markdown")
def evaluate(
    manifest: str | None,
    diarization: str | None,
    models: tuple[str, ...],
    labels: tuple[str, ...] | None,
    renamed: dict[str, str],
    plot: str | None,
    **shared: Any,
) -> int:
    """Score checkpoints on labelled recordings.

    UAR, WA, macro F1, confusion matrix and calibration error, for each corpus of MANIFEST and all together; with --diarization, EDER and
    its kin.
    """
    from emoser.cli import job
    from emoser.cli.labelled import read_labelled
    from emoser.cli.output import check_target, identities
    from emoser.cli.predict import choose_labels
    from emoser.errors import UsageError
    from emoser.evaluation import evaluate as evaluated
    from emoser.evaluation import groups_of, known_to_all
    from emoser.formats.evaluation import WRITERS
    from emoser.plots import check_plot, need_matplotlib, reliability_diagram

    settings = Settings(**shared)
    _check_suffix(settings)
    if settings.channel == "each":
        raise UsageError("--channel each: a label is of a whole recording; take mix, or one channel by its number")
    if diarization is not None:
        for option, value in {"--labels": labels, "--plot": plot, "--batch-size": settings.batch_size}.items():
            if value is not None:
                raise UsageError(f"{option} is for labelled clips; leave it out with --diarization")
        return _timelines(diarization, manifest, models, renamed, settings)
    if manifest is None:
        raise click.MissingParameter(param_hint="'MANIFEST'", param_type="argument")
    if plot is not None:
        need_matplotlib()
        check_plot(plot)
        if (results := _path(settings)) is not None and results.resolve() == Path(plot).resolve():
            raise UsageError(f"--plot {plot} is where -o writes too; give another file")
    clips, failures = read_labelled(manifest, renamed)
    check_target(settings.output, identities([manifest, *(clip.file for clip in clips)]))
    opened = [job.open_model(replace(settings, model=name)) for name in models]
    names = job.told_apart(opened, models)
    known = {name: choose_labels(labels, model.labels) if labels else model.labels for name, model in zip(names, opened, strict=True)}
    clips, left_out = known_to_all(clips, known)
    groups_of(clips)  # whether speakers are known of all, before all the work
    if len(set(map(frozenset, known.values()))) > 1:
        common = [label for label in known[names[0]] if all(label in each for each in known.values())]
        job.note(
            settings,
            f"Warning: the checkpoints choose among different labels, which makes it harder for those with more; to compare them: "
            f"--labels {','.join(common)}",
        )
    predictions, broken = _predicted(clips, opened, settings)
    for failure in (*failures, *broken.values()):
        job.note(settings, str(failure.error))
    kept = [index for index in range(len(clips)) if index not in broken]
    if not kept:
        raise UsageError(f"{manifest}: not one of {len(clips)} clips could be read")
    probabilities = {name: [_scores(found[index], known[name]) for index in kept] for name, found in zip(names, predictions, strict=True)}
    result = evaluated([clips[index] for index in kept], probabilities, known, left_out)
    failures = [*failures, *broken.values()]
    _write(settings, WRITERS, result, failures)
    if plot is not None:
        reliability_diagram({name: (scores["pooled"].reliability, scores["pooled"].ece) for name, scores in result.scores.items()}, plot)
    if failures:
        job.note(settings, f"{len(failures)} of {len(clips) + len(failures) - len(broken)} inputs failed")
    return int(bool(failures))


def _timelines(reference: str, audio: str | None, models: tuple[str, ...], renamed: dict[str, str], settings: Settings) -> int:
    from emoser.cli import job
    from emoser.cli.timelines import evaluated
    from emoser.formats.timelines import WRITERS

    opened = [job.open_model(replace(settings, model=name)) for name in models]
    result, failures = evaluated(reference, audio, dict(zip(job.told_apart(opened, models), opened, strict=True)), settings, renamed)
    _write(settings, WRITERS, result, failures)
    if failures:
        scored = next(iter(result.scores.values())).recordings
        job.note(settings, f"{len(failures)} of {scored + len(failures)} recordings failed")
    return int(bool(failures))


def _predicted(
    clips: list[Labelled], opened: list[UtteranceModel], settings: Settings
) -> tuple[list[list[Prediction | Failure]], dict[int, Failure]]:
    """Each checkpoint's predictions in the order of `clips`, and what failed, by place."""
    from emoser.cli.progress import Bar
    from emoser.results import Failure

    predictions: list[list[Prediction | Failure]] = []
    broken: dict[int, Failure] = {}
    with Bar(len(clips) * len(opened), wanted=not settings.quiet) as bar:
        for model in opened:
            found: list[Prediction | Failure] = []
            for result in model.stream((clip.file for clip in clips), channel=settings.channel, batch_size=settings.batch_size):
                if isinstance(result, Failure):
                    broken.setdefault(len(found), result)
                found.append(result)
                bar.advance()
            predictions.append(found)
    return predictions, broken


def _scores(prediction: Prediction | Failure, labels: tuple[str, ...]) -> list[float]:
    """The scores of `labels`, made to sum to 1."""
    scores = prediction.scores  # type: ignore[union-attr]  # failures are left out before
    total = sum(scores[label] for label in labels)
    return [scores[label] / total for label in labels]


def _path(settings: Settings) -> Path | None:
    return None if settings.output in (None, "-") else Path(str(settings.output))


def _check_suffix(settings: Settings) -> None:
    from emoser.cli.output import check_suffix
    from emoser.formats.evaluation import SUFFIXES

    path = _path(settings)
    check_suffix(settings.output, settings.format, known=path is None or path.suffix.lower() in SUFFIXES)


def _write(settings: Settings, writers: Mapping[str, Callable[[Any, list[Failure]], str]], result: Any, failures: list[Failure]) -> None:
    from emoser.cli.output import replace_text
    from emoser.formats.evaluation import SUFFIXES

    path = _path(settings)
    by_name = SUFFIXES.get(path.suffix.lower()) if path else None
    chosen = settings.format or by_name or ("table" if path is None and sys.stdout.isatty() else "json")
    text = writers[chosen](result, failures)
    if path is None:
        click.echo(text, nl=False)
        return
    replace_text(str(path), text)
