"""The figures of one test in one frozen record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emoser.metrics.accuracy import wa_of
from emoser.metrics.bootstrap import bootstrap_interval
from emoser.metrics.confusion import confusion_matrix
from emoser.metrics.f1 import macro_f1_of
from emoser.metrics.recall import recalls_of, uar_of, unweighted_average_recall


@dataclass(frozen=True)
class Score:
    """UAR with its 95 % interval over speakers, and what belongs beside it. `interval` is None with fewer than two speakers."""

    uar: float
    interval: tuple[float, float] | None
    wa: float
    macro_f1: float
    clips: int
    speakers: int
    confusion: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls,
        labels: ArrayLike,
        predictions: ArrayLike,
        speakers: ArrayLike,
        *,
        classes: int | None = None,
        repeats: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> Score:
        """Score index vectors; `speakers` names the speaker of each clip.

        >>> Score.of([0, 0, 1, 1], [0, 1, 1, 1], ["anna", "ben", "anna", "ben"]).interval
        (0.5, 1.0)
        """
        matrix = confusion_matrix(labels, predictions, classes)
        names = np.unique(np.asarray(speakers))
        interval = None
        if len(names) > 1:
            interval = bootstrap_interval(
                unweighted_average_recall, labels, predictions, speakers, repeats=repeats, confidence=confidence, seed=seed
            )
        return cls(
            uar=float(uar_of(matrix)),
            interval=interval,
            wa=float(wa_of(matrix)),
            macro_f1=float(macro_f1_of(matrix)),
            clips=int(matrix.sum()),
            speakers=len(names),
            confusion=tuple(tuple(int(count) for count in row) for row in matrix),
        )

    @property
    def recalls(self) -> tuple[float, ...]:
        """Recall of each class; NaN for a class without clips."""
        return tuple(float(value) for value in recalls_of(np.asarray(self.confusion)))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON and YAML."""
        result = asdict(self)
        result["interval"] = None if self.interval is None else list(self.interval)
        result["confusion"] = [list(row) for row in self.confusion]
        return result
