"""A Kaldi data folder: wav.scp, utt2spk, utt2emo, and where they are there text, segments and spk2gender.

Each line of each file is "key value". With `segments` (utterance, recording, start, end) wav.scp lists recordings; without, utterances.
Commands in wav.scp ("... |") are not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from training.corpora.labels import CorpusError, LabelMap
from training.corpora.manifest import Manifest, Utterance
from training.corpora.rows import Rows, gender_of


def read(
    folder: str | Path, labels: Mapping[str, str | None], *, corpus: str, root: str | Path | None = None, language: str = ""
) -> Manifest:
    """The utterances of utt2emo. Relative paths in wav.scp start from `root`, by default the folder."""
    folder = Path(folder)
    root = Path(root) if root is not None else folder
    words = LabelMap(corpus, labels)
    rows = Rows(corpus, root, words)
    files, speakers, emotions = (lines(folder / name) for name in ("wav.scp", "utt2spk", "utt2emo"))
    texts, segments, genders = (lines(folder / name, needed=False) for name in ("text", "segments", "spk2gender"))
    for key, label in emotions.items():
        recording, start, end = cut(key, segments)
        if recording not in files or key not in speakers:
            raise CorpusError(f"{corpus}: {key} stands in utt2emo, but not in {'utt2spk' if recording in files else 'wav.scp'}")
        if files[recording].endswith("|"):
            raise CorpusError(
                f"{corpus}: wav.scp holds a command for {recording}, and commands are not run; write the audio to files first"
            )
        path = Path(files[recording])
        rows.add(
            Utterance(
                corpus=corpus,
                path=(path.relative_to(root) if path.is_relative_to(root) else path).as_posix(),
                speaker=speakers[key],
                gender=gender_of(genders.get(speakers[key], "")),
                language=language,
                emotion=words[label],
                label=label,
                text=texts.get(key, ""),
                start=start,
                end=end,
                duration=None if start is None or end is None else round(end - start, 6),
            )
        )
    return rows.manifest()


def cut(key: str, segments: Mapping[str, str]) -> tuple[str, float | None, float | None]:
    """Recording, start and end of an utterance; an end of -1 is the file's."""
    if not segments:
        return key, None, None
    if key not in segments:
        raise CorpusError(f"{key} stands in utt2emo, but not in segments")
    recording, start, end = segments[key].split()
    return recording, float(start), float(end) if float(end) >= 0 else None


def lines(path: Path, needed: bool = True) -> dict[str, str]:
    if not path.is_file():
        if needed:
            raise CorpusError(f"there is no {path}")
        return {}
    pairs = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in pairs}
