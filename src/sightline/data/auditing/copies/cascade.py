"""`find_copies`: equal bytes, equal pixels, and pictures that were resized, cropped or turned.

From cheap to dear: hashes close to one another, thumbnails that agree, pixels that agree. What is
joined already is not looked at again, so many copies of one picture cost little more than one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.auditing.copies.clusters import DisjointSets, largest_binding
from sightline.data.auditing.copies.judging import Judge, Picture, Verdict
from sightline.data.auditing.copies.pictures import Pictures
from sightline.data.auditing.copies.screening import Screen
from sightline.data.auditing.copies.search import MIN_RADIUS, HashTable
from sightline.data.auditing.copies.variants import (
    BY_HOW,
    SAME,
    SEARCHED,
    VARIANTS,
    Variant,
    inverse,
)
from sightline.records.audit import PAIRS_SCHEMA
from sightline.records.manifest import Manifest

# From benchmarks/copies_planted.py --calibrate: of copies at quality 50 or 60 % of the size, 99 %
# differ in 4 bits at most; of crops of 2 % a side, 99 % in 11; of 4 %, 86 to 96 % in 12.
RADIUS, TURNED_RADIUS = 12, 8
# Comparisons of hashes. A million uniform ones take 0.9e10 upright and 1.0e10 turned; sets that
# are much more alike are searched within a smaller radius instead of for hours.
MAX_COMPARISONS = 15_000_000_000
_PAIRS_AT_ONCE = 64  # judged side by side; a constant, so that the outcome knows no workers
_CANDIDATES_AT_ONCE = 1 << 21  # 36 MB

Indices = npt.NDArray[np.int64]
_Candidate = tuple[tuple[int, int], list[int]]  # a pair of contents, and numbers of variants


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Which images of a data set are the same picture.

    Attributes:
        pairs: Columns of PAIRS_SCHEMA, by first and second: for every exact copy the pair with the
            first of its kind, and confirmed pairs that join each near cluster, no more than needed.
        copy_group: (n,) String aligned to the manifest: the first 16 digits of the sha256 of images
            with equal bytes, null where an image has none.
        near_group: The same for near copies and their exact copies: "near-" and the first 16 digits
            of the smallest sha256 of the cluster. In clusters that do not bind, only images with
            equal pixels have one.
        unbound: The record ids of each near cluster that is too large to be believed.
        verdicts: Columns of VERDICTS_SCHEMA: every pair looked at, now or before.
        radius: Bits of the hash within which upright and turned candidates were searched.
    """

    pairs: pl.DataFrame
    copy_group: pl.Series
    near_group: pl.Series
    unbound: tuple[tuple[str, ...], ...]
    verdicts: pl.DataFrame
    radius: tuple[int, int] = field(default=(RADIUS, TURNED_RADIUS))


def find_copies(
    manifest: Manifest,
    inspected: pl.DataFrame,
    *,
    known: pl.DataFrame,
    workers: int,
    on_done: Callable[[int], None],
) -> Copies:
    """Return the copies and near copies among the usable images.

    A function of the files' contents alone: not of the order of rows, the root folder, `workers`
    or what is `known`. Files are only decoded where thumbnails agree.

    Args:
        manifest: Where the files are.
        inspected: INSPECTED_SCHEMA, rows as in the manifest.
        known: VERDICTS_SCHEMA, of an earlier audit, or empty: these pairs are not decoded again.
        workers: Threads.
        on_done: Called with the number of pairs judged since it was called last.

    Raises:
        ValueError: `inspected` has other records than the manifest, or `known` other columns.
    """
    ids = manifest.table["record_id"]
    if not inspected["record_id"].equals(ids):
        raise ValueError(
            f"inspected must have the {len(ids):,} records of the manifest in its order, got "
            f"{len(inspected):,} others. Inspect the manifest again."
        )
    pictures = Pictures.of(inspected)
    search = _Search(manifest, pictures, Judge(known), workers, on_done)
    for first, twin in pictures.equal:
        pair = (pictures.sha256[first], pictures.sha256[twin])
        search.join(first, twin, Verdict(*pair, SAME.how, 1.0, confirmed=True))
    radius = search.run() if len(pictures.searched) > 1 else (RADIUS, TURNED_RADIUS)
    clusters = search.sets.groups()
    limit = largest_binding(sum(len(rows) for rows in pictures.rows))
    twins = {twin for _, twin in pictures.equal}
    large = [cluster for cluster in clusters if len(set(cluster) - twins) > limit]
    loose = {content for cluster in large for content in cluster}
    near = [cluster for cluster in clusters if cluster[0] not in loose]
    near += [same for same in _equal_groups(pictures) if same[0] in loose]
    return Copies(
        pairs=_pairs(ids, pictures, search.edges),
        copy_group=_column("copy_group", len(ids), _copy_groups(pictures)),
        near_group=_column("near_group", len(ids), _near_groups(pictures, near)),
        unbound=tuple(
            tuple(sorted(ids[row] for content in cluster for row in pictures.rows[content]))
            for cluster in large
        ),
        verdicts=search.judge.table(),
        radius=radius,
    )


