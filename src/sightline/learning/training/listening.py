"""Callbacks: ours and the user's, told as Keras tells them, and what of them can be saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from sightline.learning.training.memory import ReleaseMemory
from sightline.progress import Progress
from sightline.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Listeners:
    """Everybody who is told how a training goes.

    Attributes:
        to_keras: Tells all of them.
        given: The user's own.
    """

    to_keras: keras.callbacks.CallbackList
    given: tuple[keras.callbacks.Callback, ...]

    @classmethod
    def of(
        cls,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        recipe: Recipe,
        steps: int,
        progress: Progress,
    ) -> Listeners:
        """Return those of a training; says which callbacks a resume cannot bring back."""
        ours = [ReleaseMemory()] if recipe.train.release_memory else []
        forgetful = [type(each).__name__ for each in callbacks if not _has_state(each)]
        if forgetful:
            progress.say(
                f"Callbacks without get_state and set_state begin anew when this training is "
                f"resumed: {', '.join(forgetful)}."
            )
        to_keras = keras.callbacks.CallbackList(
            [*callbacks, *ours], model=model, epochs=recipe.train.epochs, steps=steps, verbose=0
        )
        return cls(to_keras, tuple(callbacks))

    def state(self) -> list[dict[str, Any]]:
        """Return the class and the state of each of the user's callbacks, as plain JSON values."""
        return [
            {"class": type(each).__name__, "state": each.get_state() if _has_state(each) else None}
            for each in self.given
        ]

    def restore(self, saved: Sequence[Mapping[str, Any]]) -> None:
        """Give each callback its state back, by class and place."""
        for each, one in zip(self.given, saved, strict=False):
            if _has_state(each) and one["class"] == type(each).__name__:
                each.set_state(one["state"])


def _has_state(callback: keras.callbacks.Callback) -> bool:
    return hasattr(callback, "get_state") and hasattr(callback, "set_state")
