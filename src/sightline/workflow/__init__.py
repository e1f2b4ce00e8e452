"""The verbs: the order of the calls, and what goes into the run folder when.

data       scan, split
training   train
judging    predict, evaluate
reporting  report, plot_history
machine    doctor
cache      what the disk keeps of decoded images

A deep-learning framework is loaded by the first verb that needs one, never by an import.
"""

from __future__ import annotations

from sightline.workflow.data import scan, split
from sightline.workflow.judging import evaluate, predict
from sightline.workflow.machine import doctor
from sightline.workflow.reporting import plot_history, report
from sightline.workflow.training import train

__all__ = ["doctor", "evaluate", "plot_history", "predict", "report", "scan", "split", "train"]
