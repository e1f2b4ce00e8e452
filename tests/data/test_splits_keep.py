from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_sets import (
    Row,
    all_shares,
    audited,
    content,
    image,
    of_classes,
    seeds,
    splits_of,
    tied_sets,
)

from sightline.data.splits import SplitShares, assign, assign_folds, keep, leaks
from sightline.errors import DataError
from sightline.records import Finding, Manifest

HALF = SplitShares(validation=0.25, test=0.25)
NONE = SplitShares(validation=0, test=0)


def part_of(manifest: Manifest, rows: Sequence[bool]) -> Manifest:
    return replace(manifest, table=manifest.table.filter(pl.Series(rows)))


def singles(count: int, label: str = "a", **more: object) -> list[Row]:
    return [image(f"{label}{number:03d}", label, **more) for number in range(count)]


def with_splits(rows: list[Row]) -> Manifest:
    """Return a manifest whose splits are in the rows."""
    return audited(rows)


TIED_BY = ("group", "copy_group", "near_group", "sha256")


def broken(row: Row) -> Row:
    """Return the record of a file that was cut short: quarantined, and of another content."""
    number = int(str(row["record_id"])[:3])
    return {
        **row, "status": "quarantined", "sha256": content(-1 - number), "bytes": number,
        "copy_group": None, "near_group": None,
    }  # fmt: skip


def generation(rows: list[Row], chance: random.Random, share: float) -> Manifest:
    """Return a part of the records, some of them broken, and all without groups in one of five."""
    part = [
        broken(row) if chance.random() < 0.1 else row for row in rows if chance.random() < share
    ]
    if chance.random() < 0.2:
        part = [{**row, "group": None} for row in part]
    return audited(part or rows)


def ties_of(table: pl.DataFrame) -> Iterator[tuple[str, str | None, list[tuple[str, str]]]]:
    """Yield the id, the place and the ties of each record; of a broken file not its content."""
    for row in table.iter_rows(named=True):
        usable = row["status"] != "quarantined"
        names = TIED_BY if usable else TIED_BY[:-1]
        place = None if row["split"] is None else f"{row['split']} {row['fold']}"
        yield row["record_id"], place, [(name, row[name]) for name in names if row[name]]


def decided(previous: Sequence[Manifest]) -> dict[str, str | None]:
    """Return where each record was in the newest manifest that decides on it."""
    places: dict[str, str | None] = {}
    for manifest in previous:
        usable = set(manifest.table.filter(pl.col("status").ne_missing("quarantined"))["record_id"])
        for name, place, _ in ties_of(manifest.table):
            if place is not None or name in usable:
                places.setdefault(name, place)
    return places


