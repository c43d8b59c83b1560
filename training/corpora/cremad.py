"""CREMA-D: Cao et al. 2014, IEEE Transactions on Affective Computing 5(4), https://github.com/CheyneyComputerScience/CREMA-D.

Licence: Open Database License 1.0. Layout: AudioWAV/1001_DFA_ANG_XX.wav = actor, sentence, emotion, level, and VideoDemographics.csv
(ActorID, Age, Sex, Race, Ethnicity). 91 actors, 12 sentences, 7442 clips; the emotion is the intended one, not the raters'. Two clips are
dropped: 1076_MTI_SAD_XX holds no speech, and 1064_IEO_DIS_MD holds every emotion one after the other.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.corpora.labels import LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import NOT_OFFICIAL, Rows, found, gender_of, table

NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")
LABELS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
FAULTY = {"1076_MTI_SAD_XX", "1064_IEO_DIS_MD"}
TEXTS = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}


def read(folder: Path) -> Manifest:
    labels = LabelMap("cremad", LABELS)
    rows = Rows("cremad", folder, labels)
    genders = {row["ActorID"]: gender_of(row["Sex"]) for row in table(folder / "VideoDemographics.csv", {"ActorID", "Sex"})}
    for name, path in found(folder, "*.wav"):
        parts = NAME.fullmatch(path.stem)
        if parts is None:
            rows.drop(NOT_OFFICIAL)
        elif path.stem in FAULTY:
            rows.drop("known to be faulty: no speech, or every emotion in one file")
        elif not rows.is_copy(path.stem):
            actor, sentence, emotion, _ = parts.groups()
            rows.add(
                Utterance(
                    corpus="cremad",
                    path=name,
                    speaker=actor,
                    gender=genders.get(actor, ""),
                    language="en",
                    emotion=labels[emotion],
                    label=emotion,
                    text=TEXTS.get(sentence, ""),
                ),
                listed=False,
            )
    return rows.manifest()
