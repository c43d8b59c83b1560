"""Test clips whose emotions are known over time, ZED's say: EDER of a run's own frames, as published and as a file's whole time asks for.

Frames are read where greedy decoding leaves them, the label of each is its best one, and nothing is smoothed, as in the paper's code.
Checkpoints are scored by `emoser evaluate` and benchmarks/diarization instead, with all that `emoser diarize` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emoser.metrics.diarization import Segment, segments_of_frames
from emoser.timelines import Recording, evaluate
from training.data import Example
from training.systems.transducer.data import Shelf
from training.systems.transducer.fit import Said
from training.systems.transducer.recipe import TransducerRecipe


def timeline_scores(recipe: TransducerRecipe, shelf: Shelf, examples: Sequence[Example], said: Sequence[Said]) -> dict[str, Any]:
    """By corpus, the scores of emoser/timelines.py of four systems: `frames`, the last of which lasts to the file's end; `as_published`,
    where it does not; `clip`, the utterance head's emotion for all of the file; and `neutral`.

    Empty for the compact encoder, which cuts silence at a clip's ends: cached frames do not say where on its time axis they stand.
    """
    if recipe.model.encoder is None:
        return {}
    found = {}
    for corpus in sorted({example.corpus for example in examples if example.utterance.segments}):
        own = [(example, item) for example, item in zip(examples, said, strict=True) if example.corpus == corpus]
        recordings = [
            Recording(f"{corpus}/{item.name}", item.duration or 0.0, item.segments, item.speaker)
            for item in (each.utterance for each, _ in own)
        ]
        lines: dict[str, list[list[Segment]]] = {"frames": [], "as_published": [], "clip": [], "neutral": []}
        for recording, (_, item) in zip(recordings, own, strict=True):
            labels = [recipe.data.labels[index] for index in item.frames.argmax(1)]
            lines["frames"].append(segments_of_frames(labels, shelf.hop, duration=recording.duration))
            lines["as_published"].append(segments_of_frames(labels, shelf.hop))
            lines["clip"].append([(0.0, recording.duration, recipe.data.labels[int(item.logits.argmax())])])
            lines["neutral"].append([(0.0, recording.duration, recipe.data.labels[recipe.neutral])])
        found[corpus] = evaluate(recordings, lines).to_dict()
    return found
