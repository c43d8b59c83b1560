"""Every corpus that training can read, by name: its reader, where it is from, on what terms, and what is in it.

Licences are as the makers state them; where they state none it says so. `folders` are other names under which official archives unpack.
A folder with a packed `metadata.csv` is read as such, whatever the corpus (`training.corpora.packed`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from training import paths
from training.corpora import packed
from training.corpora.labels import CorpusError
from training.corpora.manifest import Manifest

log = logging.getLogger(__name__)

Reader = Callable[[Path], Manifest]


@dataclass(frozen=True)
class Corpus:
    """One entry. `reader` reads the official layout; None where only the packed one is known."""

    reader: Reader | None
    source: str
    licence: str
    languages: tuple[str, ...]
    speakers: int
    folders: tuple[str, ...] = ()


CORPORA: dict[str, Corpus] = {
    "ravdess": Corpus(None, "https://doi.org/10.5281/zenodo.1188976", "CC BY-NC-SA 4.0", ("en",), 24),
    "tess": Corpus(None, "https://doi.org/10.5683/SP2/E8H2MF", "CC BY-NC-ND 4.0", ("en",), 2),
    "emodb": Corpus(None, "http://emodb.bilderbar.info", "unclear: free for use with citation, no licence text", ("de",), 10),
    "emovo": Corpus(
        None, "Costantini et al., LREC 2014 (Fondazione Ugo Bordoni)", "unclear: no licence text; treat as non-commercial", ("it",), 6
    ),
    "nemo": Corpus(None, "https://github.com/amu-cai/nEMO", "CC BY-NC-SA 4.0", ("pl",), 9),
    "ased": Corpus(None, "https://github.com/wgwangang/ASED_V1", "unclear: no licence text; the paper says freely available", ("am",), 65),
    "emospeech-in": Corpus(None, "https://github.com/RakshakTeam/emospeech-dataset-v1", "CC BY-NC-SA 4.0", ("en", "hi"), 105),
}


def corpus(name: str) -> Corpus:
    if name not in CORPORA:
        near = get_close_matches(name, CORPORA, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise CorpusError(f'no corpus is called "{name}"{hint} There are: {", ".join(sorted(CORPORA))}')
    return CORPORA[name]


def load(name: str, corpora: str | Path | None = None, folder: str | Path | None = None) -> Manifest:
    """The manifest of a corpus, from its folder under the corpora root (see `training.paths`), or from `folder` itself."""
    entry = corpus(name)
    place = Path(folder) if folder is not None else paths.corpus(name, entry.source, entry.licence, corpora, entry.folders)
    if entry.reader is None or packed.is_packed(place):
        manifest = packed.read(place, name)
    else:
        manifest = entry.reader(place)
    if manifest.missing:
        log.warning("%s: %d listed files are missing, the first: %s", name, len(manifest.missing), manifest.missing[0])
    return manifest
