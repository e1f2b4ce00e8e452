"""How good predictions are, and how sure that is: pure functions on predictions.

scores      evaluate: every metric with its interval and baselines; what an epoch is told
counts      scores from a confusion matrix
ranking     ROC AUC and average precision
losses      cross-entropy
figures     all metrics at once, for any weights of the records
resampling  the bootstrap, and an interval from it
unseen      how unsure a figure is of what no record has shown
intervals   figures, which interval each gets, or too few records to say
curves      ROC and precision-recall, thinned to what is drawn
leakage     what leaked images do to the figures
calibration temperature scaling, and the reliability diagram
thresholds  a decision chosen on validation; operating points
costs       a table of what mistakes cost
conformal   sets of classes of a stated coverage
comparing   two models on the same records
folds       figures over the folds of a cross-validation
mistakes    which records are worth looking at
noise       labels that may be wrong
slices      the values of metadata columns
stratified  the test behind slices
quotients   one sum over another, with its interval
neighbours  training images like a given one
"""

from __future__ import annotations

from sightline.judging.evaluation.calibration import calibrate, fit_temperature, reliability
from sightline.judging.evaluation.comparing import compare, compare_runs
from sightline.judging.evaluation.conformal import fit_sets, judge_sets
from sightline.judging.evaluation.costs import Costs, costs_from_csv, costs_from_table
from sightline.judging.evaluation.counts import (
    confusion_matrix,
    macro_scores,
    scores_from_confusion,
)
from sightline.judging.evaluation.curves import precision_recall_curve, roc_curve
from sightline.judging.evaluation.folds import corrected_interval, spread_over_folds
from sightline.judging.evaluation.leakage import leak_effect
from sightline.judging.evaluation.losses import SMALLEST_PROBABILITY, cross_entropy, losses
from sightline.judging.evaluation.mistakes import least_certain, most_confident_errors, per_cell
from sightline.judging.evaluation.neighbours import nearest
from sightline.judging.evaluation.noise import doubtful_labels
from sightline.judging.evaluation.ranking import area_from_counts, ranked
from sightline.judging.evaluation.scores import evaluate, validation_scores
from sightline.judging.evaluation.slices import slices
from sightline.judging.evaluation.thresholds import (
    apply_points,
    choose_decision,
    class_points,
    operating_points,
    parse_rule,
)

__all__ = [
    "SMALLEST_PROBABILITY",
    "Costs",
    "apply_points",
    "area_from_counts",
    "calibrate",
    "choose_decision",
    "class_points",
    "compare",
    "compare_runs",
    "confusion_matrix",
    "corrected_interval",
    "costs_from_csv",
    "costs_from_table",
    "cross_entropy",
    "doubtful_labels",
    "evaluate",
    "fit_sets",
    "fit_temperature",
    "judge_sets",
    "leak_effect",
    "least_certain",
    "losses",
    "macro_scores",
    "most_confident_errors",
    "nearest",
    "operating_points",
    "parse_rule",
    "per_cell",
    "precision_recall_curve",
    "ranked",
    "reliability",
    "roc_curve",
    "scores_from_confusion",
    "slices",
    "spread_over_folds",
    "validation_scores",
]
