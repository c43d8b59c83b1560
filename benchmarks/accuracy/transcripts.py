"""What a transducer's transcripts are worth, from the record of its run (`test.transcripts`), by corpus.

Sentences that were seen in training stand apart from others: acted corpora repeat few sentences, which a model may know by heart.
"""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.table import markdown, percent

KINDS = ("seen", "unseen")
READABLE = 0.2  # characters wrong, at most, in a text that one can read
RATES = ("wer", "cer")  # errors for each word and each character of the reference

Scores = dict[str, dict[str, Any]]  # "corpus/seen" -> rates and clips


def mean(scores: Scores, kind: str, rate: str) -> float | None:
    """Of the corpora that have such sentences.

    >>> mean({"a/seen": {"cer": 0.1}, "b/seen": {"cer": 0.3}, "b/unseen": {"cer": 0.9}}, "seen", "cer")
    0.2
    """
    values = [float(own[rate]) for name, own in scores.items() if name.rsplit("/", 1)[1] == kind]
    return round(sum(values) / len(values), 6) if values else None


def cell(scores: Scores, kind: str, rate: str) -> str:
    value = mean(scores, kind, rate)
    return "-" if value is None else percent(value)


def worth(scores: Scores) -> str:
    """One sentence for the whole.

    >>> worth({"a/unseen": {"cer": 0.66}})
    'Of a sentence that stood in no training clip 66 of 100 characters are wrong: nothing to read, only a hint at where words are.'
    """
    wrong = mean(scores, "unseen", "cer")
    if wrong is None:
        return "How it writes sentences that stood in no training clip was not measured."
    verdict = "" if wrong <= READABLE else ": nothing to read, only a hint at where words are"
    return f"Of a sentence that stood in no training clip {100 * wrong:.0f} of 100 characters are wrong{verdict}."


def by_corpus(scores: Scores) -> str:
    """One row a corpus and kind of sentence, seen ones first, and their means."""
    rows = []
    for kind in KINDS:
        own = [(name.rsplit("/", 1)[0], value) for name, value in scores.items() if name.rsplit("/", 1)[1] == kind]
        rows += [[corpus, kind, *(percent(value[rate]) for rate in RATES), str(value["clips"])] for corpus, value in own]
        if len(own) > 1:
            clips = str(sum(value["clips"] for _, value in own))
            rows.append(["mean of the corpora", kind, *(cell(scores, kind, rate) for rate in RATES), clips])
    return markdown(["corpus", "sentences", "WER", "CER", "clips"], rows, text=2)
