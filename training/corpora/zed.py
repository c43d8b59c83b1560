"""ZED, the Zaion emotion dataset: Wang, Ravanelli, Yacoubi, "Speech Emotion Diarization", ASRU 2023, arXiv 2306.12991. CC BY-NC 4.0.

Layout: ZED.json, one dictionary by utterance: {"wav": "datafolder/...", "duration", "emotion": [{"emo", "start", "end"}], "transcription"},
where "datafolder" stands for this folder and neutral is what no segment covers. 180 utterances, English, not acted, from 73 speakers whom
the file does not name. A test set only: `split` is test for every clip, and `segments` holds the time line.
"""

from __future__ import annotations

import json
from pathlib import Path

from training.corpora.labels import CorpusError, LabelMap
from training.corpora.manifest import Manifest, Segment, Utterance
from training.corpora.rows import Rows

LABELS = {"happy": "happy", "angry": "angry", "sad": "sad"}
TOLERANCE = 0.05  # seconds by which a segment may pass the end: the file's times are rounded


def read(folder: Path) -> Manifest:
    labels = LabelMap("zed", LABELS)
    rows = Rows("zed", folder, labels)
    file = folder / "ZED.json"
    if not file.is_file():
        raise CorpusError(f"zed: there is no {file}")
    for name, entry in json.loads(file.read_text(encoding="utf-8")).items():
        duration = float(entry["duration"])
        segments = tuple((float(part["start"]), float(part["end"]), str(part["emo"])) for part in entry["emotion"])
        check(name, segments, duration)
        spoken = {label: labels[label] for _, _, label in segments}
        rows.add(
            Utterance(
                corpus="zed",
                path=entry["wav"].removeprefix("datafolder").lstrip("/"),
                language="en",
                emotion=next(iter(spoken.values())) if len(spoken) == 1 else None,
                label="+".join(spoken),
                text=entry.get("transcription", ""),
                duration=duration,
                split="test",
                segments=segments,
            )
        )
    return rows.manifest()


def check(name: str, segments: tuple[Segment, ...], duration: float) -> None:
    """Segments have to lie in the clip and one after the other."""
    edges = [edge for start, end, _ in sorted(segments) for edge in (start, end)]
    if edges != sorted(edges) or (edges and (edges[0] < 0 or edges[-1] > duration + TOLERANCE)):
        raise CorpusError(f"zed: the segments of {name} overlap or pass its {duration} s: {segments}")
