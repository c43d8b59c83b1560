"""The frames behind a diarization, for science: NPZ, exact, or CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from emoser.results import Diarization

SUFFIXES = (".npz", ".csv")
BLOCK = 10_000  # rows turned into text at a time


def write_frames(path: Path, result: Diarization) -> None:
    """`.npz`: scores float32 (frames, labels), speech float32 (frames,), hop () float64 (s), labels (labels,) str, recording () str,
    channel () int64, -1 where channels were mixed. `.csv`: start and end (s), a column a label, and speech. Either in capitals too."""
    frames = result.frames
    if path.suffix.lower() == ".npz":
        with path.open("wb") as archive:  # to a path that does not end in small letters, numpy adds a suffix of its own
            np.savez(
                archive,
                scores=frames.scores,
                speech=frames.speech,
                hop=np.float64(frames.hop),
                labels=np.array(frames.labels, np.str_),
                recording=np.array(result.file or "", np.str_),
                channel=np.int64(-1 if result.channel is None else result.channel),
            )
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["start", "end", *frames.labels, "speech"])
        for first in range(0, len(frames.scores), BLOCK):
            scores = frames.scores[first : first + BLOCK].tolist()
            speech = frames.speech[first : first + BLOCK].tolist()
            for number, (row, voice) in enumerate(zip(scores, speech, strict=True), start=first):
                times = (round(edge * frames.hop, 6) for edge in (number, number + 1))
                rows.writerow([*times, *(round(score, 6) for score in row), round(voice, 6)])
