"""Where a network looks over many images, and whether that is the border: a shortcut to be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sightline.records import Attention, AverageMap, Explanation, Finding, Interval

RING = 0.1  # of each side
_FEWEST = 10  # images with a map: no interval below
_ROUNDS = 1000
_PURPOSE = 0xA77E  # of the bootstrap
_WELL_ABOVE = 1.25  # times the share of attention that is spread evenly


def attention_of(explanations: Sequence[Explanation], split: str) -> Attention:
    """Return where a network looks over a whole split.

    Each image counts alike: its map is divided by its sum. Intervals are those of 1,000 bootstrap
    resamples of the images (95 %, percentiles), always the same ones.

    Args:
        explanations: At least one, by one method, of maps of one size.
        split: What it is called.
    """
    first = explanations[0]
    ring = _ring(first.map.shape)
    names = sorted({each.class_name for each in explanations})
    return Attention(
        split=split,
        method=first.method,
        layer=first.layer,
        whole=_average("", explanations, ring),
        classes=tuple(
            _average(name, [each for each in explanations if each.class_name == name], ring)
            for name in names
        ),
        ring=RING,
        expected=float(ring.mean()),
    )


def border_finding(attention: Attention) -> Finding:
    """Return whether a network looks at the border of its images more than evenly by far.

    Found where the interval of the share lies wholly above 1.25 times that of attention spread
    evenly, of all images or of those taken for one class.
    """
    parts = [attention.whole, *attention.classes]
    limit = _WELL_ABOVE * attention.expected
    told = [part for part in parts if part.border.low is not None]
    high = [part for part in told if part.border.low is not None and part.border.low > limit]
    evidence = {**attention.to_dict(), "limit": limit}
    share = attention.whole.border.value
    evenly = f"{attention.expected:.0%} is the share of attention spread evenly"
    if not told:
        return Finding(
            "border-attention", "info", "Too few images have a map to say where the network looks.",
            evidence, outcome="not applicable",
        )  # fmt: skip
    if not high:
        return Finding(
            "border-attention", "info",
            f"{share:.0%} of the attention is on the border of the images ({evenly}).",
            evidence, outcome="passed",
        )  # fmt: skip
    worst = max(high, key=lambda part: part.border.value)
    of = f"of the images taken for {worst.class_name!r} " if worst.class_name else ""
    return Finding(
        "border-attention",
        "warning",
        f"{worst.border.value:.0%} of the attention {of}is on the outer {attention.ring:.0%} of "
        f"the image on each side ({evenly}). What decides may be a frame, a marker or a ruler.",
        evidence,
        "Look at the overlays and the average map. If something at the border tells the class, "
        "crop it off in the files, or balance it between the classes, and train again; a random "
        "crop or erasing (augment.erasing) makes it less useful.",
    )


def _average(
    name: str, explanations: Sequence[Explanation], ring: npt.NDArray[np.bool_]
) -> AverageMap:
    shown = [each.map for each in explanations if not each.is_empty]
    empty = len(explanations) - len(shown)
    if not shown:
        nothing = np.zeros(ring.shape, np.float32)
        return AverageMap(name, 0, empty, nothing, Interval(0.0, None, None, "no image has a map"))
    added, shares = np.zeros(ring.shape), []
    for each in shown:
        spread = each / each.sum(dtype=np.float64)
        added += spread
        shares.append(float(spread[ring].sum()))
    average = np.asarray(added / added.max(), np.float32)
    return AverageMap(name, len(shown), empty, average, _mean(np.asarray(shares)))


def _mean(shares: npt.NDArray[np.float64]) -> Interval:
    """Return the mean of (N,) shares with its 95 % interval."""
    mean, count = float(shares.mean()), len(shares)
    if count < _FEWEST:
        note = f"too few to say: {count} images, {_FEWEST} are needed"
        return Interval(mean, None, None, note)
    drawn = np.random.default_rng(_PURPOSE).integers(0, count, (_ROUNDS, count))
    low, high = np.percentile(shares[drawn].mean(axis=1), [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def _ring(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return (h, w) bool: the outer tenth of each side, at least one cell."""
    height, width = shape
    down, across = (max(1, round(RING * side)) for side in (height, width))
    ring = np.ones((height, width), bool)
    ring[down : height - down, across : width - across] = False
    return ring
