from __future__ import annotations

import re
import time

import polars as pl
import pytest
from audited_sets import findings, named, rows

from sightline.data.sources import ScanOptions

XRAYS = [
    *(f"train/PNEUMONIA/person{number}_bacteria_{number + 9}.jpeg" for number in range(1, 30)),
    *(f"train/PNEUMONIA/person{number}_virus_{number + 70}.jpeg" for number in range(1, 20)),
    "val/PNEUMONIA/person3_bacteria_900.jpeg",
    *(f"train/NORMAL/IM-{number:04d}-0001.jpeg" for number in range(100, 120)),
    *(f"train/NORMAL/NORMAL2-IM-{number:04d}-0001.jpeg" for number in range(100, 120)),
    "train/NORMAL/IM-0115-0001-0002.jpeg",
    "train/NORMAL/NORMAL2-IM-0117-0001-0002.jpeg",
]


def groups_made(regex: str, names: list[str]) -> list[str]:
    groups = ScanOptions(group_regex=regex).groups(pl.Series(names))
    assert groups is not None
    return groups.to_list()


def proposed(names: list[str]) -> str | None:
    found = findings(named(names))["guessed-groups"]
    return found.evidence["regex"] if found.outcome == "found" else None


def test_chest_x_rays_are_grouped_by_patient() -> None:
    chosen = named([name.replace("val/", "validation/") for name in XRAYS])
    found = findings(chosen)["guessed-groups"]
    assert found.severity == "warning"
    names = [str(row["record_id"]) for row in chosen]
    expected = [re.search(r"(person\d+|(?:NORMAL2-)?IM-\d+)", name)[1] for name in names]  # type: ignore[index]
    assert groups_made(found.evidence["regex"], names) == expected
    assert found.evidence["num_groups"] == len(set(expected)) == 69
    assert found.evidence["num_several"] == 21


def test_guessed_groups_on_two_sides_of_the_split_are_named() -> None:
    chosen = named([name.replace("val/", "validation/") for name in XRAYS])
    (group,) = findings(chosen)["guessed-groups"].evidence["groups_across_splits"]
    assert group["group"] == "person3"
    assert group["by_split"]["validation"] == ["validation/PNEUMONIA/person3_bacteria_900.jpeg"]
    assert len(group["by_split"]["train"]) == 2


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["a/patient_012-L.png", "a/patient_012-R.png", "a/patient_3-L.png", "b/patient_7-L.png"],
         ["patient_012", "patient_012", "patient_3", "patient_7"]),
        (["a/Subject3 x.png", "a/Subject3 y.png", "b/Subject 4.png", "b/Subject 5.png"],
         ["Subject3", "Subject3", "Subject 4", "Subject 5"]),
        (["a/sub-01_t1.png", "a/sub-01_t2.png", "a/sub-02_t1.png", "b/sub-03_t1.png"],
         ["sub-01", "sub-01", "sub-02", "sub-03"]),
        (["a/lesion12/1.png", "a/lesion12/2.png", "a/lesion3/1.png", "b/lesion4/1.png"],
         ["lesion12", "lesion12", "lesion3", "lesion4"]),
        (["a/x_id5_1.png", "a/x_id5_2.png", "a/x_id6_1.png", "b/x_id7_1.png"],
         ["id5", "id5", "id6", "id7"]),
    ],
)  # fmt: skip
def test_numbers_after_a_word_for_somebody_are_a_group(names: list[str], groups: list[str]) -> None:
    regex = proposed(names)
    assert regex is not None
    assert groups_made(regex, names) == groups


@pytest.mark.parametrize("suffix", ["(1)", " (1)", " copy", " copy 2", " - Copy", " - Copy (2)"])
def test_a_copy_beside_its_file_is_of_its_group(suffix: str) -> None:
    names = [f"a/ISIC_00243{number}.jpg" for number in range(10, 20)]
    regex = proposed([*names, f"a/ISIC_0024310{suffix}.jpg"])
    assert regex is not None
    assert groups_made(regex, [f"a/ISIC_0024310{suffix}.jpg", "a/ISIC_0024311.jpg"]) == [
        "ISIC_0024310",
        "ISIC_0024311",
    ]


def test_names_without_an_extension_are_grouped_too() -> None:
    names = [f"{'ab'[c % 2]}/clip{c:02d}_{f}" for c in range(12) for f in range(3)]
    regex = proposed([*names, "a/clip00_0(1)"])
    assert regex is not None
    assert groups_made(regex, ["a/clip00_0", "a/clip00_0(1)"]) == ["clip00_0"] * 2


def test_long_names_are_searched_without_delay() -> None:
    names = [f"{'ab'[c % 2]}/{c:03d}{'7' * 200}_{f}.png" for c in range(99) for f in range(9)]
    names += [f"a/{c:03d}{'7' * 230}x.png" for c in range(99)]
    began = time.process_time()
    assert proposed(names) is not None
    assert time.process_time() - began < 5


