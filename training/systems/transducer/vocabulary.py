"""Text -> tokens: characters or sentencepiece's byte pairs, after the normalisation of the paper's repository.

Ids: blank 0, <unk> 1, then what is written, and <sos/eos> last, which nothing is trained to emit but a language model. Decoding needs the
symbols alone (`emoser.models.transducer.text_of`).
"""

from __future__ import annotations

import base64
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from emoser.errors import MissingExtra
from emoser.models.transducer import text_of

UNKNOWN = 1
FIRST = ("<blank>", "<unk>")
LAST = "<sos/eos>"
# The paper's marks, and those of other languages and other hands than IEMOCAP's.
MARKS = re.compile("[" + re.escape('[].,?!-:;"') + re.escape("…()«»„“”\N{EN DASH}—¿¡") + "]+")
APOSTROPHES = str.maketrans("`\u2019\u02bc\u00b4", "''''")
# The paper's characters for English, by frequency: with the three above V = 31.
ENGLISH = (" ", *"ETAOINHSRDLUMWCFGYPBVK'XJQZ")


def normalised(text: str) -> str:
    """Upper case without punctuation, single spaces.

    >>> normalised("«Nie», he said... I’m (not) -- sure?")
    "NIE HE SAID I'M NOT SURE"
    """
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES).upper()
    return " ".join(MARKS.sub(" ", text).split())


@dataclass(frozen=True)
class Vocabulary:
    """`symbols` by id. `model` is a sentencepiece model, or empty: then the symbols are characters.

    >>> english = Vocabulary.english()
    >>> english.size, english.encode("Go, 2 go!"), english.decode([19, 6, 30])
    (31, [19, 6, 2, 1, 2, 19, 6], 'GO')
    """

    symbols: tuple[str, ...]
    model: bytes = b""

    @property
    def size(self) -> int:
        return len(self.symbols)

    @classmethod
    def english(cls) -> Vocabulary:
        """The paper's characters."""
        return cls((*FIRST, *ENGLISH, LAST))

    @classmethod
    def characters(cls, texts: Iterable[str]) -> Vocabulary:
        """The characters of `texts`: space, then the others by frequency."""
        counts = Counter("".join(normalised(text) for text in texts))
        counts.pop(" ", None)
        return cls((*FIRST, " ", *sorted(counts, key=lambda character: (-counts[character], character)), LAST))

    @classmethod
    def pieces(cls, texts: Iterable[str], size: int = 5000) -> Vocabulary:
        """Byte pairs that sentencepiece learns from `texts`, `size` of them at most; those that occur there become symbols, sorted."""
        sentencepiece = _sentencepiece()
        lines = [line for line in map(normalised, texts) if line]
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            model_type="bpe",
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",  # `normalised` has done it
            num_threads=1,
            minloglevel=2,
        )
        processor = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
        known = {piece for line in lines for piece in processor.encode(line, out_type=str)}
        return cls((*FIRST, *sorted(known), LAST), written.getvalue())

    def encode(self, text: str) -> list[int]:
        """Ids of the normalised text; [] for an empty one."""
        line = normalised(text)
        if not line:
            return []
        parts: Sequence[str] = self._processor.encode(line, out_type=str) if self.model else line
        return [self._ids.get(part, UNKNOWN) for part in parts]

    def decode(self, tokens: Sequence[int]) -> str:
        return text_of(tokens, self.symbols)

    def write(self, path: Path) -> None:
        fields = {"symbols": list(self.symbols), "model": base64.b64encode(self.model).decode()}
        path.write_text(json.dumps(fields, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(fields["symbols"]), base64.b64decode(fields["model"]))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self.symbols) if symbol not in (*FIRST, LAST)}

    @cached_property
    def _processor(self) -> Any:
        return _sentencepiece().SentencePieceProcessor(model_proto=self.model)


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingExtra("A vocabulary of byte pairs", "train") from error
    return sentencepiece
