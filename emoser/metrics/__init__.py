"""Metrics of speech emotion recognition, in NumPy alone: one noun a module.

Labels and predictions are arrays of class indices 0 .. classes - 1; speakers ("groups") are anything that compares equal. The same
functions score a user's files and make the tables of this project.
"""

from emoser.metrics.accuracy import weighted_accuracy
from emoser.metrics.bootstrap import Difference, bootstrap_interval, paired_bootstrap
from emoser.metrics.calibration import Reliability, expected_calibration_error, reliability
from emoser.metrics.concordance import ccc
from emoser.metrics.confusion import confusion_matrix
from emoser.metrics.diarization import (
    DiarizationErrors,
    SegmentMatches,
    boundary_errors,
    covering,
    eder,
    frame_confusion,
    frame_uar,
    labels_at,
    mean_eder,
    published_frame_labels,
    segment_matches,
    segments_of_frames,
)
from emoser.metrics.f1 import macro_f1
from emoser.metrics.recall import recalls, unweighted_average_recall
from emoser.metrics.score import Score
from emoser.metrics.transcripts import EditCounts, character_error_rate, edits, word_error_rate

__all__ = [
    "DiarizationErrors",
    "Difference",
    "EditCounts",
    "Reliability",
    "Score",
    "SegmentMatches",
    "bootstrap_interval",
    "boundary_errors",
    "ccc",
    "character_error_rate",
    "confusion_matrix",
    "covering",
    "eder",
    "edits",
    "expected_calibration_error",
    "frame_confusion",
    "frame_uar",
    "labels_at",
    "macro_f1",
    "mean_eder",
    "paired_bootstrap",
    "published_frame_labels",
    "recalls",
    "reliability",
    "segment_matches",
    "segments_of_frames",
    "unweighted_average_recall",
    "weighted_accuracy",
    "word_error_rate",
]
