"""Histories of other programs: Keras' History, its dictionary, files of CSVLogger."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sightline.errors import DataError
from sightline.judging.diagnosis import (
    CODES,
    Known,
    TrainingFacts,
    diagnose,
    facts_of_history,
    read_csv,
)

GOOD = "epoch,loss,val_loss\n0,0.7,0.71\n1,0.6,0.65\n2,0.5,0.62\n"


def of_csv(folder: Path, text: str, **known: Any) -> TrainingFacts:
    path = folder / "log.csv"
    path.write_text(text)
    return facts_of_history(read_csv(path), Known(**known))


# --- what is taken ---------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_file_is_read_with_any_usual_separator(separator: str, tmp_path: Path) -> None:
    facts = of_csv(tmp_path, GOOD.replace(",", separator))
    assert facts["val_loss"].tolist() == [0.71, 0.65, 0.62]


def test_a_file_with_a_mark_of_its_encoding_is_read(tmp_path: Path) -> None:
    assert of_csv(tmp_path, "\ufeff" + GOOD).epochs == 3


@pytest.mark.parametrize("nothing", ["NA", "", "nan"])
def test_a_cell_without_a_value_is_a_gap(nothing: str, tmp_path: Path) -> None:
    facts = of_csv(tmp_path, GOOD.replace("0.65", nothing))
    assert np.isnan(facts["val_loss"]).tolist() == [False, True, False]


def test_a_training_that_went_on_with_its_epochs_is_one_training(tmp_path: Path) -> None:
    assert of_csv(tmp_path, "epoch,loss\n3,0.7\n4,0.6\n").epochs == 2


def test_whatever_has_a_dictionary_called_history_will_do() -> None:
    history = SimpleNamespace(history={"loss": [3.0, 2.0]}, params={"epochs": 2})
    facts = facts_of_history(history)
    assert (facts["loss"].tolist(), facts.ended) == ([3.0, 2.0], "all epochs")


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("acc", "accuracy"),
        ("val_binary_accuracy", "val_accuracy"),
        ("lr", "learning_rate"),
        ("val_sparse_categorical_accuracy", "val_accuracy"),
    ],
)
def test_other_names_of_a_column_are_known(old: str, name: str) -> None:
    assert name in facts_of_history({"loss": [1.0], old: [0.5]}).columns


def test_beside_an_accuracy_its_other_names_stay_columns_of_their_own() -> None:
    facts = facts_of_history({"loss": [1.0], "acc": [0.5], "accuracy": [0.7]})
    assert (facts["accuracy"].tolist(), facts["acc"].tolist()) == ([0.7], [0.5])


def test_two_other_names_of_the_accuracy_are_refused_where_they_differ() -> None:
    same = {"loss": [1.0], "acc": [0.5], "categorical_accuracy": [0.5]}
    assert facts_of_history(same)["accuracy"].tolist() == [0.5]
    told = "has 'acc' and 'binary_accuracy', which differ, and both would be the accuracy"
    with pytest.raises(DataError, match=told):
        facts_of_history({"loss": [1.0], "acc": [0.5], "binary_accuracy": [0.7]})


def test_validation_in_every_second_epoch_has_gaps_in_between() -> None:
    facts = facts_of_history({"loss": [4, 3, 2, 1], "val_loss": [3.5, 1.5]})
    assert facts["val_loss"].tolist() == pytest.approx([np.nan, 3.5, np.nan, 1.5], nan_ok=True)


def test_class_counts_say_how_many_images_there_are() -> None:
    facts = facts_of_history({"loss": [1.0]}, Known(class_counts={"a": 30, "b": 12}))
    assert facts.num_train == 42


@pytest.mark.parametrize(
    ("values", "ended"),
    [([3, 2, 1, 2, 2], "stopped early"), ([3, 2, 1, 2, 1.5, 0.5], "all epochs")],
)
def test_early_stopping_is_seen_in_the_curve(values: list[float], ended: str) -> None:
    facts = facts_of_history({"loss": values, "val_loss": values}, Known(patience=2))
    assert facts.ended == ended


def test_a_loss_that_ends_as_no_number_ended_the_training() -> None:
    assert facts_of_history({"loss": [1.0, float("nan")]}).ended == "no number"


# --- what is refused -------------------------------------------------------------------


def refused(folder: Path, text: str) -> str:
    path = folder / "log.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"log\.csv") as error:
        read_csv(path)
    return str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*nowhere\.csv. Give a run folder"):
        read_csv(tmp_path / "nowhere.csv")


def test_a_cell_of_text_is_told_with_its_place(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD.replace("0.65", "high"))
    assert "line 3, column 'val_loss', is no number: 'high'" in message


def test_a_header_in_the_middle_is_a_second_training(tmp_path: Path) -> None:
    assert "line 5, is a header again" in refused(tmp_path, GOOD + GOOD)


def test_epochs_that_begin_anew_are_a_second_training(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD + "0,0.7,0.7\n")
    assert "line 5, has epoch 0 after epoch 2" in message


def test_a_file_without_losses_is_no_history(tmp_path: Path) -> None:
    assert "'epoch' and 'loss' are needed" in refused(tmp_path, "name,label\n1,2\n")


@pytest.mark.parametrize("text", ["", "epoch,loss\n", "\n\n"])
def test_an_empty_file_is_told(text: str, tmp_path: Path) -> None:
    assert "is empty: it has no epoch" in refused(tmp_path, text)


def test_a_line_with_too_few_cells_is_told(tmp_path: Path) -> None:
    assert "line 3, has 2 cells, and the header has 3" in refused(
        tmp_path, "epoch,loss,val_loss\n0,1,1\n1,0.9\n"
    )


def test_a_column_that_comes_twice_is_told(tmp_path: Path) -> None:
    assert "has a column twice" in refused(tmp_path, "epoch,loss,loss\n0,1,1\n")


def test_a_file_of_bytes_is_told(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="is not a text file"):
        read_csv(tmp_path / "log.csv")


@pytest.mark.parametrize("empty", [{}, {"loss": []}, SimpleNamespace(history={}, params=None)])
def test_an_empty_history_is_told(empty: Any) -> None:
    with pytest.raises(DataError, match="the history is empty: it has no epoch"):
        facts_of_history(empty)


@pytest.mark.parametrize("wrong", [None, 3, ["loss"], object()])
def test_what_is_no_history_is_told(wrong: Any) -> None:
    with pytest.raises(DataError, match="must be a run, Keras' History, its dictionary"):
        facts_of_history(wrong)


@pytest.mark.parametrize("column", [["a", "b"], 3.0, [[1], [2]]])
def test_a_column_that_is_no_list_of_numbers_is_told(column: Any) -> None:
    with pytest.raises(DataError, match="the column 'loss' of the history must be a list"):
        facts_of_history({"loss": column})


def test_columns_whose_lengths_do_not_go_together_are_told() -> None:
    with pytest.raises(DataError, match="'val_loss' has 3 values for 4 epochs"):
        facts_of_history({"loss": [4, 3, 2, 1], "val_loss": [3, 2, 1]})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"loss": [1.0, -0.5]}, "'loss' of the history has -0.5, and a cross-entropy is never"),
        ({"loss": [1.0], "val_acc": [93.1]}, "'val_accuracy' of the history has 93.1"),
    ],
)
def test_figures_that_cannot_be_are_told(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        facts_of_history(columns)


@pytest.mark.parametrize("known", [{"num_train": -1}, {"num_validation": 1.5}, {"batch_size": 0},
                                   {"patience": True}, {"class_counts": {"a": -2}}])  # fmt: skip
def test_a_number_that_counts_nothing_is_told(known: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="must be a whole number of"):
        Known(**known)


def test_class_counts_that_contradict_the_number_of_images_are_told() -> None:
    with pytest.raises(DataError, match="add up to 5 images, and num_train is 9"):
        Known(num_train=9, class_counts={"a": 2, "b": 3})


def test_no_history_breaks_a_rule_however_odd() -> None:
    rng = np.random.default_rng(0)
    odd = [0.0, np.nan, np.inf, 1e-30, 1e30, 0.5, 1.0]
    for _ in range(500):
        epochs = int(rng.integers(1, 14))
        names = ["loss", "val_loss", "learning_rate", "seconds_waiting", "seconds_computing"]
        table = {name: rng.choice(odd, epochs) for name in names if rng.random() < 0.8}
        table |= {"accuracy": rng.random(epochs), "val_accuracy": rng.integers(0, 2, epochs)}
        if not {"loss", "val_loss"} & set(table):
            continue
        known = Known(
            num_validation=int(rng.choice([0, 1, 16, 1000])),
            class_counts={"a": int(rng.integers(0, 5)), "b": int(rng.integers(0, 99))},
            patience=int(rng.choice([0, 1, 30])),
        )
        assert len(diagnose(facts_of_history(table, known)).findings) == len(CODES)
