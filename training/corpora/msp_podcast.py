"""MSP-Podcast: Lotfian & Busso 2019, IEEE Transactions on Affective Computing 10(4). By an agreement with the university; not for all uses.

Layout: Labels/labels_consensus.csv (FileName, EmoClass, EmoAct, EmoVal, EmoDom, SpkrID, Gender, Split_Set) or the same as .json keyed
by file name, Audios/<file>, Transcripts/<file>.txt. The makers' partitions stand in `split` as train, validation, test1, test2, test3.
Contempt (C), other (O) and no agreement (X) have none of the eight words. Some clips have no known speaker, so the partitions can be
taken only by `splits.by_column` under their name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from training.corpora.labels import CorpusError, LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import Rows, gender_of, table

LABELS = {
    "A": "angry",
    "S": "sad",
    "H": "happy",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "N": "neutral",
    "C": None,  # contempt
    "O": None,  # other
    "X": None,  # no agreement
}
PARTITIONS = {"Train": "train", "Development": "validation"}
NEEDED = {"EmoClass", "SpkrID", "Gender", "Split_Set"}


def read(folder: Path) -> Manifest:
    labels = LabelMap("msp-podcast", LABELS)
    rows = Rows("msp-podcast", folder, labels)
    for name, entry in entries(folder):
        speaker = str(entry["SpkrID"]).removesuffix(".0")
        transcript = folder / "Transcripts" / f"{Path(name).stem}.txt"
        rows.add(
            Utterance(
                corpus="msp-podcast",
                path=f"Audios/{name}",
                speaker=speaker if speaker.isdigit() else "",
                gender=gender_of(entry["Gender"]),
                language="en",
                emotion=labels[entry["EmoClass"]],
                label=entry["EmoClass"],
                text=transcript.read_text(encoding="utf-8").strip() if transcript.is_file() else "",
                session="_".join(Path(name).stem.split("_")[:2]),
                split=PARTITIONS.get(entry["Split_Set"], entry["Split_Set"].lower()),
            )
        )
    return rows.manifest()


def entries(folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """(file name, labels) from whichever of the two label files is there."""
    listed = folder / "Labels" / "labels_consensus"
    if listed.with_suffix(".csv").is_file():
        for row in table(listed.with_suffix(".csv"), NEEDED | {"FileName"}):
            yield row["FileName"], row
    elif listed.with_suffix(".json").is_file():
        yield from json.loads(listed.with_suffix(".json").read_text(encoding="utf-8")).items()
    else:
        raise CorpusError(f"msp-podcast: there is neither {listed}.csv nor {listed}.json")
