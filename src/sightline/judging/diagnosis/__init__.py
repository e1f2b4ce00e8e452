"""What the curves of a training say, as an expert reads them: rules, each a pure function.

facts     what a rule may look at
reading   those facts from Keras' History, its dictionary, or a file of CSVLogger
shapes    trend, wiggle and turns of a curve
changes   the next experiment, as `--set` takes it
noise     a small split, an unsteady model, epochs without figures
rate      divergence, nothing learnt, a rate too high, too low, too early down
fit       too little learnt, too much by heart, too many parameters
stopping  patience, epochs, best and last
classes   one never predicted, accuracy that mirrors imbalance, weights that harm
splits    validation better than training, perfect, far above other images
loader    waiting for images
ruling    all of them, and which one explains which
"""

from __future__ import annotations

from sightline.judging.diagnosis.facts import Ended, TrainingFacts
from sightline.judging.diagnosis.reading import Known, facts_of_history, read_csv
from sightline.judging.diagnosis.ruling import CODES, diagnose

__all__ = [
    "CODES",
    "Ended",
    "Known",
    "TrainingFacts",
    "diagnose",
    "facts_of_history",
    "read_csv",
]
