"""How good predictions are, and how sure that is: pure functions on predictions.

scores    every metric; what training and evaluation compute alike
leakage   what leaked images do to the figures
"""

from __future__ import annotations

from sightline.judging.evaluation.leakage import leak_effect
from sightline.judging.evaluation.scores import (
    SMALLEST_PROBABILITY,
    Mistake,
    area_from_counts,
    confusion_matrix,
    cross_entropy,
    evaluate,
    losses,
    macro_scores,
    ranked,
    scores_from_confusion,
    validation_scores,
    worst_mistakes,
)

__all__ = [
    "SMALLEST_PROBABILITY",
    "Mistake",
    "area_from_counts",
    "confusion_matrix",
    "cross_entropy",
    "evaluate",
    "leak_effect",
    "losses",
    "macro_scores",
    "ranked",
    "scores_from_confusion",
    "validation_scores",
    "worst_mistakes",
]
