"""The folds of a cross-validation, by their kind. Validation speakers are always taken out of a fold's training speakers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from training.corpora import CorpusError, Manifest, Split, by_fraction, k_folds, leave_one_speaker_out, session_folds
from training.corpora.emobox_folds import folds as emobox_folds
from training.corpora.iemocap import dialogue_folds_as_published, speaker_folds

VALIDATION = 0.2  # of the training speakers, where the folds themselves name none


@dataclass(frozen=True)
class Fold:
    name: str
    split: Split


@dataclass(frozen=True)
class Kind:
    """`make` gives the splits of a manifest, in their order, from the number of groups and the seed of the draw (one for all runs)."""

    text: str
    make: Callable[[Manifest, int, int], list[Split]]


KINDS: Mapping[str, Kind] = {
    "speakers": Kind("groups of speakers (--groups), each the test once", k_folds),
    "leave-one-speaker-out": Kind("each speaker the test once", lambda manifest, groups, seed: leave_one_speaker_out(manifest)),
    "sessions": Kind("each session the test once", lambda manifest, groups, seed: session_folds(manifest)),
    "emobox": Kind("EmoBox's folds, where these keep speakers apart", lambda manifest, groups, seed: emobox_folds(manifest, seed=seed)),
    "emobox-as-published": Kind(
        "EmoBox's folds with a fifth of the training clips as validation: speakers are shared",
        lambda manifest, groups, seed: emobox_folds(manifest, seed=seed, legacy=True),
    ),
    "iemocap-speakers": Kind(
        "IEMOCAP, each true speaker the test, the partner validation", lambda manifest, groups, seed: speaker_folds(_is_iemocap(manifest))
    ),
    "iemocap-dialogues-as-published": Kind(
        "IEMOCAP by the dialogue's name, published as leave one speaker out: speakers are shared",
        lambda manifest, groups, seed: dialogue_folds_as_published(_is_iemocap(manifest)),
    ),
}


def folds_of(manifest: Manifest, kind: str, groups: int = 5, seed: int = 0) -> list[Fold]:
    """The folds of a manifest of one corpus, each with a name that says what is tested.

    Folds that come without validation get a fifth of the training speakers for it. Raises CorpusError for a kind that does not fit.
    """
    if kind not in KINDS:
        raise CorpusError(f'no folds "{kind}"; there are {", ".join(KINDS)}')
    splits = [with_validation(split, seed) for split in KINDS[kind].make(manifest, groups, seed)]
    return [Fold(name(number, split), split) for number, split in enumerate(splits, 1)]


def with_validation(split: Split, seed: int) -> Split:
    if len(split.validation):
        return split
    inner = by_fraction(split.train, validation=VALIDATION, test=0, seed=seed)
    return replace(split, train=inner.train, validation=inner.validation)


def selected_on_test(split: Split) -> Split:
    """The published way: everybody else trains, and the epoch is chosen by the test clips themselves."""
    whole = Manifest(split.train.utterances + split.validation.utterances, split.train.root)
    empty = whole.filter(lambda clip: False)
    return Split(whole, empty, split.test, as_published=split.as_published)


def name(number: int, split: Split) -> str:
    """ "3" or, where one speaker is tested, "3-f1"."""
    speakers = sorted({clip.speaker for clip in split.test})
    return f"{number}-{speakers[0]}" if len(speakers) == 1 and speakers[0] else str(number)


def _is_iemocap(manifest: Manifest) -> Manifest:
    if manifest.corpora != ("iemocap",):
        raise CorpusError(f"these folds are of iemocap, not of {', '.join(manifest.corpora)}")
    return manifest
