"""Options that several commands share, and the types behind them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import click

DEFAULT_MODEL = "shiftcnn"

Channel = int | Literal["mix", "each"]
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Settings:
    """What the shared options say; the defaults are those of the command line."""

    # which checkpoint, and where it runs
    model: str = DEFAULT_MODEL
    device: str = "auto"
    runtime: str = "onnx"
    precision: str | None = None
    threads: int | None = None
    offline: bool = False
    # what goes in
    channel: Channel = "mix"
    batch_size: int | None = None
    # what comes out
    format: str | None = None
    output: str | None = None
    quiet: bool = False
    verbose: bool = False


def parse_channel(ctx: click.Context, param: click.Parameter, value: str) -> Channel:
    if value == "mix":
        return "mix"
    if value == "each":
        return "each"
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is not mix (all of them), each (one result a channel), or a number from 0.")
    return int(value)


def parse_labels(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(dict.fromkeys(part.strip().lower() for part in value.split(",") if part.strip()))
    if len(names) < 2:
        raise click.BadParameter(f"{value!r}: name two labels or more, for instance --labels happy,sad.")
    return names


EVEN = "even"  # of --shares: all labels occur about equally often


def parse_shares(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, float] | None:
    if value is None:
        return None
    if value.strip().lower() == EVEN:
        return {}  # no label is named, and so all have the same
    found: dict[str, float] = {}
    for part in value.split(","):
        name, equals, share = (piece.strip() for piece in part.partition("="))
        try:
            if not name or not equals or name.lower() in found:
                raise ValueError
            found[name.lower()] = float(share)
        except ValueError as error:
            raise click.BadParameter(f"{value!r}: give each label once, for instance neutral=0.8,angry=0.1.") from error
    return found


def shares_option(command: Command) -> Command:
    """--shares of adapt and of predict --adapt."""
    text = f"How often emotions occur among the recordings, where you know: neutral=0.8,angry=0.1 (others have the rest), or {EVEN}."
    return click.option("--shares", callback=parse_shares, metavar=f"A=X,B=Y,...|{EVEN}", help=text)(command)


def parse_models(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """The names after -m, which may stand in one, separated by commas, or each after a -m of its own. What is there is a path, whatever
    commas it holds."""
    names: list[str] = []
    for each in value:
        names += [each] if os.path.exists(each) else [part.strip() for part in each.split(",")]  # noqa: PTH110  quicker to import
    if not all(names):
        raise click.BadParameter(f"{','.join(value)!r} names no checkpoint, or nothing between two commas.")
    return tuple(names)


def parse_model(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str:
    names = parse_models(ctx, param, value)
    if len(names) > 1:
        raise click.BadParameter(f"{', '.join(names)}: `emoser {ctx.info_name}` takes one checkpoint.")
    return names[0]


def models_options(command: Command) -> Command:
    """-m for several checkpoints, and where they run."""
    return _all(command, _model_option("models", parse_models, "several are given as A,B."), runtime_options)


def model_options(command: Command) -> Command:
    """-m for one checkpoint, and where it runs."""
    return _all(command, _model_option("model", parse_model), runtime_options)


def _model_option(name: str, parse: Callable[[click.Context, click.Parameter, tuple[str, ...]], Any], more: str = "") -> Callable[..., Any]:
    what = "A name of `emoser models`, a folder or a file"
    return click.option(
        "-m",
        "--model",
        name,
        multiple=True,
        default=(DEFAULT_MODEL,),
        show_default=True,
        callback=parse,
        metavar="NAME|PATH",
        help=f"{what}; {more}" if more else f"{what}.",
    )


def runtime_options(command: Command) -> Command:
    """Where a checkpoint runs."""
    runtime = "What to compute with; torchscript needs the extra `torch`."
    precision = "Which file of the checkpoint, where it has several."
    offline = "Never touch the network; a checkpoint that is not here is an error."
    threads = click.IntRange(1, 1024)  # as MOST_THREADS of emoser.runtimes.device, which would load NumPy
    return _all(
        command,
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."),
        click.option("--runtime", type=click.Choice(["onnx", "torchscript"]), default="onnx", show_default=True, help=runtime),
        click.option("--precision", type=click.Choice(["fp16", "int8", "fp32"]), help=precision),
        click.option("--threads", type=threads, metavar="N", help="Processor threads.  [default: one a core]"),
        click.option("--offline", is_flag=True, help=offline),
    )


def channel_option(command: Command) -> Command:
    """What of the audio is taken."""
    channel = "Mix the channels, judge each, or take one (from 0)."
    return click.option("--channel", metavar="mix|each|N", default="mix", show_default=True, callback=parse_channel, help=channel)(command)


def audio_options(command: Command) -> Command:
    """The same, and how much at once."""
    return _all(
        command,
        channel_option,
        click.option(
            "--batch-size", type=click.IntRange(min=1), metavar="N", help="Recordings computed at once; the results are the same."
        ),
    )


def output_options(*formats: str) -> Callable[[Command], Command]:
    """-f and -o, -q and -v."""
    return _output_options(
        formats, "Write to a file. An interrupted .jsonl goes on where it stopped; other formats replace the file when all is done."
    )


def report_options(*formats: str) -> Callable[[Command], Command]:
    """The same for a command whose answer is one document, written when all is done."""
    return _output_options(formats, "Write to a file.")


def _output_options(formats: tuple[str, ...], output: str) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        return _all(
            command,
            click.option(
                "-f",
                "--format",
                type=click.Choice(formats),
                help="[default: by the name after -o; else table on a terminal, json in a pipe]",
            ),
            click.option("-o", "--output", metavar="FILE", help=output),
            click.option("-q", "--quiet", is_flag=True, help="Only results, and the error that ends the run."),
            click.option("-v", "--verbose", is_flag=True, help="Say what is used and how long it took."),
        )

    return decorate


def inputs_argument(command: Command) -> Command:
    return click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")(command)


def format_option(command: Command) -> Command:
    """-f for commands that print one thing."""
    default = "[default: table on a terminal, json in a pipe]"
    return click.option("-f", "--format", type=click.Choice(["table", "json"]), help=default)(command)


def _all(command: Command, *decorators: Callable[[Command], Command]) -> Command:
    for decorate in reversed(decorators):
        command = decorate(command)
    return command
