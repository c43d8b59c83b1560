"""ASED, the Amharic speech emotion dataset: Retta et al., doi 10.1145/3529759, https://github.com/Ethio2021/ASED_V1.

Licence: no text; the paper says "freely available for download". Layout: files a5-07-02-02-63.wav = emotion, sentence, repetition,
gender (01 f, 02 m), speaker, in one folder for each emotion. 65 speakers (25 f, 40 m), 2474 clips. One file has a capital emotion code.
Five single files carry a gender code that all other files of their speaker contradict; FEMALE settles these as the paper's 25 f and 40
m need it. Most sentences are tied to one emotion, so the text leaks the label.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.corpora.labels import LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import NOT_OFFICIAL, Rows, found

NAME = re.compile(r"([A-Za-z]\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
LABELS = {"n1": "neutral", "f2": "fear", "h3": "happy", "s4": "sad", "a5": "angry"}
FEMALE = {"09", "15", "21", "23", "25"}


def read(folder: Path) -> Manifest:
    labels = LabelMap("ased", LABELS)
    rows = Rows("ased", folder, labels)
    for name, path in found(folder, "*.wav"):
        parts = NAME.fullmatch(path.stem)
        if parts is None:
            rows.drop(NOT_OFFICIAL)
        elif not rows.is_copy(path.stem):
            emotion, _, repetition, gender, speaker = parts.groups()
            rows.add(
                Utterance(
                    corpus="ased",
                    path=name,
                    speaker=speaker,
                    gender="f" if gender == "01" or speaker in FEMALE else "m",
                    language="am",
                    emotion=labels[emotion.lower()],
                    label=emotion,
                    session=repetition,
                ),
                listed=False,
            )
    return rows.manifest()
