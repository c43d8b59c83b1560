"""The recordings that are scored: speech of held-out speakers whose emotion changes inside, made by `python -m training mix`.

    python -m benchmarks.diarization.mixtures [--part test|validation] [--limit N] [--corpora DIR]

Test mixtures are of test speakers and validation mixtures of validation speakers (training/recipes/splits.yaml), by fixed seeds. They are
written once, to cache/diarization in the clone.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoser.timelines import Recording
from training import mixing
from training.corpora import load

CORPORA = ("ravdess", "nemo", "emovo", "emodb")
SEEDS = {"validation": 11, "test": 12}
CACHE = Path(__file__).resolve().parents[2] / "cache" / "diarization"


@dataclass(frozen=True)
class Mixed:
    """A mixture: the corpus of its clips, its audio, and what is true of it."""

    corpus: str
    path: Path
    recording: Recording


def mixtures(part: str, corpora: Path | None = None, limit: int | None = None, cache: Path = CACHE) -> list[Mixed]:
    """All mixtures of a part, made where they are not there yet. limit: of each speaker."""
    found: list[Mixed] = []
    for corpus in CORPORA:
        folder = cache / code_digest() / f"{part}-{'all' if limit is None else limit}" / corpus
        if not (folder / "manifest.csv").is_file():
            make(corpus, part, folder, corpora, limit)
        manifest = load(str(folder / "manifest.csv"))
        found += [
            Mixed(corpus, manifest.file(item), Recording(f"{corpus}/{item.path}", item.duration or 0.0, item.segments, item.speaker))
            for item in manifest
        ]
    return found


def make(corpus: str, part: str, folder: Path, corpora: Path | None = None, limit: int | None = None) -> None:
    command = [corpus, "--part", part, "--seed", str(SEEDS[part]), "--out", str(folder)]
    command += [] if limit is None else ["--limit", str(limit)]
    command += [] if corpora is None else ["--corpora", str(corpora)]
    if code := mixing.main(command):
        raise SystemExit(code)


def code_digest() -> str:
    """Of the code that mixes: what another version of it wrote is not taken."""
    return hashlib.sha256(Path(mixing.__file__).read_bytes()).hexdigest()[:12]


def described(found: list[Mixed]) -> dict[str, Any]:
    """What a result file says of its data: enough to tell whether two files speak of the same mixtures."""
    listing = "\n".join(f"{each.recording.file} {each.recording.duration:.4f} {each.recording.segments}" for each in found)
    of_corpora = {corpus: [each.recording for each in found if each.corpus == corpus] for corpus in CORPORA}
    return {
        "mixtures": {corpus: len(items) for corpus, items in of_corpora.items()},
        "speakers": {corpus: len({each.speaker for each in items}) for corpus, items in of_corpora.items()},
        "minutes": {corpus: round(sum(each.duration for each in items) / 60, 1) for corpus, items in of_corpora.items()},
        "sha256": hashlib.sha256(listing.encode()).hexdigest(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(SEEDS), action="append", help="both if not given")
    parser.add_argument("--limit", type=int, metavar="N", help="mixtures a speaker, at most")
    parser.add_argument("--corpora", type=Path)
    options = parser.parse_args()
    for part in options.part or list(SEEDS):
        print(part, described(mixtures(part, options.corpora, options.limit)))


if __name__ == "__main__":
    main()
