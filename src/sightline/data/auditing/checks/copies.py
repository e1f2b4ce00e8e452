"""The same picture twice: in the set, under two labels, on two sides of a split."""

from __future__ import annotations

from typing import Any

import polars as pl

from sightline.data.auditing.checks.audited import AuditedSet, counts_by
from sightline.data.auditing.checks.crossing import crossing, divided, spread
from sightline.data.auditing.checks.outcomes import Outcomes, counted, listed, part_of
from sightline.data.auditing.copies import RADIUS, TURNED_RADIUS, Copies
from sightline.records import Finding

_UNTURNED = "not turned"

_CONFLICT = Outcomes("conflicting-labels", "error")
_COPIES_CROSS = Outcomes("copies-across-splits", "error")
_NEAR_CROSS = Outcomes("near-copies-across-splits", "error")
_EXACT = Outcomes("exact-copies", "warning")
_NEAR = Outcomes("near-copies", "warning")
_UNBOUND = Outcomes("unbound-cluster", "warning")


def conflicting_labels(audited: AuditedSet) -> Finding:
    """Return which pictures stand under several labels; an error where the pixels are equal."""
    if len(audited.classes) < 2:
        return _CONFLICT.not_applicable("There are no two labels that could contradict each other.")
    labelled = audited.usable.drop_nulls("label")
    same = divided(labelled, "picture", "label")
    near = _near(divided(labelled, "near_group", "label"))
    # What equal pixels alone divide is told there, not once more as a near copy.
    apart = near.group_by("near_group").agg(pl.col("picture").n_unique())
    near = near.join(apart.filter(pl.col("picture") > 1), on="near_group", how="semi")
    groups = [
        *({**group, "kind": "same picture"} for group in spread(same, "picture", "label")),
        *({**group, "kind": "near copy"} for group in spread(near, "near_group", "label")),
    ]
    if not groups:
        return _CONFLICT.passed(f"No picture stands under two labels{_besides(audited)}.")
    counts = {
        "under several labels": same["picture"].n_unique(),
        "groups of near copies with several labels": near["near_group"].n_unique(),
    }
    said = []
    if len(same):
        said.append(
            f"{counted(counts['under several labels'], 'picture')} with equal pixels "
            f"({counted(len(same), 'file')})"
        )
    if len(near):
        said.append(
            f"{counted(near['near_group'].n_unique(), 'group')} of near copies "
            f"({counted(len(near), 'image')})"
        )
    return _CONFLICT.found(
        f"Under more than one label: {' and '.join(said)}.",
        {"groups": groups},
        "Look at each and settle its label, or take all of its files out: a model cannot learn "
        "both, and a figure measured on them means nothing.",
        severity="error" if len(same) else "warning",
    )


def copies_across_splits(audited: AuditedSet) -> Finding:
    """Return which byte-identical files lie on several sides of the split."""
    return crossing(
        _COPIES_CROSS,
        audited,
        audited.usable.drop_nulls("copy_group"),
        "copy_group",
        what=("picture lies byte for byte", "pictures lie byte for byte"),
        passed="No byte-identical files lie on two sides of the split.",
    )


def near_copies_across_splits(audited: AuditedSet) -> Finding:
    """Return which near copies lie on several sides of the split."""
    return crossing(
        _NEAR_CROSS,
        audited,
        _near(audited.usable),
        "near_group",
        what=("group of near copies lies", "groups of near copies lie"),
        passed=f"No near copies lie on two sides of the split{_besides(audited)}.",
    )


def exact_copies(audited: AuditedSet) -> Finding:
    """Return which files are byte-identical."""
    rows = audited.usable.drop_nulls("copy_group")
    groups = rows.group_by("copy_group", maintain_order=True).agg("record_id")
    groups = groups.filter(pl.col("record_id").list.len() > 1)
    if not len(groups):
        return _EXACT.passed(f"No two of {counted(len(audited.usable), 'image')} are equal.")
    files = int(groups["record_id"].list.len().sum())
    extra = files - len(groups)
    strangers = spread(divided(rows, "copy_group", "group"), "copy_group", "group")
    return _EXACT.found(
        f"{counted(files, 'file')} hold only {counted(len(groups), 'picture')}: "
        f"{counted(extra, 'is a byte-identical copy', 'are byte-identical copies')}"
        f"{_between(strangers)}.",
        {
            "groups": [
                {"group": name, "ids": ids} for name, ids in groups.sort("copy_group").iter_rows()
            ],
            "across_groups": strangers,
        },
        "`sightline split` keeps copies on one side. Take the extra files out where a picture is "
        "not meant to count twice.",
    )


