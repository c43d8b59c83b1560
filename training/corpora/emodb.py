"""EMO-DB, the Berlin database of emotional speech: Burkhardt et al., Interspeech 2005, http://emodb.bilderbar.info.

Licence: free for use with citation; the release holds no licence text. Layout: wav/03a01Fa.wav = speaker 03, text a01, emotion F, version
a. Ten speakers, ten sentences, 535 clips. Boredom (L) has none of the eight words.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.corpora.labels import LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import NOT_OFFICIAL, Rows, found

NAME = re.compile(r"(\d\d)([ab]\d\d)([A-Z])([a-z]?)")
LABELS = {
    "W": "angry",  # Wut, Ärger
    "L": None,  # Langeweile, boredom
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happy",  # Freude
    "T": "sad",  # Trauer
    "N": "neutral",
}
FEMALE = {"08", "09", "13", "14", "16"}
TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def read(folder: Path) -> Manifest:
    labels = LabelMap("emodb", LABELS)
    rows = Rows("emodb", folder, labels)
    for name, path in found(folder, "*.wav"):
        parts = NAME.fullmatch(path.stem)
        if parts is None:
            rows.drop(NOT_OFFICIAL)
        elif not rows.is_copy(path.stem):
            speaker, text, emotion, _ = parts.groups()
            rows.add(
                Utterance(
                    corpus="emodb",
                    path=name,
                    speaker=speaker,
                    gender="f" if speaker in FEMALE else "m",
                    language="de",
                    emotion=labels[emotion],
                    label=emotion,
                    text=TEXTS.get(text, ""),
                ),
                listed=False,
            )
    return rows.manifest()
