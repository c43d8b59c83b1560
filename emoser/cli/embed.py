"""emoser embed"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import click

from emoser.cli.options import Settings, audio_options, inputs_argument, model_options, output_options

if TYPE_CHECKING:
    from emoser.cli.job import Source


@click.command(
    short_help="A vector for each recording.",
    epilog="""\b
Examples:
  emoser embed recordings/ -o vectors.npz
  emoser embed recordings/ -o vectors.jsonl        (interrupt it, run it again: it goes on)
  python -c "import numpy; print(numpy.load('vectors.npz')['embedding'].shape)"
""",
)
@inputs_argument
@model_options
@audio_options
@output_options("table", "json", "jsonl", "csv", "npz")
def embed(inputs: tuple[str, ...], **shared: Any) -> int:
    """A vector for each recording: what the checkpoint holds of it before it decides on a label.

    For a classifier, a search or a map of your own. INPUT as in `emoser predict --help`.
    """
    from emoser.cli import job
    from emoser.formats import Header

    settings = Settings(**shared)
    model = job.open_model(settings)

    def stream(sources: Iterable[Source]) -> Generator[Any, None, None]:
        return model.stream(sources, channel=settings.channel, batch_size=settings.batch_size, kind="embed")

    return job.run(inputs, settings, Header("embed", job.model_block(model, model.labels), channel=settings.channel), stream)
