"""Which records are trained on, chosen by and judged on: honest by construction, and repeatable.

shares     how much is held out
units      what is never divided
placing    the division itself
refusals   what is said when it cannot be made
assigning  train, validation, test and external; what is given is kept
folding    K folds
matching   records of an earlier manifest, found again
places     where they were
tying      which place a new image belongs to
keeping    a split that grows, and moves nothing
telling    what is said of that
leaks      what crosses a split that was made elsewhere
weighing   weights for rare classes
held       what each side holds
"""

from __future__ import annotations

from sightline.data.splits.assigning import assign, complete, folds_in_words, pooled, resplit_train
from sightline.data.splits.folding import assign_folds
from sightline.data.splits.held import Side, sides, sides_in_words
from sightline.data.splits.keeping import keep
from sightline.data.splits.leaks import Crossing, Leaks, leaks
from sightline.data.splits.shares import SplitShares
from sightline.data.splits.units import Units
from sightline.data.splits.weighing import with_rare_weights

__all__ = [
    "Crossing",
    "Leaks",
    "Side",
    "SplitShares",
    "Units",
    "assign",
    "assign_folds",
    "complete",
    "folds_in_words",
    "keep",
    "leaks",
    "pooled",
    "resplit_train",
    "sides",
    "sides_in_words",
    "with_rare_weights",
]
