"""The verbs: the order of the calls, and what goes into the run folder when.

data       scan
auditing   audit
splitting  split
training   train
predicting predict
judging    evaluate
deciding   what the validation split decides about probabilities
reviewing  which images are worth a look
comparing  compare
diagnosing diagnose
gate       no figure comes out of a split that leaks, unasked
reporting  report, plot_history
previewing preview
explaining explain
looking    a run's network, asked where it looks
drawing    the pictures of that
exporting  export
importing  import_model
rates      find_learning_rate
tuning     tune
crossvalidating cv
folds      the trainings of that, each a run of its own
trials     the trainings of a search, each a run of its own
ensembling ensemble
members    the runs of an ensemble, and the images that none of them learned from
soups      what a mean of weights needs
composites the run folder of an ensemble
machine    doctor
cache      what the disk keeps of decoded images

A deep-learning framework is loaded by the first verb that needs one, never by an import.
"""

from __future__ import annotations

from sightline.workflow.auditing import audit
from sightline.workflow.comparing import compare
from sightline.workflow.crossvalidating import cv
from sightline.workflow.data import scan
from sightline.workflow.diagnosing import diagnose
from sightline.workflow.ensembling import ensemble
from sightline.workflow.explaining import explain
from sightline.workflow.exporting import export
from sightline.workflow.importing import import_model
from sightline.workflow.judging import evaluate
from sightline.workflow.machine import doctor
from sightline.workflow.predicting import predict
from sightline.workflow.previewing import preview
from sightline.workflow.rates import find_learning_rate
from sightline.workflow.reporting import plot_history, report
from sightline.workflow.splitting import split
from sightline.workflow.training import train
from sightline.workflow.tuning import tune

__all__ = [
    "audit",
    "compare",
    "cv",
    "diagnose",
    "doctor",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "find_learning_rate",
    "import_model",
    "plot_history",
    "predict",
    "preview",
    "report",
    "scan",
    "split",
    "train",
    "tune",
]
