"""RAVDESS, the audio-only speech: Livingstone & Russo 2018, PLoS ONE 13(5), doi 10.5281/zenodo.1188976. CC BY-NC-SA 4.0.

Layout: Actor_01/03-01-06-01-02-01-12.wav, the seven numbers being modality (03 audio only), channel (01 speech, 02 song), emotion,
intensity, statement, repetition, actor. Actors with an odd number are male. 24 actors, 1440 clips. Songs are dropped.
03-01-03-01-02-02-07 is sample for sample 03-01-03-01-02-01-07; both are kept here, as in every published count.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.corpora.labels import LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import NOT_OFFICIAL, Rows, found

NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
LABELS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}


def read(folder: Path) -> Manifest:
    labels = LabelMap("ravdess", LABELS)
    rows = Rows("ravdess", folder, labels)
    for name, path in found(folder, "*.wav"):
        parts = NAME.fullmatch(path.stem)
        if parts is None:
            rows.drop(NOT_OFFICIAL)
            continue
        modality, channel, emotion, _, statement, _, actor = parts.groups()
        if (modality, channel) != ("03", "01"):
            rows.drop("not audio-only speech")
        elif not rows.is_copy(path.stem):
            rows.add(
                Utterance(
                    corpus="ravdess",
                    path=name,
                    speaker=actor,
                    gender="m" if int(actor) % 2 else "f",
                    language="en",
                    emotion=labels[emotion],
                    label=emotion,
                    text=STATEMENTS.get(statement, ""),
                ),
                listed=False,
            )
    return rows.manifest()
