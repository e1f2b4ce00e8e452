"""A closer look: parts of the images, those worth a look, and training images like a mistake."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import sightline as sl
from listening_lines import Lines
from sightline.workflow import reviewing

MakePhotos = Callable[..., Path]
QUIET = sl.Silent()


@dataclass(frozen=True)
class Reviewed:
    """A run that was looked at closely, and its figures."""

    run: sl.Run
    judged: sl.Evaluation
    table: pl.DataFrame


@pytest.fixture(scope="module")
def metadata(doubting: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sex and age of every image but ten, by file name."""
    path = tmp_path_factory.mktemp("metadata") / "metadata.csv"
    names = [Path(record_id).name for record_id in doubting.manifest.table["record_id"]]
    sexes = ["f" if number % 2 else "m" for number in range(len(names))]
    ages = [str(20 + number % 50) for number in range(len(names))]
    table = pl.DataFrame({"image": names, "sex": sexes, "age": ages, "all": "same"})
    table[10:].write_csv(path)
    return path


@pytest.fixture(scope="module")
def reviewed(
    doubting: sl.Run, metadata: Path, tmp_path_factory: pytest.TempPathFactory
) -> Reviewed:
    """With a threshold that calls some doubtful labels right; must not be changed."""
    path = tmp_path_factory.mktemp("reviewed") / "run"
    shutil.copytree(doubting.path, path)
    judged = sl.evaluate(
        path,
        threshold="0.8",
        slice_by=["sex", "age"],
        metadata=metadata,
        neighbours=True,
        progress=QUIET,
    )
    run = sl.open_run(path)
    return Reviewed(run, judged, pl.read_csv(reviewing.review_path(run, "test", "best")))


# --- slices ----------------------------------------------------------------------------


def test_the_values_of_several_columns_are_judged_apart(reviewed: Reviewed) -> None:
    found = [(each.column, each.value) for each in reviewed.judged.slices]
    assert {("sex", "f"), ("sex", "m"), ("sex", "(unknown)")} <= set(found)
    assert sum(column == "age" for column, _ in found) == 5  # four quarters, and not known


def test_the_parts_of_a_column_are_all_images(reviewed: Reviewed) -> None:
    counts = [each.count for each in reviewed.judged.slices if each.column == "sex"]
    assert sum(counts) == reviewed.judged.count


def test_figures_of_parts_come_back_as_they_were(reviewed: Reviewed) -> None:
    (kept,) = reviewed.run.evaluations
    assert kept.to_dict() == reviewed.judged.to_dict()
    assert kept.slices == reviewed.judged.slices


def test_one_column_needs_no_list_and_no_table(doubter: sl.Run) -> None:
    judged = sl.evaluate(doubter, data=doubter.manifest, slice_by="split", progress=QUIET)
    assert {each.value for each in judged.slices} == {"train", "validation", "test"}


def test_a_column_named_twice_is_judged_once(doubter: sl.Run) -> None:
    twice = ["split", "split"]
    judged = sl.evaluate(doubter, data=doubter.manifest, slice_by=twice, progress=QUIET)
    assert len(judged.slices) == 3


def test_a_column_of_one_value_is_said_to_part_nothing(doubter: sl.Run, metadata: Path) -> None:
    lines = Lines()
    judged = sl.evaluate(doubter, slice_by="all", metadata=metadata, progress=lines)
    assert {each.value for each in judged.slices} <= {"same", "(unknown)"}
    sl.evaluate(doubter, slice_by="width", progress=lines)
    told = "width is the same, or not known, of all these images: no parts to compare."
    assert told in lines.said


