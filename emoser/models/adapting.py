"""Adaptation to a user's own recordings: what every model does whose file carries a reference (emoser/adaptation.py)."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from emoser.adaptation import Adaptation, EnsembleAdaptation, Floats, Reference, adapt, shares_of
from emoser.audio import AudioInput, Channel, source_name, tone
from emoser.checkpoints import Description
from emoser.errors import CheckpointError, UsageError
from emoser.models.options import Options, check_many
from emoser.pooling import calibrated
from emoser.resolving import Resolved
from emoser.results import Failure
from emoser.runtimes import Adaptable, Runtime

if TYPE_CHECKING:
    from emoser.saving import Adapted

SUFFIX = "-adapted"  # after a checkpoint's name

Rows = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class Learner:
    """One checkpoint that is to be adapted. `shares` (labels,): how often each label occurs, where that is known."""

    runtime: Adaptable
    reference: Reference
    temperature: float
    shares: Floats | None

    @property
    def width(self) -> int:
        """Columns of `rows`: the labels, then the vector."""
        return sum(self.reference.means.shape)

    def rows(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """(batch, width): unadapted logits, and the vectors that the read-outs see."""
        return np.hstack(self.runtime.pooled(waveform, lengths))

    def logits(self, waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """(batch, labels): as the runtime gives them, adapted if it is."""
        return self.runtime.run(waveform, lengths)["logits"]

    def weighed(self, adaptation: Adaptation, logits: NDArray[np.float64]) -> Adaptation:
        """What gave these `logits` (clips, labels), with offsets towards the shares told, if any were."""
        return adaptation if self.shares is None else adaptation.weighed(logits, self.temperature, self.shares)

    def adaptation(self, rows: NDArray[np.float64]) -> Adaptation:
        """To the clips of which these are `rows` (clips, width)."""
        labels = len(self.reference.means)
        return adapt(rows[:, labels:], calibrated(rows[:, :labels], self.temperature), self.reference, shares=self.shares)


class Again:
    """Inputs that are read twice: those that come once are remembered, and of an open file the bytes are."""

    def __init__(self, inputs: Iterable[AudioInput]) -> None:
        self._inputs = inputs
        self._remembered: list[AudioInput] = []
        self._over = False
        self._files: dict[int, _ReadOnce] = {}  # each holds its file, so that no other one gets its id

    def __iter__(self) -> Iterator[AudioInput]:
        for each in self._remembered if self._over else self._inputs:
            is_file = hasattr(each, "read") and not isinstance(each, _ReadOnce)
            given = self._files.setdefault(id(each), _ReadOnce(each)) if is_file else each
            if isinstance(self._inputs, Iterator) and not self._over:
                self._remembered.append(given)
            yield given
        self._over = isinstance(self._inputs, Iterator)


class _ReadOnce:
    """An open file that gives the same bytes every time."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._read = cache(file.read)
        self.name = source_name(file)

    def read(self) -> bytes:
        data: bytes = self._read()
        return data


