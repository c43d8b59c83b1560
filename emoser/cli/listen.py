"""emoser listen"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from emoser.cli.options import Settings, model_options, output_options

if TYPE_CHECKING:
    from emoser.cli.capture import Capture
    from emoser.diarization.stream import DiarizationStream
    from emoser.results import Segment


@click.command(
    short_help="Emotions live, from a microphone or a pipe.",
    epilog="""\b
Examples:
  emoser listen                                    (the microphone; Ctrl-C ends it)
  emoser listen -o talk.json                       (keep the segments)
  arecord -q -f S16_LE -r 16000 | emoser listen --raw s16le:16000 -
  ffmpeg -v error -i URL -f s16le -ac 1 -ar 16000 - | emoser listen --raw s16le:16000 - -f jsonl

\b
The microphone needs the extra `live`. With -f jsonl a segment is written as soon
as it is settled; other formats follow at the end.

\b
Exit codes: 0 the pipe or the microphone ended, 1 it broke off (the rest is
written), 2 usage, 3 checkpoint not available, 4 an extra is missing, 130 Ctrl-C
on a pipe.
""",
)
@click.argument("source", required=False, metavar="[-]", type=click.Choice(["-"]))
@click.option("--raw", metavar="TYPE:RATE[:CHANNELS]", help="What the pipe holds: s16le, s32le, f32le or u8, and its rate in Hz.")
@click.option("--input-device", metavar="NAME|N", help="Which microphone.  [default: that of the system]")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), metavar="S", help="End after so many seconds.")
@click.option("--min-confidence", type=click.FloatRange(0, 1), metavar="X", help="Below this score, a segment is marked as uncertain.")
@model_options
@output_options("table", "json", "jsonl", "csv", "tsv", "rttm", "textgrid", "srt", "vtt", "audacity", "audformat")
def listen(
    source: str | None, raw: str | None, input_device: str | None, duration: float | None, min_confidence: float | None, **shared: Any
) -> int:
    """Emotions live: from a microphone or, with --raw, from a pipe of samples.

    The emotion of a moment is settled a few seconds later: -v says how many.
    """
    from emoser.cli import INTERRUPTED, fail, job
    from emoser.cli.capture import Broken, microphone, pipe
    from emoser.cli.live import Display
    from emoser.cli.output import Output
    from emoser.errors import AudioError, AudioValueError, UsageError
    from emoser.formats import Header

    settings = Settings(**shared)
    if (source is None) != (raw is None):
        raise UsageError("a pipe is given as: --raw s16le:16000 -    (what it holds, and - for standard input)")
    capture = pipe(raw) if raw is not None else microphone(input_device)
    model = job.open_model(settings)
    stream = model.listen(sample_rate=capture.rate, min_confidence=min_confidence)
    if settings.verbose:
        job.note(settings, f"the emotion of a moment is settled after {stream.latency:.1f} s")
    output = Output(settings.output, settings.format, Header("diarize", job.model_block(model, model.labels)))
    name, code = capture.name, 0
    broken: AudioError | None = None
    with output, Display(stream, model.labels, wanted=not settings.quiet and sys.stderr.isatty()) as display:
        write_live = output.write if output.format == "jsonl" else None
        try:
            for settled in _settled(capture, stream, duration, display):
                if write_live is not None:
                    for segment in settled:
                        write_live(_Live(name, segment))
        except KeyboardInterrupt:
            code = 0 if capture.endless else INTERRUPTED
        except (Broken, AudioValueError) as error:  # the latter: a sample that is not finite
            broken, code = error, fail(f"{error}; what came before is kept", 1)
        display.close()
        rest = stream.finish()
        if write_live is None:
            output.write(replace(stream.result(), file=name, error=broken))
        else:
            for segment in rest:
                write_live(_Live(name, segment))
    return code


def _settled(capture: Capture, stream: DiarizationStream, duration: float | None, display: Any) -> Iterator[list[Segment]]:
    """What each block settles. Raises Broken where the source does, and AudioValueError at the first sample that is not finite."""
    import numpy as np

    wanted = None if duration is None else round(duration * capture.rate)  # samples: seconds would leave a part of one to wait for
    taken = 0
    with closing(capture.blocks) as blocks:
        for block in blocks:
            if wanted is not None:
                block = block[: wanted - taken]
            taken += len(block)
            good = int(np.argmin(np.append(np.isfinite(block), False)))  # samples up to the first that is not finite
            settled = stream.push(block[:good])
            display.show(settled)
            yield settled
            if good < len(block):
                stream.push(block[good:])  # raises, after what came before was given
            if taken == wanted:
                return


class _Live:
    """A line for a segment that is settled."""

    def __init__(self, file: str, segment: Segment) -> None:
        self.file, self.segment = file, segment

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.file, "channel": None, "segment": self.segment.to_dict()}
