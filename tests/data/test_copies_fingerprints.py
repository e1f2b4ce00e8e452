"""Fingerprints: the hash, the thumbnail, and how both follow the picture when it is turned."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sightline.data.auditing.copies.chunks import CHUNK_BITS, Chunks, as_bits, values_of
from sightline.data.auditing.copies.fingerprints import FREQUENCIES, fingerprint
from sightline.data.auditing.copies.variants import BY_HOW, SEARCHED, VARIANTS, inverse

Grey = npt.NDArray[np.uint8]
GOLDEN = 0xFEDF50A522841500


def scene(number: int, height: int = 96, width: int = 128) -> Grey:
    """Return a picture with structure of every size, none of it symmetric."""
    rng = np.random.default_rng(number)
    image = np.zeros((height, width), np.float32)
    for cells in (3, 5, 9, 17, 33):
        noise = rng.normal(size=(cells, cells)).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    image -= image.min()
    return (image * (255 / image.max())).astype(np.uint8)


def test_the_frequencies_are_64_and_closed_under_transposition() -> None:
    pairs = {(int(v), int(u)) for v, u in FREQUENCIES}
    assert len(pairs) == 64
    assert pairs == {(u, v) for v, u in pairs}
    assert (0, 0) not in pairs


def test_the_fingerprint_of_a_ramp_is_what_saved_manifests_hold() -> None:
    luma = (np.arange(64)[:, None] * 2 + np.arange(48)[None, :]).astype(np.uint8)
    hashed, thumb = fingerprint(luma)
    values = as_bits(np.array([hashed], np.uint64))[0]
    bits = dict(zip(map(tuple, FREQUENCIES.tolist()), values, strict=True))
    assert not bits[0, 1]  # brighter to the right: the first cosine falls from left to right
    assert not bits[1, 0]
    assert len(thumb) == 256
    assert thumb[0] < thumb[15] < thumb[255]


def test_a_golden_picture_keeps_its_hash() -> None:
    steps = np.arange(40 * 56).reshape(40, 56)
    luma = ((steps * steps) // 97 % 251).astype(np.uint8)
    assert fingerprint(luma) == fingerprint(luma.copy())
    assert fingerprint(luma)[0] == GOLDEN


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.how)
def test_the_hash_of_a_turned_picture_follows_from_the_hash(variant) -> None:
    luma = scene(1)
    source, flips = variant.bits()
    before = as_bits(np.array([fingerprint(luma)[0]], np.uint64))[0]
    after = as_bits(np.array([fingerprint(variant.apply(luma))[0]], np.uint64))[0]
    assert (after != before[source] ^ flips).sum() <= 1  # rounding of a coefficient near zero


@pytest.mark.parametrize(
    ("how", "change"),
    [
        ("mirrored", np.fliplr),
        ("flipped", np.flipud),
        ("rotated 90", np.rot90),
        ("rotated 180", lambda image: np.rot90(image, 2)),
        ("rotated 270", lambda image: np.rot90(image, 3)),
        ("transposed", np.transpose),
        ("transversed", lambda image: np.rot90(image, 2).T),
    ],
)
def test_the_word_of_a_variant_is_what_it_does(how: str, change) -> None:
    luma = scene(2)
    np.testing.assert_array_equal(BY_HOW[how].apply(luma), change(luma))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.how)
def test_a_variant_and_its_inverse_leave_the_picture_as_it_was(variant) -> None:
    luma = scene(3)
    np.testing.assert_array_equal(inverse(variant).apply(variant.apply(luma)), luma)
    assert variant.is_own_inverse == (inverse(variant) == variant)


def test_every_variant_is_searched_once() -> None:
    reached = {variant.how for variant in SEARCHED} | {inverse(v).how for v in SEARCHED}
    assert reached == set(BY_HOW)
    assert len(SEARCHED) == 7


def test_a_resized_and_brightened_picture_keeps_nearly_all_bits() -> None:
    luma = scene(4, 300, 400)
    changed = cv2.resize(luma // 2 + 60, (280, 210), interpolation=cv2.INTER_AREA)
    assert (fingerprint(luma)[0] ^ fingerprint(changed)[0]).bit_count() <= 3


def test_other_pictures_differ_in_half_of_the_bits() -> None:
    hashes = [fingerprint(scene(number))[0] for number in range(20)]
    apart = [(a ^ b).bit_count() for a in hashes for b in hashes if a != b]
    assert 24 < np.mean(apart) < 40


@pytest.mark.parametrize(
    "luma", [np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_grey_picture_is_refused(luma) -> None:
    with pytest.raises(ValueError, match=r"luma must be \(H, W\) uint8 with pixels, got"):
        fingerprint(luma)


def test_a_picture_of_one_pixel_has_a_fingerprint() -> None:
    hashed, thumb = fingerprint(np.full((1, 1), 7, np.uint8))
    assert 0 <= hashed < 1 << 64
    assert thumb == bytes([7]) * 256


def test_chunks_take_every_bit_once_and_stay_together_when_transposed() -> None:
    rng = np.random.default_rng(0)
    skewed = rng.integers(0, 1 << 64, 500, dtype=np.uint64) & np.uint64(0x00FF_FFFF_0F0F_0F0F)
    chunks = Chunks.balanced(skewed)
    assert sorted(chunks.order) == list(range(64))
    partner, _ = BY_HOW["transposed"].bits()
    place = np.argsort(chunks.order)
    assert (place[partner] // CHUNK_BITS == place // CHUNK_BITS).all()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.how)
def test_changed_values_are_the_chunks_of_the_changed_hash(variant) -> None:
    hashes = np.random.default_rng(1).integers(0, 1 << 64, 50, dtype=np.uint64)
    chunks = Chunks.balanced(hashes)
    source, flips = variant.bits()
    bits = as_bits(hashes)[:, source] ^ flips
    changed = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")).view("<u8")[:, 0]
    table = chunks.changed_values(variant)
    before, after = values_of(chunks.of(hashes)), values_of(chunks.of(changed))
    for chunk in range(4):
        np.testing.assert_array_equal(table[chunk][before[:, chunk]], after[:, chunk])
