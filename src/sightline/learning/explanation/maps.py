"""Maps of what speaks for a class: four methods, each a function of a probe, images and targets.

All return `Maps` at the network's input size. A value says how much a place speaks for the target;
what speaks against it counts as nothing. `place` is the layer that Grad-CAM looks into, by default
`Probe.place()`; the others ask the whole network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sightline.learning.explanation.gradients import Floats
from sightline.learning.explanation.probe import Place, Probe

Targets = npt.NDArray[np.int64]

_BOXES = 6  # occluding boxes along a side, beside each other
_STEPS = 64  # of integrated gradients, the middles of equal parts
_BRIGHTEST = 99.5  # percentile of pixels' attributions that is shown as 1
_SMOOTH = 1 / 64  # of the longer side: the deviation of the Gaussian
_NOTHING = 1e-3  # of a score: a change that small is not told from rounding, and shown as none


@dataclass(frozen=True, slots=True)
class Maps:
    """Maps of several images.

    Attributes:
        maps: (B, H, W) float32 in 0..1, the largest of each 1; all 0 where nothing speaks for the
            target.
        measured: What the method says of itself, by name: (B,) float64.
    """

    maps: Floats
    measured: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)


def gradcam(probe: Probe, images: Floats, targets: Targets, place: Place | None = None) -> Maps:
    """Return Grad-CAM (Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2).

    The channels of a layer, added up with weights: each channel's is the mean of the target's
    gradient over all places. Of an ensemble, the maps of its members are added up, each of a
    layer of its own.
    """
    added = np.zeros(images.shape[:3])
    for each in [place] if place else probe.places_of_parts():
        features, slopes = probe.slopes(images, targets, each)
        weights = slopes.mean(axis=(1, 2), dtype=np.float64)
        added += _class_activation(features, slopes, weights, probe)
    return Maps(unit(added))


def gradcam_plus_plus(
    probe: Probe, images: Floats, targets: Targets, place: Place | None = None
) -> Maps:
    """Return Grad-CAM++ (Chattopadhay et al. 2018, "Grad-CAM++", equations 10 and 19).

    As Grad-CAM, but a channel's weight is taken from the places with a positive gradient alone,
    and so that a small region counts as much as a large one. The exponential of the score, which
    they differentiate, cancels where maps are scaled.
    """
    added = np.zeros(images.shape[:3])
    for each in [place] if place else probe.places_of_parts():
        found = probe.slopes(images, targets, each)
        features, slopes = (array.astype(np.float64) for array in found)
        squares = slopes**2
        under = 2 * squares + features.sum(axis=(1, 2), keepdims=True) * slopes * squares
        shares = np.divide(squares, under, out=np.zeros_like(under), where=under != 0)
        weights = (shares * np.maximum(slopes, 0)).sum(axis=(1, 2))
        added += _class_activation(features, slopes, weights, probe)
    return Maps(unit(added))


def occlusion(probe: Probe, images: Floats, targets: Targets, place: Place | None = None) -> Maps:
    """Return how much the score falls where a box hides the image (Zeiler and Fergus 2014).

    A box is a sixth of each side, moved by half of itself, in the image's own mean colour; a pixel
    gets the mean fall of the boxes that hide it. 121 forward passes an image, or a few more.
    """
    del place
    height, width = images.shape[1:3]
    boxes = [
        (slice(top, top + high), slice(left, left + wide))
        for top, high in _strides(height)
        for left, wide in _strides(width)
    ]
    hidden_by = np.zeros((height, width))
    for box in boxes:
        hidden_by[box] += 1
    falls = np.zeros((len(images), height, width))
    whole = _targets_of(probe.scores(images), targets)
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        hidden = np.repeat(image[None], len(boxes), axis=0)
        for place_of, box in enumerate(boxes):
            hidden[place_of][box] = _mean_colour(image)
        for box, score in zip(boxes, probe.scores(hidden)[:, target], strict=True):
            falls[number][box] += max(whole[number] - score - _NOTHING, 0)
    return Maps(unit(falls / hidden_by))


def integrated_gradients(
    probe: Probe, images: Floats, targets: Targets, place: Place | None = None
) -> Maps:
    """Return integrated gradients (Sundararajan et al. 2017, equation 1), 64 steps.

    From a plain image of the image's own mean colour, so that no brightness is nothing by itself.
    The attributions of a pixel's channels are added up. The sum of all has to be the difference of
    the score between both images; `measured` has "difference", "sum" and "gap", the relative
    error. The map is what speaks for the target, smoothed over 1/64 of the longer side: strides
    and poolings leave it in dots.
    """
    del place
    steps = (np.arange(_STEPS, dtype=np.float32) + 0.5) / _STEPS
    whole = _targets_of(probe.scores(images), targets).astype(np.float64)
    plain_images = np.stack([np.broadcast_to(_mean_colour(each), each.shape) for each in images])
    plain = _targets_of(probe.scores(plain_images), targets).astype(np.float64)
    maps, sums = np.zeros(images.shape[:3]), np.zeros(len(images))
    for number, (image, start) in enumerate(zip(images, plain_images, strict=True)):
        way = start + steps[:, None, None, None] * (image - start)
        slopes = probe.image_slopes(way, np.repeat(targets[number], _STEPS))
        attributions = (image - start) * slopes.mean(axis=0, dtype=np.float64)
        sums[number] = attributions.sum()
        if np.abs(attributions).sum() > _NOTHING:
            maps[number] = attributions.sum(axis=-1)
    difference = whole - plain
    gap = np.abs(sums - difference) / np.maximum(np.abs(difference), 1.0)
    measured = {"difference": difference, "sum": sums, "gap": gap}
    smooth = _smoothed(np.maximum(maps, 0), _SMOOTH * max(images.shape[1:3]))
    return Maps(unit(smooth, brightest=_BRIGHTEST), measured)


METHODS: Mapping[str, Callable[[Probe, Floats, Targets, Place | None], Maps]] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "occlusion": occlusion,
    "integrated-gradients": integrated_gradients,
}
NEED_A_LAYER = ("gradcam", "gradcam++")


def unit(maps: npt.NDArray[np.floating], *, brightest: float = 100.0) -> Floats:
    """Return (B, H, W) float32 without what is negative, the largest value of each map 1.

    Args:
        maps: (B, H, W); what is not a finite number counts as 0.
        brightest: Percentile of a map's positive values that becomes 1, with all above it.
    """
    positive = np.maximum(np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0), 0)
    result = np.zeros(maps.shape, np.float32)
    for number, each in enumerate(positive):
        if (most := each.max(initial=0.0)) > 0:
            if brightest < 100:
                most = np.percentile(each[each > 0], brightest)
            result[number] = np.minimum(each / most, 1)
    return result


def enlarged(maps: npt.NDArray[np.floating], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return (B, H, W) float64 maps at a size (H, W), linear between the middles of the cells.

    The same numbers on every backend; one way down and one across.
    """
    down, across = (_between(here, there) for here, there in zip(maps.shape[1:], size, strict=True))
    return np.asarray(np.einsum("Hh,bhw,Ww->bHW", down, maps, across, optimize=True))


