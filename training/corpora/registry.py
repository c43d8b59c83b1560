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
from training.corpora import ased, cremad, emodb, emovo, emozionalmente, esd, iemocap, msp_podcast, nemo, packed, ravdess, tess, zed
from training.corpora.labels import CorpusError
from training.corpora.manifest import Manifest

log = logging.getLogger(__name__)

Reader = Callable[[Path], Manifest]


@dataclass(frozen=True)
class Corpus:
    """One entry. `reader` reads the official layout, and is None where only the packed one is known; `speakers` is 0 where not counted."""

    reader: Reader | None
    source: str
    licence: str
    languages: tuple[str, ...]
    speakers: int
    folders: tuple[str, ...] = ()


CORPORA: dict[str, Corpus] = {
    # acted emotions, open
    "ravdess": Corpus(ravdess.read, "https://doi.org/10.5281/zenodo.1188976", "CC BY-NC-SA 4.0", ("en",), 24),
    "tess": Corpus(tess.read, "https://doi.org/10.5683/SP2/E8H2MF", "CC BY-NC-ND 4.0", ("en",), 2),
    "emodb": Corpus(emodb.read, "http://emodb.bilderbar.info", "unclear: free for use with citation, no licence text", ("de",), 10),
    "emovo": Corpus(
        emovo.read, "Costantini et al., LREC 2014 (Fondazione Ugo Bordoni)", "unclear: no licence text; treat as non-commercial", ("it",), 6
    ),
    "nemo": Corpus(nemo.read, "https://github.com/amu-cai/nEMO", "CC BY-NC-SA 4.0", ("pl",), 9, ("nEMO",)),
    "ased": Corpus(
        ased.read,
        "https://github.com/Ethio2021/ASED_V1",
        "unclear: no licence text; the paper says freely available",
        ("am",),
        65,
        ("ASED_V1",),
    ),
    "emospeech-in": Corpus(None, "https://github.com/RakshakTeam/emospeech-dataset-v1", "CC BY-NC-SA 4.0", ("en", "hi"), 105),
    "cremad": Corpus(
        cremad.read, "https://github.com/CheyneyComputerScience/CREMA-D", "Open Database License 1.0", ("en",), 91, ("CREMA-D",)
    ),
    "emozionalmente": Corpus(
        emozionalmente.read, "Emozionalmente on https://zenodo.org", "CC BY 4.0 as far as known: verify", ("it",), 431, ("Emozionalmente",)
    ),
    "zed": Corpus(zed.read, "https://github.com/BenoitWang/Speech_Emotion_Diarization", "CC BY-NC 4.0", ("en",), 73, ("ZED",)),
    # by agreement with the makers
    "iemocap": Corpus(
        iemocap.read, "https://sail.usc.edu/iemocap", "by agreement, research only", ("en",), 10, ("IEMOCAP_full_release", "IEMOCAP")
    ),
    "msp-podcast": Corpus(
        msp_podcast.read,
        "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
        "by agreement",
        ("en",),
        0,
        ("MSP-Podcast",),
    ),
    "esd": Corpus(
        esd.read,
        "https://github.com/HLTSingapore/Emotional-Speech-Data",
        "by agreement, research only",
        ("zh", "en"),
        20,
        ("ESD", "Emotion Speech Dataset"),
    ),
    # speech without emotion labels, voices without words, noise and rooms: for transcripts and augmentation
    "speechocean762": Corpus(
        None, "https://www.openslr.org/101", "CC BY 4.0 (OpenSLR); free for commercial use by its README", ("en",), 128
    ),
    "ljspeech-mini": Corpus(None, "https://keithito.com/LJ-Speech-Dataset", "public domain", ("en",), 1),
    "deeply-nonverbal": Corpus(None, "https://www.openslr.org/99", "CC BY-NC-ND 4.0", (), 245),
    "esc10": Corpus(None, "https://doi.org/10.7910/DVN/YDEPUT", "CC BY 3.0 as a whole; single clips CC0 or CC BY", (), 0),
    "emospeech-noise": Corpus(None, "https://github.com/RakshakTeam/emospeech-dataset-v1", "CC BY-NC-SA 4.0", (), 0),
    "rir": Corpus(
        None,
        "https://github.com/GoogleChromeLabs/web-audio-samples and https://www.openairlib.net",
        "by file, in the column session: Apache-2.0, CC BY, CC BY-SA, CC BY-NC-SA, non-commercial with citation",
        (),
        0,
    ),
}


def corpus(name: str) -> Corpus:
    if name not in CORPORA:
        near = get_close_matches(name, CORPORA, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        raise CorpusError(f'no corpus is called "{name}"{hint} There are: {", ".join(sorted(CORPORA))}')
    return CORPORA[name]


def load(name: str, corpora: str | Path | None = None, folder: str | Path | None = None) -> Manifest:
    """The manifest of a corpus, from its folder under the corpora root (see `training.paths`), or from `folder` itself.

    A name that ends in .csv is a manifest on disk: so data of one's own, brought into that form once (`listing`, `kaldi`, `emobox`), stand
    in a recipe beside the corpora.
    """
    if name.endswith(".csv"):
        return Manifest.from_csv(name, folder)
    entry = corpus(name)
    place = Path(folder) if folder is not None else paths.corpus(name, entry.source, entry.licence, corpora, entry.folders)
    reader = None if packed.is_packed(place) else entry.reader
    manifest = reader(place) if reader else packed.read(place, name)
    if manifest.missing:
        log.warning("%s: %d listed files are missing, the first: %s", name, len(manifest.missing), manifest.missing[0])
    return manifest
