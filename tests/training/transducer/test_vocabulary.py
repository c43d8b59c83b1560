"""Text to tokens and back, characters and byte pairs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emoser.errors import MissingExtra
from training.systems.transducer.vocabulary import UNKNOWN, Vocabulary, normalised

TEXTS = ["Kids are talking by the door.", "Zażółć gęślą jaźń!", "Er hört's: das hört er.", "Dogs are sitting by the door.", ""]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Well-known" [laughter]: yes; no?!', "WELL KNOWN LAUGHTER YES NO"),
        ("  I'm   fine... ", "I'M FINE"),
        ("O\u0301 l\u2019acqua", "Ó L'ACQUA"),
        ("Straße 7", "STRASSE 7"),
        ("-", ""),
    ],
)
def test_normalised(text: str, expected: str) -> None:
    assert normalised(text) == expected
    assert normalised(normalised(text)) == expected


def test_the_papers_characters() -> None:
    english = Vocabulary.english()
    assert english.size == 31 and english.symbols[0] == "<blank>" and english.symbols[30] == "<sos/eos>"
    assert [english.symbols.index(symbol) for symbol in (" ", "E", "T", "B", "K", "'", "X", "Z")] == [2, 3, 4, 22, 24, 25, 26, 29]
    assert english.encode("") == [] and english.encode("...") == []
    assert english.decode(english.encode("It's 9 o'clock")) == "IT'S <unk> O'CLOCK"


def test_characters_of_a_corpus_by_frequency() -> None:
    vocabulary = Vocabulary.characters(["aab", "b a.", "ż"])
    assert vocabulary.symbols == ("<blank>", "<unk>", " ", "A", "B", "Ż", "<sos/eos>")
    assert vocabulary == Vocabulary.characters(["ż", "b a.", "aab"])
    assert vocabulary.encode("Abc ż") == [3, 4, UNKNOWN, 2, 5]


def test_every_text_comes_back(tmp_path: Path) -> None:
    vocabulary = Vocabulary.characters(TEXTS)
    for text in TEXTS:
        assert vocabulary.decode(vocabulary.encode(text)) == normalised(text)
    vocabulary.write(tmp_path / "vocabulary.json")
    assert Vocabulary.read(tmp_path / "vocabulary.json") == vocabulary


def test_byte_pairs(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    texts = 5 * TEXTS
    vocabulary = Vocabulary.pieces(texts, 60)
    characters = Vocabulary.characters(texts)
    assert vocabulary.symbols[:2] == ("<blank>", "<unk>") and list(vocabulary.symbols[2:-1]) == sorted(vocabulary.symbols[2:-1])
    for text in TEXTS:
        tokens = vocabulary.encode(text)
        assert vocabulary.decode(tokens) == normalised(text) and UNKNOWN not in tokens
        assert not text or len(tokens) < len(characters.encode(text))
    assert UNKNOWN in vocabulary.encode("9")
    vocabulary.write(tmp_path / "vocabulary.json")
    again = Vocabulary.read(tmp_path / "vocabulary.json")
    assert again == vocabulary and again.encode(TEXTS[0]) == vocabulary.encode(TEXTS[0])
    assert Vocabulary.pieces(texts, 60).symbols == vocabulary.symbols


def test_byte_pairs_name_the_extra_that_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingExtra, match="train"):
        Vocabulary.pieces(TEXTS, 30)
