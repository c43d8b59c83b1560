"""Adaptation to a user's own recordings: what every model does whose file carries a reference (emoser/adaptation.py)."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from emoser.adaptation import Adaptation, adapt, shares_of
from emoser.audio import AudioInput, Channel, tone
from emoser.checkpoints import Description, Resolved
from emoser.errors import CheckpointError, UsageError
from emoser.models.options import Options, check_many
from emoser.pooling import calibrated
from emoser.results import Failure
from emoser.runtimes import Adaptable, Runtime

SUFFIX = "-adapted"  # after a checkpoint's name

Rows = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]


class Adapting(ABC):
    """`adapt`, `adapted` and `save` for a model that can give a vector for each clip with speech.

    source: where it was loaded from. adaptation: what `adapt` or an adapted checkpoint's folder gave, else None.
    """

    checkpoint: Description
    name: str
    labels: tuple[str, ...]
    sha256: str
    source: Resolved | None = None
    adaptation: Adaptation | None = None
    _runtime: Runtime

    @abstractmethod
    def _spoken(
        self, inputs: Iterable[AudioInput], options: Options, rows: Rows, on_failure: Callable[[Failure], None] | None
    ) -> list[NDArray[np.float64]]:
        """What `rows` gives for each clip that holds speech, the mean over its windows."""

    def adapt(
        self,
        clips: Iterable[AudioInput],
        *,
        shares: Mapping[str, float] | None = None,
        sample_rate: int | None = None,
        channel: Channel = "mix",
        batch_size: int | None = None,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> Self:
        """A model adapted to the voice, microphone and room of `clips`, which need no labels; this one stays as it is.

        Give thirty clips or more of one user or one kind of recording, with several emotions in them; what is silent or holds no speech
        is passed over. `shares`, where you know how often emotions occur among them: {"neutral": 0.8}; labels that are not named have
        the rest in equal parts. `adapted.adaptation` says how many clips counted, and its `warnings` what speaks against it. `on_failure`
        is told of each input that could not be read; without it the first is raised. Options as in `predict`.

        Raises UsageError where no clip is usable or `shares` are none, CheckpointError where the checkpoint cannot be adapted.
        """
        check_many(clips)
        runtime, width = self._runtime, len(self.labels)
        expected = None if shares is None else shares_of(shares, self.labels)
        if not isinstance(runtime, Adaptable) or runtime.reference is None:
            raise CheckpointError(
                f'"{self.name}" cannot be adapted with {runtime.name}: its file carries nothing about the clips it was trained on'
            )

        def rows(waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
            return np.hstack(runtime.pooled(waveform, lengths))

        found = self._spoken(clips, Options("embed", sample_rate, channel, batch_size), rows, on_failure)
        if not found:
            raise UsageError("there is no clip with speech to adapt to")
        vectors = np.stack(found)
        probabilities = calibrated(vectors[:, :width], self.checkpoint.temperature)
        return self.adapted(adapt(vectors[:, width:], probabilities, runtime.reference, shares=expected))

    def adapted(self, adaptation: Adaptation) -> Self:
        """The model with an adaptation that was made before. Raises CheckpointError where it does not fit."""
        if not isinstance(self._runtime, Adaptable):
            raise CheckpointError(f'"{self.name}" cannot be adapted with {self._runtime.name}')
        other = copy.copy(self)
        other._runtime = self._runtime.adapted(adaptation)
        other.name = f"{self.name.removesuffix(SUFFIX)}{SUFFIX}"
        other.checkpoint = replace(self.checkpoint, name=other.name)
        other.sha256 = adaptation.digest(self.source.sha256 if self.source else self.sha256)
        other.adaptation = adaptation
        return other

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes an adapted model as a checkpoint folder, which `load` and `-m` take like any other.

        Raises UsageError for a folder that holds something else, CheckpointError for a model that is not adapted or has no registry entry.
        """
        if self.adaptation is None or self.source is None:
            raise CheckpointError(f'"{self.name}" is not adapted: call adapt(clips) first, there is nothing else to save')
        from emoser.saving import save_adapted

        waveform = tone()
        outputs = self._runtime.run(waveform[None], np.array([len(waveform)], np.int64))
        save_adapted(self.source, self.name, self.adaptation, tuple(map(float, outputs["logits"][0])), folder)
