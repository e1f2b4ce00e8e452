"""How well numbers predict labels: cross-validated small trees, and what chance does as well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

NUM_FOLDS = 5
# 100,000 images would tell no more: at 20,000 the standard error of an AUC is under 0.005.
_SAMPLE = 20_000
# One against the rest for more classes than this takes long and says no more.
_MOST_CLASSES = 50
# A leaf of fewer images would follow single files.
_LEAF = 5
_TOGETHER = ("group", "copy_group", "near_group")

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """An even sample of labelled rows, shared out to folds.

    Attributes:
        rows: The n rows.
        class_names: The k labels that occur, sorted.
        labels: (n,) int64, 0..k-1.
        units: (n,) int64: equal for images of one group, or copies of each other.
        folds: (n,) int64, 0..NUM_FOLDS-1; equal for one unit.
    """

    rows: pl.DataFrame
    class_names: list[str]
    labels: npt.NDArray[np.int64]
    units: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]

    def units_of_class(self) -> npt.NDArray[np.int64]:
        """Return (k,): how many units hold an image of each class."""
        pairs = np.unique(np.stack([self.labels, self.units]), axis=1)
        return np.bincount(pairs[0], minlength=len(self.class_names))


@dataclass(frozen=True, slots=True)
class Aucs:
    """How well each class was told from the rest.

    Attributes:
        of_class: (k,) area under the ROC curve, 0..1; 0.5 is chance.
        chance: (k,) how far it strays from 0.5 by chance, as a standard deviation.
    """

    of_class: Numbers
    chance: Numbers

    @property
    def mean(self) -> float:
        """The mean over the classes."""
        return float(self.of_class.mean())

    @property
    def chance_of_mean(self) -> float:
        """How far the mean strays, as if all classes strayed alike: the cautious side."""
        return float(self.chance.mean())


def draw_sample(rows: pl.DataFrame) -> Sample:
    """Return an even sample of labelled rows: rare classes whole, of the others every n-th.

    Of more than 50 classes only the most frequent. Deterministic.
    """
    sizes = rows.group_by("label").len().sort("len", "label", descending=[True, False])
    sizes = sizes.head(_MOST_CLASSES)
    rows = rows.join(sizes, on="label", how="semi", maintain_order="left")
    cap = max(1, _SAMPLE // len(sizes))
    place, size = pl.int_range(pl.len()).over("label"), pl.len().over("label")
    # The k-th of `cap` even steps falls on a row where the step number changes.
    chosen = ((place + 1) * cap // size) > (place * cap // size)
    rows = rows.filter((size <= cap) | chosen)
    class_names = sorted(sizes["label"].to_list())
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = rows["label"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
    units = _units(rows)
    return Sample(rows, class_names, labels, units, _folds(labels, units))


def cross_validated(values: npt.NDArray[np.float32], sample: Sample) -> Aucs:
    """Return how well small trees on (n, features) values predict the labels of other units.

    Every image is predicted by a tree that saw no image of its unit.
    """
    from sklearn.tree import DecisionTreeClassifier

    num_classes = len(sample.class_names)
    predicted = np.zeros((len(values), num_classes))
    depth = 3 + math.ceil(math.log2(num_classes / 2))  # 3 for two classes
    for fold in range(NUM_FOLDS):
        inside = sample.folds == fold
        tree = DecisionTreeClassifier(
            max_depth=depth, min_samples_leaf=_LEAF, class_weight="balanced", random_state=0
        )
        tree.fit(values[~inside], sample.labels[~inside])
        predicted[np.ix_(inside, tree.classes_)] = tree.predict_proba(values[inside])
    return Aucs(_areas(predicted, sample.labels), deviations_of_chance(sample))


def deviations_of_chance(sample: Sample) -> Numbers:
    """Return (k,): the standard deviation of each AUC of a fixed score where labels are random.

    By Mann and Whitney (1947). For images count units, and units of unequal size for less, by
    Kish's effective size (1965): a patient with half of all images is half of what is seen.
    """
    (of_class, of_unit), images = np.unique(
        np.stack([sample.labels, sample.units]), axis=1, return_counts=True
    )
    unit_sizes = np.bincount(sample.units)
    num_classes = len(sample.class_names)
    sizes = np.bincount(sample.labels, minlength=num_classes)
    squares = np.bincount(of_class, images**2, num_classes)
    shared = np.bincount(of_class, images * unit_sizes[of_unit], num_classes)
    squares_of_others = (unit_sizes**2).sum() - 2 * shared + squares
    inside = sizes**2 / squares
    others = (len(sample.labels) - sizes) ** 2 / squares_of_others
    return np.asarray(np.sqrt((inside + others + 1) / (12 * inside * others)), np.float64)


def _areas(predicted: Numbers, labels: npt.NDArray[np.int64]) -> Numbers:
    """Return (k,): the area under the ROC curve of each class against the rest, by ranks."""
    from scipy.stats import rankdata

    inside = labels[:, None] == np.arange(predicted.shape[1])
    ranks = rankdata(predicted, axis=0)
    count = inside.sum(0)
    above = (ranks * inside).sum(0) - count * (count + 1) / 2
    return np.asarray(above / (count * (len(labels) - count)), np.float64)


def _units(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Return (n,): the number of what each row belongs to, through groups and copies."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    starts: list[npt.NDArray[np.int64]] = []
    ends: list[npt.NDArray[np.int64]] = []
    nodes = len(rows)  # rows first, then a node for each group
    for name in _TOGETHER:
        ranks = rows[name].rank("dense")
        members = np.flatnonzero(ranks.is_not_null().to_numpy())
        starts.append(members)
        ends.append(ranks.drop_nulls().to_numpy().astype(np.int64) - 1 + nodes)
        nodes += int(ranks.n_unique())
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(nodes, nodes))
    _, of_node = connected_components(graph, directed=False)
    return np.asarray(of_node[: len(rows)], np.int64)


def _folds(labels: npt.NDArray[np.int64], units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (n,): units dealt out in turn, class by class, so that every fold has its share."""
    _, first, of_row = np.unique(units, return_index=True, return_inverse=True)
    order = np.lexsort((first, labels[first]))
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(first)) % NUM_FOLDS
    return fold[of_row]
