"""Tables of file names, beside Keras' own DataFrameIterator on the same rows and seeds."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from both import MOVES, QUIET, SIZE, both, legacy, same, write_folders

from sightline.preprocessing import image as ours

pytestmark = QUIET

COUNT = 9
LABELS = ["b", "a", "b", "c", "a", "b", "c", "a", "b"]
MANY = ["b", ["a"], ["b", "c"], ("c",), "a", ["a", "b", "c"], "c", ("a", "c"), "b"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("table") / "data", (COUNT,)) / "c0"


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "filename": [f"p{number}.png" for number in range(COUNT)],
            "class": LABELS,
            "two": ["x", "y", "x", "y", "y", "x", "x", "y", "x"],
            "many": MANY,
            "age": np.linspace(20, 60, COUNT),
            "count": np.arange(COUNT),
            "box": [np.arange(4.0) + number for number in range(COUNT)],
            "grid": [np.full((2, 3), number) for number in range(COUNT)],
            "weight": np.linspace(0.5, 2, COUNT),
            **columns,
        }
    )


def flow(
    module: Any, rows: Any, folder: Any, arguments: dict[str, Any] | None = None, **how: Any
) -> Any:
    """Return the iterator of a module; of ours, as Keras behaves."""
    arguments = dict(arguments or {})
    if module is ours:
        arguments["strict_keras"] = True
    settings = {"target_size": SIZE, "batch_size": 4, "seed": 5, **how}
    return module.ImageDataGenerator(**arguments).flow_from_dataframe(rows, folder, **settings)


def attributes(iterator: Any) -> dict[str, Any]:
    names = ("classes", "class_indices", "filenames", "filepaths", "samples", "n", "directory")
    return {name: getattr(iterator, name) for name in names if hasattr(iterator, name)}


def told(make: Any) -> list[tuple[type[Warning], str]]:
    """Return the warnings of a call, but those of Keras' use of SciPy."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        make()
    return [(each.category, str(each.message)) for each in found]


# --- targets ---------------------------------------------------------------------------


@pytest.mark.parametrize("weight_col", [None, "weight"])
@pytest.mark.parametrize(
    ("class_mode", "y_col"),
    [
        ("categorical", "class"),
        ("categorical", "many"),
        ("binary", "two"),
        ("sparse", "class"),
        ("input", None),
        ("raw", "age"),
        ("raw", ["age", "count"]),
        ("multi_output", ["age", "count"]),
        ("multi_output", ["age", "box", "grid"]),
        (None, None),
    ],
)
def test_batches_and_attributes_are_keras_in_every_class_mode(
    folder: Path, class_mode: str | None, y_col: Any, weight_col: str | None
) -> None:
    how = {"class_mode": class_mode, "y_col": y_col, "weight_col": weight_col}
    theirs, mine = both(lambda module: flow(module, table(), str(folder), MOVES, **how))
    assert attributes(theirs) == attributes(mine)
    for _ in range(4):
        same(next(theirs), next(mine))
    same(theirs[0], mine[0])


def test_labels_that_are_lists_set_several_numbers(folder: Path) -> None:
    generator = ours.ImageDataGenerator()
    iterator = generator.flow_from_dataframe(
        table(), str(folder), y_col="many", shuffle=False, target_size=SIZE
    )
    expected = [[label in each for label in "abc"] for each in MANY]
    np.testing.assert_array_equal(next(iterator)[1], np.asarray(expected, np.float32))
    assert iterator.classes[2] == [1, 2]


def test_the_images_as_targets_are_a_copy(folder: Path) -> None:
    iterator = ours.ImageDataGenerator().flow_from_dataframe(
        table(), str(folder), class_mode="input", target_size=SIZE
    )
    images, targets = next(iterator)
    np.testing.assert_array_equal(images, targets)
    targets[0] += 1
    assert (images[0] != targets[0]).all()


@pytest.mark.parametrize(
    ("y_col", "classes"),
    [
        ("class", ["c", "a", "b"]),
        ("class", ["c", "a", "c"]),
        ("class", ["b", "unseen"]),
        ("many", ["c", "b"]),
    ],
)
def test_given_classes_fix_the_order_and_leave_rows_out(
    folder: Path, y_col: str, classes: list[str]
) -> None:
    how = {"y_col": y_col, "classes": classes, "weight_col": "weight", "shuffle": False}
    theirs, mine = both(lambda module: flow(module, table(), str(folder), **how))
    assert attributes(theirs) == attributes(mine)
    for _ in range(3):
        same(next(theirs), next(mine))


