"""Metrics of speech emotion recognition, in NumPy alone: one noun a module.

Labels and predictions are arrays of class indices 0 .. classes - 1; speakers ("groups") are anything that compares equal. The same
functions score a user's files and make the tables of this project.
"""

from emoser.metrics.accuracy import weighted_accuracy
from emoser.metrics.bootstrap import Difference, bootstrap_interval, paired_bootstrap
from emoser.metrics.calibration import Reliability, expected_calibration_error, reliability
from emoser.metrics.concordance import ccc
from emoser.metrics.confusion import confusion_matrix
from emoser.metrics.f1 import macro_f1
from emoser.metrics.recall import recalls, unweighted_average_recall
from emoser.metrics.score import Score

__all__ = [
    "Difference",
    "Reliability",
    "Score",
    "bootstrap_interval",
    "ccc",
    "confusion_matrix",
    "expected_calibration_error",
    "macro_f1",
    "paired_bootstrap",
    "recalls",
    "reliability",
    "unweighted_average_recall",
    "weighted_accuracy",
]
