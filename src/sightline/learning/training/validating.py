"""Validation, by the one prediction loop; callbacks are told of it as Keras tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sightline.data.stream import Fault, Stream
from sightline.judging import evaluation
from sightline.learning.prediction import Scored, score
from sightline.learning.training import diverging, telling
from sightline.learning.training.interruption import StopRequest
from sightline.learning.training.listening import Listeners
from sightline.progress import Step
from sightline.recipes import Recipe

_Outputs = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class Validation:
    """What a model is validated on, and how.

    Attributes:
        stream: In manifest order, without augmentation; None where there are no such images.
        listeners: Who is told.
        recipe: Names the metrics.
        run: The run folder, for what is said of outputs that are no numbers.
    """

    stream: Stream | None
    listeners: Listeners
    recipe: Recipe
    run: Path

    @property
    def batches(self) -> int:
        """How many there are."""
        return 0 if self.stream is None else len(self.stream)

    @property
    def faults(self) -> Mapping[int, Fault]:
        """What could not be read."""
        return {} if self.stream is None else self.stream.faults

    def judge(
        self, model: keras.Model, epoch: int, step: Step, request: StopRequest
    ) -> dict[str, float] | None:
        """Return val_loss and the metrics, none without images; None: asked to stop.

        Raises:
            RunError: An output of the model is no number.
        """
        if self.stream is None:
            return {}
        to_keras = self.listeners.to_keras
        to_keras.on_test_begin()
        found = self._outputs(model, epoch, step, request, told=True)
        logs = {}
        if found:
            columns = sorted({*self.recipe.train.metrics, *telling.watched(self.recipe)})
            logs = {"loss": evaluation.cross_entropy(*found)}
            logs |= evaluation.validation_scores(*found, columns)
        to_keras.on_test_end(logs)
        return {f"val_{name}": value for name, value in logs.items()} or None

    def judge_raw(
        self, model: keras.Model, epoch: int, step: Step, request: StopRequest
    ) -> dict[str, float] | None:
        """Return the val_loss of trained weights whose average is judged; None: stop.

        Raises:
            RunError: An output of the model is no number.
        """
        if self.stream is None:
            return {}
        found = self._outputs(model, epoch, step, request, told=False)
        return {"raw_val_loss": evaluation.cross_entropy(*found)} if found else None

    def _outputs(
        self, model: keras.Model, epoch: int, step: Step, request: StopRequest, *, told: bool
    ) -> _Outputs | None:
        """Return (N, K) probabilities and (N,) labels of what can be read; None: stop."""
        assert self.stream is not None, "there is something to predict"
        to_keras = self.listeners.to_keras
        probabilities, labels = [], []
        scores = score(model, self.stream)
        for number in range(len(self.stream)):
            if request.signal_number:
                return None
            if told:
                to_keras.on_test_batch_begin(number)
            scored = next(scores)
            self._refuse_no_numbers(scored, epoch)
            probabilities.append(scored.probabilities[scored.readable])
            labels.append(scored.labels[scored.readable])
            if told:
                to_keras.on_test_batch_end(number, _loss(probabilities[-1], labels[-1]))
            step.advance(note="validation")
        return np.concatenate(probabilities), np.concatenate(labels)

    def _refuse_no_numbers(self, scored: Scored, epoch: int) -> None:
        assert self.stream is not None, "it was predicted"
        # Weights may have a NaN or infinity that no objective of a step has shown.
        wrong = ~np.isfinite(scored.probabilities).all(axis=1) & scored.readable
        if wrong.any():
            value = scored.probabilities[wrong].sum()
            named = diverging.some(self.stream, scored.rows[wrong])
            where = f"outputs that were no numbers, in the validation of epoch {epoch + 1}"
            diverging.write_down(where, self.stream, scored.rows[wrong], self.run)
            what = (
                f"the outputs for validation images became {value} in epoch {epoch + 1} ({named})"
            )
            raise diverging.diverged(what, self.run, self.recipe)


def _loss(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]) -> dict[str, Any]:
    """Return what Keras' callbacks are told of a batch: nothing where no file could be read."""
    return {"loss": evaluation.cross_entropy(probabilities, labels)} if len(labels) else {}
