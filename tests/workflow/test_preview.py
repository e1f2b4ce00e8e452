"""A page of what a recipe's random changes do, on the user's own images."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from typer.testing import CliRunner

import sightline as sl
from sightline.cli.app import app
from sightline.data.stream import augment
from sightline.data.stream.showing import Showing
from sightline.workflow import previewing

MakePhotos = Callable[..., Path]
EVERY = {
    "rotation": 20, "width_shift": 0.25, "height_shift": 0.25, "shear": 10, "zoom": 0.2,
    "horizontal_flip": True, "vertical_flip": True, "brightness": 0.3, "channel_shift": 40,
    "erasing": 0.5, "mixup": 0.2, "cutmix": 1.0,
}  # fmt: skip
ALL_ON = {f"augment.{name}": value for name, value in EVERY.items()}
BASIC: dict[str, Any] = {"data.image_size": [24, 32], "data.channels": 3, "train.batch_size": 6}


class Page(HTMLParser):
    """The sections of a page: words, pictures and captions of each."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, list[str]] = {"": []}
        self.pictures: dict[str, list[dict[str, str | None]]] = {"": []}
        self._at = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "section":
            self._at = str(found["id"])
            self.sections[self._at], self.pictures[self._at] = [], []
        elif tag == "img":
            self.pictures[self._at].append(found)

    def handle_data(self, text: str) -> None:
        self.sections[self._at].append(text)

    def words(self, section: str = "") -> str:
        return " ".join(" ".join(self.sections[section]).split())

    def captions(self, section: str) -> list[str]:
        """Return what is said of each picture."""
        return [str(image["alt"]).partition(": ")[2] for image in self.pictures[section]]


@pytest.fixture(scope="module")
def arrows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six grey images of two classes with a bright spot at the middle of the upper edge."""
    root = tmp_path_factory.mktemp("arrows") / "images"
    for number in range(6):
        pixels = np.full((24, 32, 3), 60 + 5 * number, np.uint8)
        pixels[1:6, 14:18] = 200
        path = root / ("one", "two")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def path(arrows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of every change there is."""
    out = tmp_path_factory.mktemp("pages")
    return sl.preview(arrows, recipe="basic", changes=BASIC | ALL_ON, count=3, out=out)


