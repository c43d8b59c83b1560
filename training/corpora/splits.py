"""Train, validation and test without a speaker in two of them.

Every way to split ends in a `Split`, and a `Split` that shares a clip or a speaker between its parts cannot be made. Published protocols
that do share speakers have to be named (`as_published`), so that the name stands in every record of such a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.corpora.labels import CorpusError
from training.corpora.manifest import Manifest, Utterance

DRAWS = 2000  # random divisions of which the best balanced is taken


class SpeakerOverlapError(CorpusError):
    """A speaker or a clip stands in more than one part of a split."""


@dataclass(frozen=True)
class Split:
    """Three manifests; `as_published` names a published protocol that shares speakers, or does not know them, and permits just that."""

    train: Manifest
    validation: Manifest
    test: Manifest
    as_published: str = ""

    def __post_init__(self) -> None:
        clips = [{item.key for item in part} for part in self.parts.values()]
        if sum(map(len, clips)) != len(set().union(*clips)):
            raise SpeakerOverlapError("a clip stands in two parts of a split")
        if self.as_published:
            return
        if self.shared_speakers:
            raise SpeakerOverlapError(f"speakers in more than one part of a split: {', '.join(self.shared_speakers)}")
        unknown = sum(not item.speaker for part in self.parts.values() for item in part)
        if unknown and sum(len(part) > 0 for part in self.parts.values()) > 1:
            raise SpeakerOverlapError(
                f"{unknown} clips have no speaker, so that no one can tell whether the parts share one; leave them out"
            )

    @property
    def parts(self) -> dict[str, Manifest]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def shared_speakers(self) -> tuple[str, ...]:
        """Voices that stand in more than one part: none, but in protocols `as_published`."""
        seen = [voice for part in self.parts.values() for voice in part.speakers]
        return tuple(sorted({voice for voice in seen if seen.count(voice) > 1}))

    def describe(self) -> dict[str, dict[str, object]]:
        """For run records: clips, speakers and checksum of each part."""
        return {
            name: {"clips": len(part), "speakers": list(part.speakers), "checksum": part.checksum()} for name, part in self.parts.items()
        }


def by_speakers(
    manifest: Manifest, *, validation: Collection[str] = (), test: Collection[str] = (), train: Collection[str] | None = None
) -> Split:
    """Explicit lists of voices ("ravdess/01"), or of bare speaker ids where the manifest holds one corpus.

    `train` is by default everyone else; where it is given, clips of speakers in no list are left out.
    """
    lists = {"train": train, "validation": validation, "test": test}
    chosen = {name: None if ids is None else voices_of(manifest, ids) for name, ids in lists.items()}
    held = set(chosen["validation"] or ()) | set(chosen["test"] or ())

    def part(name: str) -> Manifest:
        voices = chosen[name]
        return manifest.filter(lambda item: item.voice not in held if voices is None else item.voice in voices)

    return Split(part("train"), part("validation"), part("test"))


def voices_of(manifest: Manifest, ids: Collection[str]) -> set[str]:
    """Ids as voices; one that is not in the manifest is an error."""
    known = set(manifest.speakers)
    prefix = f"{manifest.corpora[0]}/" if len(manifest.corpora) == 1 else ""
    named = {str(name) if str(name) in known else f"{prefix}{name}" for name in ids}
    if named - known:
        raise CorpusError(f"no such speakers: {', '.join(sorted(named - known))}; there are {', '.join(sorted(known))}")
    return named


def by_fraction(manifest: Manifest, validation: float | int = 0.15, test: float | int = 0.15, seed: int = 0) -> Split:
    """Speakers drawn into parts, each part as like the whole as its speakers allow.

    A float is a share of the speakers, an int their number. Of `DRAWS` seeded draws the one is taken whose parts differ least from the
    whole in labels, gender and clips for each speaker, and whose held-out speakers have most of the labels.
    """
    table = SpeakerTable(manifest)
    sizes = [size if isinstance(size, int) else round(size * len(table.voices)) for size in (test, validation)]
    if any(size == 0 and share for size, share in zip(sizes, (test, validation), strict=True)):
        raise CorpusError(f"{len(table.voices)} speakers are too few for validation={validation} and test={test}")
    if min(sizes) < 0 or sum(sizes) >= len(table.voices):
        raise CorpusError(f"{sum(sizes)} of {len(table.voices)} speakers held out: at least one has to be left for training")
    order = table.best_order(sizes, seed, whole_labels=True)
    held = [[table.voices[index] for index in part] for part in np.split(order, np.cumsum(sizes))[:2]]
    return by_speakers(manifest, test=held[0], validation=held[1])


def speaker_groups(manifest: Manifest, groups: int, seed: int = 0) -> list[tuple[str, ...]]:
    """All voices in `groups` groups of nearly one size, as alike in labels and gender as `DRAWS` seeded draws give."""
    table = SpeakerTable(manifest)
    if not 2 <= groups <= len(table.voices):
        raise CorpusError(f"{len(table.voices)} speakers cannot make {groups} groups")
    sizes = [len(part) for part in np.array_split(np.arange(len(table.voices)), groups)]
    order = table.best_order(sizes, seed)
    return [tuple(sorted(table.voices[index] for index in part)) for part in np.split(order, np.cumsum(sizes))[:groups]]


def rotated(manifest: Manifest, groups: list[tuple[str, ...]], validation: bool = True) -> list[Split]:
    """A fold for each group: it is the test, the next one (cyclically) validation, the others train."""
    folds = []
    for index, group in enumerate(groups):
        held = groups[(index + 1) % len(groups)] if validation else ()
        folds.append(by_speakers(manifest, test=group, validation=held))
    return folds


def k_folds(manifest: Manifest, groups: int, seed: int = 0, validation: bool = True) -> list[Split]:
    """Cross-validation over `speaker_groups`."""
    return rotated(manifest, speaker_groups(manifest, groups, seed), validation)


def leave_one_speaker_out(manifest: Manifest, validation: bool = True) -> list[Split]:
    """A fold for each speaker in sorted order; the next speaker is validation."""
    return rotated(manifest, [(voice,) for voice in manifest.speakers], validation)


def session_folds(manifest: Manifest, validation: bool = True) -> list[Split]:
    """A fold for each session (sorted); the next session is validation. Sessions that share speakers are an error."""
    groups = [manifest.where(session=session).speakers for session in sorted({item.session for item in manifest})]
    return rotated(manifest, groups, validation)


def by_column(manifest: Manifest, test: str = "test", as_published: str = "") -> Split:
    """The corpus's own partitions, from the column `split`: train, validation, and `test` (test1, test2 where there are several)."""
    known = manifest.count("split")
    if "train" not in known or test not in known:
        raise CorpusError(f'no partitions "train" and "{test}" in the column split; it holds {", ".join(known) or "nothing"}')
    return Split(manifest.where(split="train"), manifest.where(split="validation"), manifest.where(split=test), as_published)


