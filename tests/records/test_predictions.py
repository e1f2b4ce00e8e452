from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sightline.errors import DataError
from sightline.records import Decision, Predictions

PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan]], np.float32)


def predictions(**changes: Any) -> Predictions:
    values: dict[str, Any] = {
        "class_names": ("cat", "dog"),
        "record_ids": ["a", "b", "c"],
        "probabilities": PROBABILITIES,
        "labels": ["cat", None, "dog"],
        "groups": ["p1", None, "p2"],
        "reasons": [None, None, "TRUNCATED"],
        "model_fingerprint": "f00d",
        "weights": "last",
        "epoch": 3,
    }
    return Predictions.make(**(values | changes))


# --- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (PROBABILITIES[:2], r"probabilities must be \(3, 2\) float32, got \(2, 2\) float32"),
        (PROBABILITIES[:, :1], r"probabilities must be \(3, 2\) float32, got \(3, 1\)"),
        (PROBABILITIES[:, 0], r"probabilities must be \(3, 2\) float32, got \(3,\)"),
        (PROBABILITIES.astype(np.float64), r"float32, got \(3, 2\) float64"),
        (np.full((3, 2), 0.4, np.float32), r"must sum to 1, got 0\.8"),
        (np.full((3, 2), np.nan, np.float32), "must sum to 1, got nan"),
        (np.array([[1.5, -0.5]] * 3, np.float32), r"must not be negative, got -0\.5"),
    ],
)
def test_probabilities_that_are_none_are_refused(probabilities: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predictions(probabilities=probabilities)


def test_a_table_with_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match=r"table must have .*'reason'.*, got .*'x'"):
        Predictions(("a",), pl.DataFrame({"x": ["a"]}), np.ones((1, 1), np.float32), "", "best", 0)


def test_columns_that_are_left_out_are_null() -> None:
    made = Predictions.make(
        class_names=("a",), record_ids=["r"], probabilities=np.ones((1, 1), np.float32)
    )
    assert made.table.row(0) == ("r", None, None, None)


def test_no_records_are_predictions_too() -> None:
    made = Predictions.make(
        class_names=("a", "b"), record_ids=[], probabilities=np.zeros((0, 2), np.float32)
    )
    assert len(made.to_table()) == 0


# --- what can be judged ----------------------------------------------------------------


def test_scored_keeps_what_was_read_and_has_a_label() -> None:
    assert predictions().scored().table["record_id"].to_list() == ["a"]


def test_scored_keeps_the_models_identity() -> None:
    kept = predictions().scored()
    assert (kept.model_fingerprint, kept.weights, kept.epoch) == ("f00d", "last", 3)


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(DataError, match=r"none of the 3 records has both .* labels column"):
        predictions(labels=None).scored()


def test_label_indices_are_positions_in_the_class_names() -> None:
    made = predictions(labels=["dog", "cat", "dog"])
    assert made.label_indices().tolist() == [1, 0, 1]


def test_a_label_that_the_model_does_not_know_is_refused_by_its_record() -> None:
    with pytest.raises(DataError, match=r"record 'b' has label 'cow', .* 2 classes \['cat', 'dog"):
        predictions(labels=["dog", "cow", None]).label_indices()


def test_an_unreadable_record_has_no_predicted_class() -> None:
    assert predictions().predicted_indices().tolist() == [0, 1, -1]


# --- the table -------------------------------------------------------------------------


def test_the_table_has_a_column_of_probabilities_for_each_class() -> None:
    expected = ["record_id", "label", "predicted", "p_cat", "p_dog", "group", "reason"]
    assert predictions().to_table().columns == expected


def test_the_table_names_the_predicted_class() -> None:
    assert predictions().to_table()["predicted"].to_list() == ["cat", "dog", None]


def test_probabilities_of_an_unreadable_record_are_empty_in_the_table() -> None:
    assert predictions().to_table().row(2)[3:5] == (None, None)


def test_saved_predictions_are_the_table(tmp_path: Path) -> None:
    predictions().save(tmp_path / "p.parquet")
    assert pl.read_parquet(tmp_path / "p.parquet").equals(predictions().to_table())


def test_saved_predictions_say_which_model_made_them(tmp_path: Path) -> None:
    predictions().save(tmp_path / "p.parquet")
    about = pl.read_parquet_metadata(tmp_path / "p.parquet")
    assert {name: about[name] for name in ("model_fingerprint", "weights", "epoch")} == {
        "model_fingerprint": "f00d",
        "weights": "last",
        "epoch": "3",
    }


