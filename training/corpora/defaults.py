"""The fixed split behind the shipped checkpoints: lists of speakers in training/recipes/splits.yaml, under the name "default".

The lists were drawn once (`propose`, with SEED) and are read ever since, so that a figure from today and one from next year mean the
same speakers. `python -m training corpora --draw-splits` prints them anew.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import yaml

from training.corpora.labels import CorpusError
from training.corpora.manifest import Manifest
from training.corpora.registry import load
from training.corpora.splits import Split, by_fraction, by_session, by_speakers

FILE = Path(__file__).resolve().parents[1] / "recipes" / "splits.yaml"
SEED = 1

# Speakers held out: (validation, test). tess has two speakers who say one carrier phrase: it trains, and is no measure of anything.
HELD_OUT = {
    "ravdess": (4, 4),
    "tess": (0, 0),
    "emodb": (2, 2),
    "emovo": (1, 2),
    "nemo": (1, 2),
    "ased": (10, 12),
    "emospeech-in": (15, 20),
}
# Read speech without emotions: only pre-training and transducers hear it, and both by the parts that its makers gave it.
READ_SPEECH = ("speechocean762", "ljspeech-mini")
HEADER = """\
# Which speakers train, validate and test: the split behind every shipped checkpoint. Drawn once, fixed since.
# Made by `python -m training corpora --draw-splits`, read by `training.corpora.default_split`.
"""


def default_split(manifest: Manifest, name: str = "default", file: Path = FILE) -> Split:
    """Split a manifest of one or several corpora by the lists of that name; a corpus or a speaker in no list is an error."""
    named = yaml.safe_load(file.read_text(encoding="utf-8"))
    if name not in named:
        raise CorpusError(f'{file.name} has no split "{name}"; it has {", ".join(named)}')
    lists = named[name]
    unlisted = set(manifest.corpora) - set(lists)
    if unlisted:
        raise CorpusError(f"{file.name} has no lists for {', '.join(sorted(unlisted))}; it has {', '.join(lists)}")
    here = set(manifest.speakers)
    voices = {
        part: [f"{corpus}/{speaker}" for corpus, parts in lists.items() for speaker in parts[part] if f"{corpus}/{speaker}" in here]
        for part in ("train", "validation", "test")
    }
    unknown = here - {voice for part in voices.values() for voice in part}
    if unknown:
        raise CorpusError(f"speakers that {file.name} does not list: {', '.join(sorted(unknown))}")
    return by_speakers(manifest, train=voices["train"], validation=voices["validation"], test=voices["test"])


def propose(manifest: Manifest, validation: int, test: int, seed: int = SEED) -> Split:
    """One corpus drawn into parts."""
    return by_fraction(manifest, validation, test, seed) if validation or test else by_speakers(manifest)


def proposed(corpora: str | Path | None = None) -> dict[str, dict[str, list[str]]]:
    """Speaker ids for each corpus and part."""
    splits = {name: propose(load(name, corpora), *sizes) for name, sizes in HELD_OUT.items()}
    splits |= {name: by_session(load(name, corpora)) for name in READ_SPEECH}
    return {name: {part: sorted({item.speaker for item in items}) for part, items in split.parts.items()} for name, split in splits.items()}


def written(lists: Mapping[str, Mapping[str, list[str]]]) -> str:
    """The YAML text. Every id is quoted: a YAML 1.2 reader would take a plain 08 for the number 8."""
    lines = [HEADER, "default:\n"]
    for name, parts in lists.items():
        lines.append(f"  {name}:\n")
        for part, speakers in parts.items():
            ids = ", ".join(f'"{speaker}"' for speaker in speakers)
            lines.append(textwrap.fill(f"    {part}: [{ids}]", 120, subsequent_indent="      ") + "\n")
    return "".join(lines)