def test_an_external_sets_own_labels_are_its_metadata(doubter: sl.Run, tmp_path: Path) -> None:
    own = doubter.manifest
    table = tmp_path / "labels.csv"
    rows = own.table.select(file="record_id", is_="label")
    rows.with_columns(site=pl.Series(["a", "b"] * (len(rows) // 2))).write_csv(table)
    judged = sl.evaluate(
        doubter,
        data=own.root,
        labels=table,
        path_col="file",
        label_col="is_",
        slice_by="site",
        progress=QUIET,
    )
    assert [(each.value, each.count) for each in judged.slices] == [("a", 90), ("b", 90)]


def test_an_external_set_of_one_class_has_parts_too(
    run: sl.Run, make_photos: MakePhotos, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("image,site\nlight_00,a\nlight_01,b\nlight_02,a\n")
    data = make_photos(tmp_path / "other", {"light": 3})
    judged = sl.evaluate(run, data=data, slice_by="site", metadata=table, progress=QUIET)
    assert [(each.value, each.count) for each in judged.slices] == [("a", 2), ("b", 1)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["eye"], r"there is no column 'eye' in the table .*metadata\.csv"),
        ([], r"metadata\.csv was given, and no column .* --slice-by COLUMN"),
        (["record_id"], r"record_id says which image it is"),
    ],
)
def test_columns_that_cannot_be_used_are_refused_before_anything_is_predicted(
    columns: list[str], message: str, doubter: sl.Run, metadata: Path
) -> None:
    with pytest.raises(sl.DataError, match=message):
        sl.evaluate(doubter, slice_by=columns, metadata=metadata, progress=QUIET)
    assert not (doubter.path / "predictions").exists()


def test_a_column_without_a_table_that_has_it_is_refused(doubter: sl.Run) -> None:
    with pytest.raises(sl.DataError, match="no column 'age' in the manifest, and no table is giv"):
        sl.evaluate(doubter, slice_by="age", progress=QUIET)


# --- the images worth a look -----------------------------------------------------------


def test_the_columns_are_those_that_are_promised(reviewed: Reviewed) -> None:
    assert reviewed.table.columns == [
        "record_id", "label", "predicted", "probability", "label_probability", "margin", "wrong",
        "doubtful_label", "least_certain", "similar_1", "label_1", "similar_2", "label_2",
        "similar_3", "label_3",
    ]  # fmt: skip


def test_every_wrong_image_is_there_once(reviewed: Reviewed) -> None:
    found = reviewed.run.predictions("test", "best").to_table()
    wrong = found.filter(pl.col("label") != pl.col("predicted"))["record_id"]
    assert len(wrong)
    assert sorted(reviewed.table.filter("wrong")["record_id"]) == sorted(wrong)
    assert reviewed.table["record_id"].is_unique().all()


def test_the_most_confident_mistake_is_first(reviewed: Reviewed) -> None:
    wrong = reviewed.table.filter("wrong")
    assert reviewed.table["wrong"][: len(wrong)].all()
    lead = wrong["probability"] - wrong["label_probability"]
    assert lead.is_sorted(descending=True)


def test_every_doubtful_label_has_a_row_and_a_rank(reviewed: Reviewed) -> None:
    from sightline.judging.evaluation import doubtful_labels

    expected = doubtful_labels(reviewed.run.predictions("test", "best")).candidates
    ranked = reviewed.table.drop_nulls("doubtful_label").sort("doubtful_label")
    assert ranked["record_id"].to_list() == [each.record_id for each in expected]
    assert not ranked["wrong"].all()  # under a threshold of 0.8, some are what was decided


def test_the_fifty_least_certain_are_ranked(reviewed: Reviewed) -> None:
    ranked = reviewed.table.drop_nulls("least_certain").sort("least_certain")
    assert ranked["least_certain"].to_list() == list(range(1, 51))
    assert ranked["margin"].is_sorted()


def test_labels_that_were_learned_are_not_doubted(doubter: sl.Run) -> None:
    sl.evaluate(doubter, split="train", progress=QUIET)
    table = pl.read_csv(reviewing.review_path(doubter, "train", "best"))
    assert table["doubtful_label"].null_count() == len(table) > 0


# --- training images like a mistake ----------------------------------------------------


def test_similar_images_are_training_images_with_their_labels(reviewed: Reviewed) -> None:
    labels = dict(reviewed.run.manifest.of_split("train").select("record_id", "label").iter_rows())
    wrong = reviewed.table.filter("wrong")
    assert [labels[name] for name in wrong["similar_1"]] == wrong["label_1"].to_list()


def test_the_most_similar_is_the_nearest_by_angle(reviewed: Reviewed) -> None:
    test, train = (reviewed.run.predictions(split, "best") for split in ("test", "train"))
    assert test.embeddings is not None
    assert train.embeddings is not None
    row = reviewed.table.row(0, named=True)
    place = test.table["record_id"].to_list().index(row["record_id"])
    query, known = test.embeddings[place].astype(float), train.embeddings.astype(float)
    cosines = known @ query / np.linalg.norm(known, axis=1) / np.linalg.norm(query)
    at = train.table["record_id"].to_list().index(row["similar_1"])
    assert cosines[at] == pytest.approx(cosines.max(), abs=1e-6)


def test_an_image_of_the_training_split_is_not_like_itself(doubter: sl.Run) -> None:
    sl.evaluate(doubter, split="train", neighbours=True, progress=QUIET)
    table = pl.read_csv(reviewing.review_path(doubter, "train", "best")).filter("wrong")
    assert len(table)
    for name in ("similar_1", "similar_2", "similar_3"):
        assert (table["record_id"] != table[name]).all()


def test_what_was_seen_of_training_images_is_kept_for_the_next_time(
    reviewed: Reviewed, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(reviewed.run.path, tmp_path / "run"))
    kept = path / "predictions" / "train-best.parquet"
    before = kept.stat().st_mtime_ns
    sl.evaluate(path, neighbours=True, progress=QUIET)
    assert kept.stat().st_mtime_ns == before


def test_without_being_asked_there_are_no_similar_images(doubter: sl.Run) -> None:
    sl.evaluate(doubter, progress=QUIET)
    assert not (doubter.path / "predictions" / "train-best.parquet").exists()
    table = pl.read_csv(reviewing.review_path(doubter, "test", "best"))
    assert "similar_1" not in table.columns


def test_a_network_without_a_last_dense_layer_says_so(photos: Path, tmp_path: Path) -> None:
    from sightline.learning.models import backend

    backend.choose()
    import keras

    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(2, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Softmax(),
        ]
    )
    lines = Lines()
    run = sl.train(
        photos,
        recipe="basic",
        model=network,
        changes={"train.epochs": 1, "train.batch_size": 8},
        out=tmp_path / "run",
        only_train=True,
        progress=QUIET,
    )
    sl.evaluate(run, neighbours=True, progress=lines)
    told = "This network has no last dense layer, so images cannot be compared by it."
    assert lines.said.count(told) == 1
    assert not (run.path / "predictions" / "train-best.parquet").exists()


def test_damaged_weights_are_told_of_once_however_many_splits_are_predicted(
    doubter: sl.Run,
) -> None:
    with (doubter.path / "best.safetensors").open("ab") as file:
        file.write(b"x")
    lines = Lines()
    sl.evaluate(doubter, neighbours=True, progress=lines)
    assert sum("best.safetensors is missing or damaged" in line for line in lines.said) == 1
