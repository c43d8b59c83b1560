"""nEMO: Christop, "nEMO: Dataset of Emotional Speech in Polish", LREC-COLING 2024, https://github.com/amu-cai/nEMO. CC BY-NC-SA 4.0.

Layout: data.tsv (file_id, emotion, raw_text, normalized_text, speaker_id, gender, age) and samples/<file_id>. Nine speakers, 4481 clips,
no official split.
"""

from __future__ import annotations

import csv
from pathlib import Path

from training.corpora.labels import LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import Rows, gender_of, table

LABELS = {
    "anger": "angry",
    "fear": "fear",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
}


def read(folder: Path) -> Manifest:
    labels = LabelMap("nemo", LABELS)
    rows = Rows("nemo", folder, labels)
    for row in table(folder / "data.tsv", {"file_id", "emotion", "raw_text", "speaker_id", "gender"}, csv.excel_tab):
        rows.add(
            Utterance(
                corpus="nemo",
                path=f"samples/{row['file_id']}",
                speaker=row["speaker_id"],
                gender=gender_of(row["gender"]),
                language="pl",
                emotion=labels[row["emotion"]],
                label=row["emotion"],
                text=row["raw_text"],
            )
        )
    return rows.manifest()
