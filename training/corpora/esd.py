"""ESD, the emotional speech dataset: Zhou, Sisman, Liu, Li, ICASSP 2021 and Speech Communication 137 (2022). Research use by agreement.

Layout: 0001/Angry/0001_000351.wav, in some releases with a folder train, evaluation or test between emotion and file, and 0001/0001.txt
with lines "name TAB text TAB emotion". Speakers 0001 to 0010 are Mandarin, 0011 to 0020 English, five of each sex in both. 350 texts x
five labels x 20 speakers = 35000 clips. The emotion is the folder's, never guessed from the number of the file. The makers' folders
train, evaluation and test hold all speakers alike, so they are kept in `session` and are no split.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.corpora.labels import LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import NOT_OFFICIAL, Rows, found

NAME = re.compile(r"(\d{4})_\d{6}")
LABELS = {"Angry": "angry", "Happy": "happy", "Neutral": "neutral", "Sad": "sad", "Surprise": "surprise"}
PARTS = {"train", "evaluation", "test"}
FEMALE = {"0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019"}
LAST_MANDARIN = 10


def read(folder: Path) -> Manifest:
    labels = LabelMap("esd", LABELS)
    rows = Rows("esd", folder, labels)
    texts: dict[str, str] = {}
    for _, path in found(folder, "*.txt"):
        if path.stem == path.parent.name:
            texts |= transcripts(path)
    for name, path in found(folder, "*.wav"):
        parts = NAME.fullmatch(path.stem)
        if parts is None:
            rows.drop(NOT_OFFICIAL)
        elif not rows.is_copy(path.stem):
            speaker = parts[1]
            inner = path.parent.name in PARTS
            emotion = (path.parent.parent if inner else path.parent).name
            rows.add(
                Utterance(
                    corpus="esd",
                    path=name,
                    speaker=speaker,
                    gender="f" if speaker in FEMALE else "m",
                    language="zh" if int(speaker) <= LAST_MANDARIN else "en",
                    emotion=labels[emotion],
                    label=emotion,
                    text=texts.get(path.stem, ""),
                    session=path.parent.name if inner else "",
                ),
                listed=False,
            )
    return rows.manifest()


def transcripts(path: Path) -> dict[str, str]:
    """Name -> text of one speaker."""
    mandarin = int(path.stem) <= LAST_MANDARIN if path.stem.isdigit() else False
    lines = (line.split("\t") for line in decoded(path.read_bytes(), mandarin).splitlines())
    return {parts[0].strip(): parts[1].strip() for parts in lines if len(parts) > 1}


def decoded(data: bytes, mandarin: bool) -> str:
    """The text: the files come in ASCII, UTF-8, UTF-16 with and without a mark, GB 2312 (Mandarin) and Windows-1252 (English).

    >>> [decoded("你好\\t1".encode(name), True) for name in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb2312")] == ["你好\\t1"] * 5
    True
    >>> decoded(b"It\\x92s", mandarin=False)
    'It’s'
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    if b"\0" in data:
        return data.decode("utf-16-le")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gb18030" if mandarin else "cp1252", errors="replace")
