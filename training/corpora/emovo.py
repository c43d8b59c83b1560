"""EMOVO: Costantini, Iaderola, Paoloni, Todisco, "EMOVO Corpus: an Italian Emotional Speech Database", LREC 2014.

Licence: no text with the source; given for free download by the Fondazione Ugo Bordoni: treat as non-commercial research. Layout:
f1/dis-f1-b1.wav = emotion, actor, sentence. Six actors, 14 sentences (n1 to n5 are nonsense), seven labels, 588 clips.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.corpora.labels import LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import NOT_OFFICIAL, Rows, found

NAME = re.compile(r"([a-z]{3})-([fm])(\d)-([a-z]\d)")
LABELS = {
    "dis": "disgust",
    "gio": "happy",
    "neu": "neutral",
    "pau": "fear",
    "rab": "angry",
    "sor": "surprise",
    "tri": "sad",
}
TEXTS = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
    "l1": "L'autunno prossimo Tony partirà per la Spagna nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato … ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
}


def read(folder: Path) -> Manifest:
    labels = LabelMap("emovo", LABELS)
    rows = Rows("emovo", folder, labels)
    for name, path in found(folder, "*.wav"):
        parts = NAME.fullmatch(path.stem)
        if parts is None:
            rows.drop(NOT_OFFICIAL)
        elif not rows.is_copy(path.stem):
            emotion, gender, number, sentence = parts.groups()
            rows.add(
                Utterance(
                    corpus="emovo",
                    path=name,
                    speaker=gender + number,
                    gender=gender,
                    language="it",
                    emotion=labels[emotion],
                    label=emotion,
                    text=TEXTS.get(sentence, ""),
                ),
                listed=False,
            )
    return rows.manifest()
