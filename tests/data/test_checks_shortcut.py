from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from audited_sets import Row, audited, findings, rows
from sklearn.metrics import roc_auc_score

from sightline.data.auditing.checks.predicting import (
    Sample,
    cross_validated,
    deviations_of_chance,
    draw_sample,
)
from sightline.records import Finding


def drawn(count: int, label: str, seed: int, **means: float) -> list[Row]:
    """Return rows whose columns are drawn with a deviation of 10 % of each mean."""
    rng = np.random.default_rng(seed)
    made = rows(count, label)
    for name, mean in means.items():
        for row, value in zip(made, rng.normal(mean, 0.1 * mean, count), strict=True):
            row[name] = (
                round(float(value)) if name in ("bytes", "width", "height") else float(value)
            )
    return made


def shortcut(chosen: list[Row]) -> Finding:
    return findings(chosen)["shortcut"]


def told(finding: Finding) -> dict[str, dict[str, Any]]:
    return {one["feature"]: one for one in finding.evidence["features"]}


def test_a_format_that_is_the_label_is_an_error_with_the_rule() -> None:
    found = shortcut(rows(60, "a") + rows(60, "b", format="PNG", quality=None))
    assert (found.outcome, found.severity) == ("found", "error")
    assert found.title == (
        "The file format alone predicts the label with an AUC of 1.00: 'a' when it is JPEG "
        "(100 % of them, 0 % of the others); 1 other feature as well."
    )


@pytest.mark.parametrize(
    ("other", "feature"),
    [({"mode": "L"}, "mode"), ({"bits": 16}, "bits"), ({"width": 300}, "width"),
     ({"quality": 9.0}, "quality"), ({"orientation": 6}, "orientation")],
)  # fmt: skip
def test_what_tells_where_a_file_was_made_is_an_error(other: dict[str, Any], feature: str) -> None:
    found = shortcut(rows(60, "a") + rows(60, "b", **other))
    assert found.severity == "error"
    assert found.evidence["telling"][0] == feature


@pytest.mark.parametrize("feature", ["bytes", "border_brightness", "border_contrast"])
def test_what_the_picture_may_explain_is_a_warning_however_strong(feature: str) -> None:
    found = shortcut(drawn(80, "a", 0, **{feature: 50.0}) + drawn(80, "b", 1, **{feature: 90.0}))
    assert (found.outcome, found.severity) == ("found", "warning")
    assert found.evidence["telling"] == [feature]


def test_file_size_is_told_in_its_unit_and_direction() -> None:
    chosen = [{**row, "bytes": 20_000} for row in rows(60, "a")]
    chosen += [
        {**row, "bytes": 40_000 + 9_000_000 * (n > 50)} for n, row in enumerate(rows(60, "b"))
    ]
    assert shortcut(chosen).title == (
        "The file size alone predicts the label with an AUC of 1.00: 'a' when under 30 kB "
        "(100 % of them, 0 % of the others)."
    )


def test_labels_that_nothing_tells_pass() -> None:
    chosen = drawn(300, "a", 0, bytes=20_000, width=300, border_contrast=30)
    chosen += drawn(300, "b", 1, bytes=20_000, width=300, border_contrast=30)
    found = shortcut(chosen)
    assert found.outcome == "passed"
    assert found.evidence["auc_of_all"] < 0.6


def test_chance_in_small_classes_is_not_called_a_shortcut() -> None:
    outcomes = [
        shortcut(
            drawn(22, "a", 2 * seed, bytes=20_000, width=300, height=300, border_contrast=30)
            + drawn(22, "b", 2 * seed + 1, bytes=20_000, width=300, height=300, border_contrast=30)
        ).outcome
        for seed in range(20)
    ]
    assert outcomes.count("found") == 0


# Here trees reach an AUC that is 3 standard errors of a fixed score above chance.
@pytest.mark.parametrize(
    ("count", "seed"), [(20, 38), (20, 55), (25, 25), (25, 29), (25, 39), (30, 23), (30, 25)]
)
def test_the_best_of_many_trees_on_random_labels_is_no_shortcut(count: int, seed: int) -> None:
    found = shortcut(at_random(count, seed))
    assert found.outcome == "passed", found.title