def _between(here: int, there: int) -> npt.NDArray[np.float64]:
    """Return (there, here): which share of each cell a place takes."""
    middles = np.clip((np.arange(there) + 0.5) * here / there - 0.5, 0, here - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(middles[:, None] - np.arange(here))))


def _smoothed(maps: npt.NDArray[np.float64], deviation: float) -> npt.NDArray[np.float64]:
    """Return (B, H, W) maps after a Gaussian of so many pixels; below half a pixel as they are."""
    if deviation < 0.5:
        return maps
    spreads = []
    for side in maps.shape[1:]:
        apart = np.arange(side)[:, None] - np.arange(side)
        spread = np.exp(-0.5 * (apart / deviation) ** 2)
        spreads.append(spread / spread.sum(axis=1, keepdims=True))
    return np.asarray(np.einsum("Hh,bhw,Ww->bHW", spreads[0], maps, spreads[1], optimize=True))


def _class_activation(
    features: npt.NDArray[np.floating],
    slopes: npt.NDArray[np.floating],
    weights: npt.NDArray[np.float64],
    probe: Probe,
) -> npt.NDArray[np.float64]:
    """Return the channels added up with their weights, what is negative cut off, enlarged.

    Whole rows and columns without any gradient are left out: a pooling that does not fit drops the
    last ones, which zero padding makes stand out, and the output knows nothing of them.
    """
    added = np.maximum(np.einsum("bhwc,bc->bhw", features, weights), 0)
    has_any = slopes != 0
    down, across = has_any.any(axis=(2, 3)), has_any.any(axis=(1, 3))
    added *= down[:, :, None] & across[:, None, :]
    return enlarged(added, probe.image_shape[:2])


def _strides(side: int) -> list[tuple[int, int]]:
    """Return (begin, length) of the boxes along a side; the last one ends with it."""
    length = max(1, round(side / _BOXES))
    begins = [*range(0, side - length, max(1, length // 2)), side - length]
    return [(begin, length) for begin in begins]


def _mean_colour(image: Floats) -> Floats:
    return np.asarray(image.mean(axis=(0, 1), dtype=np.float64), np.float32)


def _targets_of(scores: Floats, targets: Targets) -> Floats:
    return np.asarray(np.take_along_axis(scores, targets[:, None], axis=1)[:, 0])
