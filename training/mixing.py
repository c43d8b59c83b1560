"""`python -m training mix`: recordings whose emotion changes inside, concatenated from one speaker's neutral and emotional clips.

The procedure is that of Wang, Ravanelli, Yacoubi, "Speech Emotion Diarization" (ASRU 2023, section 3.3) in the variant of ENT's repository:
for each speaker, until every emotional clip is used once, one of four forms is drawn with equal chance: neutral + emotion, emotion +
neutral, neutral + emotion + neutral, or the emotion alone. Mended here: silence at the ends of clips is cut, so that none of it carries a
label; parts are cross-faded, so that no click marks the boundary; boundaries are exact to the sample, in the middle of the fade; every
draw is seeded; and the texts of the parts are kept, so that tokens have exact labels too.

Written are audio files, `ZED.json` in the form of the ZED corpus (with a list of parts besides), and `manifest.csv`, which a recipe can
name among its corpora.

    python -m training mix ravdess emodb --part test --out mixtures/test
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from emoser.audio import SAMPLE_RATE
from emoser.errors import EmoserError
from training.corpora import CorpusError, Manifest, Utterance, default_split, load
from training.data import samples_of
from training.files import written_whole

Samples = NDArray[np.float32]

NEUTRAL = "neutral"
EMOTIONS = ("happy", "angry", "sad")  # ZED's
FORMS = ("neutral-emotion", "emotion-neutral", "neutral-emotion-neutral", "emotion")
FADE = 0.05  # s
BLOCK = SAMPLE_RATE // 50  # samples, 20 ms: silence is looked for in these
SILENCE_RATIO = 1e-4  # of the loudest block's energy, -40 dB
LOUDEST = 0.99  # of full scale; a mixture above is turned down as a whole
QUIETEST = 1e-8  # a root mean square below is silence
CORPUS = "mixtures"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A clip to be used: where it is, whose, and its emotion."""

    utterance: Utterance
    file: Path

    @property
    def emotion(self) -> str:
        return self.utterance.emotion or ""

    @property
    def name(self) -> str:
        return f"{self.utterance.corpus}/{self.utterance.name}"


@dataclass(frozen=True)
class Plan:
    """What a mixture is to be made of, in order."""

    name: str
    voice: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Part:
    """A part of a mixture: seconds from and to, emotion, text, and the clip that it is."""

    start: float
    end: float
    emotion: str
    text: str
    clip: str


