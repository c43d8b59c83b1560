"""Options that several commands share, and the types behind them."""

from __future__ import annotations

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


class ChannelType(click.ParamType):
    name = "channel"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "mix|each|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Channel:
        if value in ("mix", "each"):
            return value  # type: ignore[no-any-return]
        try:
            number = int(value)
        except ValueError:
            number = -1
        if number < 0:
            self.fail(f"{value!r} is not a channel: mix (all of them), each (one result a channel), or a number from 0.", param, ctx)
        return number


class LabelsType(click.ParamType):
    name = "a,b,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(part.strip().lower() for part in str(value).split(",") if part.strip()))
        if len(names) < 2:
            self.fail(f"{value!r}: name at least two labels, separated by commas, for instance --labels happy,sad.", param, ctx)
        return names


def model_options(command: Command) -> Command:
    """-m and where it runs."""
    return _all(
        command,
        click.option("-m", "--model", default=DEFAULT_MODEL, show_default=True, metavar="NAME|PATH", help="A checkpoint of `emoser models`, a folder, or an .onnx file."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."),
        click.option("--runtime", type=click.Choice(["onnx", "torchscript"]), default="onnx", show_default=True, help="What to compute with; torchscript needs the extra `torch`."),
        click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="Which file of the checkpoint, where it has several."),
        click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Processor threads.  [default: one a core]"),
        click.option("--offline", is_flag=True, help="Never touch the network; a checkpoint that is not here is an error."),
    )  # fmt: skip


def audio_options(command: Command) -> Command:
    """What of the audio is taken, and how much at once."""
    return _all(
        command,
        click.option("--channel", type=ChannelType(), default="mix", show_default=True, help="Mix the channels, judge each, or take one (from 0)."),
        click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Recordings computed at once; results do not depend on it."),
    )  # fmt: skip


def output_options(*formats: str) -> Callable[[Command], Command]:
    """-f and -o, -q and -v."""

    def decorate(command: Command) -> Command:
        return _all(
            command,
            click.option("-f", "--format", type=click.Choice(formats), help="[default: what the name after -o says; else table on a terminal, json in a pipe]"),
            click.option("-o", "--output", metavar="FILE", help="Write to a file. An interrupted .jsonl goes on where it stopped; others are replaced when done."),
            verbosity,
        )  # fmt: skip

    return decorate


def verbosity(command: Command) -> Command:
    return _all(
        command,
        click.option("-q", "--quiet", is_flag=True, help="Only results, and the error that ends the run."),
        click.option("-v", "--verbose", is_flag=True, help="Say what is used and how long it took."),
    )


def inputs_argument(command: Command) -> Command:
    return click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")(command)


def format_option(command: Command) -> Command:
    """-f for commands that print one thing."""
    return click.option("-f", "--format", type=click.Choice(["table", "json"]), help="[default: table on a terminal, json in a pipe]")(command)


def _all(command: Command, *decorators: Callable[[Command], Command]) -> Command:
    for decorate in reversed(decorators):
        command = decorate(command)
    return command
