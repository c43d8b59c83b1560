"""The eight words, and how a corpus's own labels become them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from emoser.errors import EmoserError

EMOTIONS = ("neutral", "calm", "happy", "angry", "sad", "fear", "disgust", "surprise")


class CorpusError(EmoserError):
    """A corpus, a manifest or a split that is not as its documentation says."""


class LabelMap:
    """A corpus's own labels -> one of EMOTIONS, or None for a label that none of the eight words means (boredom).

    A label that the map does not hold is remembered, and `check` reports all of them at once with their counts: a new release of a
    corpus, or a wrong folder, shows itself instead of losing clips.

    >>> english = LabelMap("demo", {"joy": "happy", "boredom": None})
    >>> english["joy"], english["boredom"]
    ('happy', None)
    """

    def __init__(self, corpus: str, words: Mapping[str, str | None]) -> None:
        wrong = sorted({word for word in words.values() if word is not None and word not in EMOTIONS})
        if wrong:
            raise CorpusError(f"{corpus}: {', '.join(wrong)} not among the labels {', '.join(EMOTIONS)}")
        self.corpus = corpus
        self.words = dict(words)
        self.unknown: Counter[str] = Counter()

    def __getitem__(self, label: str) -> str | None:
        if label not in self.words:
            self.unknown[label] += 1
            return None
        return self.words[label]

    def check(self) -> None:
        if self.unknown:
            found = ", ".join(f'"{label}" ({count} clips)' for label, count in sorted(self.unknown.items()))
            raise CorpusError(f"{self.corpus}: unknown labels {found}; known are {', '.join(map(repr, self.words))}")
