"""What is written at the end of an epoch, so that a run is never worth less than its best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sightline import runs
from sightline.data.stream import Fault
from sightline.learning.models.forward import get_weights, with_own_scaling
from sightline.recipes import Recipe


@dataclass(slots=True)
class Keeper:
    """Writes history, the last checkpoint, the best weights and `model.json`.

    Attributes:
        run: The run folder.
        recipe: Resolved.
        class_names: In output order.
        card: What `model.json` holds so far.
        events: TensorBoard's copy of the history.
    """

    run: Path
    recipe: Recipe
    class_names: tuple[str, ...]
    card: dict[str, Any] = field(default_factory=dict)
    events: runs.Events = field(init=False)

    def __post_init__(self) -> None:
        self.events = runs.Events(self.run / "events")

    def epoch_done(
        self,
        model: keras.Model,
        row: Mapping[str, Any],
        *,
        step: int,
        best: bool,
        raw: Sequence[npt.NDArray[np.generic]] = (),
        faults: Sequence[Fault] = (),
    ) -> None:
        """Write everything that one finished epoch adds.

        Args:
            model: With the weights that were validated.
            row: The epoch's line of the history.
            step: Steps of the whole training so far.
            best: Whether this epoch is better than all before.
            raw: The trained weights, where those of `model` are their moving average.
            faults: Files that could not be read in this epoch.
        """
        # First, so that no weights are ever kept of an epoch that the history does not know.
        runs.append_history(self.run / "history.jsonl", row)
        self.events.add(row)
        weights = get_weights(model)
        state = {f"{runs.VALIDATED}{name}": array for name, array in weights.items()}
        state |= {f"raw/{number:03d}": array for number, array in enumerate(raw)}
        state |= {
            f"optimizer/{number:03d}": np.asarray(keras.ops.convert_to_numpy(variable))
            for number, variable in enumerate(model.optimizer.variables)
        }
        meta = {
            "format_version": runs.FORMAT_VERSION,
            "epoch": row["epoch"],
            "step": step,
            "faults": {fault.record_id: fault.reason for fault in faults},
        }
        runs.save_checkpoint(self.run, step, state, meta)
        if best or not self.card:  # without a finite value, the first epoch is all there is
            runs.write_tensors(self.run / "best.safetensors", weights, epoch=row["epoch"])
            self.card = self._card(runs.fingerprint(self.run, weights))
            self.card |= {"best_epoch": row["epoch"], "best_value": row[self.recipe.train.best]}
        self.card["last_epoch"] = row["epoch"]
        runs.write_json(self.run / "model.json", self.card)

    def export_keras(self, model: keras.Model) -> None:
        """Write `model.keras`, for Keras users; `model` must have the best weights."""
        whole = with_own_scaling(model, self.recipe)
        runs.write_atomically(self.run / "model.keras", whole.save)

    def _card(self, fingerprint: str) -> dict[str, Any]:
        data = self.recipe.data
        return {
            "format_version": runs.FORMAT_VERSION,
            "class_names": list(self.class_names),
            "network": self.recipe.model.network,
            "input": {
                "image_size": list(data.image_size),
                "channels": data.channels,
                "scaling": data.scaling,
                "mean": list(data.mean),
                "std": list(data.std),
                "quality": data.quality,
                "background": list(data.background),
            },
            "threshold": 0.5,
            "temperature": 1.0,
            "monitor": self.recipe.train.best,
            "fingerprint": fingerprint,
        }


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[list[npt.NDArray[np.generic]]]:
    """Put the moving average of the weights in, if the optimizer keeps one; then take it out.

    Yields the trained weights meanwhile set aside, or nothing without an average.
    """
    if not model.optimizer.use_ema:
        yield []
        return
    raw = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for variable in model.trainable_variables:
        # A copy: on JAX the variable would share the average's buffer, which the next forward
        # step gives away.
        variable.assign(np.array(keras.ops.convert_to_numpy(variable)))
    try:
        yield raw
    finally:
        for variable, array in zip(model.trainable_variables, raw, strict=True):
            variable.assign(array)
