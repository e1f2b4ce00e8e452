from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_sets import Row, all_shares, audited, image, of_classes, seeds, splits_of, tied_sets

from sightline.data.splits import SplitShares, assign, assign_folds, keep, leaks
from sightline.errors import DataError
from sightline.records import Manifest

HALF = SplitShares(validation=0.25, test=0.25)


def part_of(manifest: Manifest, rows: Sequence[bool]) -> Manifest:
    return replace(manifest, table=manifest.table.filter(pl.Series(rows)))


def singles(count: int, label: str = "a", **more: object) -> list[Row]:
    return [image(f"{label}{number:03d}", label, **more) for number in range(count)]


def with_splits(rows: list[Row]) -> Manifest:
    """Return a manifest whose splits are in the rows."""
    return audited(rows)


@settings(deadline=None)
@given(tied_sets(), all_shares, seeds, st.randoms(use_true_random=False), st.booleans())
def test_no_image_moves_and_no_new_leak_arises(
    rows: list[Row], shares: SplitShares, seed: int, chance: random.Random, random_before: bool
) -> None:
    whole = audited(rows)
    previous = part_of(whole, [chance.random() < 0.7 for _ in rows])
    if random_before:  # given folders, which leak already
        sides = [
            chance.choice(["train", "validation", "test", "external", None])
            for _ in range(len(previous))
        ]
        previous = previous.with_splits(pl.Series(sides, dtype=pl.String))
    try:
        previous = previous if random_before else assign(previous, shares, seed=seed)
        kept, findings = keep(whole, previous, shares, seed=seed + 1)
    except DataError:
        return
    before, after = splits_of(previous), splits_of(kept)
    assert {name: after[name] for name in before} == before
    old = {(crossing.kind, crossing.tie) for crossing in leaks(previous).crossings}
    known = {*before}
    for crossing in leaks(kept).crossings:
        named = {name for ids in crossing.records.values() for name in ids}
        # Near copies and copies may be known only now; what crosses was assigned before.
        assert named <= known
        if crossing.kind == "group":
            assert (crossing.kind, crossing.tie) in old
    aside = {name for finding in findings for name in finding.evidence.get("images", ())}
    assert aside == {name for name, split in after.items() if split is None and name not in known}


@settings(deadline=None)
@given(tied_sets(least=40), seeds)
def test_to_keep_what_is_all_there_changes_nothing(rows: list[Row], seed: int) -> None:
    whole = audited(rows)
    for divide in (
        lambda: assign(whole, HALF, seed=seed),
        lambda: assign_folds(whole, 3, seed=seed, test_share=0.2),
    ):
        try:
            previous = divide()
        except DataError:
            continue
        kept, findings = keep(whole, previous, HALF, seed=seed + 1)
        assert kept.table.equals(previous.table)
        assert findings == []


@settings(deadline=None)
@given(tied_sets(least=40), seeds, st.randoms(use_true_random=False))
def test_folds_stay_and_new_images_get_the_fold_of_their_unit(
    rows: list[Row], seed: int, chance: random.Random
) -> None:
    whole = audited(rows)
    try:
        previous = assign_folds(
            part_of(whole, [chance.random() < 0.8 for _ in rows]), 3, seed=seed, test_share=0.2
        )
    except DataError:
        return
    kept, _ = keep(whole, previous, HALF, seed=seed)
    both = previous.table.join(kept.table, on="record_id")
    assert both["fold"].equals(both["fold_right"].alias("fold"), null_equal=True)
    placed = kept.table.drop_nulls("split")
    for tie in ("group", "copy_group", "near_group"):
        places = placed.drop_nulls(tie).group_by(tie).agg(pl.struct("split", "fold").n_unique())
        assert (places["split"] == 1).all()
    folds = placed.filter(pl.col("split") != "test")["fold"]
    assert folds.null_count() == 0


def test_new_images_without_ties_bring_the_sides_to_their_shares() -> None:
    previous = assign(audited(singles(20)), SplitShares(validation=0.5, test=0.1), seed=0)
    kept, findings = keep(audited(singles(100)), previous, SplitShares(), seed=0)
    counts = [of_classes(kept, split)["a"] for split in ("train", "validation", "test")]
    assert (counts, findings) == ([70, 15, 15], [])


def test_new_images_go_to_the_emptiest_fold() -> None:
    previous = assign_folds(audited(singles(12)), 3, seed=0)
    kept, _ = keep(audited(singles(30)), previous, SplitShares(), seed=0)
    assert sorted(kept.table.group_by("fold").len()["len"]) == [10, 10, 10]
    assert of_classes(kept, "validation") == {"a": 10}


def test_a_renamed_image_stays_where_its_content_was() -> None:
    rows = [{**row, "split": "test" if n < 5 else "train"} for n, row in enumerate(singles(20))]
    renamed = [{**row, "record_id": f"new{n:02d}", "split": None} for n, row in enumerate(rows)]
    kept, findings = keep(audited(renamed[::-1]), audited(rows), SplitShares(), seed=0)
    expected = {f"new{n:02d}": row["split"] for n, row in enumerate(rows)}
    assert (splits_of(kept), findings) == (expected, [])


