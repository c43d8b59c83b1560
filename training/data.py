"""From a recipe to clips: labels, the split into speakers that train, validate and test, and the sounds that augmentation mixes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from emoser.audio import SAMPLE_RATE, SHORTEST, load_audio
from training.augment import Samples
from training.corpora import CorpusError, Manifest, Split, Utterance, default_split, load
from training.encoders.compact import FRAME_HOP, LONGEST_FRAMES, MEL_HOP
from training.recipe import Augmentation, Data, RecipeError

LONGEST = LONGEST_FRAMES * FRAME_HOP / SAMPLE_RATE  # s that the compact encoder has positions for


@dataclass(frozen=True)
class Example:
    """A clip with its class: an index into the recipe's labels and, after them, its `more_labels`."""

    utterance: Utterance
    file: Path
    target: int

    @property
    def corpus(self) -> str:
        return self.utterance.corpus

    @property
    def speaker(self) -> str:
        return self.utterance.voice


@dataclass(frozen=True)
class Examples:
    """The three parts of a recipe's data. No speaker is in two; a corpus left out is whole in `test` and nowhere else."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    checksum: str

    @property
    def description(self) -> dict[str, dict[str, int]]:
        """How many clips of each corpus each part has."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: dict(sorted(Counter(item.corpus for item in items).items())) for part, items in parts.items()}


def examples_of(data: Data, corpora: str | Path | None = None) -> Examples:
    """Reads the recipe's corpora and splits them by speaker.

    Validation and test hold only clips of `data.labels`; training holds those of `more_labels` too. Clips with any other label, or none,
    are left out: only pre-training hears those. `rename` maps a corpus's labels before that. Raises `RecipeError` for a label that no clip
    has.
    """
    unknown = sorted(set(data.leave_out) - set(data.corpora))
    if unknown:
        raise RecipeError(f"data.leave_out names {', '.join(unknown)}, which data.corpora does not")
    classes = {label: index for index, label in enumerate((*data.labels, *data.more_labels))}
    parts: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    manifests = []
    for name in data.corpora:
        manifest = load(name, corpora)
        if name in data.rename:
            manifest = manifest.mapped(dict(data.rename[name]))
        manifests.append(manifest)
        split = _split(manifest, data, left_out=name in data.leave_out)
        for part, clips in split.parts.items():
            allowed = classes if part == "train" else {label: classes[label] for label in data.labels}
            parts[part] += [Example(clip, manifest.file(clip), allowed[clip.emotion]) for clip in clips if clip.emotion in allowed]
    seen = {example.target for example in parts["train"]}
    # With a corpus left out, one of the further labels may have nobody to say it; its output then stays untrained, and unread.
    needed = data.labels if data.leave_out else tuple(classes)
    missing = [label for label in needed if classes[label] not in seen]
    if missing:
        raise RecipeError(f"no training clip is labelled {', '.join(missing)} in {', '.join(data.corpora)}")
    return Examples(
        train=tuple(parts["train"]),
        validation=tuple(parts["validation"]),
        test=tuple(parts["test"]),
        checksum=Manifest.join(manifests).checksum() if len(manifests) > 1 else manifests[0].checksum(),
    )


def _split(manifest: Manifest, data: Data, left_out: bool) -> Split:
    empty = manifest.filter(lambda clip: False)
    if left_out:
        return Split(train=empty, validation=empty, test=manifest)
    return default_split(manifest, data.split)


def sampling_weights(examples: tuple[Example, ...], data: Data) -> NDArray[np.float64]:
    """How often each clip is drawn, summing to 1.

    A corpus of n clips is drawn in proportion to n ** (1 - corpus_balance), and a class of m clips within it to m ** (1 - class_balance);
    `first_share` of all, where it is given, are of the first corpus. Raises RecipeError where it is no share, or has no clip of its corpus.
    """
    corpora = Counter(example.corpus for example in examples)
    classes = Counter((example.corpus, example.target) for example in examples)
    within = {
        corpus: sum(count ** (1 - data.class_balance) for (name, _), count in classes.items() if name == corpus) for corpus in corpora
    }
    shares = {corpus: count ** (1 - data.corpus_balance) for corpus, count in corpora.items()}
    if data.first_share is not None and len(corpora) > 1:
        first = data.corpora[0]
        if not 0 < data.first_share < 1 or first not in corpora:
            raise RecipeError(
                f"data.first_share is {data.first_share} of the draws from {first}; a share between 0 and 1 of clips that train"
            )
        others = sum(share for corpus, share in shares.items() if corpus != first)
        shares[first] = others * data.first_share / (1 - data.first_share)
    total = sum(shares.values())

    def weight(example: Example) -> float:
        clips = classes[example.corpus, example.target]
        return shares[example.corpus] / total * clips ** (1 - data.class_balance) / within[example.corpus] / clips

    return np.array([weight(example) for example in examples])


