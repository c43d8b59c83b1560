"""emoser diarize"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emoser.cli.inputs import STDIN
from emoser.cli.options import Settings, channel_option, inputs_argument, model_options, output_options

if TYPE_CHECKING:
    from emoser.cli.extras import Extras
    from emoser.cli.progress import Bar
    from emoser.diarization.subtitles import Cue
    from emoser.diarization.turns import Turn
    from emoser.models.diarizing import Diarizing
    from emoser.results import Diarization, Failure

FORMATS = ("table", "json", "jsonl", "csv", "tsv", "rttm", "textgrid", "srt", "vtt", "audacity", "audformat")
FILE = click.Path(path_type=Path)


@click.command(
    short_help="Emotions over time.",
    epilog="""\b
Examples:
  emoser diarize interview.wav
  emoser diarize interview.wav --html interview.html       (one page: listen and look)
  emoser diarize recordings/ -f textgrid -o grids/         (a file for each, for Praat)
  emoser diarize call.wav --channel each -o call.rttm
  emoser diarize film.wav --subtitles film.srt -o emotions.srt
  emoser diarize talk.wav --speakers talk.rttm -f csv
  ffmpeg -v error -i film.mkv -f wav - | emoser diarize - -f json

\b
Silence, noise and music are `silence`: no emotion. A recording that breaks off
gives what came before, and exit code 1; so does one at Ctrl-C, and exit code 130.

\b
Exit codes: 0 all done, 1 some input failed or broke off (the rest is written),
2 usage, 3 checkpoint not available, 4 an extra is missing, 130 interrupted.
""",
)
@inputs_argument
@model_options
@channel_option
@click.option("--min-confidence", type=click.FloatRange(0, 1), metavar="X", help="Below this score, a segment is marked as uncertain.")
@click.option("--speakers", type=FILE, metavar="RTTM", help="Your own speaker turns: each segment gets its speaker.")
@click.option("--subtitles", type=FILE, metavar="SRT", help="A transcript (.srt, .vtt): each cue gets its emotion.")
@click.option("--frames", metavar="FILE", help="Write the posteriors of all frames (.npz, .csv).")
@click.option("--plot", metavar="FILE", help="Draw waveform, posteriors and segments (.png, .pdf, .svg; extra `plot`).")
@click.option("--html", metavar="FILE", help="Write a page that plays the recording and shows its emotions.")
@output_options(*FORMATS)
def diarize(
    inputs: tuple[str, ...],
    min_confidence: float | None,
    speakers: Path | None,
    subtitles: Path | None,
    frames: str | None,
    plot: str | None,
    html: str | None,
    **shared: Any,
) -> int:
    """Emotions over time: which emotion from when to when, of recordings of any length.

    INPUT as in `emoser predict --help`. Where FILE ends in a slash or is a folder, a file for each recording is written there; so does -o.
    """
    from emoser.cli import job
    from emoser.cli.extras import Extras
    from emoser.cli.folder import Folder, is_folder
    from emoser.cli.inputs import expand
    from emoser.cli.output import Output
    from emoser.diarization.subtitles import read_cues
    from emoser.diarization.turns import read_turns
    from emoser.errors import UsageError
    from emoser.formats import Header

    settings = Settings(**shared)
    extras = Extras(frames, plot, html)
    turns = read_turns(speakers) if speakers else None
    cues = read_cues(subtitles) if subtitles else None
    model = job.open_model(settings)
    header = Header(
        "diarize",
        job.model_block(model, model.labels),
        transcripts=cues is not None or job.writes_transcripts(model),
        speakers=turns is not None,
        channel=settings.channel,
        min_confidence=model.checkpoint.diarization.min_confidence if min_confidence is None else min_confidence,
    )
    paths, failures = expand(inputs)
    read = job.files_read([settings.output, frames, plot, html], inputs, [*paths, *(str(file) for file in (speakers, subtitles) if file)])
    extras.check(paths, by_channel=settings.channel == "each")

    def go_on(done: Collection[str]) -> None:
        extras.go_on_after((path for path in dict.fromkeys(paths) if path in done), by_channel=settings.channel == "each")

    output: Output | Folder
    if settings.output is not None and is_folder(settings.output):
        output = Folder(settings.output, settings.format, header, read)
    else:
        output = Output(settings.output, settings.format, header, paths, read, accept=go_on)
        if output.one_recording and len(paths) > 1:
            raise UsageError(f"{output.format} holds one recording, there are {len(paths)}; give a folder: -o FOLDER/")
    extras.check_targets(paths, output.targets(paths), read, by_channel=settings.channel == "each")
    if subtitles and len(paths) > 1:
        raise UsageError(f"--subtitles {subtitles} is of one recording, there are {len(paths)}")

    def stream(names: Iterable[str], bar: Bar) -> Generator[Any, None, None]:
        for name in names:
            yield from results(model, name, settings, min_confidence, turns, cues, extras, bar, alone=len(paths) == 1)

    return job.work(paths, failures, settings, header, output, stream)


def results(
    model: Diarizing,
    name: str,
    settings: Settings,
    min_confidence: float | None,
    turns: dict[str, list[Turn]] | None,
    cues: list[Cue] | None,
    extras: Extras,
    bar: Bar,
    *,
    alone: bool,
) -> Iterator[Diarization | Failure]:
    """Of one input, with what the caller knows besides. The extra files are written on the way; where one cannot be, the result says so.
    alone: there is no other input, so that turns of one recording are of this one, whatever it is called.

    At Ctrl-C what is done of the recording comes with the error `Interrupted`, without extra files, and then KeyboardInterrupt is raised.
    """
    from emoser.cli.inputs import on_disk
    from emoser.cli.interrupts import Interruption
    from emoser.diarization.subtitles import with_cues
    from emoser.diarization.turns import turns_of, with_speakers
    from emoser.errors import AudioError, Interrupted, OutputError
    from emoser.results import Diarization

    chosen = model.checkpoint.diarization
    chosen = chosen if min_confidence is None else replace(chosen, min_confidence=min_confidence)
    interruption = Interruption()

    def progress(seconds: float, length: float | None) -> None:
        bar.within(seconds, length)
        if interruption.asked and (length is None or seconds < length):
            of = "" if length is None else f" of {length:.2f} s"
            raise Interrupted(f"{path}: interrupted after {seconds:.2f} s{of}")

    with on_disk(name) as path:
        with interruption:
            found = list(model.diarize_each([path], channel=settings.channel, settings=chosen, progress=progress))
        for result in found:
            result = replace(result, file=name)
            if path != name and result.error is not None:
                result.error.args = (str(result.error).replace(path, "standard input" if name == STDIN else name),)
            if isinstance(result, Diarization):
                if turns is not None:
                    result = with_speakers(result, turns_of(turns, name, result.channel, alone=alone), chosen)
                if cues is not None:
                    result = with_cues(result, cues)
                try:
                    with interruption:
                        if not interruption.asked:
                            extras.write(result, path, progress)
                except Interrupted:
                    result = replace(result, error=Interrupted(f"{name}: interrupted while the files beside its segments were written"))
                except (OutputError, AudioError) as error:
                    result = replace(result, error=result.error or error)
            elif interruption.asked:
                break  # nothing can be said of what was read
            yield result
    if interruption.asked:
        raise KeyboardInterrupt
