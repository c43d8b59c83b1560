"""The command `emoser`. Each command is a module of its own, imported when it is called: help and completion start at once."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from emoser.errors import EmoserError, OutputError

# In the order in which people meet them. The summaries stand here so that `emoser --help` imports no command.
COMMANDS = {
    "predict": "The emotion of each recording.",
    "diarize": "Emotions over time, of recordings of any length.",
    "listen": "The same live, from a microphone or a pipe.",
    "embed": "A vector for each recording, for models and searches of your own.",
    "adapt": "Adapt a checkpoint to your recordings, without labels.",
    "evaluate": "Score checkpoints on labelled recordings.",
    "check": "What may be wrong with recordings, and what to do about it.",
    "models": "List the checkpoints.",
    "info": "All about one checkpoint: licence, figures, training data.",
    "download": "Fetch a checkpoint from its hub, to work offline later.",
    "doctor": "Check this installation.",
}

INTERRUPTED = 130
# What a full, broken or too small disk answers, and a closed standard output; any other OSError that gets this far is a bug and keeps its
# traceback.
WRITE_ERRORS = {errno.ENOSPC, errno.EIO, errno.EBADF}
if sys.platform != "win32":
    WRITE_ERRORS |= {errno.EDQUOT, errno.EFBIG, errno.EROFS}


class ReaderGoneError(Exception):
    """A closed pipe, by a name that click does not know: on its own it would end with exit code 1."""


class Emoser(click.Group):
    """Commands by name, imported late; and one place where errors become one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"emoser.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        # os.path rather than pathlib: the latter costs a quarter of the start-up time.
        if name not in COMMANDS and not name.startswith("-") and os.path.exists(name):  # noqa: PTH110
            ctx.fail(f"{name!r} is no command. To classify it: emoser predict {name}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run and leave with the exit code: 0, 1, 2, 3, 4 or 130 (docs/usage.md)."""
        _heed_termination()
        _stand_in_for_closed_streams()
        try:
            code = super().main(args, prog_name or "emoser", **{**extra, "standalone_mode": False})
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except OutputError as error:
            silence_stdout()
            code = fail(str(error), error.exit_code)
        except EmoserError as error:
            code = fail(str(error), error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            code = fail("interrupted", INTERRUPTED)
        except (ReaderGoneError, BrokenPipeError):
            # The reader has seen enough (`| head`): its choice, not a failure of ours.
            silence_stdout()
            code = 0
        except OSError as error:
            if error.errno not in WRITE_ERRORS:
                raise
            silence_stdout()
            code = fail(f"could not write the output: {error.strerror}", 1)
        sys.exit(code or 0)


def _stand_in_for_closed_streams() -> None:
    """Where the caller closed a standard stream (`>&-`), Python has None, and the next file that is opened gets its number, and with it
    what libraries print there. Standard output answers with an error, so that nobody takes lost results for written ones; standard error
    goes nowhere; standard input stays None, which `inputs` says where it is to be read."""
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _heed_termination() -> None:
    """At SIGTERM (`timeout`, a batch system) a file that is not finished is taken away; all else is as without this."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


def _terminated(number: int, frame: object) -> None:
    output = sys.modules.get("emoser.cli.output")
    if output is not None:
        output.remove_unfinished()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)  # and so at once, whatever threads wait for


def fail(message: str, code: int) -> int:
    click.echo(f"Error: {message}", err=True)
    return code


def silence_stdout() -> None:
    """Let what is still buffered go nowhere: otherwise Python tries once more at exit, and complains."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # no file behind it: nothing to flush to
        return


def _version(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked:
        from emoser import __version__

        click.echo(f"emoser {__version__}")
        ctx.exit()


@click.command(
    cls=Emoser,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  emoser predict interview.wav
  emoser predict recordings/ -o emotions.csv
  emoser diarize interview.wav --html interview.html
  emoser check recordings/
  emoser models --commercial

Results go to standard output, everything else to standard error: a table on a terminal, JSON in a pipe. Nothing is sent anywhere.
""",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit.")
def main() -> None:
    """Speech emotion recognition: small checkpoints, calibrated scores, offline."""
