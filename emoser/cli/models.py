"""emoser models"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from emoser.cli.options import format_option

if TYPE_CHECKING:
    from emoser.checkpoints import Checkpoint


POOLED = "pooled"  # as the registry calls the figure of all corpora's test clips together


@click.command(
    short_help="List the checkpoints.",
    epilog="""\b
Examples:
  emoser models
  emoser models --commercial
  emoser models -f json

\b
UAR is the unweighted average recall, a share of one, with its 95 % interval, of
the test speakers of all corpora together; `emoser info NAME` gives each corpus.
The size is that of the files that `-m NAME` loads.
""",
)
@click.option("--commercial", is_flag=True, help="Only those whose licence, and that of the data behind them, allows commercial use.")
@format_option
def models(commercial: bool, format: str | None) -> int:
    """List the checkpoints that `-m` takes by name."""
    from emoser.cli.cards import print_json, size, to_dict
    from emoser.cli.screen import grid, screen, wants_table
    from emoser.registry import list_checkpoints

    entries = [entry for entry in list_checkpoints() if entry.commercial_use or not commercial]
    if not wants_table(format):
        print_json({"checkpoints": [to_dict(entry) for entry in entries]})
        return 0
    if not entries:
        click.echo("no checkpoint allows commercial use" if commercial else "the registry is empty", err=True)
        return 0
    table = grid("name", "UAR", "labels", "size", "licence", "commercial", wrap=4)
    for entry in entries:
        pooled = next((metric for metric in entry.metrics if metric.corpus == POOLED), None)
        uar = f"{pooled.uar:.2f} ({pooled.interval[0]:.2f}-{pooled.interval[1]:.2f})" if pooled else "-"
        weight = size(_size(entry)) if entry.parts else f"of {len(entry.members)}"
        table.add_row(entry.name, uar, str(len(entry.labels)), weight, entry.license, "yes" if entry.commercial_use else "no")
    screen().print(table)
    return 0


def _size(entry: Checkpoint) -> int:
    """Bytes of the files that answer where nothing else is asked for."""
    kind = next((kind for kind in entry.kinds if kind[0] == "onnx"), entry.kinds[0])
    return sum(part.size for part in entry.files(*kind))