def by_session(manifest: Manifest) -> Split:
    """The makers' own parts, from the column `session` (train-..., test-...), a tenth of the training speakers validating. One speaker
    alone trains."""
    test = manifest.filter(lambda clip: clip.session.startswith("test")).speakers
    rest = manifest.filter(lambda clip: clip.voice not in test)
    if len(rest.speakers) < 2:
        return by_speakers(manifest, test=test)
    validation = by_fraction(rest, validation=max(1, round(0.1 * len(rest.speakers))), test=0, seed=0).validation.speakers
    return by_speakers(manifest, validation=validation, test=test)


class SpeakerTable:
    """Clips of each speaker by label and gender, to weigh how well random divisions balance."""

    def __init__(self, manifest: Manifest) -> None:
        self.voices = manifest.speakers
        self.labels = self.counts(manifest, manifest.utterances, "emotion" if any(item.emotion for item in manifest) else "label")
        genders = self.counts(manifest, (item for item in manifest if item.gender), "gender")
        self.genders = (genders > 0).astype(float)  # speakers, not clips; no column where no gender is known
        self.clips = self.labels.sum(axis=1)
        self.variety = (self.labels > 0).mean(axis=1)

    def counts(self, manifest: Manifest, items: Iterable[Utterance], column: str) -> NDArray[np.float64]:
        rows = {voice: index for index, voice in enumerate(self.voices)}
        columns = {value: index for index, value in enumerate(manifest.count(column))}
        table = np.zeros((len(rows), len(columns)))
        for item in items:
            if item.speaker:
                table[rows[item.voice], columns[str(getattr(item, column) or "")]] += 1
        return table[:, np.flatnonzero(table.sum(axis=0))]

    def best_order(self, sizes: list[int], seed: int, whole_labels: bool = False) -> NDArray[np.int64]:
        """The order of speakers, out of DRAWS, of which parts of these sizes from the front are the most alike."""
        orders = np.random.default_rng(seed).random((DRAWS, len(self.voices))).argsort(axis=1)
        cost = np.zeros(DRAWS)
        for part in np.split(orders, np.cumsum(sizes), axis=1)[: len(sizes)]:
            if part.shape[1]:
                cost += self.cost(part, whole_labels)
        best: NDArray[np.int64] = orders[
            int(cost.round(9).argmin())
        ]  # rounded: ties must not be decided by the last bit of a machine's sums
        return best

    def cost(self, part: NDArray[np.int64], whole_labels: bool) -> NDArray[np.float64]:
        """(draws,) for parts (draws, speakers): differences to the whole in labels, gender, and clips a speaker, all relative."""
        cost: NDArray[np.float64] = np.abs(self.clips[part].mean(axis=1) / self.clips.mean() - 1)
        for table in (self.labels, self.genders):
            sums = table[part].sum(axis=1)
            shares = sums / np.maximum(sums.sum(axis=1, keepdims=True), 1)
            cost += np.abs(shares - table.sum(axis=0) / max(table.sum(), 1)).sum(axis=1)
        if whole_labels:
            cost += 1 - self.variety[part].mean(axis=1)
        return cost
