"""emoser check"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import click

from emoser.cli.options import Settings, inputs_argument, output_options

if TYPE_CHECKING:
    from emoser.cli.job import Source
    from emoser.quality import Quality
    from emoser.results import Failure


@click.command(
    short_help="What may be wrong with recordings.",
    epilog="""\b
Examples:
  emoser check recordings/
  emoser check recordings/ -o quality.csv
  emoser check call.wav -f json

\b
Columns: rate (of the file), ch (channels), band (99 % of the energy lies under
it; speech at 16 kHz has 5 to 8 kHz), level (of what is not silence, dB below
full scale), speech (share of the file), SNR (voice over background, estimated).

\b
Exit codes: 0 every file can be used (there may be warnings), 1 some cannot.
""",
)
@inputs_argument
@output_options("table", "json", "jsonl", "csv")
def check(inputs: tuple[str, ...], **shared: Any) -> int:
    """What may be wrong with recordings, and what to do about it.

    Measures rate, bandwidth, level, clipping, offset, silence, the share of speech and the noise around it. INPUT as in
    `emoser predict --help`.
    """
    from emoser.cli import INTERRUPTED, job
    from emoser.formats import Header
    from emoser.quality import check_all

    unusable = 0

    def stream(sources: Iterable[Source]) -> Generator[Quality | Failure, None, None]:
        nonlocal unusable
        for result in check_all(sources):
            unusable += not getattr(result, "usable", True)
            yield result

    settings = Settings(**shared)
    code = job.run(inputs, settings, Header("check"), stream)
    if unusable and code != INTERRUPTED:
        job.note(settings, f"{unusable} can be read but not used: see the findings of severity error")
    return code or int(unusable > 0)
