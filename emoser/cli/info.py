"""emoser info"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from emoser.cli.options import format_option

if TYPE_CHECKING:
    from emoser.checkpoints import Checkpoint, Description


@click.command(
    short_help="All about one checkpoint.",
    epilog="""\b
Examples:
  emoser info shiftcnn
  emoser info ./my-checkpoint/
  emoser info model.onnx -f json
""",
)
@click.argument("name", metavar="NAME|PATH")
@format_option
@click.option("--offline", is_flag=True, help="Never touch the network, not even for an hf:// address.")
def info(name: str, format: str | None, offline: bool) -> int:
    """All about one checkpoint: licence, labels, figures and how they were measured, what it was trained on, its files."""
    from emoser.checkpoints import Checkpoint
    from emoser.cli.cards import print_json, to_dict
    from emoser.cli.screen import grid, screen, wants_table

    entries = describe(name, offline)
    if not wants_table(format):
        print_json({"checkpoints": [to_dict(entry) for entry in entries]})
        return 0
    from rich.text import Text

    console = screen()
    for number, entry in enumerate(entries):
        console.print(Text.assemble("\n" * (number > 0), (entry.name, "bold"), f"  {entry.summary}\n"))
        table = grid("", "")
        for key, value in _rows(entry):
            table.add_row(Text(key, "bold"), Text(value))
        console.print(table)
        if isinstance(entry, Checkpoint):
            _print_tables(entry)
    return 0


def describe(name: str, offline: bool) -> list[Description]:
    """The entry of a name, a folder, a file or an hf:// address; of an ensemble that the registry does not know, its members' too, which
    have no names to ask for. A name of the registry is not downloaded for this."""
    from emoser.registry import registered
    from emoser.resolving import ResolvedEnsemble, locate

    if name in (known := registered()):
        return [known[name]]
    found = locate(name, offline=offline)
    if isinstance(found, ResolvedEnsemble):
        return [found.checkpoint, *(member.checkpoint for member in found.members if member.checkpoint is not None)]
    if found.checkpoint is not None:
        return [found.checkpoint]
    from emoser import load

    return [load(name, offline=offline).checkpoint]


def _rows(entry: Description) -> Iterator[tuple[str, str]]:
    from emoser.checkpoints import Checkpoint

    yield "labels", ", ".join(entry.labels)
    yield "audio", f"{entry.sample_rate} Hz, windows of up to {entry.longest_window:g} s, a frame every {1000 * entry.frame_hop:g} ms"
    yield "encoder", entry.encoder
    if not isinstance(entry, Checkpoint):
        yield "licence", entry.license
        yield "revision", entry.revision
        return
    yield "system", f"{entry.system.name} ({entry.system.year}): {entry.system.paper}, {entry.system.link}"
    yield "languages", ", ".join(entry.languages)
    yield "parameters", f"{entry.parameters:,}"
    yield "calibration", f"temperature {entry.temperature:g}, fitted on {entry.temperature_fitted_on}"
    yield "licence", f"{entry.license}; commercial use: {'yes' if entry.commercial_use else 'no'}"
    yield "recipe", f"{entry.recipe}, revision {entry.revision}"
    if entry.symbols is not None:
        yield "transcript", f"of {len(entry.symbols)} tokens; frames have a temperature of their own, {entry.frame_temperature:g}"
    if entry.members:
        yield "members", ", ".join(entry.members)
    yield "hub", f"hf://{entry.hub.repository}@{entry.hub.commit}" if entry.hub else "none"


def _print_tables(entry: Checkpoint) -> None:
    from emoser.cli.cards import size
    from emoser.cli.screen import grid, screen

    console = screen()
    measured = grid("measured on", "protocol", "UAR", "95 % interval", "clips", "speakers", wrap=1)
    for each in entry.metrics:
        interval = f"{each.interval[0]:.3f} to {each.interval[1]:.3f}"
        measured.add_row(each.corpus, each.protocol, f"{each.uar:.3f}", interval, str(each.clips), str(each.speakers))
    trained = grid("trained on", "licence")
    for corpus in entry.trained_on:
        trained.add_row(corpus.corpus, corpus.license)
    files = grid("file", "role", "format", "precision", "size", "here", "sha256")
    for part in entry.parts:
        here = "yes" if (entry.folder / part.path).is_file() else "no"
        files.add_row(part.path, part.role, part.format, part.precision, size(part.size), here, part.sha256)
    for table in (measured, trained, files):
        console.print("")
        console.print(table)
