"""Alignment and similarity: what passes for the same picture, and what does not."""

from __future__ import annotations

import cv2
import numpy as np
import polars as pl
import pytest
from copies_pictures import NOTHING_KNOWN, Pixels, grey, picture, planting

from sightline.data.auditing.copies.alignment import Fit, align, overlap, warped
from sightline.data.auditing.copies.confirming import MIN_SIMILARITY, similarity, view
from sightline.data.auditing.copies.judging import Judge, Picture
from sightline.data.auditing.copies.screening import Screen
from sightline.data.auditing.copies.variants import BY_HOW, SAME, VARIANTS
from sightline.data.images import decode, encode_png
from sightline.records import Location

EDITS = {name: edit for name, (how, edit) in planting().CALIBRATION.items() if how == "same"}


def edited(image: Pixels, name: str) -> Pixels:
    return grey(decode(EDITS[name](image)))


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("number", range(4))
def test_an_edited_copy_is_confirmed(edit: str, number: int) -> None:
    image = picture(number, 150, 200)
    assert similarity(view(grey(image)), view(edited(image, edit))) >= MIN_SIMILARITY


@pytest.mark.parametrize("size", [(150, 150), (64, 128), (400, 300)])
def test_a_squeezed_copy_is_confirmed(size: tuple[int, int]) -> None:
    luma = grey(picture(5, 150, 200))
    changed = cv2.resize(luma, size[::-1], interpolation=cv2.INTER_AREA)
    assert similarity(view(luma), view(changed)) >= MIN_SIMILARITY


def test_brighter_and_paler_copies_are_confirmed() -> None:
    luma = grey(picture(6))
    assert similarity(luma, (luma // 2 + 70).astype(np.uint8)) >= MIN_SIMILARITY


def test_similarity_hardly_depends_on_which_picture_is_first() -> None:
    image = picture(7, 150, 200)
    a, b = view(grey(image)), view(edited(image, "cropped 4 %"))
    assert similarity(a, b) == pytest.approx(similarity(b, a), abs=0.05)


def test_other_pictures_are_not_confirmed() -> None:
    views = [view(grey(picture(number))) for number in range(12)]
    alike = [similarity(a, b) for n, a in enumerate(views) for b in views[:n]]
    assert max(alike) < MIN_SIMILARITY / 2


def test_pictures_that_agree_in_the_coarse_alone_are_not_confirmed() -> None:
    """As films of different people do: the same body, other ribs."""
    body = cv2.GaussianBlur(picture(8, 150, 200), (0, 0), 12).astype(np.float32)
    ribs = [picture(number, 150, 200).astype(np.float32) for number in (9, 10)]
    fine = [rib - cv2.GaussianBlur(rib, (0, 0), 3) for rib in ribs]
    a, b = (grey(np.clip(2 * (body - 128) + 128 + f, 0, 255).astype(np.uint8)) for f in fine)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
    assert similarity(view(a), view(b)) < MIN_SIMILARITY / 2


def test_a_picture_with_another_corner_is_not_confirmed() -> None:
    image = picture(11, 150, 200)
    changed = image.copy()
    changed[:40, :50] = picture(12, 150, 200)[:40, :50]
    assert similarity(view(grey(image)), view(grey(changed))) < MIN_SIMILARITY


def test_a_large_crop_is_not_confirmed() -> None:
    luma = grey(picture(13, 150, 200))
    assert similarity(view(luma), view(luma[30:-30, 40:-40])) < MIN_SIMILARITY


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_are_never_alike(level: int) -> None:
    flat = np.full((64, 64), level, np.uint8)
    assert similarity(flat, flat) == 0


def test_faint_noise_is_not_taken_for_detail() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(127, 129, (64, 64)).astype(np.uint8) for _ in range(2))
    assert similarity(a, b) < MIN_SIMILARITY


def test_strips_too_narrow_to_compare_are_not_confirmed() -> None:
    strip = grey(picture(14, 32, 2000))
    assert similarity(view(strip), view(strip)) == 0


def test_a_view_keeps_its_shape_and_small_pictures() -> None:
    assert view(np.zeros((600, 800), np.uint8)).shape == (144, 192)
    small = np.zeros((30, 192), np.uint8)
    assert view(small) is small


@pytest.mark.parametrize("seed", range(5))
def test_a_shift_and_stretch_are_found_again(seed: int) -> None:
    """To a tenth of a pixel, beginning at none."""
    rng = np.random.default_rng(seed)
    second = cv2.GaussianBlur(grey(picture(seed, 96, 128)), (0, 0), 2).astype(np.float32)
    true = Fit(*(1 + rng.uniform(-0.04, 0), rng.uniform(-0.03, 0.03)) * 2)
    first = warped(second, true)
    found = align(first, second, Fit(), 20)
    np.testing.assert_allclose(found, true, atol=2 * 0.1 / 96)


def test_no_change_fits_a_picture_to_itself() -> None:
    luma = grey(picture(15)).astype(np.float32)
    np.testing.assert_allclose(align(luma, luma, Fit(), 5), Fit(), atol=1e-4)
    np.testing.assert_array_equal(warped(luma, Fit()), luma)


def test_a_fit_that_is_no_small_crop_has_no_overlap() -> None:
    assert overlap((50, 60), Fit()) == (slice(0, 50), slice(0, 60))
    assert overlap((50, 60), Fit(stretch_x=1.3)) is None
    assert overlap((50, 60), Fit(shift_y=0.2)) is None
    rows, columns = overlap((50, 60), Fit(stretch_x=1.1)) or (slice(0), slice(0))
    assert (rows.start, columns.start) == (0, 3)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.how)