def test_equal_copies_on_two_sides_stay_there_when_both_are_renamed() -> None:
    sides = ("train", "test")
    rows = [{**image("x", "a"), "record_id": f"x{n}", "split": sides[n]} for n in range(2)]
    renamed = [{**row, "record_id": f"y{n}", "split": None} for n, row in enumerate(rows)]
    kept, _ = keep(audited(renamed), audited(rows), SplitShares(), seed=0)
    assert splits_of(kept) == {"y0": "train", "y1": "test"}


@pytest.mark.parametrize(("size", "same"), [(100, True), (None, True), (101, False)])
def test_without_contents_an_image_is_known_by_its_id_and_size(
    size: int | None, same: bool
) -> None:
    before: list[Row] = [
        {"record_id": "x", "label": "a", "bytes": 100, "split": "test"},
        {"record_id": "y", "label": "a", "bytes": 100, "split": "train"},
    ]
    after = [{"record_id": "x", "label": "a", "bytes": size}, {**before[1], "split": None}]
    _, findings = keep(audited(after), audited(before), SplitShares(), seed=0)
    assert [finding.code for finding in findings] == ([] if same else ["missing-images"])


def test_images_that_are_gone_are_counted_and_named() -> None:
    previous = assign(audited(singles(30)), HALF, seed=0)
    _, (finding,) = keep(part_of(previous, [n > 1 for n in range(30)]), previous, HALF, seed=0)
    assert finding.title.startswith(
        "2 images of the previous split are gone or changed, such as a0"
    )
    assert finding.evidence == {"record_ids": ["a000", "a001"]}


BEFORE = [
    image("t", "a", split="train", group="g", near_group=None),
    image("v", "a", split="test", near_group="n"),
]


def test_an_image_that_ties_two_sides_is_set_aside_and_said_to() -> None:
    new = image("x", "a", group="g", near_group="n")
    kept, (finding,) = keep(audited([*BEFORE, new]), audited(BEFORE), HALF, seed=0)
    assert splits_of(kept) == {"t": "train", "v": "test", "x": None}
    assert (finding.code, finding.severity) == ("bridging-images", "warning")
    assert finding.evidence == {"images": {"x": {"test": ["v"], "train": ["t"]}}}
    assert "x, which belongs together with v in test, t in train." in finding.title


def test_of_a_chain_between_two_sides_one_image_is_set_aside_and_the_others_are_used() -> None:
    chain = [
        image("x1", "a", group="g", near_group="m"),
        image("x2", "a", group="h", near_group="m"),
        image("x3", "a", group="h", near_group="n"),
    ]
    kept, _ = keep(audited([*BEFORE, *chain]), audited(BEFORE), HALF, seed=0)
    splits = splits_of(kept)
    assert sum(splits[name] is None for name in ("x1", "x2", "x3")) == 1
    assert not leaks(kept)


def test_a_new_image_of_a_group_that_leaks_already_is_set_aside() -> None:
    before = [image("t", "a", split="train", group="g"), image("v", "a", split="test", group="g")]
    new = image("x", "a", group="g")
    kept, _ = keep(audited([*before, new]), audited(before), HALF, seed=0)
    assert splits_of(kept)["x"] is None


def test_a_new_image_of_an_external_group_is_external() -> None:
    before = [image("t", "a", split="train"), image("e", "a", split="external", group="g")]
    kept, _ = keep(audited([*before, image("x", "a", group="g")]), audited(before), HALF, seed=0)
    assert splits_of(kept)["x"] == "external"


def test_an_image_that_was_left_without_a_split_stays_so() -> None:
    before = [*BEFORE, image("x", "a")]
    kept, findings = keep(
        audited([{**row, "split": None} for row in before]), audited(before), HALF, seed=0
    )
    assert (splits_of(kept)["x"], findings) == (None, [])


def test_an_image_that_was_quarantined_and_is_repaired_is_new() -> None:
    before = [*BEFORE, image("x", "a", status="quarantined")]
    after = [*BEFORE, image("x", "a", status="ok", group="g")]
    kept, _ = keep(audited(after), audited(before), HALF, seed=0)
    assert splits_of(kept)["x"] == "train"


def test_without_splits_there_is_nothing_to_keep() -> None:
    manifest = audited(singles(3))
    with pytest.raises(DataError, match="neither splits nor folds, so there is nothing to keep"):
        keep(manifest, manifest, HALF, seed=0)


def test_a_previous_split_without_train_is_refused() -> None:
    previous = audited(singles(3, split="test"))
    with pytest.raises(DataError, match="has splits but none of them is train"):
        keep(audited(singles(3)), previous, HALF, seed=0)
