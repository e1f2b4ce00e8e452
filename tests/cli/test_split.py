"""`sightline split`: what it divides, what it keeps, what it says and what it writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli.app import app

MakePhotos = Callable[..., Path]


def run_cli(*words: object) -> Any:
    return CliRunner().invoke(app, ["split", *map(str, words)])


def shown(*words: object) -> str:
    """Return what a division that succeeds prints."""
    done = run_cli(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(*words: object) -> Any:
    return json.loads(shown(*words, "--json"))


def refused(*words: object) -> str:
    """Return the message of a command that ends with exit code 2."""
    done = run_cli(*words)
    assert done.exit_code == 2, done.output
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    return done.stderr


def sides(path: str | Path) -> dict[str, int]:
    """Return how many images each split of a saved manifest has."""
    table = sl.Manifest.load(Path(path)).table.drop_nulls("split")
    return dict(table.group_by("split").len().sort("split").iter_rows())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def given(make_photos: MakePhotos, tmp_path: Path) -> Path:
    """Train and test folders of two classes, 20 and 8 images."""
    root = tmp_path / "given"
    make_photos(root / "train", seed=1)
    make_photos(root / "test", {"dark": 4, "light": 4}, seed=2)
    return root


# --- what is divided -------------------------------------------------------------------


def test_images_are_divided_by_the_shares_that_are_asked_for(photos: Path, here: Path) -> None:
    shown(photos, "--validation", 0.3, "--test", 0.2, "--out", "m.parquet")
    assert sides("m.parquet") == {"test": 4, "train": 10, "validation": 6}


def test_images_that_were_not_audited_are_audited_first(photos: Path, here: Path) -> None:
    shown(photos, "--out", "m.parquet")
    assert sl.Manifest.load(Path("m.parquet")).table["sha256"].null_count() == 0


def test_copies_are_never_on_two_sides(make_photos: MakePhotos, here: Path) -> None:
    folder = make_photos(here / "set", {"dark": 20, "light": 20})
    for number in range(20):
        shutil.copy(folder / "dark" / f"dark_{number:02d}.png", folder / "dark" / f"x{number}.png")
    shown(folder, "--validation", 0.3, "--test", 0.3, "--out", "m.parquet")
    table = sl.Manifest.load(Path("m.parquet")).table
    assert table.group_by("sha256").agg(pl.col("split").n_unique())["split"].max() == 1
    assert table.filter(pl.col("label") == "dark")["split"].n_unique() == 3


def test_files_that_cannot_be_read_are_on_no_side(make_photos: MakePhotos, here: Path) -> None:
    folder = make_photos(here / "set")
    (folder / "dark" / "dark_00.png").write_bytes(b"")
    shown(folder, "--out", "m.parquet")
    table = sl.Manifest.load(Path("m.parquet")).table
    assert table.filter(pl.col("split").is_null())["record_id"].to_list() == ["dark/dark_00.png"]


def test_the_same_seed_gives_the_same_division(photos: Path, here: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        shown(photos, "--seed", seed, "--out", f"{name}.parquet")
    a, b, c = (sl.Manifest.load(Path(f"{name}.parquet")).table["split"] for name in "abc")
    assert a.equals(b)
    assert not a.equals(c)


# --- what is kept ----------------------------------------------------------------------


def test_given_splits_are_kept_and_missing_ones_are_taken_out_of_train(
    given: Path, here: Path
) -> None:
    shown(given, "--validation", 0.2, "--out", "m.parquet")
    manifest = sl.Manifest.load(Path("m.parquet"))
    assert sides("m.parquet") == {"test": 8, "train": 16, "validation": 4}
    assert manifest.of_split("test")["record_id"].str.starts_with("test/").all()


def test_resplit_pools_all_folders(given: Path, here: Path) -> None:
    shown(given, "--resplit", "all", "--validation", 0, "--test", 0.5, "--out", "m.parquet")
    test = sl.Manifest.load(Path("m.parquet")).of_split("test")
    assert len(test) == 14
    assert not test["record_id"].str.starts_with("test/").all()


def test_resplit_train_keeps_the_given_test_aside(given: Path, here: Path) -> None:
    text = shown(given, "--resplit", "train", "--out", "m.parquet")
    assert sides("m.parquet") == {"external": 8, "test": 2, "train": 16, "validation": 2}
    assert "External: 8 images" in text


def test_what_an_earlier_manifest_assigned_stays(
    make_photos: MakePhotos, photos: Path, here: Path
) -> None:
    folder = Path(shutil.copytree(photos, here / "set"))
    shown(folder, "--seed", 5, "--out", "first.parquet")
    make_photos(folder, {"dark": 6, "light": 6}, seed=9, start=10)
    shown(folder, "--keep", "first.parquet", "--out", "second.parquet")
    first, second = (
        sl.Manifest.load(Path(f"{name}.parquet")).table for name in ("first", "second")
    )
    both = first.join(second, on="record_id", suffix="_later")
    assert both["split"].equals(both["split_later"], check_names=False)
    assert len(second) == 32
    assert second["split"].null_count() == 0


def test_an_image_that_would_bridge_two_sides_is_set_aside_with_a_finding(
    photos: Path, here: Path
) -> None:
    folder = Path(shutil.copytree(photos, here / "set"))
    shown(folder, "--out", "first.parquet")
    table = sl.Manifest.load(Path("first.parquet")).table
    names = [
        table.filter((pl.col("split") == side) & (pl.col("label") == "dark"))["record_id"][0]
        for side in ("train", "test")
    ]
    groups = {names[0]: "patient 1"}  # of an image in train; in test lies a copy of the new one
    labels = pl.DataFrame({"file": table["record_id"], "is": table["label"]}).with_columns(
        who=pl.col("file").replace_strict(groups, default=None)
    )
    (folder / "dark" / "new.png").write_bytes((folder / names[1]).read_bytes())
    extra = pl.DataFrame({"file": ["dark/new.png"], "is": ["dark"], "who": ["patient 1"]})
    pl.concat([labels, extra]).write_csv("labels.csv")
    columns = ["--path-col", "file", "--label-col", "is", "--group-col", "who"]
    words = [folder, "--labels", "labels.csv", *columns, "--keep", "first.parquet", "--json"]
    found = json.loads(run_cli(*words).stdout)["findings"]
    (bridging,) = [each for each in found if each["code"] == "bridging-images"]
    assert "dark/new.png" in json.dumps(bridging["evidence"])


def test_an_image_that_is_away_for_a_while_comes_back_to_its_side(
    make_photos: MakePhotos, here: Path
) -> None:
    folder = make_photos(here / "set", {"dark": 20, "light": 20})
    shown(folder, "--out", "0.parquet")
    first = dict(sl.Manifest.load(Path("0.parquet")).table.select("record_id", "split").iter_rows())
    away = [name for name in first if name.endswith(("1.png", "2.png", "3.png"))]
    for name in away:
        (folder / name).rename(here / name.replace("/", "-"))
    told_of = shown(folder, "--keep", "0.parquet", "--out", "1.parquet")
    assert "--keep NEW --keep OLD" in told_of
    for name in away:
        (here / name.replace("/", "-")).rename(folder / name)
    shown(folder, "--keep", "1.parquet", "--keep", "0.parquet", "--out", "2.parquet")
    last = dict(sl.Manifest.load(Path("2.parquet")).table.select("record_id", "split").iter_rows())
    assert last == first


# --- groups that names tell of ---------------------------------------------------------


def test_groups_are_discovered_in_file_names_when_asked(
    make_photos: MakePhotos, here: Path
) -> None:
    folder = make_photos(here / "set", {"dark": 40, "light": 40})
    for path in sorted(folder.rglob("*.png")):
        number = int(path.stem.rpartition("_")[2])
        start = 20 * (path.parent.name == "light")
        path.rename(path.with_name(f"patient{start + number // 2}_{number % 2}.png"))
    text = shown(folder, "--discovered-groups", "--out", "m.parquet")
    assert "Info discovered-groups: 80 of 80 images are in 40 groups by their names" in text
    table = sl.Manifest.load(Path("m.parquet")).table
    assert table["group"].n_unique() == 40
    assert table.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert "have groups already" in refused("m.parquet", "--resplit", "all", "--discovered-groups")


def test_names_that_tell_of_no_groups_are_refused(photos: Path) -> None:
    assert "do not tell of images that belong together" in refused(photos, "--discovered-groups")


# --- folds, repeats, weights -----------------------------------------------------------


def test_folds_are_dealt(photos: Path, here: Path) -> None:
    text = shown(photos, "--folds", 4, "--test", 0.2, "--out", "m.parquet")
    table = sl.Manifest.load(Path("m.parquet")).table
    assert table["fold"].drop_nulls().value_counts(sort=True)["count"].to_list() == [4, 4, 4, 4]
    assert table.filter(pl.col("fold") == 0)["split"].unique().to_list() == ["validation"]
    assert "4 folds of 4 to 4 images." in text


@pytest.mark.parametrize("words", [[], ["--folds", "3"]])
def test_repeats_are_saved_one_a_file_and_differ(
    photos: Path, here: Path, words: list[str]
) -> None:
    text = shown(photos, *words, "--repeats", 3, "--out", "m.parquet")
    names = [f"m.repeat-{number}.parquet" for number in range(3)]
    assert sorted(path.name for path in here.glob("*.parquet")) == names
    tables = [sl.Manifest.load(here / name).table for name in names]
    assert len({str(table["split"].to_list()) for table in tables}) == 3
    assert [line for line in text.splitlines() if line.startswith("Repeat ")] == [
        "Repeat 0",
        "Repeat 1",
        "Repeat 2",
    ]


def test_repeats_of_neighbouring_seeds_have_nothing_in_common(photos: Path, here: Path) -> None:
    shown(photos, "--repeats", 2, "--out", "a.parquet")
    shown(photos, "--seed", 1, "--out", "b.parquet")
    repeat, seed = (sl.Manifest.load(here / f"{n}.parquet").table for n in ("a.repeat-1", "b"))
    assert repeat["split"].to_list() != seed["split"].to_list()


def test_repeats_of_folds_keep_the_test_split(photos: Path, here: Path) -> None:
    shown(photos, "--folds", 2, "--repeats", 2, "--out", "m.parquet")
    tests = [
        set(sl.Manifest.load(here / f"m.repeat-{number}.parquet").of_split("test")["record_id"])
        for number in range(2)
    ]
    assert tests[0] == tests[1] != set()


def test_repeats_speak_json(photos: Path, here: Path) -> None:
    found = told(photos, "--repeats", 2, "--out", "m.parquet")["repeats"]
    assert [each["saved"] for each in found] == ["m.repeat-0.parquet", "m.repeat-1.parquet"]


def test_rare_classes_are_weighed(make_photos: MakePhotos, here: Path) -> None:
    folder = make_photos(here / "set", {"dark": 10, "light": 30})
    shown(folder, "--rare-weights", "--validation", 0.2, "--test", 0.2, "--out", "m.parquet")
    train = sl.Manifest.load(Path("m.parquet")).of_split("train")
    sums = train.group_by("label").agg(pl.col("weight").sum())["weight"].to_list()
    assert sums[0] == pytest.approx(sums[1])
    assert train["weight"].n_unique() == 2


# --- what is said ----------------------------------------------------------------------


def test_every_side_is_told_with_how_sure_a_figure_on_it_can_be(photos: Path, here: Path) -> None:
    text = shown(photos, "--validation", 0.3, "--test", 0.2)
    assert "Test: 4 images in 4 groups" in text
    assert "An accuracy measured here is sure to ± 49 points at best" in text
    assert "Train: 10 images" in text


def test_without_out_nothing_is_written(photos: Path, here: Path) -> None:
    assert "Saved" not in shown(photos)
    assert list(here.iterdir()) == []


def test_a_division_speaks_json(photos: Path, here: Path) -> None:
    found = told(photos, "--validation", 0.3, "--test", 0.2, "--out", "m.parquet")
    assert [row["test"] for row in found["classes"]] == [2, 2]
    assert (found["saved"], found["findings"], len(found["sides"])) == ("m.parquet", [], 3)


def test_given_sides_that_share_a_picture_are_an_error_that_is_told(
    given: Path, here: Path
) -> None:
    shutil.copy(given / "train" / "dark" / "dark_00.png", given / "test" / "dark" / "again.png")
    done = run_cli(given, "--out", "m.parquet")
    assert done.exit_code == 1
    assert "Error leaking-split: 1 set of exact copies is on two sides of the split" in done.stdout
    assert "Saved as m.parquet" in done.stdout
    assert run_cli(given, "--resplit", "all").exit_code == 0


# --- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--test", "1"], "the test share must be 0 <= share < 1, got 1.0"),
        (["--min-per-class", "9"], "class 'dark'"),
        (["--min-per-class", "0"], "must be 1 or more, got 0"),
        (["--folds", "1"], "folds must be 2 or more, got 1"),
        (["--folds", "40"], "The largest number of folds that is possible is"),
        (["--folds", "3", "--resplit", "train"], "the train folder is divided three ways"),
        (["--resplit", "train"], "has no train split that could be divided"),
        (["--keep", "gone.parquet"], "there is no manifest at gone.parquet"),
        (["--min-per-class", "2", "--keep", "a.parquet"], "min_per_class cannot be asked for"),
        (["--keep", "a.parquet", "--folds", "3"], "so folds cannot be asked for as well"),
        (["--out", "m.csv"], "a manifest is saved as .parquet, got m.csv"),
    ],
)
def test_what_cannot_be_is_refused_in_plain_words(
    photos: Path, here: Path, words: list[str], expected: str
) -> None:
    assert expected in refused(photos, *words)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "words", [["--resplit", "some"], ["--repeats", "0"], ["--repeats", "1001"]]
)
def test_values_that_do_not_exist_are_wrong_use(photos: Path, words: list[str]) -> None:
    assert run_cli(photos, *words).exit_code == 2


def test_folds_beside_given_splits_are_refused_with_what_replaces_them(given: Path) -> None:
    message = refused(given, "--folds", 3)
    assert "come with train, test, and dealing folds would replace that" in message
    assert "--resplit all" in message


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        (["--validation", 0, "--repeats", 2], "repeat 1"),
        (["--validation", 0, "--seed", 3], "seed 3"),
        (["--test", 0.4], "test 0.4"),
    ],
)
def test_what_given_splits_leave_no_part_for_is_refused(
    given: Path, words: list[object], idle: str
) -> None:
    message = refused(given, *words)
    assert f"come with train, test, which are kept, so {idle} would change nothing" in message
    assert "--resplit all" in message


def test_a_share_of_validation_beside_folds_is_refused(photos: Path) -> None:
    message = refused(photos, "--folds", 3, "--validation", 0.4)
    assert "fold 0 is validation, so a share of 0.4 has no part in it" in message


def test_a_manifest_without_splits_cannot_be_kept(photos: Path, here: Path) -> None:
    sl.scan(photos).save(here / "plain.parquet")
    assert "has neither splits nor folds" in refused(photos, "--keep", "plain.parquet")
