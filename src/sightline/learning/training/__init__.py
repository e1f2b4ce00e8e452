"""Training: a small loop of our own around Keras' compiled step."""

from __future__ import annotations

from sightline.learning.training.freezing import freeze
from sightline.learning.training.loop import Outcome, fit
from sightline.learning.training.objective import class_weights, compile_model
from sightline.learning.training.saving import Keeper
from sightline.learning.training.speed import Speed, choose_precision

__all__ = [
    "Keeper",
    "Outcome",
    "Speed",
    "choose_precision",
    "class_weights",
    "compile_model",
    "fit",
    "freeze",
]
