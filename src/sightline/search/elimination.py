"""Short trainings that are ended early, by their curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline.records.trials import Watch

_FIRST = 2  # epochs, before which a curve says little
_ROOM = 2.0  # times what the rival still gained from there on


def behind(rival: Sequence[float], *, higher_is_better: bool = False) -> Watch:
    """Return a watch that ends a training which would not catch up with a finished one.

    It ends after an epoch from which on even twice what the rival gained in the rest of its own
    epochs would leave it behind the rival's end. A training that learns more slowly by that much
    is lost; it is a matter of short trainings alone, and costs a change no more than its place.

    Args:
        rival: What the search is about, after each of its epochs.
        higher_is_better: Of that.
    """
    ends = _best_so_far(rival, higher_is_better=higher_is_better)

    def watch(values: Sequence[float]) -> str:
        done = len(values)
        if not _FIRST <= done < len(ends):
            return ""
        still = ends[done - 1] - ends[-1]
        now = _best_so_far(values, higher_is_better=higher_is_better)[-1]
        if now - _ROOM * still <= ends[-1]:
            return ""
        return (
            f"After {done} of {len(ends)} epochs it was {now - ends[done - 1]:.4f} behind the "
            f"unchanged recipe, which gained {still:.4f} in the rest."
        )

    return watch


def _best_so_far(values: Sequence[float], *, higher_is_better: bool) -> list[float]:
    """Return the best value up to each epoch, as a loss; what is not finite is the worst."""
    losses = np.asarray(values, np.float64) * (-1 if higher_is_better else 1)
    losses = np.where(np.isnan(losses), np.inf, losses)
    return [float(each) for each in np.minimum.accumulate(losses)]
