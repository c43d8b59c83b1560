"""A queue of array rows: stages that answer with a delay keep in it what they still need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Rows:
    """Rows are appended in pieces of any size and taken from the front.

    >>> rows = Rows(())
    >>> rows.append(np.array([1.0, 2.0, 3.0]))
    >>> rows.take(2), len(rows)
    (array([1., 2.], dtype=float32), 1)
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """shape: of one row."""
        self._rows = np.zeros((0, *shape), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def all(self) -> NDArray[np.float32]:
        return self._rows

    def append(self, rows: NDArray[np.floating]) -> None:
        self._rows = np.concatenate([self._rows, rows.astype(np.float32)])

    def take(self, count: int) -> NDArray[np.float32]:
        taken, self._rows = self._rows[:count], self._rows[count:]
        return taken
