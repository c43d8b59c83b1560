"""Emozionalmente: Catania et al., an Italian crowd-sourced corpus of acted emotional speech (Zenodo). CC BY 4.0 as far as known: verify.

Layout: metadata/users.csv (username, age, gender), metadata/samples.csv (actor, file_name, emotion_expressed), audio/<time stamp>.wav. 431
actors, 18 sentences, seven labels of 986 clips each, 6902 clips. Split by actor: an actor has few clips and not all labels, and a split
made label by label puts one person on both sides.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.labels import LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import Rows, gender_of, table

LABELS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happy",
    "neutrality": "neutral",
    "sadness": "sad",
    "surprise": "surprise",
}


def read(folder: Path) -> Manifest:
    labels = LabelMap("emozionalmente", LABELS)
    rows = Rows("emozionalmente", folder, labels)
    users = table(folder / "metadata" / "users.csv", {"username", "gender"})
    genders = {row["username"]: gender_of(row["gender"]) for row in users}
    for row in table(folder / "metadata" / "samples.csv", {"actor", "file_name", "emotion_expressed"}):
        file = row["file_name"]
        rows.add(
            Utterance(
                corpus="emozionalmente",
                path=f"audio/{file if file.endswith('.wav') else file + '.wav'}",
                speaker=row["actor"],
                gender=genders.get(row["actor"], ""),
                language="it",
                emotion=labels[row["emotion_expressed"]],
                label=row["emotion_expressed"],
            )
        )
    return rows.manifest()