def at_random(count: int, seed: int) -> list[Row]:
    """Return as many rows of "a" as of "b", alike in all but what was drawn for each."""
    rng = np.random.default_rng(seed)
    chosen = rows(count, "a") + rows(count, "b")
    for name in ("bytes", "width", "height"):
        for row, value in zip(chosen, rng.integers(200, 20_000, 2 * count), strict=True):
            row[name] = int(value)
    for name in ("quality", "border_brightness", "border_contrast"):
        for row, value in zip(chosen, rng.normal(50, 5, 2 * count), strict=True):
            row[name] = float(value)
    return chosen


@pytest.mark.parametrize("seed", range(2))
def test_one_patient_with_most_images_makes_no_shortcut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chosen = []
    for label in "ab":
        sizes = [60 if (number, label) == (0, "a") else 1 for number in range(30)]
        for number, size in enumerate(sizes):
            group, heavy = f"{label}{number}", {"bytes": int(rng.integers(9_000, 90_000))}
            own = rows(size, label, group=group, **heavy)
            chosen += [{**row, "record_id": f"{label}/{group}_{i}"} for i, row in enumerate(own)]
    found = shortcut(chosen)
    assert found.outcome == "passed", found.title


def test_an_auc_that_few_images_reach_by_chance_is_said_to_be_unsure() -> None:
    chosen = drawn(20, "a", 0, bytes=20_000) + drawn(20, "b", 1, bytes=22_500)
    found = shortcut(chosen)
    assert found.outcome == "passed"
    assert found.title.startswith("No metadata clearly predict the label: the best is the file si")
    assert 0.7 < told(found)["bytes"]["auc"] < found.evidence["clear_from"]


@pytest.mark.parametrize("count", [20, 40, 80])
def test_a_format_that_is_the_label_is_found_in_small_classes_too(count: int) -> None:
    found = shortcut(rows(count, "a") + rows(count, "b", format="PNG"))
    assert (found.outcome, found.severity) == ("found", "error")


def test_one_class_given_away_among_several_is_found_though_the_mean_hides_it() -> None:
    chosen = [row for name in "abcdefg" for row in drawn(60, name, ord(name), bytes=20_000)]
    found = shortcut([*chosen, *rows(60, "h", format="PNG")])
    assert (found.outcome, found.severity) == ("found", "error")
    assert "tells 'h' from the others" in found.title
    assert told(found)["format"]["auc"] < 0.7 < told(found)["format"]["auc_of_class"]


def test_images_of_one_group_are_not_learned_from_to_predict_each_other() -> None:
    rng = np.random.default_rng(0)
    chosen = []
    for number, size in enumerate(rng.permutation(np.arange(60) * 500 + 10_000)):
        label = "ab"[number % 2]
        own = rows(8, label, group=f"p{number}", bytes=int(size))
        chosen += [{**row, "record_id": f"{label}/p{number}_{i}"} for i, row in enumerate(own)]
    apart = [{**row, "group": None} for row in chosen]
    assert told(shortcut(chosen))["bytes"]["auc"] < 0.65 < told(shortcut(apart))["bytes"]["auc"]


@pytest.mark.parametrize(
    "chosen",
    [rows(100, "a"), rows(100, None), rows(100, "a") + rows(19, "b", format="PNG"),
     rows(100, "a") + rows(40, "b", format="PNG", group="one")],
    ids=["one class", "no labels", "19 of a class", "one group"],
)  # fmt: skip
def test_too_little_to_tell_a_shortcut_by_is_not_applicable(chosen: list[Row]) -> None:
    assert shortcut(chosen).outcome == "not applicable"


def test_the_border_of_a_tiny_picture_is_the_picture() -> None:
    small = {"width": 8, "height": 8}
    chosen = rows(60, "a", border_brightness=10.0, **small)
    assert shortcut(chosen + rows(60, "b", border_brightness=90.0, **small)).outcome == "passed"