def test_saved_predictions_carry_their_content_hash(tmp_path: Path) -> None:
    predictions().save(tmp_path / "p.parquet")
    about = pl.read_parquet_metadata(tmp_path / "p.parquet")
    assert about["content_hash"] == predictions().content_hash()


# --- loaded and joined -----------------------------------------------------------------


def test_saved_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    predictions().save(tmp_path / "p.parquet")
    back = Predictions.load(tmp_path / "p.parquet")
    assert back.content_hash() == predictions().content_hash()
    assert (back.model_fingerprint, back.weights, back.epoch) == ("f00d", "last", 3)


def test_no_predictions_come_back_as_none(tmp_path: Path) -> None:
    nothing = np.zeros((0, 2), np.float32)
    Predictions.make(class_names=("a", "b"), record_ids=[], probabilities=nothing).save(
        tmp_path / "p.parquet"
    )
    assert Predictions.load(tmp_path / "p.parquet").probabilities.shape == (0, 2)


def test_predictions_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}/p\.parquet holds no predictions"):
        Predictions.load(tmp_path / "p.parquet")


def test_another_table_holds_no_predictions(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"p\.parquet holds no predictions"):
        Predictions.load(tmp_path / "p.parquet")


# --- the content hash ------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": ("dog", "cat")},
        {"record_ids": ["a", "b", "d"]},
        {"labels": ["dog", None, "dog"]},
        {"labels": ["cat", "", "dog"]},
        {"groups": ["p1", "p1", "p2"]},
        {"reasons": [None, None, "EMPTY"]},
        {"probabilities": np.array([[0.8, 0.2], [0.2, 0.8], [np.nan] * 2], np.float32)},
    ],
)
def test_the_hash_changes_with_the_content(changes: dict[str, Any]) -> None:
    assert predictions(**changes).content_hash() != predictions().content_hash()


@pytest.mark.parametrize("changes", [{"epoch": 4}, {"weights": "best"}, {"model_fingerprint": ""}])
def test_the_hash_does_not_depend_on_which_weights_they_are(changes: dict[str, Any]) -> None:
    assert predictions(**changes).content_hash() == predictions().content_hash()


def test_text_that_moves_from_one_column_to_the_next_changes_the_hash() -> None:
    alone = {"probabilities": PROBABILITIES[:1], "groups": None, "reasons": None}
    one = predictions(record_ids=["a"], labels=["cat"], **alone)
    other = predictions(record_ids=["acat"], labels=[None], **alone)
    assert one.content_hash() != other.content_hash()


def test_the_layout_of_the_array_does_not_change_the_hash() -> None:
    turned = np.asfortranarray(PROBABILITIES)
    assert predictions(probabilities=turned).content_hash() == predictions().content_hash()


# --- decisions and embeddings ----------------------------------------------------------

CAUTIOUS = Decision(kind="threshold", class_index=1, threshold=0.05, rule="sensitivity=0.95")


def test_the_prediction_follows_the_decision() -> None:
    chosen = predictions(decision=CAUTIOUS).to_table()["predicted"].to_list()
    assert chosen == ["dog", "dog", None]


def test_a_decision_comes_back_from_the_file(tmp_path: Path) -> None:
    predictions(decision=CAUTIOUS).save(tmp_path / "p.parquet")
    assert Predictions.load(tmp_path / "p.parquet").decision == CAUTIOUS


def test_embeddings_come_back_from_the_file_as_they_were(tmp_path: Path) -> None:
    embeddings = np.array([[1, 0.1], [2, -3], [np.nan, np.nan]], np.float16)
    predictions(embeddings=embeddings).save(tmp_path / "p.parquet")
    back = Predictions.load(tmp_path / "p.parquet").embeddings
    np.testing.assert_array_equal(back, embeddings, strict=True)


def test_rows_are_chosen_with_their_embeddings() -> None:
    embeddings = np.array([[1], [2], [3]], np.float16)
    chosen = predictions(embeddings=embeddings).chosen(np.array([2, 0]))
    assert chosen.table["record_id"].to_list() == ["c", "a"]
    np.testing.assert_array_equal(chosen.embeddings, np.array([[3], [1]], np.float16))


def test_embeddings_of_other_records_are_refused() -> None:
    with pytest.raises(ValueError, match=r"embeddings must be \(3, E\) float16, got \(2, 1\)"):
        predictions(embeddings=np.zeros((2, 1), np.float16))
