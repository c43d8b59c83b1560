"""EmoBox's lists: Ma et al., "EmoBox", Interspeech 2024, https://github.com/emo-box/EmoBox (data/<corpus>/). MIT by its README.

A list is <corpus>.jsonl, one object a line: key, dataset, wav (a path under downloads/), length (seconds), emo (the corpus's own label),
channel (from 1), and start_time and end_time where a clip is a part of a file; or <corpus>.json, one dictionary of the same by key.
label_map.json gives each label's canonical name, and data.seg.wrd.stm the speaker: "key 1 speaker start end <id=...,spk=f2,...> label".
The lists know no gender and their language field is always "en".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.corpora.labels import EMOTIONS, CorpusError, LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import Rows

# EmoBox's canonical names, lower-case: those with one of the eight words, and those without.
CANONICAL: dict[str, str | None] = {word: word for word in EMOTIONS} | dict.fromkeys(
    (
        "amused", "anxious", "apologetic", "assertive", "boredom", "breath", "concerned", "contempt", "disappointment, disapproval",
        "encouraging", "enthusiastic", "excited", "no-agreement", "other", "pain, groan", "pleasure", "poker", "sarcastic", "sleepy",
        "unknown", "worried",
    )
)  # fmt: skip
SPEAKER = re.compile(r"[<,]spk=([^,>]+)")


def read(folder: str | Path, downloads: str | Path, *, part: str | None = None) -> Manifest:
    """The corpus whose lists are in `folder`, its audio being under `downloads` (EmoBox's downloads/ folder).

    `part` is one list in the folder, "fold_1/emovo_test_fold_1.jsonl"; by default the full one.
    """
    folder = Path(folder)
    words = label_map(folder)
    speakers = stm_speakers(folder / "data.seg.wrd.stm")
    rows: Rows | None = None
    for key, entry in entries(list_file(folder, part)):
        rows = rows or Rows(entry["dataset"], Path(downloads), words)
        label, lower = entry["emo"], entry["emo"].lower()
        rows.add(
            Utterance(
                corpus=entry["dataset"],
                path=entry["wav"].removeprefix("downloads/"),
                speaker=speakers.get(key, ""),
                emotion=words[lower if label not in words.words and lower in words.words else label],
                label=label,
                start=entry.get("start_time"),
                end=entry.get("end_time"),
                channel=int(entry.get("channel", 1)) - 1,
                duration=entry["length"],
            )
        )
    if rows is None:
        raise CorpusError(f"{list_file(folder, part)} holds no clips")
    return rows.manifest()


def list_file(folder: Path, part: str | None) -> Path:
    names = [part] if part else [f"{folder.name}.jsonl", f"{folder.name}.json"]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CorpusError(f"there is no {' or '.join(names)} in {folder}")


def entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        yield from json.loads(text).items()
    else:
        for line in filter(str.strip, text.splitlines()):
            entry = json.loads(line)
            yield entry["key"], entry


def label_map(folder: Path) -> LabelMap:
    """Own label -> one of the eight words, under its own spelling and in lower case (EMO-DB's map says Neutral, its lists neutral)."""
    for name in ("label_map.json", "label_dict.json"):
        if (folder / name).is_file():
            listed = json.loads((folder / name).read_text(encoding="utf-8"))
            canonical = LabelMap(f"EmoBox {folder.name}/{name}", CANONICAL)
            words = {label: canonical[str(value).lower()] for label, value in listed.items()}
            canonical.check()
            return LabelMap(folder.name, {label.lower(): word for label, word in words.items()} | words)
    raise CorpusError(f"there is no label_map.json in {folder}")


def stm_speakers(path: Path) -> dict[str, str]:
    """Key -> speaker; empty where EmoBox gives no such file."""
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        speaker = SPEAKER.search(line)
        if speaker:
            found[line.split(maxsplit=1)[0]] = speaker[1]
    return found