def contents_of(manifests: Sequence[Manifest]) -> dict[str, set[str]]:
    """Return content -> the names that it had, in any of these."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for manifest in manifests:
        for name, sha256 in manifest.table.select("record_id", "sha256").iter_rows():
            names[sha256].add(name)
    return names


def check_kept(kept: Manifest, previous: Sequence[Manifest], findings: Sequence[Finding]) -> None:
    """Assert that no record of an earlier manifest moved, and that no new one leaks."""
    before = decided(previous)
    after = {name: place for name, place, _ in ties_of(kept.table)}
    seen = contents_of(previous)
    several = contents_of([*previous, kept])
    copied = {name for names in several.values() if len(names) > 1 for name in names}
    for name in (before.keys() & after.keys()) - copied:
        assert after[name] == before[name]
    renamed = set(kept.table.filter(pl.col("sha256").is_in(list(seen)))["record_id"])
    new = after.keys() - before.keys() - renamed
    usable = set(kept.table.filter(pl.col("status").ne_missing("quarantined"))["record_id"])
    aside = {
        name
        for finding in findings
        if finding.code == "bridging-images"
        for name in finding.evidence["images"]
    }
    assert {name for name in new & usable if after[name] is None} <= aside
    assert aside <= {name for name in usable if after[name] is None}

    of_tie: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # ids, and names of identity
    places: defaultdict[str, set[str]] = defaultdict(set)
    for manifest in (kept, *previous):
        for name, _, ties in ties_of(manifest.table):
            place = after[name] if name in after else before.get(name)
            places[name] |= {place} - {None}
            for tie in ties:
                of_tie[tie].add(name)
    # No tie of a new image leads to an image in another place, even if that is gone by now.
    for names in of_tie.values():
        for name in names & new:
            if after[name] is not None:
                assert set().union(*(places[other] for other in names)) == {after[name]}
    # And none leads there in a chain, through whatever, unless what was assigned is torn anyway.
    for unit in joined(of_tie.values()):
        assigned = set().union(*(places[name] for name in unit - new), set())
        if len(assigned) <= 1:
            assert len(set().union(*(places[name] for name in unit))) <= 1
            assert not unit & aside


def joined(sets: Iterable[set[str]]) -> list[set[str]]:
    """Return the unions of sets that overlap, in chains too."""
    apart: list[set[str]] = []
    for each in sets:
        touching = [other for other in apart if other & each]
        apart = [other for other in apart if not other & each]
        apart.append(each.union(*touching))
    return apart


@settings(deadline=None, max_examples=50)
@given(
    tied_sets(), all_shares, seeds, st.randoms(use_true_random=False),
    st.sampled_from(["split", "folds", "leaking"]), st.integers(1, 3),
)  # fmt: skip
def test_no_image_moves_and_none_that_is_new_leaks_however_often_some_are_gone_or_broken(
    rows: list[Row], shares: SplitShares, seed: int, chance: random.Random, kind: str, more: int
) -> None:
    first = generation(rows, chance, 0.6)
    if kind == "leaking":  # given folders, which share groups and copies already
        names = ["train", "validation", "test", "external", None]
        sides = ["train", *(chance.choice(names) for _ in range(len(first) - 1))]
        first = first.with_splits(pl.Series(sides, dtype=pl.String))
    else:
        try:
            first = (
                assign(first, shares, seed=seed)
                if kind == "split"
                else assign_folds(first, 3, seed=seed, test_share=0.2)
            )
        except DataError:
            return
    previous = [first]
    for number in range(more):
        now = generation(rows, chance, 0.7)
        try:
            kept, findings = keep(now, previous, shares, seed=seed + number)
        except DataError:  # by chance, one has not one image of the other, or lost all of train
            return
        check_kept(kept, previous, findings)
        previous = [kept, *previous]


@settings(deadline=None, max_examples=50)
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
        kept, findings = keep(whole, [previous], HALF, seed=seed + 1)
        assert kept.table.equals(previous.table)
        assert findings == []


@settings(deadline=None, max_examples=50)
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
    kept, _ = keep(whole, [previous], HALF, seed=seed)
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
    kept, findings = keep(audited(singles(100)), [previous], SplitShares(), seed=0)
    counts = [of_classes(kept, split)["a"] for split in ("train", "validation", "test")]
    assert (counts, findings) == ([70, 15, 15], [])


def test_new_images_go_to_the_emptiest_fold() -> None:
    previous = assign_folds(audited(singles(12)), 3, seed=0)
    kept, _ = keep(audited(singles(30)), [previous], SplitShares(), seed=0)
    assert sorted(kept.table.group_by("fold").len()["len"]) == [10, 10, 10]
    assert of_classes(kept, "validation") == {"a": 10}


def test_a_renamed_image_stays_where_its_content_was() -> None:
    rows = [{**row, "split": "test" if n < 5 else "train"} for n, row in enumerate(singles(20))]
    renamed = [{**row, "record_id": f"new{n:02d}", "split": None} for n, row in enumerate(rows)]
    kept, findings = keep(audited(renamed[::-1]), [audited(rows)], NONE, seed=0)
    expected = {f"new{n:02d}": row["split"] for n, row in enumerate(rows)}
    assert (splits_of(kept), findings) == (expected, [])


def test_equal_copies_on_two_sides_stay_there_when_both_are_renamed() -> None:
    sides = ("train", "test")
    rows = [{**image("x", "a"), "record_id": f"x{n}", "split": sides[n]} for n in range(2)]
    renamed = [{**row, "record_id": f"y{n}", "split": None} for n, row in enumerate(rows)]
    kept, _ = keep(audited(renamed), [audited(rows)], SplitShares(), seed=0)
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
    _, findings = keep(audited(after), [audited(before)], NONE, seed=0)
    assert [finding.code for finding in findings] == ([] if same else ["missing-images"])


def test_images_that_are_gone_are_counted_and_named() -> None:
    previous = assign(audited(singles(30)), HALF, seed=0)
    _, (finding,) = keep(part_of(previous, [n > 1 for n in range(30)]), [previous], HALF, seed=0)
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
    kept, (finding,) = keep(audited([*BEFORE, new]), [audited(BEFORE)], NONE, seed=0)
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
    kept, _ = keep(audited([*BEFORE, *chain]), [audited(BEFORE)], HALF, seed=0)
    splits = splits_of(kept)
    assert sum(splits[name] is None for name in ("x1", "x2", "x3")) == 1
    # No tie crosses; but what was assigned is now known to belong together, and that is said.
    assert [crossing.kind for crossing in leaks(kept).crossings] == ["chain"]
    assert not leaks(kept)


def test_a_new_image_of_a_group_that_leaks_already_is_set_aside() -> None:
    before = [image("t", "a", split="train", group="g"), image("v", "a", split="test", group="g")]
    new = image("x", "a", group="g")
    kept, _ = keep(audited([*before, new]), [audited(before)], HALF, seed=0)
    assert splits_of(kept)["x"] is None


def test_a_new_image_of_an_external_group_is_external() -> None:
    before = [image("t", "a", split="train"), image("e", "a", split="external", group="g")]
    kept, _ = keep(audited([*before, image("x", "a", group="g")]), [audited(before)], HALF, seed=0)
    assert splits_of(kept)["x"] == "external"


def test_an_image_that_was_left_without_a_split_stays_so() -> None:
    before = [*BEFORE, image("x", "a")]
    kept, findings = keep(
        audited([{**row, "split": None} for row in before]), [audited(before)], NONE, seed=0
    )
    assert (splits_of(kept)["x"], findings) == (None, [])


def test_an_image_that_was_quarantined_and_is_repaired_is_new() -> None:
    before = [*BEFORE, image("x", "a", status="quarantined")]
    after = [*BEFORE, image("x", "a", status="ok", group="g")]
    kept, _ = keep(audited(after), [audited(before)], HALF, seed=0)
    assert splits_of(kept)["x"] == "train"


def test_without_splits_there_is_nothing_to_keep() -> None:
    manifest = audited(singles(3))
    with pytest.raises(DataError, match="neither splits nor folds, so there is nothing to keep"):
        keep(manifest, [manifest], HALF, seed=0)


def test_a_previous_split_without_train_is_refused() -> None:
    previous = audited(singles(3, split="test"))
    with pytest.raises(DataError, match="has splits but none of them is train"):
        keep(audited(singles(3)), [previous], HALF, seed=0)


def test_images_that_never_met_are_refused_with_both_roots_and_counts() -> None:
    previous = assign(audited(singles(20), "/old"), HALF, seed=0)
    others = [{**row, "sha256": content(number)} for number, row in enumerate(singles(7))]
    words = "none of the 7 images of /new is among the 20 images of /old whose split"
    with pytest.raises(DataError, match=words):
        keep(audited(others, "/new"), [previous], HALF, seed=0)


def test_manifests_with_and_without_folds_are_not_of_one_split() -> None:
    manifest = audited(singles(20))
    both = [assign_folds(manifest, 2, seed=0), assign(manifest, HALF, seed=0)]
    with pytest.raises(DataError, match="that of /r has folds and that of /r has none"):
        keep(manifest, both, HALF, seed=0)


# --- what earlier manifests know ---------------------------------------------------------


def sides_of(before: list[Row], now: list[Row], name: str) -> set[str | None]:
    """Return the sides where a new image comes to be, for several seeds."""
    return {
        splits_of(keep(audited(now), [audited(before)], LARGE, seed=seed)[0])[name]
        for seed in range(10)
    }


LARGE = SplitShares(validation=0, test=0.5)
OTHERS = [*singles(5, "t", split="train"), *singles(5, "v", split="test")]
OTHERS = [{**row, "label": "a"} for row in OTHERS]


def test_a_record_without_a_group_takes_the_one_it_had() -> None:
    before = [image("t", "a", split="train", group="g", near_group="n"), *OTHERS]
    now = [image("t", "a"), *OTHERS]
    kept, _ = keep(audited(now), [audited(before)], LARGE, seed=0)
    groups = dict(kept.table.select("record_id", "group").iter_rows())
    assert {name: group for name, group in groups.items() if group} == {"t": "g"}


def test_a_record_takes_the_group_of_the_newest_that_knew_one_and_its_own_before_that() -> None:
    row = image("t", "a", split="train")
    older = [audited([{**row, "group": group}]) for group in (None, "new", "old")]
    for own, expected in ((None, "new"), ("own", "own")):
        kept, _ = keep(audited([{**row, "group": own}]), older, NONE, seed=0)
        assert kept.table["group"].to_list() == [expected]


def test_new_images_without_groups_are_reported_where_only_earlier_ones_have_some() -> None:
    before = audited([image("t", "a", split="train", group="g")])
    now = [image("t", "a"), image("x", "a"), image("y", "a")]
    _, (finding,) = keep(audited(now), [before], NONE, seed=0)
    assert (finding.code, finding.severity) == ("groups-unknown", "warning")
    assert finding.evidence == {"record_ids": ["x", "y"]}
    assert "--group-regex" in finding.advice
    now[2]["group"] = "h"
    assert keep(audited(now), [before], NONE, seed=0)[1] == []


TIES_OF_ONE = [
    {"group": "g"}, {"near_group": "n"}, {"copy_group": "c"}, {"group": "g", "near_group": "n"},
]  # fmt: skip


@pytest.mark.parametrize("tie", TIES_OF_ONE)
@pytest.mark.parametrize("status", ["ok", "quarantined"])
def test_what_is_gone_still_ties(tie: Row, status: str) -> None:
    before = [image("t", "a", split="test", status=status, **tie), *OTHERS]
    assert sides_of(before, [image("x", "a"), *OTHERS], "x") == {"train"}
    assert sides_of(before, [image("x", "a", **tie), *OTHERS], "x") == {"test"}


def test_what_an_image_was_tied_by_earlier_still_ties() -> None:
    before = [image("t", "a", split="test", group="g"), *OTHERS]
    now = [image("t", "a", group="h"), image("x", "a", group="g"), *OTHERS]
    assert sides_of(before, now, "x") == {"test"}


def test_what_is_gone_and_had_no_place_still_ties_in_a_chain() -> None:
    q = image("q", "a", status="quarantined", group="g", near_group="n")
    before = [image("t", "a", split="test", near_group="n"), q, *OTHERS]
    now = [image("t", "a", near_group="n"), image("x", "a", group="g"), *OTHERS]
    assert sides_of(before, now, "x") == {"test"}


@pytest.mark.parametrize("more", [{"status": "quarantined"}, {"label": None}])
def test_two_new_images_are_one_unit_by_one_that_is_not_used(more: Row) -> None:
    q = {**image("q", "a", group="g", near_group="n"), **more}
    now = [image("x", "a", group="g"), q, image("y", "a", near_group="n"), *OTHERS]
    for seed in range(10):
        splits = splits_of(keep(audited(now), [audited(OTHERS)], LARGE, seed=seed)[0])
        assert splits["x"] == splits["y"] is not None


def test_a_new_image_that_bridges_by_one_that_is_not_used_is_set_aside_with_examples() -> None:
    q = image("q", "a", status="quarantined", group="h", near_group="n")
    new = image("x", "a", group="g", copy_group="c")
    more = [q, new, image("y", "a", group="h", copy_group="c")]
    kept, (finding,) = keep(audited([*BEFORE, *more]), [audited(BEFORE)], NONE, seed=0)
    assert splits_of(kept)["q"] is None
    assert finding.evidence["images"] in (
        {"x": {"test": ["y"], "train": ["t"]}},
        {"y": {"test": ["v"], "train": ["x"]}},
    )


def test_of_a_chain_through_what_is_not_used_a_new_image_is_set_aside_and_named() -> None:
    chain = [
        image("x", "a", group="g", near_group="m"),
        {**image("q", "a", group="z", near_group="m", copy_group="c"), "label": None},
        image("y", "a", group="a", near_group="n", copy_group="c"),
    ]
    kept, findings = keep(audited([*BEFORE, *chain]), [audited(BEFORE)], NONE, seed=0)
    (aside,) = [name for name in ("x", "y") if splits_of(kept)[name] is None]
    assert [list(finding.evidence["images"]) for finding in findings] == [[aside]]


def test_a_broken_file_keeps_its_place_and_has_it_when_it_is_repaired() -> None:
    before = audited([*OTHERS[:-1], {**OTHERS[-1], "bytes": 9}])
    name = str(OTHERS[-1]["record_id"])
    cut = {**OTHERS[-1], "split": None, "sha256": content(1), "bytes": 4, "status": "quarantined"}
    now, _ = keep(audited([*OTHERS[:-1], cut]), [before], LARGE, seed=0)
    assert splits_of(now)[name] == "test"
    for sha256 in (before.table["sha256"][-1], content(2)):
        repaired = audited([*OTHERS[:-1], {**OTHERS[-1], "sha256": sha256, "bytes": 8}])
        assert splits_of(keep(repaired, [now], LARGE, seed=0)[0])[name] == "test"


def test_images_that_come_back_are_where_they_were() -> None:
    whole = audited([{**row, "label": "a"} for row in singles(40)])
    first = assign(whole, HALF, seed=0)
    away = part_of(whole, [number % 3 > 0 for number in range(40)])
    second, (finding,) = keep(away, [first], HALF, seed=1)
    assert (finding.code, finding.severity) == ("missing-images", "warning")
    assert "--keep NEW --keep OLD" in finding.advice
    third, findings = keep(whole, [second, first], HALF, seed=2)
    assert (splits_of(third), findings) == (splits_of(first), [])


def test_the_newest_manifest_decides_where_they_differ() -> None:
    older = audited([{**row, "split": "train"} for row in OTHERS])
    kept, _ = keep(audited(OTHERS), [audited(OTHERS), older], NONE, seed=0)
    assert splits_of(kept) == {row["record_id"]: row["split"] for row in OTHERS}


def test_one_image_in_a_hundred_may_be_gone_without_a_warning() -> None:
    previous = assign(audited(singles(100)), HALF, seed=0)
    found = keep(part_of(previous, [n > 0 for n in range(100)]), [previous], HALF, seed=0)[1]
    assert [finding.severity for finding in found] == ["info"]


def test_a_side_that_is_asked_for_and_not_made_is_said() -> None:
    previous = assign(audited(singles(20)), NONE, seed=0)
    _, findings = keep(audited(singles(30)), [previous], HALF, seed=0)
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("kept-without-validation", "info"),
        ("kept-without-test", "info"),
    ]
    folds = assign_folds(audited(singles(20)), 2, seed=0)
    _, (finding,) = keep(audited(singles(30)), [folds], HALF, seed=0)
    assert finding.code == "kept-without-test"