@dataclass(frozen=True)
class Mixture:
    plan: Plan
    samples: Samples
    parts: tuple[Part, ...]

    @property
    def duration(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def text(self) -> str:
        """The parts' texts joined by a space; empty where one of them has none."""
        texts = [part.text.strip() for part in self.parts]
        return " ".join(texts) if all(texts) else ""


def plans(
    manifest: Manifest, emotions: Sequence[str] = EMOTIONS, neutral: str = NEUTRAL, seed: int = 0, limit: int | None = None
) -> list[Plan]:
    """Draws what to concatenate: `limit` mixtures a speaker at most, all emotional clips once if not given.

    The neutral clips of a speaker are taken in turn, in a random order; a speaker without any gives emotional clips alone. Speakers that
    the corpus does not name are left out.
    """
    if neutral in emotions:
        raise CorpusError(f"{neutral} is the background of mixtures, and cannot be one of their emotions too")
    found: list[Plan] = []
    for voice in manifest.speakers:
        random = np.random.default_rng([seed, *voice.encode()])
        own = [Source(item, manifest.file(item)) for item in manifest if item.voice == voice]
        quiet, loud = ([item for item in own if item.emotion in wanted] for wanted in ((neutral,), tuple(emotions)))
        random.shuffle(quiet)
        random.shuffle(loud)
        turn = 0
        for index, source in enumerate(loud[:limit]):
            form = FORMS[int(random.integers(len(FORMS)))] if quiet else "emotion"
            sources = []
            for word in form.split("-"):
                if word == "emotion":
                    sources.append(source)
                else:
                    sources.append(quiet[turn % len(quiet)])
                    turn += 1
            found.append(Plan(f"{voice.replace('/', '-')}-{index:04d}", voice, tuple(sources)))
    return found


def render(plan: Plan, fade: float = FADE) -> Mixture:
    """Reads, trims, levels and joins the clips of a plan.

    All parts get the level of the first, by root mean square, as published.
    """
    clips = [trimmed(samples_of(source)) for source in plan.sources]
    levels = [float(np.sqrt(np.mean(clip.astype(np.float64) ** 2))) for clip in clips]
    if min(levels) < QUIETEST:
        silent = plan.sources[int(np.argmin(levels))].file
        raise CorpusError(f"{silent} is silent; leave it out")
    clips = [(clip * (levels[0] / level)).astype(np.float32) for clip, level in zip(clips, levels, strict=True)]
    samples, edges = joined(clips, round(fade * SAMPLE_RATE))
    peak = float(np.abs(samples).max())
    if peak > LOUDEST:
        samples = samples * np.float32(LOUDEST / peak)
    parts = tuple(
        Part(start / SAMPLE_RATE, end / SAMPLE_RATE, source.emotion, source.utterance.text, source.name)
        for source, (start, end) in zip(plan.sources, pairwise(edges), strict=True)
    )
    return Mixture(plan, samples, parts)


def joined(clips: Sequence[Samples], fade: int) -> tuple[Samples, list[int]]:
    """Clips one after the other, neighbours overlapping by `fade` samples (by half the shorter one at most) in which one fades out as the
    other fades in, linearly; and the edges of the parts: 0, the middle of each fade, the end."""
    total, edges = clips[0], [0]
    for before, clip in pairwise(clips):
        overlap = min(fade, len(before) // 2, len(clip) // 2)
        up = ((np.arange(overlap) + 0.5) / overlap).astype(np.float32) if overlap else np.zeros(0, np.float32)
        cut = len(total) - overlap
        total = np.concatenate([total[:cut], total[cut:] * (1 - up) + clip[:overlap] * up, clip[overlap:]])
        edges.append(cut + overlap // 2)
    return total, [*edges, len(total)]


def trimmed(samples: Samples) -> Samples:
    """Without the blocks of 20 ms at both ends that are 40 dB or more below the loudest one."""
    blocks = -(-len(samples) // BLOCK)
    energy = np.pad(samples.astype(np.float64) ** 2, (0, blocks * BLOCK - len(samples))).reshape(blocks, BLOCK).sum(1)
    active = np.flatnonzero(energy >= SILENCE_RATIO * energy.max())
    return samples[active[0] * BLOCK : (active[-1] + 1) * BLOCK]


def write(mixtures: Iterator[Mixture], folder: Path) -> Manifest:
    """Writes FLAC files, `ZED.json` and `manifest.csv` to `folder`; the manifest comes last, so that its presence means that all is
    there."""
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    entries: dict[str, Any] = {}
    rows: list[Utterance] = []
    for mixture in mixtures:
        path = f"audio/{mixture.plan.name}.flac"
        soundfile.write(folder / path, mixture.samples, SAMPLE_RATE, subtype="PCM_16")
        emotional = [part for part in mixture.parts if part.emotion != NEUTRAL]
        entries[mixture.plan.name] = {
            "wav": f"datafolder/{path}",
            "duration": mixture.duration,
            "emotion": [{"emo": part.emotion, "start": part.start, "end": part.end} for part in emotional],
            "transcription": mixture.text,
            "parts": [vars(part) for part in mixture.parts],
        }
        sources = [source.utterance for source in mixture.plan.sources]
        rows.append(
            Utterance(
                corpus=CORPUS,
                path=path,
                speaker=mixture.plan.voice.replace("/", "-"),
                gender=sources[0].gender,
                language=sources[0].language,
                label="+".join(part.emotion for part in mixture.parts),
                text=mixture.text,
                duration=mixture.duration,
                sha256=hashlib.sha256((folder / path).read_bytes()).hexdigest(),
                segments=tuple((part.start, part.end, part.emotion) for part in mixture.parts),
            )
        )
    if not rows:
        raise CorpusError("there is nothing to mix: no clip with a known speaker has one of the emotions")
    (folder / "ZED.json").write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    manifest = Manifest(tuple(rows), folder)
    with written_whole(folder / "manifest.csv") as file:
        manifest.to_csv(file)
    return manifest


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 2 where a name is unknown or there is nothing to mix, 3 where a corpus is missing."""
    parser = argparse.ArgumentParser("python -m training mix", description="Concatenate neutral and emotional clips of one speaker.")
    parser.add_argument("sources", nargs="+", metavar="CORPUS", help="names of corpora, or manifests (.csv)")
    parser.add_argument("--part", choices=("train", "validation", "test", "all"), default="test", help="whose speakers (default: test)")
    parser.add_argument("--emotions", nargs="+", default=list(EMOTIONS), metavar="LABEL", help="what breaks into the neutral speech")
    parser.add_argument("--limit", type=int, metavar="N", help="mixtures a speaker, at most")
    parser.add_argument("--fade", type=float, default=FADE, metavar="SECONDS", help=f"of the cross-fade (default: {FADE})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpora", type=Path, help="folder with one folder a corpus (else EMOSER_CORPORA)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    options = parser.parse_args(argv)
    try:
        drawn: list[Plan] = []
        for name in options.sources:
            manifest = load(name, options.corpora)
            if options.part != "all":
                manifest = default_split(manifest).parts[options.part]
            drawn += plans(manifest, options.emotions, seed=options.seed, limit=options.limit)
        written = write((render(plan, options.fade) for plan in drawn), options.out)
    except EmoserError as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    hours = sum(item.duration or 0.0 for item in written) / 3600
    print(f"{len(written)} mixtures of {len(written.speakers)} speakers, {hours:.2f} h, in {options.out}")
    return 0