def test_classes_are_sorted_however_the_rows_lie(folder: Path) -> None:
    generator = ours.ImageDataGenerator()
    for rows in (table(), table().iloc[::-1]):
        for y_col in ("class", "many"):
            iterator = generator.flow_from_dataframe(rows, str(folder), y_col=y_col)
            assert iterator.class_indices == {"a": 0, "b": 1, "c": 2}


# --- rows ------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    "index", [range(1, COUNT + 1), [f"r{row}" for row in range(COUNT)], [7] * COUNT]
)
def test_the_index_of_a_table_makes_no_difference(folder: Path, index: Any, shuffle: bool) -> None:
    named = table()
    named.index = pd.Index(index)
    how = {"shuffle": shuffle, "weight_col": "weight"}
    plain = flow(ours, table(), str(folder), **how)
    theirs, mine = both(lambda module: flow(module, named, str(folder), **how))
    for _ in range(4):
        batch = next(mine)
        same(next(plain), batch)
        same(next(theirs), batch)


def test_paths_may_be_absolute_and_rows_repeat(folder: Path) -> None:
    rows = table().iloc[[0, 0, 3, 1, 3]]
    paths = rows.assign(filename=[str(folder / name) for name in rows["filename"]])
    for directory in (None, str(folder)):
        theirs, mine = both(lambda module, directory=directory: flow(module, paths, directory))
        assert attributes(theirs) == attributes(mine)
        assert mine.n == 5
        same(next(theirs), next(mine))
    same(next(flow(ours, rows, str(folder))), next(flow(ours, paths, None)))


def test_a_table_is_not_changed(folder: Path) -> None:
    rows = table()
    flow(ours, rows, str(folder), classes=["a"])
    pd.testing.assert_frame_equal(rows, table())


@pytest.mark.parametrize("strict", [False, True])
def test_rows_without_a_file_are_left_out_with_keras_warning(folder: Path, strict: bool) -> None:
    rows = table(filename=["p0.png", "gone.png", "p2.txt", *[f"p{n}.png" for n in range(3, COUNT)]])
    words = {legacy: {}, ours: {"strict_keras": strict}}

    def use(module: Any) -> Any:
        generator = module.ImageDataGenerator(**words[module])
        return generator.flow_from_dataframe(rows, str(folder), target_size=SIZE, shuffle=False)

    theirs, mine = both(lambda module: told(lambda: use(module)))
    assert theirs == mine
    assert [category for category, _ in mine] == [UserWarning]
    assert mine[0][1].startswith('Found 2 invalid image filename(s) in x_col="filename"')
    with pytest.warns(UserWarning, match=r"Found 2 invalid image filename"):
        theirs, mine = both(use)
    assert attributes(theirs) == attributes(mine)
    same(next(theirs), next(mine))


def test_names_are_not_looked_at_when_that_is_not_asked_for(folder: Path) -> None:
    rows = table(filename=["gone.png", *[f"p{number}.png" for number in range(1, COUNT)]])
    how = {"validate_filenames": False, "shuffle": False}
    theirs, mine = both(lambda module: flow(module, rows, str(folder), **how))
    assert theirs.n == mine.n == COUNT
    same(theirs[1], mine[1])
    for iterator in (theirs, mine):
        with pytest.raises(FileNotFoundError, match=r"gone\.png"):
            iterator[0]


