"""Callbacks: ours and the user's, told as Keras tells them, and what of them can be saved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import keras
import numpy as np

from sightline.errors import RunError
from sightline.learning.training.memory import ReleaseMemory
from sightline.learning.training.schedules import is_better_lower
from sightline.progress import Progress
from sightline.recipes import Recipe
from sightline.recipes.sections import MetricName

_LOSSES = ("loss", "objective")
_BEFORE_A_METRIC = ("raw_", "val_")


@dataclass(frozen=True, slots=True)
class Listeners:
    """Everybody who is told how a training goes.

    Attributes:
        to_keras: Tells all of them.
        given: The user's own.
        progress: Where it is said what a resume cannot bring back.
    """

    to_keras: keras.callbacks.CallbackList
    given: tuple[keras.callbacks.Callback, ...]
    progress: Progress
    _told: set[int] = field(default_factory=set)  # places whose state can no longer be saved

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
        for each in callbacks:
            _show_the_better_way(each)
        forgetful = [type(each).__name__ for each in callbacks if not _has_state(each)]
        if forgetful:
            progress.say(
                f"Callbacks without get_state and set_state begin anew when this training is "
                f"resumed: {', '.join(forgetful)}."
            )
        to_keras = keras.callbacks.CallbackList(
            [*callbacks, *ours], model=model, epochs=recipe.train.epochs, steps=steps, verbose=0
        )
        return cls(to_keras, tuple(callbacks), progress)

    def refuse_unsaved(self) -> None:
        """Refuse callbacks whose state no checkpoint could hold, once training has begun.

        Raises:
            RunError: There is one.
        """
        for each in self.given:
            try:
                _as_json(each.get_state() if _has_state(each) else None)
            except (TypeError, ValueError) as error:
                raise RunError(_unsaved(each, error)) from error

    def state(self) -> list[dict[str, Any]]:
        """Return the class and the state of each of the user's callbacks, as plain JSON values.

        NumPy scalars become plain numbers. Of a state that has become something else, it is said
        once that it cannot be saved: hours of training are worth more.
        """
        return [
            {"class": type(each).__name__, "state": self._state_of(place, each)}
            for place, each in enumerate(self.given)
        ]

    def _state_of(self, place: int, callback: keras.callbacks.Callback) -> Any:
        if not _has_state(callback):
            return None
        try:
            return _as_json(callback.get_state())
        except (TypeError, ValueError) as error:
            if place not in self._told:
                self._told.add(place)
                told = _unsaved(callback, error)
                self.progress.say(f"{told} Until then it begins anew when this is resumed.")
            return None

    def restore(self, saved: Sequence[Mapping[str, Any]], *, within: int | None = None) -> None:
        """Give each callback its state back, by class and place; says what found no match.

        Args:
            saved: What `state` returned.
            within: The epoch in the middle of which training goes on: callbacks that begin anew are
                told that it begins, as many set up there what they use at its end.
        """
        states = {(n, one["class"]): one["state"] for n, one in enumerate(saved, 1)}
        states = {place: state for place, state in states.items() if state is not None}
        fresh = []
        for number, each in enumerate(self.given, 1):
            place = (number, type(each).__name__)
            if _has_state(each) and place in states:
                each.set_state(states.pop(place))
                continue
            if _has_state(each):
                fresh.append(place)
            if within is not None:
                each.on_epoch_begin(within)
        if states:
            self.progress.say(
                f"Not used, the saved state of {_named(states)}: give the same callbacks in the "
                "same order to go on with it."
            )
        if fresh:
            self.progress.say(f"Nothing was saved of {_named(fresh)}: begun anew.")
        forgetful = Counter(one["class"] for one in saved if one["state"] is None)
        if missing := forgetful - Counter(type(each).__name__ for each in self.given):
            self.progress.say(
                f"Given before and not now: {', '.join(missing.elements())}. Training goes on "
                "without; in Python they can be given again: sl.train(resume=..., callbacks=[...])."
            )


def _show_the_better_way(callback: keras.callbacks.Callback) -> None:
    """Set the mode of one of Keras' callbacks that is to find out itself which way is better.

    It would look its column up among the metrics that the model is compiled with, find none but
    the tally of a step, and end the training with the advice to give a mode. A column that is not
    ours is left to it.
    """
    asks = all(hasattr(callback, name) for name in ("monitor", "mode", "monitor_op"))
    if not asks or callback.mode != "auto":
        return
    metric = str(callback.monitor)
    for prefix in _BEFORE_A_METRIC:
        metric = metric.removeprefix(prefix)
    if metric in (*_LOSSES, *get_args(MetricName)):
        callback.mode = "min" if is_better_lower(metric) else "max"


def _has_state(callback: keras.callbacks.Callback) -> bool:
    return hasattr(callback, "get_state") and hasattr(callback, "set_state")


def _named(places: Iterable[tuple[int, str]]) -> str:
    return ", ".join(f"{name} (number {number} of the callbacks)" for number, name in places)


def _as_json(state: Any) -> Any:
    """Return a state as it comes back from a checkpoint.

    Raises:
        TypeError: It holds something that JSON has no word for, or a key that is no string, which
            would come back as one.
        ValueError: It holds itself.
    """
    text = json.dumps(state, default=_plain, skipkeys=True)  # keys are judged below
    _refuse_keys(state)
    return json.loads(text)


def _refuse_keys(state: Any) -> None:
    if isinstance(state, dict):
        for key in state:
            if not isinstance(key, str):
                raise TypeError(f"a key of type {type(key).__name__}")
    if isinstance(state, dict | list | tuple):
        for inner in state.values() if isinstance(state, dict) else state:
            _refuse_keys(inner)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()  # of a float32 too, the exact value
    raise TypeError(f"a value of type {type(value).__name__}")


def _unsaved(callback: keras.callbacks.Callback, error: Exception) -> str:
    return (
        f"the state of callback {type(callback).__name__} cannot be saved: get_state gave "
        f"{error}. Return numbers, strings, lists and dicts with strings as keys alone, such as "
        "array.tolist(), and make of it what you need in set_state; or leave out both."
    )