class Adapting(ABC):
    """`adapt`, `adapted` and `save` for a model that can give a vector for each clip with speech.

    source: where it was loaded from. adaptation: what `adapt` or an adapted checkpoint's folder gave, else None.
    """

    checkpoint: Description
    name: str
    labels: tuple[str, ...]
    sha256: str
    source: Resolved | None = None
    adaptation: Adaptation | EnsembleAdaptation | None = None
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

        Give thirty clips or more of one user or one kind of recording, in which emotions are about equally frequent; what is silent or
        holds no speech is passed over. `shares`, where you know how often emotions occur among them: {"neutral": 0.8}; labels that are
        not named have the rest in equal parts, {} says that all are equally frequent. The clips are heard twice then, the second time to
        bring the scores nearer to these shares. Without it, clips of which most are of one emotion may do harm. `adapted.adaptation` says
        how many clips counted, and its `warnings` what speaks against it. `on_failure` is told of each input that could not be read;
        without it the first is raised. Options as in `predict`.

        Raises UsageError where no clip is usable or `shares` are none, CheckpointError where the checkpoint cannot be adapted.
        """
        check_many(clips)
        options = Options("embed", sample_rate, channel, batch_size)
        learners = self._learners(shares)
        again = clips if shares is None else Again(clips)

        def rows(waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
            return np.hstack([each.rows(waveform, lengths) for each in learners])

        found = self._spoken(again, options, rows, on_failure)
        if not found:
            raise UsageError("there is no clip with speech to adapt to")
        apart = np.split(np.stack(found), np.cumsum([each.width for each in learners])[:-1], axis=1)
        adaptations = [each.adaptation(own) for each, own in zip(learners, apart, strict=True)]
        adapted = self.adapted(*adaptations)
        return adapted if shares is None else self.adapted(*adapted._weighed(adaptations, again, options, shares))

    def _weighed(
        self, adaptations: Sequence[Adaptation], clips: Iterable[AudioInput], options: Options, shares: Mapping[str, float]
    ) -> list[Adaptation]:
        """The `adaptations` that this model was adapted by, weighed by the `shares` told. What fails now has been said before."""
        learners = self._learners(shares)

        def rows(waveform: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
            return np.hstack([each.logits(waveform, lengths) for each in learners])

        found = self._spoken(clips, options, rows, lambda failure: None)
        if not found:
            raise UsageError("the clips could not be read a second time, which `shares` asks for")
        apart = np.split(np.stack(found), np.cumsum([len(each.reference.means) for each in learners])[:-1], axis=1)
        return [each.weighed(adaptation, own) for each, adaptation, own in zip(learners, adaptations, apart, strict=True)]

    def _learners(self, shares: Mapping[str, float] | None) -> list[Learner]:
        """This checkpoint or, of an ensemble, its members. Raises UsageError for what are no `shares`, CheckpointError where the checkpoint
        cannot be adapted."""
        expected = None if shares is None else shares_of(shares, self.labels)
        runtime = self._runtime
        if not isinstance(runtime, Adaptable):
            raise CheckpointError(f'"{self.name}" cannot be adapted with {runtime.name}; load it with runtime="onnx"')
        if runtime.reference is None:
            raise CheckpointError(f'"{self.name}" cannot be adapted: its file carries nothing about the clips it was trained on')
        return [Learner(runtime, runtime.reference, self.checkpoint.temperature, expected)]

    def adapted(self, *adaptations: Adaptation) -> Self:
        """The model with an adaptation that was made before; an ensemble takes one for each member. Raises CheckpointError where it does
        not fit."""
        if not isinstance(self._runtime, Adaptable):
            raise CheckpointError(f'"{self.name}" cannot be adapted with {self._runtime.name}')
        if len(adaptations) != 1:
            raise CheckpointError(f'"{self.name}" is one checkpoint and takes one adaptation, not {len(adaptations)}')
        (adaptation,) = adaptations
        other = copy.copy(self)
        other._runtime = self._runtime.adapted(adaptation)
        other.name = adapted_name(self.name)
        other.checkpoint = replace(self.checkpoint, name=other.name)
        other.sha256 = adaptation.digest(self.source.sha256 if self.source else self.sha256)
        other.adaptation = adaptation
        return other

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes an adapted model as a checkpoint folder, which `load` and `-m` take like any other.

        Raises UsageError for a folder that holds something else, OutputError where it cannot be written, and CheckpointError for a model
        that is not adapted or has no registry entry.
        """
        from emoser.saving import save_adapted

        save_adapted(self.to_save(), folder)

    def to_save(self) -> Adapted:
        """What `save` writes. Raises CheckpointError for a model that is not adapted."""
        from emoser.saving import Adapted

        if self.source is None or not isinstance(self.adaptation, Adaptation):
            raise not_adapted(self.name)
        return Adapted(self.source, self.name, self.adaptation, self._golden())

    def _golden(self) -> tuple[float, ...]:
        """The logits of the golden input."""
        waveform = tone()
        outputs = self._runtime.run(waveform[None], np.array([len(waveform)], np.int64))
        return tuple(map(float, outputs["logits"][0]))


def adapted_name(name: str) -> str:
    """
    >>> adapted_name("shiftcnn"), adapted_name("shiftcnn-adapted")
    ('shiftcnn-adapted', 'shiftcnn-adapted')
    """
    return f"{name.removesuffix(SUFFIX)}{SUFFIX}"


def not_adapted(name: str) -> CheckpointError:
    """The error where a model is to be saved that was not adapted."""
    return CheckpointError(f'"{name}" is not adapted: call adapt(clips) first, there is nothing else to save')