@pytest.fixture(scope="module")
def page(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def shown(arrows: Path, **values: Any) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    """Return the first image's versions by change and words."""
    changes = BASIC | {f"augment.{name}": value for name, value in values.items()}
    recipe = sl.load_recipe("basic", changes)
    with previewing._showing(sl.scan(arrows), recipe, None, 2) as showing:
        return {
            found.name: {words: images[0, ..., 0].astype(float) for words, images in found.variants}
            for found in showing.extremes()
        }


def spot(image: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return where the spot's middle lies (down, right), from the middle of the image."""
    down, right = np.nonzero(image > 150)
    return down.mean() - (image.shape[0] - 1) / 2, right.mean() - (image.shape[1] - 1) / 2


# --- the page --------------------------------------------------------------------------


def test_a_page_has_a_row_for_each_change_that_is_on_and_one_of_real_draws(page: Page) -> None:
    assert list(page.sections) == ["", "images", *EVERY, "drawn"]


def test_a_row_shows_each_image_at_both_ends_and_as_it_is(page: Page) -> None:
    found = page.captions("rotation")
    assert found == ["20° clockwise", "as it is", "20° counter-clockwise"] * 3


def test_a_row_says_the_value_of_the_recipe(page: Page) -> None:
    assert "augment.rotation = 20" in page.words("rotation")
    assert "augment.horizontal_flip = true" in page.words("horizontal_flip")


def test_the_last_row_has_four_epochs_of_each_image_and_the_mixed_targets(page: Page) -> None:
    found = page.captions("drawn")
    assert [words.partition("\n")[0] for words in found] == [f"epoch {n}" for n in range(1, 5)] * 3
    assert any(re.search(r"\d+% (one|two), \d+% (one|two)", words) for words in found)


def test_a_page_names_the_images_and_their_classes(page: Page) -> None:
    assert re.search(r"(one|two)/\d\.png", page.words("zoom"))


def test_a_page_fits_a_phone_and_loads_nothing(page: Page) -> None:
    viewports = [
        found for tag, found in page.tags if tag == "meta" and "viewport" in found.values()
    ]
    assert viewports[0]["content"] == "width=device-width, initial-scale=1"
    addresses = [str(f[name]) for _, f in page.tags for name in ("src", "href") if name in f]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "script" not in [tag for tag, _ in page.tags]


def test_every_picture_of_a_page_can_be_decoded(page: Page) -> None:
    sizes = set()
    for pictures in page.pictures.values():
        for found in pictures:
            content = base64.b64decode(str(found["src"]).partition(",")[2])
            sizes.add(Image.open(io.BytesIO(content)).size)
    assert sizes == {(32, 24)}


@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
def test_a_flip_is_warned_of(page: Page, name: str) -> None:
    assert "keeps its label" in page.words(name)


def test_a_large_rotation_is_warned_of_and_a_small_one_is_not(
    page: Page, arrows: Path, tmp_path: Path
) -> None:
    assert "label cannot change by it" not in page.words("rotation")
    large = sl.preview(arrows, recipe="basic", changes={"augment.rotation": 90}, out=tmp_path)
    assert "label cannot change by it" in Page(large.read_text("utf-8")).words("rotation")


def test_a_recipe_that_changes_nothing_is_said_to(arrows: Path, tmp_path: Path) -> None:
    found = Page(sl.preview(arrows, recipe="basic", out=tmp_path / "p.html").read_text("utf-8"))
    assert "Recipe basic changes nothing at random" in found.words()
    assert list(found.sections) == ["", "images", "drawn"]
    assert len(found.pictures["drawn"]) == 6


def test_the_same_images_and_recipe_give_the_same_page(
    path: Path, arrows: Path, tmp_path: Path
) -> None:
    again = sl.preview(arrows, recipe="basic", changes=BASIC | ALL_ON, count=3, out=tmp_path)
    assert again.read_bytes() == path.read_bytes()


# --- which way is which ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "words", "down", "right"),
    [
        ("rotation", 90, "90° clockwise", 0, 8.5),
        ("rotation", 90, "90° counter-clockwise", 0, -8.5),
        ("width_shift", 0.25, "25% to the left", -8.5, -8),
        ("width_shift", 0.25, "25% to the right", -8.5, 8),
        ("height_shift", 0.25, "25% down", -2.5, 0),
        ("shear", 20, "20°, top to the right", -9, 3),
        ("shear", 20, "20°, top to the left", -9, -3),
        ("zoom", 0.5, "farther: 0.67 times as large", -5.7, 0),
        ("vertical_flip", True, "upside down", 8.5, 0),
    ],
)
def test_the_words_say_which_way_a_picture_went(
    arrows: Path, name: str, value: Any, words: str, down: float, right: float
) -> None:
    (found,) = shown(arrows, fill="constant", **{name: value}).values()
    assert spot(found["as it is"] if "as it is" in found else found[words])[0] == -8.5
    assert spot(found[words]) == pytest.approx((down, right), abs=0.8)


def test_a_closer_zoom_is_larger_and_a_brighter_picture_brighter(arrows: Path) -> None:
    found = shown(arrows, zoom=0.2, brightness=0.3, channel_shift=20)
    zoom, bright, shift = (list(found[name].values()) for name in EVERY if name in found)
    lower_end = [int(np.nonzero(image > 150)[0].max()) for image in zoom[:3]]
    assert lower_end[0] < lower_end[1] == 5 < lower_end[2]  # nearer to the middle from row to row
    assert np.diff([image.mean() for image in bright]).min() > 10
    # Taken off, it stays within the picture's own range, and most of it is darkest already.
    assert np.diff([image.mean() for image in shift]).min() > 0


def test_the_middle_of_a_row_is_the_picture_as_it_is(arrows: Path) -> None:
    plain = shown(arrows, rotation=20)["rotation"]["as it is"]
    for found in shown(arrows, **EVERY).values():
        np.testing.assert_array_equal(found["as it is"], plain)


def test_half_and_half_is_the_mean_of_two_images(arrows: Path) -> None:
    found = shown(arrows, mixup=0.2)["mixup"]
    rest = found["as it is"][15, 15], found["half and half with the next"][15, 15]
    assert 0 < abs(rest[0] - rest[1]) < 15


def test_the_real_draws_are_the_pixels_of_training(arrows: Path) -> None:
    recipe = sl.load_recipe("basic", BASIC | ALL_ON)
    manifest = sl.scan(arrows)
    config = sl.StreamConfig.of(recipe, training=True)
    assert config.augment is not None
    assert augment.varies(config.augment)
    everything = np.arange(6)
    with Showing(
        manifest.index(), split=None, config=config, count=4, usable=everything
    ) as showing:
        rows, drawn = showing.rows, showing.drawn(2)
    with sl.Stream(manifest, split=None, config=config) as stream:
        (batch,) = stream.epoch(2)
    seen = dict(zip(batch.rows.tolist(), batch.images, strict=True))
    for row, image in zip(rows.tolist(), drawn.images, strict=True):
        np.testing.assert_allclose(seen[row] * 255, image, atol=0.51)


# --- which images and recipe -----------------------------------------------------------


def test_the_classes_take_turns(arrows: Path, tmp_path: Path) -> None:
    made = previewing.draw(arrows, recipe="basic", count=4, out=tmp_path)
    assert [record_id[:3] for record_id in made.record_ids] == ["one", "two"] * 2


def test_only_training_images_are_shown_where_there_is_a_split(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    root = tmp_path / "images"
    for split in ("train", "validation", "test"):
        make_photos(root / split, {"dark": 2, "light": 2})
    made = previewing.draw(root, recipe="basic", count=24, out=tmp_path / "p.html")
    assert len(made.record_ids) == 4
    assert all(record_id.startswith("train/") for record_id in made.record_ids)


def test_a_run_is_shown_with_its_own_recipe(trained: sl.Run, tmp_path: Path) -> None:
    made = previewing.draw(
        trained.path, changes={"augment.mixup": 0.3}, count=2, out=tmp_path / "p.html"
    )
    assert made.recipe == trained.recipe.name
    assert made.changes == {"mixup": 0.3}
    assert sl.preview(trained, count=1, out=tmp_path / "q.html").exists()


def test_auto_is_planned_as_training_plans_it(photos: Path, tmp_path: Path) -> None:
    made = previewing.draw(photos, count=1, out=tmp_path)
    assert made.recipe == "auto"
    assert "8x8 pixels" in Page(made.path.read_text("utf-8")).words("images")


def test_images_that_cannot_be_read_are_passed_over(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    root = make_photos(tmp_path / "photos", {"dark": 3, "light": 3})
    for name in ("dark/dark_00.png", "light/light_01.png"):
        (root / name).write_bytes(b"no picture")
    made = previewing.draw(root, recipe="basic", changes=ALL_ON, count=6, out=tmp_path / "p")
    assert len(made.record_ids) == 4
    assert "dark/dark_00.png" not in made.record_ids


def test_an_earlier_preview_is_replaced(arrows: Path, tmp_path: Path) -> None:
    for changes in ({}, {"augment.zoom": 0.1}):
        out = sl.preview(arrows, recipe="basic", changes=changes, count=1, out=tmp_path)
    assert "augment.zoom" in out.read_text("utf-8")


# --- refusals --------------------------------------------------------------------------


def test_another_file_is_not_replaced(arrows: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.html"
    out.write_text("my own page", "utf-8")
    with pytest.raises(sl.RunError, match=r"mine.html is no preview, so it was not replaced"):
        sl.preview(arrows, recipe="basic", out=out)
    assert out.read_text("utf-8") == "my own page"


def test_a_page_that_is_no_page_is_refused(arrows: Path, tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match=r"p.pdf must end in .html, or be a folder"):
        sl.preview(arrows, recipe="basic", out=tmp_path / "p.pdf")


@pytest.mark.parametrize("count", [0, 25])
def test_too_few_or_many_images_are_refused(arrows: Path, tmp_path: Path, count: int) -> None:
    with pytest.raises(sl.RecipeError, match=rf"count must be 1..24 images, got {count}"):
        sl.preview(arrows, recipe="basic", count=count, out=tmp_path)


def test_a_run_takes_no_other_images(trained: sl.Run, tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match="has its own images, so labels would change nothing"):
        sl.preview(trained, labels=tmp_path / "l.csv", out=tmp_path)


def test_images_of_which_none_can_be_read_are_refused(arrows: Path, tmp_path: Path) -> None:
    manifest = sl.scan(arrows)
    moved = sl.Manifest(tmp_path / "nowhere", manifest.class_names, manifest.table)
    with pytest.raises(sl.DataError, match=r"no training image of .* can be shown. The first: "):
        sl.preview(moved, recipe="skin-binary", out=tmp_path)


def test_a_wrong_value_is_refused_by_its_key(arrows: Path, tmp_path: Path) -> None:
    with pytest.raises(sl.RecipeError, match=r"augment.rotation.*got 200"):
        sl.preview(arrows, recipe="basic", changes=["augment.rotation=200"], out=tmp_path)


# --- the command -----------------------------------------------------------------------


def command(*words: object) -> Any:
    return CliRunner().invoke(app, ["preview", *map(str, words)])


def test_the_command_says_what_is_on_and_where_the_page_is(arrows: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.html"
    done = command(arrows, "--recipe", "skin-binary", "--count", 1, "--out", out)
    assert done.exit_code == 0, done.output
    assert "rotation" in done.stdout
    assert f"Preview: {out}" in done.stdout


def test_the_command_speaks_json(arrows: Path, tmp_path: Path) -> None:
    set_mixup = ("--set", "augment.mixup=0.2")
    done = command(arrows, "--recipe", "basic", *set_mixup, "--out", tmp_path, "--json")
    found = json.loads(done.stdout)
    assert found["preview"] == str(tmp_path / "preview.html")
    assert found["changes"] == {"mixup": 0.2}
    assert len(found["images"]) == 6


def test_the_command_says_that_nothing_is_on(arrows: Path, tmp_path: Path) -> None:
    done = command(arrows, "--recipe", "basic", "--out", tmp_path)
    assert "Recipe basic changes nothing at random" in done.stdout


def test_the_command_writes_no_page_among_the_images(
    arrows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(arrows)
    done = command(".", "--recipe", "basic")
    assert done.exit_code == 2
    assert "among the images" in done.stderr


def test_the_command_without_images_is_refused() -> None:
    done = command("--recipe", "basic")
    assert done.exit_code == 2
    assert "there are no images to draw on" in done.stderr
