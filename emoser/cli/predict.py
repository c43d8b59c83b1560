"""emoser predict"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from emoser.cli.options import Settings, audio_options, inputs_argument, models_options, output_options, parse_labels, shares_option

if TYPE_CHECKING:
    from emoser.cli.job import Source
    from emoser.results import Failure, Prediction


@click.command(
    short_help="The emotion of each recording.",
    epilog="""\b
Examples:
  emoser predict interview.wav
  emoser predict recordings/ -o emotions.csv
  emoser predict recordings/ -o emotions.jsonl     (interrupt it, run it again: it goes on)
  emoser predict call.wav --channel each           (one speaker a channel)
  emoser predict clip.wav --labels happy,sad,angry
  emoser predict recordings/ -m shiftcnn,emotion8  (each recording decoded once)
  find . -name '*.flac' | emoser predict @- -f csv
  ffmpeg -i film.mkv -f wav - | emoser predict -

\b
Exit codes: 0 all done, 1 some input failed (the others are written), 2 usage,
3 checkpoint not available, 4 an extra is missing, 130 interrupted.
""",
)
@inputs_argument
@models_options
@audio_options
@click.option("--min-confidence", type=click.FloatRange(0, 1), metavar="X", help="Below this score, add the warning `low_confidence`.")
@click.option(
    "--labels", callback=parse_labels, metavar="A,B,...", help="Choose among these labels only; their scores are made to sum to 1."
)
@click.option("--adapt", is_flag=True, help="First adapt to these very recordings (of one speaker or room); see `emoser adapt --help`.")
@shares_option
@click.option("--scores", is_flag=True, help="In a table: the score of every label.")
@output_options("table", "json", "jsonl", "csv")
def predict(
    inputs: tuple[str, ...],
    models: tuple[str, ...],
    min_confidence: float | None,
    labels: tuple[str, ...] | None,
    adapt: bool,
    shares: dict[str, float] | None,
    scores: bool,
    **shared: Any,
) -> int:
    """The emotion of each recording, with a calibrated score for every label.

    INPUT is a file, a folder (all audio below it), a pattern in quotes, @list.txt (one path a line; @- from standard input), or - for
    audio on standard input.
    """
    from emoser.cli import job
    from emoser.cli.inputs import expand
    from emoser.formats import Header

    if shares is not None and not adapt:
        raise click.UsageError("--shares is for --adapt: it says how often emotions occur among the recordings.")
    settings = Settings(model=models[0], **shared)
    if len(models) > 1:
        return _with_several(inputs, settings, models, min_confidence, labels, adapt, scores)
    model = job.open_model(settings)
    expanded = expand(inputs)
    if adapt:
        from emoser.cli.adapt import adapted_to, refuse_pipes

        refuse_pipes(expanded[0], "--adapt")
        model, _ = adapted_to(expanded, model, settings, shares)  # what failed will be said by the predictions
    allowed = choose_labels(labels, model.labels) if labels else model.labels

    def stream(sources: Iterable[Source]) -> Generator[Any, None, None]:
        results = model.stream(sources, channel=settings.channel, batch_size=settings.batch_size, min_confidence=min_confidence)
        return results if allowed == model.labels else _among(results, allowed, min_confidence)

    header = Header(
        "predict",
        job.model_block(model, allowed),
        scores,
        transcripts=job.writes_transcripts(model),
        channel=settings.channel,
        min_confidence=min_confidence or 0.0,
    )
    return job.run_over(expanded, inputs, settings, header, stream)


def _with_several(
    inputs: tuple[str, ...],
    settings: Settings,
    names: tuple[str, ...],
    min_confidence: float | None,
    labels: tuple[str, ...] | None,
    adapt: bool,
    scores: bool,
) -> int:
    """Each recording decoded once, and a result of each checkpoint for it."""
    from emoser.cli import job
    from emoser.errors import UsageError
    from emoser.formats import Header
    from emoser.models.several import predict_with

    if adapt:
        raise UsageError("--adapt is for one checkpoint; adapt each by itself (emoser adapt) and name the folders after -m")
    models = [job.open_model(replace(settings, model=name)) for name in names]
    names = job.told_apart(models, names)
    allowed = {name: choose_labels(labels, model.labels) if labels else model.labels for name, model in zip(names, models, strict=True)}

    def stream(sources: Iterable[Source]) -> Generator[Any, None, None]:
        for result in predict_with(
            models, sources, names=names, channel=settings.channel, batch_size=settings.batch_size, min_confidence=min_confidence
        ):
            name = getattr(result, "model", None)
            yield result if labels is None or name is None else restrict(result, allowed[name], min_confidence)  # type: ignore[arg-type]

    blocks = tuple(job.model_block(model, allowed[name]) | {"name": name} for name, model in zip(names, models, strict=True))
    header = Header(
        "predict",
        None,
        scores,
        blocks,
        transcripts=any(map(job.writes_transcripts, models)),
        channel=settings.channel,
        min_confidence=min_confidence or 0.0,
    )
    return job.run(inputs, settings, header, stream)


def choose_labels(wanted: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """`wanted` in the checkpoint's order. Raises UsageError for a label that it does not have.

    >>> choose_labels(("sad", "happy"), ("happy", "neutral", "sad"))
    ('happy', 'sad')
    """
    from emoser.errors import UsageError

    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise UsageError(f"--labels: the checkpoint does not know {', '.join(unknown)}; it knows {', '.join(known)}")
    return tuple(label for label in known if label in wanted)


def _among(results: Iterable[Any], allowed: tuple[str, ...], min_confidence: float | None) -> Generator[Prediction | Failure, None, None]:
    from emoser.results import Prediction

    for result in results:
        yield restrict(result, allowed, min_confidence) if isinstance(result, Prediction) else result


def restrict(prediction: Prediction, allowed: tuple[str, ...], min_confidence: float | None) -> Prediction:
    """The same prediction as if the model had only the labels `allowed`."""
    total = sum(prediction.scores[label] for label in allowed)
    scores = {label: prediction.scores[label] / total for label in allowed}
    # Where all are equal (silence) the model's own choice stands, if it is among them.
    best = max(allowed, key=lambda label: (scores[label], label == prediction.label))
    warnings = tuple(warning for warning in prediction.warnings if warning != "low_confidence")
    if min_confidence is not None and scores[best] < min_confidence:
        warnings = (*warnings, "low_confidence")
    return replace(prediction, label=best, confidence=scores[best], scores=scores, warnings=warnings)
