from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from split_sets import Row, audited, image, tied_sets

from sightline.data.splits import (
    SplitShares,
    Units,
    assign,
    leaks,
    sides,
    sides_in_words,
    with_rare_weights,
)
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError

NAMES = ["train", "validation", "test", "external", None]


@settings(deadline=None)
@given(tied_sets(), st.randoms(use_true_random=False))
def test_leaked_images_are_those_of_a_unit_of_which_any_is_learned(
    rows: list[Row], chance: random.Random
) -> None:
    used = [chance.random() < 0.8 for _ in rows]
    split = [chance.choice([*NAMES, "train", "train"]) for _ in rows]
    status = ["ok" if each else "quarantined" for each in used]
    unit = Units.of(audited(rows, split=split, status=status)).of_row
    found = leaks(audited(rows, split=split, status=status))
    sides = {
        name: {u for u, own, ok in zip(unit, split, used, strict=True) if own == name and ok}
        for name in NAMES
    }
    for side, others in (
        ("train", []), ("validation", ["train"]),
        ("test", ["train", "validation"]), ("external", ["train", "validation"]),
    ):  # fmt: skip
        learned = set().union(*(sides[other] for other in others))
        expected = [
            str(row["record_id"])
            for row, own, ok, u in zip(rows, split, used, unit, strict=True)
            if own == side and ok and u in learned
        ]
        assert list(found.record_ids(side)) == expected  # type: ignore[arg-type]
    inner = [sides["train"], sides["validation"], sides["test"]]
    assert bool(found.crossings) == any(a & b for a, b in combinations(inner, 2))


def test_an_honest_split_has_no_leak() -> None:
    rows = [image(f"{n:03d}", "ab"[n % 2], group=f"g{n // 4}") for n in range(200)]
    assert not leaks(assign(audited(rows), SplitShares(), seed=0))


def crossing_set() -> list[Row]:
    return [
        image("a1", "x", group="p", split="train"),
        image("a2", "x", group="p", split="train"),
        image("b", "x", group="p", split="test"),
        image("c", "x", copy_group="c", near_group="n", split="validation"),
        {**image("c", "x", copy_group="c", near_group="n", split="test"), "record_id": "d"},
        image("e", "x", group="q", split="external"),
        image("f", "x", group="q", split="train"),
        image("g", "x", group="p", split="external", status="quarantined"),
    ]


def test_what_crosses_is_named_by_kind_with_the_records_of_each_side() -> None:
    found = leaks(audited(crossing_set()))
    assert [(one.kind, one.tie, dict(one.records)) for one in found.crossings] == [
        ("group", "p", {"train": ("a1", "a2"), "test": ("b",)}),
        ("copy", "c", {"validation": ("c",), "test": ("d",)}),
    ]
    assert [(one.tie, dict(one.records)) for one in found.external] == [
        ("q", {"train": ("f",), "external": ("e",)})
    ]
    assert [one.kind for one in found.of_kind("copy")] == ["copy"]


def test_near_copies_that_are_no_exact_copies_cross() -> None:
    rows = [*crossing_set(), image("h", "x", near_group="n", split="test")]
    (near,) = leaks(audited(rows)).of_kind("near copy")
    assert dict(near.records) == {"validation": ("c",), "test": ("d", "h")}


@pytest.mark.parametrize(
    "middle", [{"split": None}, {"status": "quarantined"}, {"split": "external"}]
)
def test_a_chain_through_what_is_not_used_crosses_and_is_named(middle: Row) -> None:
    rows = [
        image("a", "x", group="p", split="train"),
        image("b", "x", group="p", near_group="n", **middle),
        image("c", "x", near_group="n", split="test"),
    ]
    found = leaks(audited(rows))
    assert [(one.kind, one.tie, dict(one.records)) for one in found.crossings] == [
        ("chain", "group p", {"train": ("a",), "test": ("c",)})
    ]
    assert found.record_ids("test") == ("c",)
    assert not found, "what ties them is on no side: it is told, and stops nothing"
    assert found.in_words()[0] == (
        "1 chain of groups and copies is on two sides of the split: (train a, test c)."
    )


def test_a_chain_names_what_no_single_tie_explains() -> None:
    rows = [
        image("a", "x", group="p", split="train"),
        image("b", "x", group="p", near_group="n", split="test"),
        image("c", "x", near_group="n", split="test"),
    ]
    (group, chain) = leaks(audited(rows)).crossings
    assert leaks(audited(rows)).record_ids("test") == ("b", "c")
    assert dict(group.records) == {"train": ("a",), "test": ("b",)}
    assert (chain.kind, dict(chain.records)) == ("chain", {"train": ("a",), "test": ("c",)})


def test_equal_contents_that_were_not_named_as_copies_cross_as_such() -> None:
    rows = [{**image("a", "x", split=side), "record_id": side} for side in ("train", "test")]
    assert [one.kind for one in leaks(audited(rows)).crossings] == ["copy"]