def test_examples_of_the_class_and_of_the_others_are_named() -> None:
    examples = shortcut(rows(60, "a") + rows(60, "b", format="PNG")).evidence["examples"]
    assert {name: {record_id[0] for record_id in ids} for name, ids in examples.items()} == {
        "a": {"a"},
        "not a": {"b"},
    }


def test_a_second_look_finds_the_same_numbers() -> None:
    chosen = drawn(80, "a", 0, bytes=20_000) + drawn(80, "b", 1, bytes=22_000)
    assert shortcut(chosen).to_dict() == shortcut(chosen).to_dict()


def test_the_auc_is_that_of_scikit_learn() -> None:
    chosen = drawn(90, "a", 0, bytes=20_000) + drawn(70, "b", 1, bytes=21_500)
    table = audited(chosen)[1]
    labels = [row["label"] for row in sorted(chosen, key=lambda row: row["record_id"])]
    same = table.select("bytes", label=pl.Series(labels)).with_columns(
        group=pl.lit(None, pl.String), copy_group=pl.lit(None, pl.String),
        near_group=pl.lit(None, pl.String),
    )  # fmt: skip
    sample = draw_sample(same)
    values = sample.rows["bytes"].cast(pl.Float32).to_numpy()[:, None]
    got = cross_validated(values, sample)

    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(
        max_depth=3, min_samples_leaf=5, class_weight="balanced", random_state=0
    )
    expected = cross_val_predict(
        tree, values, sample.labels, cv=PredefinedSplit(sample.folds), method="predict_proba"
    )
    assert got.of_class[1] == pytest.approx(roc_auc_score(sample.labels, expected[:, 1]))


def sampled(labels: list[int], units: list[int]) -> Sample:
    names = [str(number) for number in range(max(labels) + 1)]
    folds = np.zeros(len(labels), np.int64)
    return Sample(pl.DataFrame(), names, np.array(labels), np.array(units), folds)


def test_chance_strays_as_the_rank_sum_of_random_labels_does() -> None:
    labels = [0] * 20 + [1] * 40
    got = deviations_of_chance(sampled(labels, list(range(60))))
    rng, score = np.random.default_rng(0), np.arange(60)
    aucs = [roc_auc_score(rng.permutation(labels), score) for _ in range(2000)]
    assert got == pytest.approx([np.std(aucs)] * 2, rel=0.05)


def test_chance_strays_by_units_not_by_images() -> None:
    one_each = deviations_of_chance(sampled([0] * 20 + [1] * 40, list(range(60))))
    units = [unit for unit in range(60) for _ in range(5)]
    five_each = deviations_of_chance(sampled([0] * 100 + [1] * 200, units))
    assert five_each == pytest.approx(one_each)


def test_chance_strays_further_where_one_unit_holds_most_images() -> None:
    labels = [0] * 80 + [1] * 30
    even = [*range(20)] * 4 + [*range(20, 50)]
    heavy = [0] * 61 + [*range(1, 20)] + [*range(20, 50)]
    assert (
        deviations_of_chance(sampled(labels, heavy))[0]
        > 2 * (deviations_of_chance(sampled(labels, even))[0])
    )


@pytest.mark.parametrize("sizes", [(30_000, 40), (9_000, 50_000)])
def test_a_large_set_is_sampled_evenly_and_rare_classes_whole(sizes: tuple[int, int]) -> None:
    labels = ["a"] * sizes[0] + ["b"] * sizes[1]
    table = pl.DataFrame({"label": labels, "place": range(len(labels))}).with_columns(
        [pl.lit(None, pl.String).alias(name) for name in ("group", "copy_group", "near_group")]
    )
    counts = dict(draw_sample(table).rows.group_by("label").len().iter_rows())
    assert counts == {"a": min(sizes[0], 10_000), "b": min(sizes[1], 10_000)}
    places = draw_sample(table).rows.filter(pl.col("label") == "b")["place"].diff().drop_nulls()
    assert int(places.max()) - int(places.min()) <= 1  # type: ignore[arg-type]
