"""Short trainings that are ended early, by their curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightline.records.trials import Watch

_FIRST = 2  # epochs, before which a curve says little
_ROOM = 2.0  # times what the rival still gained from there on


def behind(rival: Sequence[float], *, higher_is_better: bool = False) -> Watch:
    """Return a watch that ends a training which would not catch up with a finished one.

    It ends after an epoch from which on it would stay behind the rival's end even if it gained
    twice what the rival did in the rest of its epochs, and even if it gained in each epoch what it
    did in its last one. A training that learns more slowly by that much is lost; it is a matter of
    short trainings alone, and costs a change no more than its place.

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
        *_, before, now = _best_so_far(values, higher_is_better=higher_is_better)
        if now - max(_ROOM * still, (len(ends) - done) * (before - now)) <= ends[-1]:
            return ""
        return (
            f"After {done} of {len(ends)} epochs it was {now - ends[done - 1]:.4f} behind the "
            f"unchanged recipe, which gained {still:.4f} in the rest; its own last epoch gained "
            f"{before - now:.4f}."
        )

    return watch


def _best_so_far(values: Sequence[float], *, higher_is_better: bool) -> list[float]:
    """Return the best value up to each epoch, as a loss; what is not finite is the worst."""
    losses = np.asarray(values, np.float64) * (-1 if higher_is_better else 1)
    losses = np.where(np.isnan(losses), np.inf, losses)
    return [float(each) for each in np.minimum.accumulate(losses)]
