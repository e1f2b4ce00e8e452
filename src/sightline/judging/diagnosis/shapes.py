"""The shape of a curve: its trend, what wiggles about it, where it turns."""

from __future__ import annotations

import math

import numpy as np

from sightline.judging.diagnosis.facts import Floats

_SURE = 2.5  # t value: 1 in 30 of trendless curves of 6 epochs fall so clearly


def smooth(values: Floats, width: int = 3) -> Floats:
    """Return the centred moving mean, (E,); at the ends over the neighbours that there are."""
    half = width // 2
    return np.array(
        [values[max(0, place - half) : place + half + 1].mean() for place in range(len(values))]
    )


def wiggle(values: Floats) -> float:
    """Return the deviation of what is left of a curve without its trend; 0 for under 3 epochs.

    From second differences x[i-1] - 2 x[i] + x[i+1], which a straight trend has none of and
    independent noise of deviation s has with deviation sqrt(6) s. After J. von Neumann et al.
    1941, "The mean square successive difference", taken once more.
    """
    if len(values) < 3:
        return 0.0
    return float(np.sqrt(np.mean(np.diff(values, n=2) ** 2) / 6))


def steady_wiggle(values: Floats) -> float:
    """Return `wiggle` without what is largest: one spike, which three second differences see."""
    bends = np.sort(np.abs(np.diff(values, n=2)))[:-3]
    return float(np.sqrt(np.mean(bends**2) / 6)) if len(bends) else 0.0


def turns(values: Floats) -> float:
    """Return the share of inner epochs in which a curve changes its direction.

    1 for high, low, high, low; 2/3 for noise; 0 for what only rises or falls.
    """
    steps = np.sign(np.diff(values))
    return float(np.mean(steps[1:] * steps[:-1] < 0)) if len(steps) > 1 else 0.0


def trend(values: Floats) -> tuple[float, float]:
    """Return the slope of the straight line through a curve, an epoch, and its t value.

    (0, 0) for under 3 epochs; the t value of a perfect line is infinite.
    """
    if len(values) < 3:
        return 0.0, 0.0
    every = np.arange(len(values)) - (len(values) - 1) / 2
    slope = float((every * values).sum() / (every**2).sum())
    rest = values - values.mean() - slope * every
    spread = math.sqrt(float((rest**2).sum()) / max(1, len(values) - 2) / float((every**2).sum()))
    if not spread:
        return slope, math.copysign(math.inf, slope) if slope else 0.0
    return slope, slope / spread


def falls(values: Floats, *, least: float) -> bool:
    """Say whether a curve falls steadily, by at least this share of its mean an epoch."""
    slope, t = trend(values)
    return slope < -least * abs(float(values.mean())) and t < -_SURE
