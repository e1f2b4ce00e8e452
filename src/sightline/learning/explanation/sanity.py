"""Whether maps change with what they are said to explain: the weights of the network."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt

from sightline.learning.explanation.gradients import Floats
from sightline.learning.explanation.maps import METHODS, Maps, Targets
from sightline.learning.explanation.probe import Place, Probe
from sightline.records import ExplainMethod, Finding, SanityCheck

_MOST_STAGES = 8
_PURPOSE = 0x5A417  # of what is drawn: it shares no random numbers with anything else
_SIDE = 64  # cells along the longer side that are ranked: more say nothing else


def check_sanity(
    probe: Probe,
    images: Floats,
    targets: Targets,
    method: ExplainMethod,
    place: Place | None,
    *,
    on_stage: Callable[[], None] = lambda: None,
) -> SanityCheck:
    """Return how maps change as weights are made random, layer by layer from the output downwards.

    The cascade of Adebayo et al. 2018, "Sanity Checks for Saliency Maps". Kernels are drawn anew
    around 0, as large as they were; vectors (biases, normalisations) are put into another order,
    the same one in a layer, so that a mean keeps its variance. The output layer first, then
    eight stages at most; the weights are put back. Repeatable.

    Args:
        probe: The network.
        images: (B, H, W, C).
        targets: (B,) class indices.
        method: Which maps.
        place: The layer, for methods that need one.
        on_stage: Called after each stage.
    """
    downwards = list(reversed(probe.weighted))
    count = min(_MOST_STAGES, len(downwards))
    ends = {round(part * len(downwards) / count) for part in range(1, count + 1)} | {1}
    kept = [[np.array(_plain(weight)) for weight in layer.weights] for _, layer in downwards]
    before = _small(_maps(probe, images, targets, method, place))
    shown = before.any(axis=(1, 2))
    names, values = [], []
    try:
        for number, (name, layer) in enumerate(downwards, start=1):
            _randomise(layer, number)
            if number in ends and shown.any():
                after = _small(_maps(probe, images, targets, method, place))
                pairs = zip(before[shown], after[shown], strict=True)
                values.append(float(np.mean([rank_correlation(*pair) for pair in pairs])))
                names.append(name)
                on_stage()
    finally:
        for (_, layer), arrays in zip(downwards, kept, strict=True):
            for weight, array in zip(layer.weights, arrays, strict=True):
                weight.assign(array)
    return SanityCheck(method, tuple(names), tuple(values), int(shown.sum()))


def sanity_finding(check: SanityCheck) -> Finding:
    """Return the check as a finding: found where the maps do not depend on the weights."""
    code, evidence = "maps-ignore-weights", check.to_dict()
    if not check.correlations:
        return Finding(code, "info", check.in_words(), evidence, outcome="not applicable")
    if check.passed:
        return Finding(code, "info", check.in_words(), evidence, outcome="passed")
    return Finding(
        code, "warning", check.in_words(), evidence,
        "Use another method or layer, and compare: what a map shows here, it shows of any network.",
    )  # fmt: skip


def rank_correlation(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
    """Return Spearman's correlation of two maps, -1..1; equal values share a rank.

    0 where one of them is the same everywhere.
    """
    first, second = (_ranks(each.reshape(-1)) for each in (one, other))
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / scale) if scale else 0.0


def _ranks(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[places], np.float64)


def _maps(
    probe: Probe, images: Floats, targets: Targets, method: ExplainMethod, place: Place | None
) -> Maps:
    with np.errstate(all="ignore"):  # random weights may give anything
        return METHODS[method](probe, images, targets, place)


def _small(found: Maps) -> Floats:
    """Return maps with every so many rows and columns, 64 at most."""
    step = -(-max(found.maps.shape[1:]) // _SIDE)
    return found.maps[:, step // 2 :: step, step // 2 :: step]


def _randomise(layer: keras.Layer, number: int) -> None:
    for weight in layer.weights:
        array = _plain(weight)
        rng = np.random.default_rng((_PURPOSE, number))
        if array.ndim > 1:  # put into another order, kernels with a mean would kill every unit
            size = float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
            weight.assign(rng.normal(0.0, size, array.shape).astype(array.dtype))
        else:
            weight.assign(array[rng.permutation(array.size)] if array.ndim else array)


def _plain(weight: keras.Variable) -> npt.NDArray[np.generic]:
    return np.asarray(keras.ops.convert_to_numpy(weight))