def near_copies(audited: AuditedSet) -> Finding:
    """Return which images are confirmed to be the same picture, changed."""
    rows = _near(audited.usable)
    within = dict(zip(("upright", "turned"), audited.copies.radius, strict=True))
    if not len(rows):
        return _NEAR.passed(
            f"No near copies were confirmed{_besides(audited)}{_narrowed(audited.copies)}.",
            {"searched_within_bits": within},
        )
    members = rows.select("record_id", pl.col("near_group").alias("group"))
    pairs = audited.copies.pairs.filter(pl.col("kind") != "copy")
    pairs = pairs.join(members, left_on="first", right_on="record_id", maintain_order="left")
    hows = counts_by(pairs, "how")
    words = {_UNTURNED if how == "same" else how: count for how, count in hows.items()}
    strangers = spread(divided(rows, "near_group", "group"), "near_group", "group")
    return _NEAR.found(
        f"{counted(len(rows), 'image')} form {counted(rows['near_group'].n_unique(), 'group')} of "
        f"near copies, by {counted(len(pairs), 'confirmed pair')}: {listed(words)}"
        f"{_between(strangers)}{_besides(audited)}{_narrowed(audited.copies)}.",
        {
            "groups": _near_groups(members, pairs),
            "pairs_by_how": hows,
            "across_groups": strangers,
            "searched_within_bits": within,
        },
        "`sightline split` keeps them on one side. Look at the pairs; `sightline audit --mute "
        "near-copies` where they are meant to be there.",
    )


def unbound_cluster(audited: AuditedSet) -> Finding:
    """Return which clusters of near copies are too large to be kept together."""
    clusters = sorted((sorted(ids) for ids in audited.copies.unbound), key=lambda ids: -len(ids))
    if not clusters:
        return _UNBOUND.passed("No cluster of near copies is too large to be kept together.")
    members = pl.DataFrame(
        [(str(number), name) for number, ids in enumerate(clusters) for name in ids],
        {"cluster": pl.String, "record_id": pl.String},
        orient="row",
    )
    rows = members.join(
        audited.usable.select("record_id", "split", "label"), on="record_id", maintain_order="left"
    )
    apart = {name: divided(rows, "cluster", name) for name in ("split", "label")}
    crossing = "".join(
        f"; {part_of(apart[name]['cluster'].n_unique(), len(clusters), 'cluster')} {where}"
        for name, where in (("split", "on several sides of the split"),
                            ("label", "under several labels"))
        if len(apart[name])
    )  # fmt: skip
    return _UNBOUND.found(
        f"{counted(len(clusters), 'cluster')} of near copies with {counted(len(members), 'image')} "
        f"{'is' if len(clusters) == 1 else 'are'} too large to be believed (the largest has "
        f"{len(clusters[0]):,}), and {'is' if len(clusters) == 1 else 'are'} not kept on one side "
        f"of a split{crossing}.",
        {
            "groups": [{"ids": ids} for ids in clusters],
            "across_splits": spread(apart["split"], "cluster", "split"),
            "across_labels": spread(apart["label"], "cluster", "label"),
        },
        "Look at them: frames of one film or one slide belong together, so name them with "
        "--group-regex or --group-col; pictures of one kind that merely resemble each other do "
        "not.",
    )


def _besides(audited: AuditedSet) -> str:
    """Return the end of a title where near copies were found that are not counted in it."""
    images = sum(len(ids) for ids in audited.copies.unbound)
    return f"; {counted(images, 'image')} of unbound-cluster not counted" if images else ""


def _between(strangers: list[dict[str, Any]]) -> str:
    """Return the end of a title where copies lie in several patients or lesions."""
    if not strangers:
        return ""
    return f"; {counted(len(strangers), 'picture')} in more than one of the given groups"


def _narrowed(copies: Copies) -> str:
    """Return the end of a title where the search had to be narrower than usual."""
    if copies.radius == (RADIUS, TURNED_RADIUS):
        return ""
    upright, turned = copies.radius
    return (
        f"; the images of this set are so alike that hashes were compared within {upright} bits "
        f"({turned} for turned pictures) instead of {RADIUS} ({TURNED_RADIUS}), so cropped copies "
        "may be missing"
    )


def _near(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows in groups of near copies that hold more than one file content."""
    rows = rows.drop_nulls("near_group")
    contents = rows.group_by("near_group").agg(pl.col("sha256").n_unique())
    return rows.join(contents.filter(pl.col("sha256") > 1), on="near_group", how="semi")


def _near_groups(members: pl.DataFrame, pairs: pl.DataFrame) -> list[dict[str, Any]]:
    """Return each group with its record ids and its confirmed pairs."""
    ids = members.group_by("group", maintain_order=True).agg(pl.col("record_id").alias("ids"))
    of_pairs = pairs.group_by("group", maintain_order=True).agg(
        pl.struct("first", "second", "how", pl.col("similarity").cast(pl.Float64).round(4)).alias(
            "pairs"
        )
    )
    groups = ids.join(of_pairs, on="group", how="left", maintain_order="left").sort("group")
    return groups.with_columns(pl.col("pairs").fill_null([])).to_dicts()
