"""What predict, embed, check and diarize share: inputs in, results out as they come, and an exit code."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import click

from emoser.audio import BYTES
from emoser.cli import INTERRUPTED, fail, silence_stdout
from emoser.cli.folder import Folder
from emoser.cli.inputs import STDIN, expand, source
from emoser.cli.options import Settings
from emoser.cli.output import Identity, Output, identities
from emoser.cli.progress import Bar
from emoser.errors import Interrupted, MissingExtra, UsageError
from emoser.formats import Header
from emoser.results import Diarization, Embedding, Failure, Prediction

if TYPE_CHECKING:
    from emoser.models.utterance import UtteranceModel
    from emoser.quality import Quality

    Result: TypeAlias = Prediction | Embedding | Diarization | Quality | Failure

Source: TypeAlias = str | bytes  # a path, or the bytes of standard input
Stream: TypeAlias = Callable[[Iterable[Source]], "Generator[Result, None, None]"]


def open_model(settings: Settings) -> UtteranceModel:
    """The checkpoint that the options name, and with -v a line that says what answers."""
    from emoser import load

    started = time.monotonic()
    model = load(
        settings.model,
        device=settings.device,
        runtime=settings.runtime,
        precision=settings.precision,
        threads=settings.threads,
        offline=settings.offline,
    )
    if settings.verbose:
        threads = "1 thread" if model.threads == 1 else f"{model.threads} threads"
        loaded = f"{model.runtime} on {model.device}, {threads}; loaded in {time.monotonic() - started:.2f} s"
        note(settings, f"{model.name} ({', '.join(model.labels)}): {loaded}")
    return model


def model_block(model: UtteranceModel, labels: Sequence[str]) -> dict[str, object]:
    """The block `model` of emoser/1."""
    return {"name": model.name, "labels": list(labels), "sha256": model.sha256, "runtime": model.runtime, "device": model.device}


def writes_transcripts(model: UtteranceModel) -> bool:
    return model.checkpoint.task == "transducer"


def run(inputs: tuple[str, ...], settings: Settings, header: Header, stream: Stream) -> int:
    """Write a result for each input, in order, as it comes; return the exit code.

    `stream` turns paths (or bytes) into results. What was done before Ctrl-C is written, and the document is complete.
    """
    return run_over(expand(inputs), inputs, settings, header, stream)


def run_over(expanded: tuple[list[str], list[Failure]], inputs: tuple[str, ...], settings: Settings, header: Header, stream: Stream) -> int:
    """The same where the inputs are expanded already."""
    paths, failures = expanded
    output = Output(settings.output, settings.format, header, paths, files_read([settings.output], inputs, paths))
    return work(paths, failures, settings, header, output, lambda todo, bar: stream(map(source, todo)))


def files_read(targets: Iterable[str | None], inputs: Sequence[str], paths: Sequence[str]) -> frozenset[Identity]:
    """The files that a result must not be written over: recordings, lists of them, and what else is given. Looked up where one of
    `targets`, as options name them, is there already."""
    if not any(target not in (None, "-") and os.path.lexists(str(target)) for target in targets):
        return frozenset()
    return identities([*paths, *(name[1:] for name in inputs if name.startswith("@"))])


def work(
    paths: list[str],
    failures: list[Failure],
    settings: Settings,
    header: Header,
    output: Output | Folder,
    stream: Callable[[Iterable[str], Bar], Generator[Result, None, None]],
) -> int:
    """The same for inputs that are expanded already; `stream` takes them by name, and the bar to say how far it is in one of them."""
    tally = Tally(len(paths) + len(failures))
    try:
        with output:
            todo = _not_done(paths, output.done)
            tally.inputs = tally.before = len(paths) - len(todo)
            if tally.before:
                note(settings, f"{settings.output}: going on; {tally.before} of {len(paths)} inputs are there already")
            with Bar(len(todo), wanted=not settings.quiet) as bar, closing(stream(todo, bar)) as results:
                output.step_aside_with(bar.step_aside)
                for result in _chain(failures, results):
                    if (error := getattr(result, "error", None)) is not None:
                        bar.step_aside()
                        note(settings, str(error) if isinstance(result, Failure) else f"{error}; what came before is kept")
                    output.write(result)
                    # Counted when written: Ctrl-C between the two leaves one more in the output than is said, never one less.
                    if tally.add(result):
                        bar.advance()
    except KeyboardInterrupt:
        silence_stdout()
        return fail(f"interrupted; {tally.inputs} of {tally.total} inputs are done and written{_how_to_go_on(output)}", INTERRUPTED)
    except BrokenPipeError:
        silence_stdout()
        return tally.exit_code
    if tally.failures:
        note(settings, f"{tally.failures} of {tally.total} inputs failed")
    if settings.verbose:
        note(settings, tally.summary())
    return tally.exit_code


def told_apart(opened: Sequence[UtteranceModel], given: tuple[str, ...]) -> tuple[str, ...]:
    """What results call each checkpoint: its name or, where two have the same (adapted copies), what was given after -m. Raises UsageError
    where that is the same too."""
    names = [model.name for model in opened]
    found = tuple(name if names.count(name) == 1 else path for name, path in zip(names, given, strict=True))
    if len(set(found)) < len(found):
        raise UsageError(f"-m names the same checkpoint twice: {', '.join(found)}")
    return found


def note(settings: Settings, message: str) -> None:
    """A line on standard error, unless -q."""
    if not settings.quiet:
        click.echo(message, err=True)


@dataclass
class Tally:
    """What has happened so far. `inputs` counts those with all their results but perhaps the last."""

    total: int
    before: int = 0
    inputs: int = 0
    failures: int = 0
    missing_extras: int = 0
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)
    _last: str | None = None
    _answered: set[tuple[int | None, str | None]] = field(default_factory=set)  # channels and checkpoints that the last input has already

    def add(self, result: Result) -> bool:
        """Count a result; True if it is the first of its input. An input given twice in a row is two."""
        answer = (getattr(result, "channel", None), getattr(result, "model", None))
        new = result.file != self._last or answer in self._answered
        if new:
            self._answered.clear()
        self._answered.add(answer)
        self._last = result.file
        error = getattr(result, "error", None)  # of a Failure, or of a recording that broke off
        self.inputs += new and not isinstance(error, Interrupted)
        if error is not None and (new or isinstance(result, Failure)):
            self.failures += 1
            self.missing_extras += isinstance(error, MissingExtra)
        self.seconds += 0.0 if isinstance(result, Failure) else result.duration
        return new

    @property
    def exit_code(self) -> int:
        """1 if some input failed; 4 if each of these failed for want of an extra, which is what to tell the caller then."""
        if self.failures == 0:
            return 0
        return MissingExtra.exit_code if self.missing_extras == self.failures else 1

    def summary(self) -> str:
        taken = time.monotonic() - self.started
        done = self.inputs - self.before
        return f"{done} inputs, {self.seconds:.1f} s of audio in {taken:.2f} s ({self.seconds / max(taken, 1e-9):.0f} times real time)"


def _not_done(paths: list[str], done: Counter[str]) -> list[str]:
    """What is left, where an input given twice wants two results."""
    if not done:
        return paths
    left, todo = done.copy(), []
    for path in paths:
        if left[path] > 0:
            left[path] -= 1
        else:
            todo.append(path)
    return todo


def _chain(failures: list[Failure], results: Iterable[Result]) -> Iterator[Result]:
    yield from failures
    for result in results:
        # Bytes have no name of their own.
        if result.file is None and isinstance(result, Failure):
            result.error.args = (str(result.error).replace(BYTES, "standard input"),)
        yield result if result.file is not None else replace(result, file=STDIN)


def _how_to_go_on(output: Output | Folder) -> str:
    if output.path is None:
        return ""
    goes_on = output.format == "jsonl" and isinstance(output, Output)
    return f" to {output.path}" + ("; the same command goes on from there" if goes_on else "")