def test_the_screen_lets_turned_copies_pass_and_stops_others(variant) -> None:
    luma = [grey(picture(number)) for number in range(20)]
    thumbs = [cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA) for image in luma]
    thumbs.append(variant.apply(thumbs[0]))
    passed = Screen(np.stack(thumbs)).passes(variant, np.zeros(20, np.int64), np.arange(1, 21))
    assert passed[-1]
    assert not passed[:-1].any()


def test_the_screen_stops_flat_thumbnails() -> None:
    thumbs = np.full((2, 16, 16), 9, np.uint8)
    assert not Screen(thumbs).passes(SAME, np.array([0]), np.array([1])).any()


def test_thumbnails_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"thumbs must be \(n, 16, 16\) uint8, got \(2, 256\)"):
        Screen(np.zeros((2, 256), np.uint8))


@pytest.fixture
def two(tmp_path) -> tuple[Picture, Picture]:
    """Return a picture that is its own mirror image, but for a corner, and its mirrored copy."""
    half = picture(16, 128, 64)
    image = np.concatenate([half, half[:, ::-1]], axis=1)
    for name, content in (("a", image), ("b", np.ascontiguousarray(image[:, ::-1]))):
        (tmp_path / name).write_bytes(encode_png(content))
    return tuple(Picture(name, Location(str(tmp_path / name), -1, -1, -1)) for name in "ab")


def test_of_several_orientations_the_same_one_comes_first(two) -> None:
    verdict = Judge(NOTHING_KNOWN).best(*two, [BY_HOW["mirrored"], SAME])
    assert verdict is not None
    assert verdict.how == "same"


def test_an_orientation_that_does_not_fit_is_remembered_as_refused(two) -> None:
    judge = Judge(NOTHING_KNOWN)
    assert judge.best(*two, [BY_HOW["rotated 90"]]) is None
    assert judge.table().rows()[0][:3] == ("a", "b", "rotated 90")
    assert judge.table()["confirmed"].to_list() == [False]


def test_a_known_verdict_is_believed_without_a_file(two, tmp_path) -> None:
    judge = Judge(NOTHING_KNOWN)
    judge.best(*two, [SAME])
    (tmp_path / "a").unlink()
    again = Judge(judge.table())
    assert again.best(*two, [SAME]) is not None
    assert again.table().equals(judge.table())


def test_a_verdict_of_another_version_is_not_used(two, tmp_path) -> None:
    judge = Judge(NOTHING_KNOWN)
    judge.best(*two, [SAME])
    old = judge.table().with_columns(version=pl.lit(1, pl.Int32))
    (tmp_path / "a").unlink()
    again = Judge(old)
    assert again.best(*two, [SAME]) is None  # the file is gone, so there is no verdict
    assert not len(again.table())


def test_verdicts_with_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="known must have the columns"):
        Judge(pl.DataFrame({"sha256_a": []}))