class _Search:
    """The cascade over the contents of one data set, and what it has joined so far."""

    def __init__(
        self,
        manifest: Manifest,
        pictures: Pictures,
        judge: Judge,
        workers: int,
        on_done: Callable[[int], None],
    ) -> None:
        self.sets = DisjointSets(len(pictures.sha256))
        self.edges: list[tuple[int, int, Verdict]] = []
        self.judge = judge
        self._manifest, self._pictures = manifest, pictures
        self._workers, self._on_done = workers, on_done

    def join(self, a: int, b: int, verdict: Verdict) -> None:
        """Make a cluster of two contents and theirs, and remember why."""
        if self.sets.join(a, b):
            self.edges.append((a, b, verdict))

    def run(self) -> tuple[int, int]:
        """Join all near copies; return the radii of upright and turned candidates."""
        table = HashTable(self._pictures.hashes)
        screen = Screen(self._pictures.thumbs)
        turned = [variant for variant in SEARCHED if variant != SAME]
        radius = affordable(table, [SAME], RADIUS)
        turned_radius = affordable(table, turned, TURNED_RADIUS)
        # Hashes that hardly differ come first: they join most copies, and the others skip them.
        for limit in (MIN_RADIUS, radius):
            self._judge_all(self._candidates(table, screen, SAME, limit))
        self._judge_all(
            block
            for variant in turned
            for block in self._candidates(table, screen, variant, turned_radius)
        )
        return radius, turned_radius

    def _candidates(
        self, table: HashTable, screen: Screen, variant: Variant, radius: int
    ) -> Iterator[Indices]:
        """Yield (P, 4): distance, content a < content b, number of the variant that makes a b."""
        searched = self._pictures.searched
        forth, back = (VARIANTS.index(v) for v in (variant, inverse(variant)))
        for block in table.pairs(variant, radius, workers=self._workers):
            roots = self._roots
            first, second = searched[block.first], searched[block.second]
            apart = np.flatnonzero(roots[first] != roots[second])
            some = screen.passes(variant, block.first[apart], block.second[apart])
            kept = apart[some]
            first, second = first[kept], second[kept]
            number = np.where(first < second, forth, back)
            a, b = np.minimum(first, second), np.maximum(first, second)
            yield np.stack([block.distance[kept].astype(np.int64), a, b, number], axis=1)

    def _judge_all(self, blocks: Iterator[Indices]) -> None:
        """Judge candidates in the order of distance; parts of them where there are too many."""
        self._roots = self.sets.roots()
        waiting: list[Indices] = []
        for block in blocks:
            waiting.append(block)
            if sum(map(len, waiting)) >= _CANDIDATES_AT_ONCE:
                self._judge_some(np.concatenate(waiting))
                waiting = []
                self._roots = self.sets.roots()
        if waiting:
            self._judge_some(np.concatenate(waiting))

    def _judge_some(self, candidates: Indices) -> None:
        order = np.lexsort(candidates.T[::-1])  # by distance, then a, b, variant
        pairs: dict[tuple[int, int], list[int]] = defaultdict(list)
        for _, a, b, number in candidates[order].tolist():
            pairs[a, b].append(number)
        left = list(pairs.items())
        with ThreadPoolExecutor(self._workers) as pool:
            place = 0
            while place < len(left):
                some: list[_Candidate] = []
                while place < len(left) and len(some) < _PAIRS_AT_ONCE:
                    (a, b), _ = left[place]
                    if self.sets.find(a) != self.sets.find(b):
                        some.append(left[place])
                    place += 1
                for ((a, b), _), verdict in zip(some, pool.map(self._best, some), strict=True):
                    if verdict is not None:
                        self.join(a, b, verdict)
                self._on_done(len(some))

    def _best(self, candidate: _Candidate) -> Verdict | None:
        (a, b), numbers = candidate
        variants = [VARIANTS[number] for number in numbers]
        return self.judge.best(self._picture(a), self._picture(b), variants)

    def _picture(self, content: int) -> Picture:
        record_id = self._manifest.table["record_id"][self._pictures.rows[content][0]]
        return Picture(self._pictures.sha256[content], self._manifest.locate(record_id))


def affordable(table: HashTable, variants: Sequence[Variant], radius: int) -> int:
    """Return the largest radius up to `radius` whose search is not too long."""
    while radius > MIN_RADIUS:
        comparisons = sum(table.cost(variant, radius) for variant in variants)
        if comparisons <= MAX_COMPARISONS:
            break
        radius -= 1
    return radius


def _pairs(
    ids: pl.Series, pictures: Pictures, edges: list[tuple[int, int, Verdict]]
) -> pl.DataFrame:
    rows = [
        (ids[same[0]], ids[other], "copy", SAME.how, 1.0)
        for same in pictures.rows
        for other in same[1:]
    ]
    for a, b, verdict in edges:
        first, second = ids[pictures.rows[a][0]], ids[pictures.rows[b][0]]
        how = BY_HOW[verdict.how]
        if first > second:
            first, second, how = second, first, inverse(how)
        rows.append((first, second, "near copy", how.how, verdict.similarity))
    return pl.DataFrame(rows, schema=PAIRS_SCHEMA, orient="row").sort("first", "second")


def _copy_groups(pictures: Pictures) -> dict[int, str]:
    return {
        row: sha256[:16]
        for sha256, rows in zip(pictures.sha256, pictures.rows, strict=True)
        if len(rows) > 1
        for row in rows
    }


def _equal_groups(pictures: Pictures) -> list[list[int]]:
    """Return the contents whose pixels are equal: no doubt about them, however many they are."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for first, twin in pictures.equal:
        groups[first] = [*(groups[first] or [first]), twin]
    return list(groups.values())


def _near_groups(pictures: Pictures, clusters: list[list[int]]) -> dict[int, str]:
    return {
        row: f"near-{pictures.sha256[cluster[0]][:16]}"
        for cluster in clusters
        for content in cluster
        for row in pictures.rows[content]
    }


def _column(name: str, length: int, values: dict[int, str]) -> pl.Series:
    return pl.Series(name, [values.get(row) for row in range(length)], pl.String)