def noises(corpora: str | Path | None = None, part: str = "train") -> list[Samples]:
    """Background for augmentation; `test` is what the robustness benchmark mixes in, and training never hears it: fold 5 of ESC-10, every
    fifth clip of emospeech-noise."""
    outdoors = [clip for clip in load("esc10", corpora) if (_esc_fold(clip.path) == "5") == (part == "test")]
    indoors = [clip for index, clip in enumerate(load("emospeech-noise", corpora)) if (index % 5 == 0) == (part == "test")]
    roots = {"esc10": load("esc10", corpora), "emospeech-noise": load("emospeech-noise", corpora)}
    return [read(roots[clip.corpus].file(clip)) for clip in (*outdoors, *indoors)]


def rooms(corpora: str | Path | None = None, part: str = "train", places: Sequence[str] = ()) -> list[Samples]:
    """Room impulse responses; every fifth is for the benchmark alone. `places`: only those in folders of these names."""
    manifest = load("rir", corpora)
    chosen = [clip for index, clip in enumerate(manifest) if (index % 5 == 0) == (part == "test")]
    return [read(manifest.file(clip)) for clip in chosen if not places or clip.path.split("/")[0] in places]


def read(file: Path) -> Samples:
    """A whole file as float32 mono at 16 kHz, (samples,)."""
    (clip,) = load_audio(file)
    return clip.waveform


class Located(Protocol):
    """A clip, and the file that it is or is a part of."""

    @property
    def utterance(self) -> Utterance: ...
    @property
    def file(self) -> Path: ...


def samples_of(clip: Located) -> Samples:
    """The clip itself as float32 mono at 16 kHz, (samples,): its channel, and its part of the file.

    Raises CorpusError where that part is shorter than audio may be: it lies behind the file's end, or ends where it starts.
    """
    item = clip.utterance
    (whole,) = load_audio(clip.file, channel="mix" if item.channel is None else item.channel)
    if item.start is None and item.end is None:
        return whole.waveform
    start, end = round((item.start or 0.0) * SAMPLE_RATE), None if item.end is None else round(item.end * SAMPLE_RATE)
    samples = whole.waveform[start:end]
    if len(samples) < SHORTEST * SAMPLE_RATE:
        lasts = len(whole.waveform) / SAMPLE_RATE
        raise CorpusError(f"{item.corpus}: {item.name} has {len(samples) / SAMPLE_RATE:.2f} s of audio; the file lasts {lasts:.2f} s")
    return samples


def check_lengths(clips: Iterable[Located], augmentation: Augmentation | None = None) -> None:
    """Raises CorpusError for a clip that the compact encoder has no positions for, or has none where `augmentation` slows it down."""
    slowest = 1.0
    if augmentation is not None and augmentation.views and augmentation.chances.speed:
        slowest = min(1.0, *augmentation.chances.speeds)
    for clip in clips:
        seconds = seconds_of(clip)
        if seconds is None or within_positions(seconds / slowest):
            continue
        slowed = f", and {seconds / slowest:.1f} s slowed down to {slowest:g} of its speed (augmentation.chances.speeds)"
        raise CorpusError(
            f"{clip.utterance.corpus}: {clip.utterance.name} lasts {seconds:.1f} s{slowed if within_positions(seconds) else ''}; "
            f"the compact encoder hears {LONGEST:g} s at once. Cut it into parts (start and end of a manifest), or leave it out"
        )


def within_positions(seconds: float) -> bool:
    """Whether the compact encoder has a position for each frame of a clip."""
    return int(seconds * SAMPLE_RATE) // MEL_HOP * MEL_HOP <= LONGEST * SAMPLE_RATE


def seconds_of(clip: Located) -> float | None:
    """How long a clip lasts: as its manifest says, else as its file does; None where neither is known before all of it is read."""
    item = clip.utterance
    if item.duration is not None:
        return item.duration
    end = item.end if item.end is not None else _seconds_in(clip.file)
    return None if end is None else end - (item.start or 0.0)


@cache
def _seconds_in(file: Path) -> float | None:
    try:
        return float(soundfile.info(file).duration)
    except soundfile.SoundFileError:  # a format of the extra "media", or no audio, which is an error where it is read
        return None


def _esc_fold(path: str) -> str:
    """ESC-10 clips are named `<class number>_<class>_<fold>-<source>-<take>`."""
    return Path(path).stem.rsplit("_", 1)[-1].split("-")[0]
