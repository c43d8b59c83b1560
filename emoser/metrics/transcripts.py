"""Word and character error rates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from emoser.errors import UsageError


@dataclass(frozen=True)
class EditCounts:
    """The fewest edits from a reference of `length` units to a hypothesis; sums over clips add up."""

    substitutions: int
    deletions: int
    insertions: int
    length: int

    def __add__(self, other: EditCounts) -> EditCounts:
        return EditCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.length + other.length,
        )

    @property
    def rate(self) -> float:
        """Errors over units of the reference; may pass 1."""
        if not self.length:
            raise UsageError("an error rate needs a reference with a word at least")
        return (self.substitutions + self.deletions + self.insertions) / self.length


def edits(reference: Sequence[str], hypothesis: Sequence[str]) -> EditCounts:
    """Levenshtein's distance in its parts; of equally good ways the one with most substitutions.

    >>> edits("the door".split(), "a door too".split())
    EditCounts(substitutions=1, deletions=0, insertions=1, length=2)
    """
    names = {unit: index for index, unit in enumerate(dict.fromkeys([*reference, *hypothesis]))}
    truth = np.array([names[unit] for unit in reference], np.int64)
    guess = np.array([names[unit] for unit in hypothesis], np.int64)
    columns = np.arange(len(guess) + 1)
    table = np.empty((len(truth) + 1, len(guess) + 1), np.int64)
    table[0] = columns
    for row, unit in enumerate(truth, 1):
        kept = np.append(row, np.minimum(table[row - 1, 1:] + 1, table[row - 1, :-1] + (guess != unit)))
        table[row] = np.minimum.accumulate(kept - columns) + columns  # insertions: from any node on the left, one for each column
    i, j = len(truth), len(guess)
    substitutions = deletions = insertions = 0
    while i or j:
        if i and j and table[i, j] == table[i - 1, j - 1] + (truth[i - 1] != guess[j - 1]):
            substitutions += int(truth[i - 1] != guess[j - 1])
            i, j = i - 1, j - 1
        elif i and table[i, j] == table[i - 1, j] + 1:
            deletions, i = deletions + 1, i - 1
        else:
            insertions, j = insertions + 1, j - 1
    return EditCounts(substitutions, deletions, insertions, len(truth))


def word_error_rate(references: Iterable[str], hypotheses: Iterable[str]) -> float:
    """Edits over words of all references together; texts are compared as they stand, words being what spaces part.

    >>> word_error_rate(["THE DOOR", "A"], ["THE DOG", "A"])
    0.3333333333333333
    """
    return _total(edits(a.split(), b.split()) for a, b in zip(references, hypotheses, strict=True)).rate


def character_error_rate(references: Iterable[str], hypotheses: Iterable[str]) -> float:
    """The same over characters, a space being one.

    >>> character_error_rate(["ABCD"], ["ABD"])
    0.25
    """
    return _total(edits(list(a), list(b)) for a, b in zip(references, hypotheses, strict=True)).rate


def _total(counts: Iterable[EditCounts]) -> EditCounts:
    return sum(counts, EditCounts(0, 0, 0, 0))
