"""TESS, the Toronto emotional speech set: Pichora-Fuller & Dupuis 2020, doi 10.5683/SP2/E8H2MF. CC BY-NC-ND 4.0.

Layout: one folder for each actress and emotion, files OAF_back_angry.wav; "ps" is pleasant surprise, here surprise. Two actresses (OAF
older, YAF younger), 200 words in "Say the word ...", 2800 clips. One file is officially misspelt OA_bite_neutral. Two speakers and a
carrier phrase: very easy, not for scores.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.corpora.labels import LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import NOT_OFFICIAL, Rows, found

NAME = re.compile(r"(OAF?|YAF)_([^_]+)_([^_]+)")
LABELS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}


def read(folder: Path) -> Manifest:
    labels = LabelMap("tess", LABELS)
    rows = Rows("tess", folder, labels)
    for name, path in found(folder, "*.wav"):
        parts = NAME.fullmatch(path.stem)
        if parts is None:
            rows.drop(NOT_OFFICIAL)
        elif not rows.is_copy(path.stem):
            speaker, word, emotion = parts.groups()
            rows.add(
                Utterance(
                    corpus="tess",
                    path=name,
                    speaker="YAF" if speaker == "YAF" else "OAF",
                    gender="f",
                    language="en",
                    emotion=labels[emotion],
                    label=emotion,
                    text=f"Say the word {word}.",
                ),
                listed=False,
            )
    return rows.manifest()
