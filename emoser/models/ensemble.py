"""Several checkpoints as one: the mean of their calibrated probabilities, each adapted for itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from emoser.adaptation import Adaptation, EnsembleAdaptation
from emoser.checkpoints import Checkpoint
from emoser.digests import joined
from emoser.errors import CheckpointError
from emoser.models.adapting import SUFFIX, Learner, adapted_name, not_adapted
from emoser.models.utterance import UtteranceModel
from emoser.runtimes.ensemble import EnsembleRuntime, Member

if TYPE_CHECKING:
    from emoser.diarization.activity import SpeechActivity


class EnsembleModel(UtteranceModel):
    """An ensemble of opened `members`, whose labels may stand in any order. It is adapted where all of them are.

    Raises CheckpointError for members that do not belong together.
    """

    checkpoint: Checkpoint

    def __init__(self, entry: Checkpoint, members: Sequence[UtteranceModel], *, speech: SpeechActivity | None = None) -> None:
        for member in members:
            about = member.checkpoint
            same = set(member.labels) == set(entry.labels) and about.sample_rate == entry.sample_rate and about.frame_hop == entry.frame_hop
            if not same:
                raise CheckpointError(f'"{member.name}" has other labels, another rate or other frames than the ensemble "{entry.name}"')
        opened = EnsembleRuntime(
            [
                Member(member.opened, member.checkpoint.temperature, tuple(member.labels.index(label) for label in entry.labels))
                for member in members
            ]
        )
        digest = joined(member.sha256 for member in members)
        super().__init__(entry, opened, sha256=digest, activity=speech.holds_speech if speech else None, speech=speech)
        self.members = tuple(members)
        adaptations = {member.name.removesuffix(SUFFIX): member.adaptation for member in members}
        known = {name: each for name, each in adaptations.items() if isinstance(each, Adaptation)}
        self.adaptation = EnsembleAdaptation(known) if len(known) == len(members) else None

    def _learners(self, shares: Mapping[str, float] | None) -> list[Learner]:
        found: list[Learner] = []
        for member in self.members:
            if isinstance(member, EnsembleModel):
                raise CheckpointError(f'"{self.name}" cannot be adapted: its member "{member.name}" is an ensemble itself; adapt that one')
            try:
                found += member._learners(shares)
            except CheckpointError as error:
                raise CheckpointError(f'"{self.name}" cannot be adapted, for its member {error}') from error
        return found

    def adapted(self, *adaptations: Adaptation) -> Self:
        if len(adaptations) != len(self.members):
            raise CheckpointError(f'"{self.name}" has {len(self.members)} members and takes an adaptation for each, not {len(adaptations)}')
        members = [member.adapted(each) for member, each in zip(self.members, adaptations, strict=True)]
        entry = replace(self.checkpoint, name=adapted_name(self.name), members=tuple(member.name for member in members))
        return type(self)(entry, members, speech=self._speech)

    def save(self, folder: str | os.PathLike[str]) -> None:
        from emoser.saving import save_adapted_ensemble

        if not isinstance(self.adaptation, EnsembleAdaptation):
            raise not_adapted(self.name)
        members = [member.to_save() for member in self.members]
        save_adapted_ensemble(self.checkpoint, members, self.adaptation.clips, self._golden(), folder)
