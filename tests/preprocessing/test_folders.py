"""Class folders, beside Keras' own DirectoryIterator on the same files and seeds."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both import MOVES, QUIET, SIZE, both, legacy, same, write_folders
from PIL import Image, UnidentifiedImageError

from sightline.preprocessing import image as ours

pytestmark = QUIET


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "data", (5, 4))


def flow(module: Any, folder: Any, arguments: dict[str, Any] | None = None, **how: Any) -> Any:
    """Return the iterator of a module; of ours, as Keras behaves."""
    arguments = dict(arguments or {})
    if module is ours:
        arguments["strict_keras"] = True
    settings = {"target_size": SIZE, "batch_size": 4, "seed": 5, **how}
    return module.ImageDataGenerator(**arguments).flow_from_directory(str(folder), **settings)


def attributes(iterator: Any) -> dict[str, Any]:
    names = (
        "class_indices",
        "filenames",
        "filepaths",
        "samples",
        "n",
        "num_classes",
        "image_shape",
    )
    return {name: getattr(iterator, name) for name in names} | {"classes": list(iterator.classes)}


def compare(folder: Path, arguments: dict[str, Any] | None = None, **how: Any) -> Any:
    """Compare the attributes and a pass of batches; return our iterator."""

    def use(module: Any) -> tuple[Any, list[Any]]:
        iterator = flow(module, folder, arguments, **how)
        return iterator, [next(iterator) for _ in range(max(1, len(iterator)))]

    (theirs, expected), (mine, found) = both(use)
    assert attributes(theirs) == attributes(mine)
    assert mine.classes.dtype == theirs.classes.dtype
    same(expected, found)
    return mine


def noise(*shape: int, most: int = 256, dtype: str = "uint8") -> Any:
    return np.random.default_rng(0).integers(0, most, shape).astype(dtype)


# --- targets and subsets ---------------------------------------------------------------


@pytest.mark.parametrize("mode", ["categorical", "binary", "sparse", "input", None])
@pytest.mark.parametrize("subset", [None, "training", "validation"])
def test_batches_are_keras_in_every_class_mode(
    folders: Path, mode: str | None, subset: str | None
) -> None:
    arguments = MOVES | {"validation_split": 0.4, "rescale": 1 / 255}
    mine = compare(folders, arguments, class_mode=mode, subset=subset)
    assert mine.n == {None: 9, "training": 6, "validation": 3}[subset]


def test_binary_targets_of_three_classes_are_not_refused(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "data", (2, 2, 2))
    mine = compare(root, class_mode="binary", shuffle=False)
    assert list(mine[1][1]) == [2, 2]


def test_the_images_as_targets_are_a_copy(folders: Path) -> None:
    images, targets = next(flow(ours, folders, class_mode="input"))
    targets[0] += 1
    assert (images[0] != targets[0]).all()


@pytest.mark.parametrize("split", [0.25, 0.5, 0.75])
def test_a_split_is_of_each_class_by_sorted_names(folders: Path, split: float) -> None:
    parts = {
        subset: compare(folders, {"validation_split": split}, subset=subset, shuffle=False)
        for subset in ("training", "validation")
    }
    assert parts["validation"].n == int(5 * split) + int(4 * split)
    assert not set(parts["training"].filenames) & set(parts["validation"].filenames)
    assert sum(part.n for part in parts.values()) == 9


# --- which files -----------------------------------------------------------------------


def test_folders_within_a_class_are_searched(folders: Path) -> None:
    for place, name in (("c0/deep/deeper", "x.png"), ("c1/a", "y.png"), ("c1", "z.png")):
        (folders / place).mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(8, 8, 3)).save(folders / place / name)
    mine = compare(folders, shuffle=False)
    assert "c0/deep/deeper/x.png" in mine.filenames
    assert mine.samples == 12


@pytest.mark.parametrize("follow_links", [False, True])
def test_linked_folders_are_searched_when_that_is_asked_for(
    folders: Path, tmp_path: Path, follow_links: bool
) -> None:
    elsewhere = write_folders(tmp_path / "elsewhere", (3,))
    (folders / "c1" / "link").symlink_to(elsewhere / "c0")
    mine = compare(folders, follow_links=follow_links)
    assert mine.samples == (12 if follow_links else 9)


def test_a_link_to_a_folder_is_a_class(folders: Path, tmp_path: Path) -> None:
    (folders / "link").symlink_to(write_folders(tmp_path / "elsewhere", (3,)) / "c0")
    assert compare(folders).class_indices == {"c0": 0, "c1": 1, "link": 2}


@pytest.mark.parametrize("classes", [["c1", "c0"], ["c1"], ["c1", "missing", "c0"], ("c0", "c1")])
def test_given_classes_fix_the_order_and_may_be_missing(folders: Path, classes: Any) -> None:
    mine = compare(folders, classes=classes)
    assert mine.class_indices == {name: number for number, name in enumerate(classes)}


def test_extensions_count_in_any_case_and_others_do_not(folders: Path) -> None:
    for name in ("a.JPG", "b.Jpeg", "c.PNG", "d.Bmp", "e.PPM", "f.TIF", "g.jpg"):
        Image.fromarray(noise(7, 9, 3)).save(folders / "c0" / name)
    for name in ("h.txt", "h.jpg.txt", ".png.swp", "i.gif"):
        (folders / "c0" / name).write_bytes(b"no picture")
    os.link(folders / "c0" / "p0.png", folders / "c0" / "no_dot_png")  # Keras wants no dot
    (folders / "loose.png").write_bytes(b"in no class")
    assert compare(folders).samples == 17


def test_a_tiff_of_many_bands_is_warned_of_as_keras_does(folders: Path) -> None:
    Image.fromarray(noise(7, 9, 3)).save(folders / "c0" / "x.tiff")

    def told(module: Any) -> list[str]:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            flow(module, folders)
        return [str(each.message) for each in found]

    theirs, mine = both(told)
    assert theirs == mine
    assert len(mine) == 1
    assert mine[0].startswith('Using ".tiff" files with multiple bands')


def test_a_folder_may_be_given_as_a_path_and_a_size_as_a_list(folders: Path) -> None:
    settings = {"target_size": list(SIZE), "shuffle": False}
    generator = ours.ImageDataGenerator()
    as_path, as_text = (
        generator.flow_from_directory(folder, **settings) for folder in (folders, str(folders))
    )
    assert as_path.filepaths == as_text.filepaths
    same(as_path[0], as_text[0])


# --- nothing to read -------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"color_mode": "grayscale"}, {"color_mode": "rgba"}])
def test_an_empty_folder_gives_an_empty_batch(tmp_path: Path, how: dict[str, Any]) -> None:
    for module in (legacy, ours):
        for seed in (None, 3):
            iterator = module.ImageDataGenerator(rotation_range=9).flow_from_directory(
                str(tmp_path), class_mode=None, seed=seed, **how
            )
            channels = {"rgb": 3, "rgba": 4, "grayscale": 1}[how.get("color_mode", "rgb")]
            assert next(iterator).shape == (0, 256, 256, channels)
            assert len(iterator) == 0


@pytest.mark.parametrize("strict", [False, True])
def test_a_folder_that_is_not_there_is_refused_in_keras_words(tmp_path: Path, strict: bool) -> None:
    place = str(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere") as theirs:
        legacy.ImageDataGenerator().flow_from_directory(place)
    with pytest.raises(FileNotFoundError, match="nowhere") as mine:
        ours.ImageDataGenerator(strict_keras=strict).flow_from_directory(place)
    assert str(mine.value) == str(theirs.value)


# --- what is in a file -----------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (5, 6)])
@pytest.mark.parametrize("color_mode", ["grayscale", "rgb", "rgba"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_its_values_where_keras_keeps_them(
    tmp_path: Path, suffix: str, color_mode: str, size: tuple[int, int]
) -> None:
    (tmp_path / "c0").mkdir()
    Image.fromarray(noise(8, 8, most=60_000, dtype="uint16")).save(tmp_path / "c0" / f"x.{suffix}")
    Image.fromarray(noise(8, 8)).save(tmp_path / "c0" / f"y.{suffix}")
    for arguments in ({}, MOVES, {"rescale": 1 / 255}):
        for how in ({"seed": 2}, {"seed": None}):
            compare(
                tmp_path, arguments, color_mode=color_mode, target_size=size, class_mode=None, **how
            )
    values = next(flow(ours, tmp_path, color_mode="grayscale", target_size=size, class_mode=None))
    assert values.max() > 255


@pytest.mark.parametrize("color_mode", ["grayscale", "rgb", "rgba"])
def test_pictures_of_every_kind_become_one(tmp_path: Path, color_mode: str) -> None:
    (tmp_path / "c0").mkdir()
    colour = Image.fromarray(noise(10, 12, 3))
    for kind in ("L", "LA", "RGB", "RGBA", "P", "1"):
        colour.convert(kind).save(tmp_path / "c0" / f"{kind}.png")
    colour.convert("CMYK").save(tmp_path / "c0" / "cmyk.jpg")
    Image.fromarray(noise(10, 12, most=2**30, dtype="int32")).save(tmp_path / "c0" / "grey32.tif")
    compare(tmp_path, color_mode=color_mode, class_mode=None)


def test_a_damaged_file_raises_what_keras_raises(folders: Path) -> None:
    (folders / "c1" / "p2.png").write_bytes(b"no picture")
    texts = []
    for module in (legacy, ours):
        with pytest.raises(UnidentifiedImageError, match="cannot identify") as told:
            flow(module, folders, shuffle=False)[1]
        texts.append(re.sub("0x[0-9a-f]+", "", str(told.value)))
    assert texts[0] == texts[1]


def test_a_file_that_was_cut_short_raises_what_keras_raises(folders: Path) -> None:
    path = folders / "c0" / "p4.png"
    path.write_bytes(path.read_bytes()[:150])
    for seed in (None, 5):
        texts = []
        for module in (legacy, ours):
            with pytest.raises((OSError, SyntaxError), match=r"truncated|broken") as told:
                flow(module, folders, shuffle=False, seed=seed)[1]
            texts.append((told.type, str(told.value)))
        assert texts[0] == texts[1]


# --- words -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [{}, {"classes": ["c1"]}, {"classes": ["c1", "missing"]}, {"subset": "training"}]
)
def test_what_is_printed_is_keras(
    folders: Path, how: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "empty").mkdir()
    arguments = {"validation_split": 0.4}
    flow(legacy, folders, arguments, **how)
    theirs = capsys.readouterr().out
    flow(ours, folders, arguments, **how)
    assert capsys.readouterr().out == theirs
    assert theirs.startswith("Found ")


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"color_mode": "cmyk"}, "Invalid color mode: cmyk"),
        ({"subset": "both"}, "Invalid subset name: both"),
        *(
            ({"class_mode": mode}, f"Invalid class_mode: {mode}; expected one of")
            for mode in ("output", "raw", "other", "multi_output")
        ),
    ],
)
def test_what_is_refused_is_refused_in_keras_words(
    folders: Path, how: dict[str, Any], match: str
) -> None:
    def refusal(module: Any) -> list[str]:
        with pytest.raises(ValueError, match=match) as told:
            flow(module, folders, **how)
        return sorted(re.findall(r"\w+|\S", str(told.value)))  # one names a set

    theirs, mine = both(refusal)
    assert theirs == mine


@pytest.mark.parametrize("number", [3, 14])
def test_a_batch_that_is_not_there_is_refused_in_keras_words(folders: Path, number: int) -> None:
    def refusal(module: Any) -> str:
        with pytest.raises(ValueError, match=f"retrieve element {number}") as told:
            flow(module, folders)[number]
        return str(told.value)

    theirs, mine = both(refusal)
    assert theirs == mine


def test_an_unknown_interpolation_is_refused_only_where_a_size_changes(tmp_path: Path) -> None:
    (tmp_path / "c0").mkdir()
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "c0" / "x.png")
    compare(tmp_path, target_size=(8, 8), interpolation="guess")
    texts = []
    for module in (legacy, ours):
        with pytest.raises(ValueError, match="Invalid interpolation method guess") as told:
            flow(module, tmp_path, interpolation="guess")[0]
        texts.append(str(told.value))
    assert texts[0] == texts[1]


def test_names_of_files_that_are_not_ascii_are_kept(folders: Path) -> None:
    for name in ("füchse 🦊.png", "a b%20c.png", "-x.png"):
        os.link(folders / "c0" / "p0.png", folders / "c0" / name)
    assert compare(folders).samples == 12
