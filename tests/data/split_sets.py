"""Sets to be split: random groups, copies and near copies, and what belongs together in them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from hypothesis import strategies as st

from sightline.data.splits import SplitShares
from sightline.records import Manifest

Row = dict[str, object]


def content(number: int) -> str:
    return hashlib.sha256(f"image {number}".encode()).hexdigest()


def audited(rows: Iterable[Row], root: str = "/r", **columns: list[object]) -> Manifest:
    listed = list(rows)
    names = {name: None for row in listed for name in row}
    made = {name: [row.get(name) for row in listed] for name in names}
    return Manifest.make(Path(root), {**made, **columns})


def image(name: str, label: str, **ties: object) -> Row:
    """Return a record of its own content, but for what is told."""
    return {"record_id": name, "label": label, "sha256": content(hash_of(name)), **ties}


def hash_of(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest())


def with_copies(contents: list[tuple[str, str | None, int, int | None]]) -> list[Row]:
    """Return records of (label, group, content, near cluster); equal contents are copies."""
    seen: defaultdict[int, int] = defaultdict(int)
    for _, _, number, _ in contents:
        seen[number] += 1
    return [
        {
            "record_id": f"{place:03d}.png",
            "label": label,
            "group": group,
            "sha256": content(number),
            "copy_group": content(number)[:16] if seen[number] > 1 else None,
            "near_group": None if near is None else f"near-{near}",
            "bytes": 1000 + number,
        }
        for place, (label, group, number, near) in enumerate(contents)
    ]


@st.composite
def tied_sets(draw: st.DrawFn, least: int = 20, most: int = 80) -> list[Row]:
    """Return records of 2..4 classes with groups, exact copies and clusters of near copies.

    Ties overlap freely: a copy may be in another group, and so may a near copy.
    """
    chance = draw(st.randoms(use_true_random=False))
    count, classes = draw(st.integers(least, most)), "abcd"[: draw(st.integers(2, 4))]
    grouped, copied, near = (draw(st.sampled_from([0.0, 0.1, 0.3])) for _ in range(3))
    clusters = {
        number: chance.randrange(count) for number in range(2 * count) if chance.random() < near
    }
    made = []
    for place in range(count):
        number = chance.randrange(count) if chance.random() < copied else count + place
        group = f"g{chance.randrange(count)}" if chance.random() < grouped else None
        made.append((chance.choice(classes), group, number, clusters.get(number)))
    return with_copies(made)


def together(rows: list[Row]) -> dict[str, int]:
    """Return which records belong together, worked out one tie after another."""
    unit = {str(row["record_id"]): place for place, row in enumerate(rows)}
    ties: defaultdict[tuple[str, object], list[str]] = defaultdict(list)
    for row in rows:
        for name in ("group", "copy_group", "near_group", "sha256"):
            if row.get(name) is not None:
                ties[name, row[name]].append(str(row["record_id"]))
    for members in ties.values():
        old = {unit[member] for member in members}
        for name, number in unit.items():
            if number in old:
                unit[name] = min(old)
    return unit


def splits_of(manifest: Manifest) -> dict[str, str | None]:
    return dict(manifest.table.select("record_id", "split").iter_rows())


def of_classes(manifest: Manifest, split: str) -> dict[str, int]:
    part = manifest.table.filter(pl.col("split") == split)
    return dict(part.group_by("label").len().iter_rows())


share = st.sampled_from([0, 0.1, 0.15, 0.3, 0.45])
all_shares = st.builds(SplitShares, validation=share, test=share)
seeds = st.integers(0, 2**32 - 1)
