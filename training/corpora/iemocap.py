"""IEMOCAP: Busso et al. 2008, "IEMOCAP: interactive emotional dyadic motion capture database". By an agreement with USC; research only.

Layout: Session<k>/dialog/EmoEvaluation/<dialogue>.txt with lines "[start - end] TAB clip TAB label TAB [v, a, d]", the clips at
Session<k>/sentences/wav/<dialogue>/<clip>.wav, texts in Session<k>/dialog/transcriptions/<dialogue>.txt. Ten speakers in five sessions
of two.

Everything is read off the clip's name, never off the path: Ses01F_impro01_M003 is session 1, a dialogue in which the woman wore the
markers, spoken by the man. So the true speaker is the session with the last letter; the letter in the dialogue's name is not the speaker.

The usual four classes are `FOUR`, hap and exc both being happy: 5531 clips (angry 1103, happy 1636, sad 1084, neutral 1708; Shen et
al., ICASSP 2023, and most others). Of the other labels sur, fea and dis have one of the eight words; fru, oth and xxx (no agreement)
have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from training.corpora.labels import CorpusError, LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import Rows, found
from training.corpora.splits import Split, by_speakers

EVALUATION = re.compile(r"\[(\d+\.\d+) - (\d+\.\d+)\]\t(\S+)\t(\S+)\t\[")
CLIP = re.compile(r"(Ses\d\d)([FM])_(\w+)_([FM])(\w+)")
TEXT = re.compile(r"(\S+) \[[\d.]+-[\d.]+\]: (.*)")
LABELS = {
    "ang": "angry",
    "hap": "happy",
    "exc": "happy",
    "sad": "sad",
    "neu": "neutral",
    "sur": "surprise",
    "fea": "fear",
    "dis": "disgust",
    "fru": None,  # frustration
    "oth": None,
    "xxx": None,  # the raters did not agree
}
FOUR = ("happy", "angry", "sad", "neutral")


def read(folder: Path) -> Manifest:
    labels = LabelMap("iemocap", LABELS)
    rows = Rows("iemocap", folder, labels)
    for name, path in found(folder, "dialog/EmoEvaluation/*.txt"):
        home = Path(name).parents[2]
        texts = transcripts(folder / home / "dialog" / "transcriptions" / path.name)
        for start, end, clip, label in evaluations(path):
            parts = CLIP.fullmatch(clip)
            if parts is None:
                raise CorpusError(f'iemocap: "{clip}" in {name} is no clip name')
            rows.add(
                Utterance(
                    corpus="iemocap",
                    path=(home / "sentences" / "wav" / path.stem / f"{clip}.wav").as_posix(),
                    speaker=parts[1] + parts[4],
                    gender=parts[4].lower(),
                    language="en",
                    emotion=labels[label],
                    label=label,
                    text=texts.get(clip, ""),
                    session=parts[1],
                    duration=round(end - start, 4),
                )
            )
    return rows.manifest()


def evaluations(path: Path) -> Iterator[tuple[float, float, str, str]]:
    """(start, end, clip, label) of the summary lines; the raters' own lines and the header are passed over."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = EVALUATION.match(line)
        if parts:
            yield float(parts[1]), float(parts[2]), parts[3], parts[4]


def transcripts(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = map(TEXT.match, path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {line[1]: line[2].strip() for line in lines if line}


def dialogue(clip: Utterance) -> str:
    """The dialogue and which actor wore the markers, "Ses01F": the "speaker" of the lists that Cai et al. 2021 published.

    >>> dialogue(Utterance("iemocap", "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M003.wav"))
    'Ses01F'
    """
    return Path(clip.path).stem[:6]


def speaker_folds(manifest: Manifest, partner: Literal["validation", "dropped"] = "validation") -> list[Split]:
    """Ten folds by the true speaker; the partner, who speaks in the same dialogues, is validation or dropped but never in training."""
    folds = []
    for voice in manifest.speakers:
        pair = {other for other in manifest.speakers if other[:-1] == voice[:-1]} - {voice}
        rest = set(manifest.speakers) - pair - {voice}
        folds.append(by_speakers(manifest, train=rest, validation=pair if partner == "validation" else (), test=[voice]))
    return folds


def dialogue_folds_as_published(manifest: Manifest) -> list[Split]:
    """The ten folds of Cai et al., "Speech Emotion Recognition with Multi-Task Learning", Interspeech 2021, without a validation set.

    They go by the dialogue's name and were called leave-one-speaker-out, but every fold trains on both speakers that it tests. For
    comparison with published figures only.
    """
    names = sorted({dialogue(item) for item in manifest})
    empty = manifest.filter(lambda item: False)
    folds = []
    for name in names:
        train = manifest.filter(lambda item, name=name: dialogue(item) != name)  # type: ignore[misc]
        test = manifest.filter(lambda item, name=name: dialogue(item) == name)  # type: ignore[misc]
        folds.append(Split(train, empty, test, as_published="IEMOCAP by dialogue: speakers overlap"))
    return folds
