from __future__ import annotations

import polars as pl
import pytest

from sightline.records import History

ROWS = [
    {"epoch": 0, "loss": 1, "val_loss": 0.9},
    {"epoch": 1, "loss": 0.5, "val_loss": None, "val_accuracy": 0.75},
]


def test_rows_become_columns_of_an_epoch_each() -> None:
    assert History.from_rows(ROWS)["loss"].to_list() == [1.0, 0.5]


def test_a_column_that_begins_later_is_null_before() -> None:
    assert History.from_rows(ROWS)["val_accuracy"].to_list() == [None, 0.75]


def test_a_value_that_is_not_defined_stays_null() -> None:
    assert History.from_rows(ROWS)["val_loss"].to_list() == [0.9, None]


def test_len_is_the_number_of_epochs() -> None:
    assert len(History.from_rows(ROWS)) == 2


def test_a_column_can_be_asked_for() -> None:
    history = History.from_rows(ROWS)
    assert "val_loss" in history
    assert "val_f1" not in history


def test_a_training_without_an_epoch_has_an_empty_history() -> None:
    assert len(History.from_rows([])) == 0


@pytest.mark.parametrize("epochs", [[1, 2], [0, 2], [0, 0], [1, 0]])
def test_epochs_that_do_not_count_up_from_zero_are_refused(epochs: list[int]) -> None:
    with pytest.raises(ValueError, match=rf"must count 0, 1, 2 \.\.\., got \[{epochs[0]}, "):
        History.from_rows([{"epoch": epoch} for epoch in epochs])


def test_rows_without_an_epoch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have a column 'epoch', got \['loss'\]"):
        History(pl.DataFrame({"loss": [1.0]}))


def test_the_best_epoch_is_printed_counting_from_one() -> None:
    assert repr(History.from_rows(ROWS, best_epoch=0)).startswith(
        "History of 2 epochs, best epoch 1\n"
    )
