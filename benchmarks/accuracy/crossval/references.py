"""Reference rows on the same folds and test clips: classifiers on fixed features (benchmarks/accuracy/baselines.py).

The parameter is the one with the highest UAR on the fold's validation speakers, of a classifier trained on its training speakers; with it
the classifier that is tested is trained on both, as the heads are (`--select nothing`). Classes are weighted to count the same.

Adapted: before anything else the features of every speaker, of training, validation and test alike, are standardised with the mean and
deviation of that speaker's own clips, labels unused (transductive); the rest is the same, the parameter chosen anew.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import baselines, features, scoring
from benchmarks.accuracy import clips as data
from benchmarks.accuracy.clips import Clip
from benchmarks.accuracy.crossval.collect import digest_of, result_of
from benchmarks.accuracy.crossval.protocols import CORPORA, Clips, Corpus, Indices
from benchmarks.accuracy.crossval.results import BASELINES, Record, read
from training.corpora import load
from training.crossval import FoldScores, examples_from, labels_of, word
from training.folds import folds_of

SYSTEMS = tuple(each for each in baselines.BASELINES if each.features != "logmel")
LEAST = 1e-6  # deviation of a feature that is taken as it is: below, the feature stands still

Features = NDArray[np.float32]


def folds(corpus: Corpus, root: Path | None) -> tuple[Clips, dict[str, list[Clip]]]:
    """The test clips of all folds, and all clips of each fold with their part; folds and labels as `training crossval` takes them."""
    manifest = load(corpus.name, root)
    labels = labels_of(manifest)
    manifest = manifest.filter(lambda clip: word(clip) in labels)
    found = {}
    for fold in folds_of(manifest, corpus.kind):
        examples = examples_from({part: [items] for part, items in fold.split.parts.items()}, labels)
        found[fold.name] = [
            Clip(corpus.name, item.file, item.utterance.name, item.speaker, item.target, part)
            for part in ("train", "validation", "test")
            for item in getattr(examples, part)
        ]
    tests = [[clip for clip in each if clip.part == "test"] for each in found.values()]
    clips = Clips(
        labels,
        tuple(found),
        tuple(digest_of([clip.name for clip in test], [clip.label for clip in test]) for test in tests),
        np.repeat(np.arange(len(tests)), [len(test) for test in tests]),
        np.array([clip.label for test in tests for clip in test]),
        np.array([clip.speaker for test in tests for clip in test]),
    )
    return clips, found


def by_speaker(values: Features, speakers: NDArray[np.str_]) -> Features:
    """Each speaker's clips standardised by themselves."""
    found = np.empty_like(values)
    for speaker in np.unique(speakers):
        own = values[speakers == speaker]
        deviation = own.std(0)
        found[speakers == speaker] = (own - own.mean(0)) / np.where(deviation > LEAST, deviation, 1)
    return found


def guessed(classifier: str, values: Features, clips: list[Clip]) -> tuple[Indices, float]:
    """The labels of the test clips in their order, and the parameter that was best on the validation speakers."""
    parameter, _ = baselines.choose(classifier, values, clips)
    test = np.array([clip.part == "test" for clip in clips])
    model = baselines.fit(classifier, parameter, values[~test], [clip for clip in clips if clip.part != "test"])
    return model.predict(values[test]), parameter


def result(baseline: baselines.Baseline, vectors: dict[str, NDArray[np.float32]], clips: Clips, of_folds: dict[str, list[Clip]]) -> Record:
    """A system on all folds of a corpus; `vectors` are the features by the clip's name."""
    scores, parameters = [], []
    for name, each in of_folds.items():
        values = np.stack([vectors[clip.name] for clip in each])
        plain, parameter = guessed(baseline.classifier, values, each)
        own = by_speaker(values, np.array([clip.speaker for clip in each]))
        adapted, adapted_parameter = guessed(baseline.classifier, own, each)
        test = [clip for clip in each if clip.part == "test"]
        certain = np.eye(len(clips.labels), dtype=np.float32)
        scores.append(
            FoldScores(
                fold=name,
                seed=scoring.SEED,
                logits=certain[plain],
                adapted=certain[adapted],
                targets=np.array([clip.label for clip in test]),
                speakers=np.array([clip.speaker for clip in test]),
                files=np.array([clip.name for clip in test]),
                temperature=1.0,
            )
        )
        parameters.append((f"{parameter:g}", f"{adapted_parameter:g}"))
    chosen = {read_out: dict(Counter(pair[place] for pair in parameters)) for place, read_out in enumerate(("plain", "adapted"))}
    return {"parameters": chosen, **result_of(scores, clips)}


def run(corpora: Path | None, weights: Path | None, names: Sequence[str] = ()) -> Record:
    """Everything that results/crossval-baselines.json holds; systems not among `names` (none: all) stay there as they are."""
    chosen = [each for each in SYSTEMS if not names or each.name in names]
    described: dict[str, Record] = {}
    found: dict[str, Record] = {each.name: baselines.described(each) | {"protocols": {}} for each in SYSTEMS}
    found |= {name: record for name, record in read(BASELINES).get("systems", {}).items() if name not in {each.name for each in chosen}}
    for corpus in CORPORA:
        clips, of_folds = folds(corpus, corpora)
        described[corpus.name] = clips.to_dict()
        every = {clip.name: clip.path for each in of_folds.values() for clip in each}
        for kind in sorted({each.features for each in chosen}):
            table = features.table(kind, list(every.values()), corpus.name, data.weights_folder(weights))
            vectors = dict(zip(every, table, strict=True))
            for baseline in chosen:
                if baseline.features == kind:
                    begin = time.monotonic()
                    record = result(baseline, vectors, clips, of_folds)
                    found[baseline.name]["protocols"][corpus.protocol] = record
                    uar = [record[read_out]["uar"]["value"] for read_out in ("plain", "adapted")]
                    print(f"{corpus.name} {baseline.name}: {uar}, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return {
        "clips": described,
        "systems": found,
        "interval": {"confidence": 0.95, "of": "speakers"},
        "versions": scoring.versions("numpy", "scikit-learn", "opensmile", "torch"),
    }
