"""Corpora: official layouts -> one manifest form, and splits by speaker.

>>> from training.corpora import Manifest, Utterance
>>> Manifest((Utterance("demo", "a.wav", speaker="ada"),), root=".").speakers
('demo/ada',)
"""

from training.corpora.defaults import default_split
from training.corpora.labels import EMOTIONS, CorpusError
from training.corpora.manifest import Manifest, Utterance
from training.corpora.measure import measured
from training.corpora.registry import CORPORA, Corpus, load
from training.corpora.report import describe, main
from training.corpora.splits import (
    SpeakerOverlapError,
    Split,
    by_column,
    by_fraction,
    by_session,
    by_speakers,
    k_folds,
    leave_one_speaker_out,
    session_folds,
    speaker_groups,
)

__all__ = [
    "CORPORA",
    "EMOTIONS",
    "Corpus",
    "CorpusError",
    "Manifest",
    "SpeakerOverlapError",
    "Split",
    "Utterance",
    "by_column",
    "by_fraction",
    "by_session",
    "by_speakers",
    "default_split",
    "describe",
    "k_folds",
    "leave_one_speaker_out",
    "load",
    "main",
    "measured",
    "session_folds",
    "speaker_groups",
]