@pytest.mark.parametrize("split", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("subset", ["training", "validation"])
def test_a_split_is_of_the_rows_that_are_left(folder: Path, split: float, subset: str) -> None:
    how = {"subset": subset, "classes": ["b", "a"], "weight_col": "weight"}
    arguments = {"validation_split": split}
    theirs, mine = both(lambda module: flow(module, table(), str(folder), arguments, **how))
    assert attributes(theirs) == attributes(mine)
    first = int(split * 7)  # of the rows of a and b
    assert mine.n == (first if subset == "validation" else 7 - first)
    same(next(theirs), next(mine))


# --- words -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"y_col": "two", "class_mode": "binary"},
        {"classes": ["b", "unseen"]},
        {"class_mode": "input"},
        {"class_mode": "raw", "y_col": "age"},
        {"class_mode": None, "validate_filenames": False},
        {"class_mode": "sparse", "validate_filenames": False},
    ],
)
def test_what_is_printed_is_keras(
    folder: Path, how: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    flow(legacy, table(), str(folder), **how)
    theirs = capsys.readouterr().out
    flow(ours, table(), str(folder), **how)
    assert capsys.readouterr().out == theirs
    assert theirs.startswith("Found ")


@pytest.mark.parametrize(
    ("columns", "how", "match"),
    [
        ({}, {"color_mode": "cmyk"}, "Invalid color mode: cmyk"),
        ({}, {"subset": "both"}, "Invalid subset name: both"),
        ({}, {"class_mode": "output"}, "Invalid class_mode: output"),
        ({}, {"class_mode": "multi_output", "y_col": "age"}, "y_col must be a list. Received str"),
        ({}, {"class_mode": "multi_output", "y_col": ("age",)}, "must be a list. Received tuple"),
        ({"filename": range(COUNT)}, {}, "All values in column x_col=filename must be strings"),
        ({"filename": [None] * COUNT}, {}, "All values in column x_col=filename must be strings"),
        ({}, {"class_mode": "binary", "y_col": "count"}, "column values must be strings"),
        ({}, {"class_mode": "sparse", "y_col": "count"}, "column values must be strings"),
        ({}, {"class_mode": "sparse", "y_col": "many"}, "column values must be strings"),
        ({}, {"class_mode": "binary"}, "there must be 2 classes. Found 3 classes"),
        ({}, {"class_mode": "binary", "classes": ["a"]}, "2 classes. 1 class/es were given"),
        ({}, {"y_col": "count"}, "must be type string, list or tuple"),
        ({"class": [None, *LABELS[1:]]}, {}, "must be type string, list or tuple"),
        ({}, {"weight_col": "class"}, "Column weight_col=class must be numeric"),
    ],
)
def test_what_is_refused_is_refused_in_keras_words(
    folder: Path, columns: dict[str, Any], how: dict[str, Any], match: str
) -> None:
    def refusal(module: Any) -> tuple[type, list[str]]:
        with pytest.raises((TypeError, ValueError), match=match) as told:
            flow(module, table(**columns), str(folder), **how)
        return told.type, sorted(re.findall(r"\w+|\S", str(told.value)))  # one names a set

    theirs, mine = both(refusal)
    assert theirs == mine


@pytest.mark.parametrize("mode", ["input", "raw", "multi_output", None])
def test_classes_that_are_not_needed_are_warned_of(folder: Path, mode: str | None) -> None:
    how = {"class_mode": mode, "classes": ["a"], "y_col": ["age"]}
    theirs, mine = both(lambda module: told(lambda: flow(module, table(), str(folder), **how)))
    assert theirs == mine
    assert len(mine) == 1


@pytest.mark.parametrize(
    "how",
    [
        {"has_ext": True},
        {"has_ext": False},
        {"sort": True},
        {"drop_duplicates": False},
        {"class_mode": "other", "y_col": "age"},
        {"has_ext": True, "sort": False, "drop_duplicates": True},
    ],
)
def test_arguments_of_old_are_warned_of_in_keras_words(folder: Path, how: dict[str, Any]) -> None:
    theirs, mine = both(lambda module: told(lambda: flow(module, table(), str(folder), **how)))
    assert theirs == mine
    assert {category for category, _ in mine} == {DeprecationWarning}
    generator = ours.ImageDataGenerator()
    assert told(lambda: generator.flow_from_dataframe(table(), str(folder), **how)) == mine


def test_other_targets_of_old_are_raw_ones(folder: Path) -> None:
    with pytest.warns(DeprecationWarning, match='please use `class_mode="raw"`'):
        old = flow(ours, table(), str(folder), class_mode="other", y_col="age")
    same(next(flow(ours, table(), str(folder), class_mode="raw", y_col="age")), next(old))


# --- what is mended --------------------------------------------------------------------


def test_keeping_the_aspect_ratio_has_an_effect(folder: Path) -> None:
    how = {"target_size": (4, 20), "shuffle": False, "class_mode": None, "batch_size": COUNT}
    generator = ours.ImageDataGenerator()
    squeezed, kept = (
        next(generator.flow_from_dataframe(table(), str(folder), **how, **more))
        for more in ({}, {"keep_aspect_ratio": True})
    )
    expected = next(
        legacy.DataFrameIterator(
            table(), str(folder), legacy.ImageDataGenerator(), keep_aspect_ratio=True, **how
        )
    )
    same(expected, kept)
    assert (squeezed != kept).any()
    ignored, strict = both(
        lambda module: next(flow(module, table(), str(folder), keep_aspect_ratio=True, **how))
    )
    same(ignored, strict)
    same(squeezed, strict)


def test_a_table_without_rows_gives_an_empty_batch(folder: Path) -> None:
    with pytest.raises(KeyError, match="filename"):
        flow(legacy, table().iloc[:0], str(folder), class_mode=None)
    iterator = flow(ours, table().iloc[:0], str(folder), class_mode=None)
    assert next(iterator).shape == (0, *SIZE, 3)


def test_the_class_itself_takes_a_table(folder: Path) -> None:
    theirs, mine = both(
        lambda module: module.DataFrameIterator(table(), str(folder), target_size=SIZE, seed=2)
    )
    same(next(theirs), next(mine))
