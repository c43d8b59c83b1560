"""emoser adapt"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from emoser.cli.options import Settings, audio_options, inputs_argument, model_options, shares_option

if TYPE_CHECKING:
    from emoser.models.utterance import UtteranceModel
    from emoser.results import Failure


@click.command(
    short_help="Adapt a checkpoint to your recordings.",
    epilog="""\b
Examples:
  emoser adapt recordings/ -o mine/
  emoser predict recordings/ -m mine/
  emoser predict recordings/ --adapt               (the same in one go)
  emoser adapt recordings/ -m ensemble -o mine/    (each of its members)
  emoser adapt calls/ --shares neutral=0.8 -o mine/
  emoser evaluate test.csv -m shiftcnn -m mine/    (does it help?)

\b
Takes no labels: thirty recordings or more of one speaker or one kind of
microphone and room, in which emotions are about equally frequent. Few
recordings change little. Where one emotion is by far the most frequent, say
so with --shares: without it, adapting may do harm then. It is said on standard
error where it is noticed, which is not always. With --shares the recordings
are read twice.

\b
Exit codes: 0 all done, 1 some input failed (the others count) or FOLDER could
not be written, 2 usage, 3 checkpoint not available or not adaptable, 4 an extra
is missing.
""",
)
@inputs_argument
@model_options
@audio_options
@shares_option
@click.option("-o", "--output", required=True, metavar="FOLDER", help="Where the adapted checkpoint goes; `-m FOLDER` uses it.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is used.")
def adapt(inputs: tuple[str, ...], shares: dict[str, float] | None, **shared: Any) -> int:
    """Adapt a checkpoint to the voice, microphone and room of your recordings.

    Writes a checkpoint folder that works wherever a name of `emoser models` does. INPUT as in `emoser predict --help`.
    """
    from emoser.cli import job
    from emoser.cli.inputs import expand
    from emoser.saving import check_folder, entry_of

    settings = Settings(**shared)
    assert settings.output is not None
    check_folder(settings.output)  # before all the work
    model = job.open_model(settings)
    if model.source is not None:
        entry_of(model.source)
    adapted, failed = adapted_to(expand(inputs), model, settings, shares)
    for failure in failed:
        click.echo(str(failure.error), err=True)  # nothing else holds them, so that -q does not keep them back
    assert adapted.adaptation is not None
    adapted.save(settings.output)
    job.note(settings, f"{settings.output}: {adapted.name}, adapted to {adapted.adaptation.clips} recordings")
    return int(bool(failed))


def adapted_to(
    expanded: tuple[list[str], list[Failure]], model: UtteranceModel, settings: Settings, shares: dict[str, float] | None
) -> tuple[UtteranceModel, list[Failure]]:
    """The model adapted to all inputs, and what of them failed. Says what speaks against the adaptation, and what failed where there is
    none because of it."""
    from emoser.cli import job
    from emoser.cli.inputs import STDIN
    from emoser.cli.progress import Bar
    from emoser.errors import UsageError

    paths, failures = expanded
    if STDIN in paths:
        raise UsageError("- (standard input) is one recording, and adapting takes many; give files or folders")
    turns = 1 if shares is None else 2
    if turns > 1:
        refuse_pipes(paths, "--shares")
    failed: list[Failure] = list(failures)
    with Bar(len(paths) * turns, wanted=not settings.quiet) as bar:
        try:
            adapted = model.adapt(
                _InTurn(paths, bar.advance),
                shares=shares,
                channel=settings.channel,
                batch_size=settings.batch_size,
                on_failure=failed.append,
            )
        except UsageError:
            bar.step_aside()
            for failure in failed:
                job.note(settings, str(failure.error))
            raise
    assert adapted.adaptation is not None
    for warning in adapted.adaptation.warnings:
        job.note(settings, f"Warning: {warning}")
    return adapted, failed


def refuse_pipes(paths: Iterable[str], option: str) -> None:
    """Raises UsageError for `<(...)`, where an option has its inputs read twice."""
    from emoser.cli.inputs import is_pipe
    from emoser.errors import UsageError

    for path in paths:
        if is_pipe(path):
            raise UsageError(f"{path} is a pipe, which can be read once, and {option} reads twice; give files")


@dataclass(frozen=True)
class _InTurn:
    """Paths, as often as they are gone through; `advance` is called after each."""

    paths: Sequence[str]
    advance: Callable[[], None]

    def __iter__(self) -> Iterator[str]:
        for path in self.paths:
            yield path
            self.advance()