def test_equal_names_in_two_folders_are_not_joined_by_a_copy_in_one() -> None:
    names = ["a/1.png", "a/1(1).png", "b/1.png", "b/2.png"]
    regex = proposed(names)
    assert regex is not None
    assert groups_made(regex, names) == ["a/1", "a/1", "b/1", "b/2"]


def test_numbered_frames_are_grouped_by_what_they_are_frames_of() -> None:
    names = [f"{'ab'[c % 2]}/clip{c:02d}_{f:03d}.png" for c in range(12) for f in range(5)]
    regex = proposed(names)
    assert regex is not None
    assert groups_made(regex, names[:6]) == ["clip00"] * 5 + ["clip01"]


@pytest.mark.parametrize(
    "names",
    [
        [f"{'ab'[n % 2]}/ISIC_{n + 24306:07d}.jpg" for n in range(200)],
        [f"{'ab'[n % 2]}/{n}.png" for n in range(200)],
        [f"{label}/case{n}.png" for label in "ab" for n in range(100)],
        [f"{'ab'[n % 2]}/patient{n}.png" for n in range(100)],
        [f"{label}/Covid ({n}).png" for label in "ab" for n in range(1, 100)],
        [f"subject{s}/{n}.png" for s in range(5) for n in range(20)],
        [f"{'ab'[n % 2]}/ISIC_2019_{n + 24306:07d}.jpg" for n in range(200)],
        [f"{'ab'[n % 2]}/scan{n % 97}_{n * 7919 % 100_000}.jpg" for n in range(200)],
        [f"digit_{d}/digit_{d}_{n}.png" for d in range(10) for n in range(20)],
        [f"{label}/{label}_case{n}.jpg" for label in ("cat", "dog") for n in range(90)],
        [f"{label}/id_{n}_{label}.jpg" for label in "abc" for n in range(90)],
        [f"{side}/{label}/{label}_case{n}.jpg" for label in ("cat", "dog")
         for side in ("train", "test") for n in range(40)],
        [f"{'ab'[n % 2]}/study{2019 + n % 3}_{n}.jpg" for n in range(90)],
    ],
    ids=["ISIC", "running", "anew in each folder", "one each", "numbered in brackets",
         "people are the classes", "year", "random numbers", "classes in names",
         "anew in each class that is named", "the class after the number",
         "anew on each side as well", "years"],
)  # fmt: skip
def test_nothing_is_proposed_without_strong_reason(names: list[str]) -> None:
    found = findings(named(names))["guessed-groups"]
    assert found.outcome == "passed", found.title


def test_a_word_behind_a_year_is_still_seen() -> None:
    names = [
        f"{'ab'[p % 2]}/study{2019 + p % 3}_patient{p}_{n}.png" for p in range(9) for n in "xy"
    ]
    regex = proposed(names)
    assert regex is not None
    assert groups_made(regex, names[:4]) == ["patient0", "patient0", "patient1", "patient1"]


def test_many_numbers_like_years_are_numbers() -> None:
    names = [f"{'ab'[p % 2]}/patient{2001 + p}_{n}.png" for p in range(60) for n in "xy"]
    assert groups_made(str(proposed(names)), names[:1]) == ["patient2001"]


def test_some_patients_in_two_classes_do_not_hide_the_others() -> None:
    names = [f"{'ab'[p % 2]}/patient{p}_{n}.png" for p in range(20) for n in "xy"]
    names += [f"{label}/patient{p}_{label}.png" for p in range(20, 30) for label in "ab"]
    assert proposed(names) is not None


def test_patients_with_an_image_on_each_side_are_a_leak_not_numbers_begun_anew() -> None:
    names = [f"{s}/{'ab'[p % 2]}/patient{p}_{s}.png" for p in range(20) for s in ("train", "test")]
    found = findings(named(names))["guessed-groups"]
    assert len(found.evidence["groups_across_splits"]) == 20


def test_a_copy_under_another_label_is_of_the_group_of_its_file() -> None:
    assert (
        proposed([*(f"a/x{n}.png" for n in range(9)), "b/x1 (1).png", "b/x2 (1).png"]) is not None
    )


def test_nothing_is_guessed_where_groups_are_given() -> None:
    chosen = [{**row, "group": "g"} for row in named(XRAYS[:29])]
    found = findings(chosen)["guessed-groups"]
    assert (found.outcome, found.title) == ("not applicable", "Groups are given: 1 group.")


def test_a_group_on_two_sides_is_an_error() -> None:
    chosen = rows(3, "a", split="train", group="p1") + rows(2, "a", split="test", group="p1")
    found = findings(chosen)["groups-across-splits"]
    assert (found.outcome, found.severity) == ("found", "error")
    assert {side: len(ids) for side, ids in found.evidence["groups"][0]["by_split"].items()} == {
        "train": 3,
        "test": 2,
    }


def test_groups_that_keep_to_one_side_pass() -> None:
    chosen = rows(3, "a", split="train", group="p1") + rows(2, "a", split="test", group="p2")
    assert findings(chosen)["groups-across-splits"].outcome == "passed"