def test_broken_files_of_equal_content_are_no_copies() -> None:
    rows = [
        {**image("empty", "x", group=group, status="quarantined"), "record_id": f"{group}0"}
        for group in "pq"
    ]
    rows += [
        image("a", "x", group="p", split="train"),
        image("b", "x", group="q", split="test"),
    ]
    assert not leaks(audited(rows))


def test_external_images_alone_are_no_leak() -> None:
    found = leaks(audited(crossing_set()[5:]))
    assert (bool(found), found.record_ids("external")) == (False, ("e",))


def test_the_words_name_the_images_that_cross() -> None:
    assert leaks(audited(crossing_set())).in_words() == [
        "1 group is on two sides of the split: 'p' (train a1 and 1 more, test b).",
        "1 set of exact copies is on two sides of the split: (validation c, test d).",
        "1 group is both in the external images and in learned ones: 'q' (train f, external e).",
    ]


def test_the_words_stop_at_their_limit_and_say_how_many_there_are() -> None:
    rows = [
        image(f"{n}{side}", "x", group=f"g{n}", split=side)
        for n in range(7)
        for side in ("train", "test")
    ]
    (words,) = leaks(audited(rows)).in_words(limit=2)
    assert words.startswith(
        "7 groups are on two sides of the split: 'g0' (train 0train, test 0test)"
    )
    assert words.endswith("; and 5 more.")


def test_without_an_audit_only_groups_are_known() -> None:
    rows = [{"record_id": f"{n}", "label": "x", "group": "g", "split": NAMES[n]} for n in range(2)]
    assert [one.kind for one in leaks(audited(rows)).crossings] == ["group"]


# --- what a side holds -----------------------------------------------------------------


def test_a_side_holds_its_images_units_and_classes() -> None:
    rows = [image(f"{n:02d}", "ab"[n < 4], group=f"g{n // 2}", split="train") for n in range(16)]
    rows += [image(f"t{n:02d}", "ab"[n < 4], split="test") for n in range(16)]
    train, test = sides(audited(rows))
    assert (train.split, train.images, train.units) == ("train", 16, 8)
    assert (test.split, test.units, test.classes, test.smallest) == (
        "test",
        16,
        {"a": 12, "b": 4},
        "b",
    )


def test_the_words_of_a_held_out_side_say_how_sure_its_figures_are() -> None:
    rows = [image(f"{n:02d}", "ab"[n < 4], split="train" if n % 2 else "test") for n in range(32)]
    learned, judged = sides_in_words(audited(rows))
    assert "±" not in learned
    assert judged == (
        "Test: 16 images in 16 groups, from 2 images of 'b' to 14 of the largest class. An "
        "accuracy measured here is sure to ± 24 points at best, the recall of 'b' to ± 69 points."
    )


def test_a_class_that_a_side_lacks_counts_as_its_smallest() -> None:
    rows = [
        image("x", "a", split="train"),
        image("y", "b", split="train"),
        image("z", "a", split="test"),
    ]
    assert sides(audited(rows))[1].smallest == "b"


# --- weights ---------------------------------------------------------------------------


def weighed_rows() -> list[Row]:
    return [
        *(image(f"a{n}", "a", split="train") for n in range(6)),
        *(image(f"b{n}", "b", split="train") for n in range(2)),
        image("v", "b", split="validation"),
        image("q", "b", split="train", status="quarantined"),
        image("none", "a"),
    ]


def test_training_images_weigh_total_over_classes_times_count_and_others_one() -> None:
    weights = dict(
        with_rare_weights(audited(weighed_rows())).table.select("record_id", "weight").iter_rows()
    )
    assert [weights[f"a{n}"] for n in range(6)] == pytest.approx([8 / 12] * 6)
    assert {weights[f"b{n}"] for n in range(2)} == {2.0}
    assert [weights[name] for name in ("v", "q", "none")] == [1.0, 1.0, 1.0]


def test_every_class_weighs_the_same_in_training() -> None:
    train = with_rare_weights(audited(weighed_rows())).of_split("train")
    sums = train.group_by("label").agg(pl.col("weight").sum())["weight"].to_list()
    assert sums == pytest.approx([4.0, 4.0])


def test_without_training_images_nothing_can_be_weighed() -> None:
    with pytest.raises(DataError, match="/r has no training images, so none can be weighed"):
        with_rare_weights(audited([image("x", "a")]))


@pytest.mark.parametrize(("split", "weights"), [("train", {2.0, 2 / 3}), ("validation", {1.0})])
def test_a_stream_hands_the_weights_out_in_training_alone(
    tmp_path: Path, split: str, weights: set[float]
) -> None:
    rows = [{**row, "record_id": f"{row['record_id']}.png"} for row in weighed_rows()]
    for number, row in enumerate(rows):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / str(row["record_id"]))
    manifest = with_rare_weights(audited(rows, str(tmp_path)))
    config = StreamConfig(image_size=(4, 4), batch_size=3)
    with Stream(manifest, split=split, config=config) as stream:  # type: ignore[arg-type]
        seen = np.concatenate([batch.weights.copy() for batch in stream.epoch(0)])
    assert {round(float(weight), 5) for weight in seen} == {round(weight, 5) for weight in weights}
