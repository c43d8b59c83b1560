"""`emoser evaluate --diarization`: time lines against references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emoser.cli import job
from emoser.cli.output import check_target, identities
from emoser.cli.progress import Bar
from emoser.diarization.references import Reference, files_of, read_references
from emoser.errors import AudioValueError, UsageError
from emoser.metrics.diarization import NEUTRAL
from emoser.results import SILENCE, Failure
from emoser.timelines import Recording, TimelineEvaluation, evaluate

if TYPE_CHECKING:
    from emoser.cli.options import Settings
    from emoser.metrics.diarization import Segment
    from emoser.models.diarizing import Diarizing
    from emoser.results import Diarization

BEYOND = 0.5  # s by which a reference may pass the end of its recording; rounding and padding explain no more


def evaluated(
    reference: str, audio: str | None, models: dict[str, Diarizing], settings: Settings, renamed: dict[str, str]
) -> tuple[TimelineEvaluation, list[Failure]]:
    """The scores of each model by name, and the recordings that could not be scored.

    reference and audio: as in `emoser.diarization.references`. Recordings with a label that not every model knows are left out. Raises
    UsageError where no recording is left.
    """
    channel = settings.channel if isinstance(settings.channel, int) else None
    references = read_references(Path(reference), None if audio is None else Path(audio), renamed, channel)
    check_target(settings.output, identities([*map(str, files_of(Path(reference))), *(each.file for each in references)]))
    references, left_out = known_to_all(references, {name: model.labels for name, model in models.items()})
    recordings: dict[int, Recording] = {}
    broken: dict[int, Failure] = {}
    segments: dict[str, dict[int, list[Segment]]] = {name: {} for name in models}
    with Bar(len(references) * len(models), wanted=not settings.quiet) as bar:
        for name, model in models.items():
            results = model.diarize_each([each.file for each in references], channel=settings.channel)
            for index, (each, result) in enumerate(zip(references, results, strict=True)):
                bar.advance()
                failure = _failure(each, result)
                if failure is not None:
                    broken.setdefault(index, failure)
                elif not isinstance(result, Failure):
                    recordings[index] = Recording(each.file, result.duration, each.segments, each.speaker)
                    segments[name][index] = [(segment.start, segment.end, segment.label) for segment in result.segments]
    for failure in broken.values():
        job.note(settings, str(failure.error))
    kept = [index for index in recordings if index not in broken]
    if not kept:
        raise UsageError(f"{reference}: not one of {len(references)} recordings could be read")
    found = {name: [of[index] for index in kept] for name, of in segments.items()}
    return evaluate([recordings[index] for index in kept], found, left_out), list(broken.values())


def known_to_all(references: list[Reference], labels: dict[str, tuple[str, ...]]) -> tuple[list[Reference], dict[str, int]]:
    """The references whose labels every model knows, and how many have each other label. Neutral and silence can always be told."""
    common = set.intersection(*map(set, labels.values())) | {NEUTRAL, SILENCE}
    kept: list[Reference] = []
    left_out: dict[str, int] = {}
    for each in references:
        unknown = {label for _, _, label in each.segments} - common
        if not unknown:
            kept.append(each)
        for label in sorted(unknown):
            left_out[label] = left_out.get(label, 0) + 1
    if not kept:
        raise UsageError(
            f"every reference holds a label that cannot be told: {', '.join(left_out)}; --rename THEIRS=OURS gives it our word"
        )
    return kept, left_out


def _failure(reference: Reference, result: Diarization | Failure) -> Failure | None:
    if result.error is not None:
        return Failure(result.error, reference.file)
    assert not isinstance(result, Failure)
    end = max((segment[1] for segment in reference.segments), default=0.0)
    if end > result.duration + BEYOND:
        message = f"{reference.file} lasts {result.duration:.2f} s, and its reference {end:.2f} s: it is of another recording"
        return Failure(AudioValueError(message), reference.file)
    return None
