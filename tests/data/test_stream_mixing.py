"""Erasing, mixup and cutmix in a stream: repeatable record by record, and by the papers' rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from small_sets import (
    CHANGES,
    COUNT,
    LENIENT,
    MOVES,
    SIZE,
    batch_bytes,
    config,
    manifest_below,
    path_of,
    read,
    row_bytes,
    rows_of,
    scanned,
    train_stream,
    without_files,
    write_pictures,
)

from sightline.data.stream import Stream, StreamConfig
from sightline.data.stream.erasing import Erasures, draw_erasures, erased_boxes
from sightline.data.stream.kernels.blending import Blender
from sightline.data.stream.mixing import Mixer, Mixing, cut_boxes, symmetric_beta
from sightline.data.stream.sampling import make_order
from sightline.errors import DataError
from sightline.recipes import AugmentSection, load_recipe
from sightline.records import Manifest, RecordIndex

MIXUP = AugmentSection(mixup=0.4)
CUTMIX = AugmentSection(cutmix=1.0)
ALL = CHANGES.model_copy(update={"erasing": 0.5, "mixup": 0.4, "cutmix": 1.0})
NEW = [AugmentSection(erasing=0.7), MIXUP, CUTMIX, ALL]
NAMES = ["erasing", "mixup", "cutmix", "all"]
SAMPLINGS = ["all", "weighted", "class-balanced", "oversample", "undersample"]
KEYS = np.arange(20_000, dtype=np.int64)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return scanned(write_pictures(tmp_path_factory.mktemp("pictures")))


def plain(count: int = 60, classes: int = 3, **how: Any) -> RecordIndex:
    """Return records of one colour each: record n is all n, of class n % classes."""
    pixels = np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 8, 10, 3)
    )
    return RecordIndex.make(
        Path("/nowhere"), tuple("abcdef"[:classes]), np.zeros(count, np.uint8),
        np.arange(count + 1, dtype=np.uint32), (np.arange(count) % classes).astype(np.int32),
        pixels=np.ascontiguousarray(pixels), **how,
    )  # fmt: skip


def plain_stream(
    section: AugmentSection | None, index: RecordIndex | None = None, **how: Any
) -> Stream:
    settings = {
        "image_size": (8, 10), "batch_size": 16, "shuffle": True, "scaling": "none",
        "augment": section, **how,
    }  # fmt: skip
    return Stream(index or plain(), split=None, config=StreamConfig(**settings))


def mixer(section: AugmentSection, size: tuple[int, int] = (40, 60), **how: Any) -> Mixer:
    rows = np.arange(500, dtype=np.uint32)
    order = make_order(rows, seed=0, shuffle=True, **how)
    return Mixer(section, size, 0, order, rows)


def mixed(section: AugmentSection, epoch: int = 0, **how: Any) -> Mixing:
    """Return what is mixed into 20,000 records that come several times."""
    return mixer(section, **how).draw(epoch, rows=KEYS % 500, keys=KEYS)


# --- the same bytes, however they are made ---------------------------------------------


@pytest.mark.parametrize("section", NEW, ids=NAMES)
@pytest.mark.parametrize("how", [{"batch_size": 5}, {"batch_size": 23}, {"num_threads": 0}])
def test_a_record_is_the_same_with_any_batch_size_and_threads(
    manifest: Manifest, section: AugmentSection, how: dict[str, int]
) -> None:
    whole = row_bytes(read(train_stream(manifest, augment=section), 1))
    assert row_bytes(read(train_stream(manifest, augment=section, **how), 1)) == whole


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_batches_that_repeat_records_are_the_same_with_any_threads(
    manifest: Manifest, sampling: str
) -> None:
    how = {"augment": ALL, "sampling": sampling}
    first = batch_bytes(read(train_stream(manifest, num_threads=0, **how), 2))
    assert batch_bytes(read(train_stream(manifest, num_threads=3, **how), 2)) == first


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_shards_mix_as_one_stream_does(manifest: Manifest, sampling: str) -> None:
    how = config(shuffle=True, augment=ALL, sampling=sampling, batch_size=100)
    (whole,) = read(Stream(manifest, split="train", config=how))
    for number in range(2):
        part = Stream(manifest, split="train", config=how, shard_index=number, num_shards=2)
        (found,) = read(part)
        np.testing.assert_array_equal(found.images, whole.images[number::2])
        np.testing.assert_array_equal(found.targets, whole.targets[number::2])


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_stream_resumed_in_the_middle_goes_on_with_the_same_mixes(
    manifest: Manifest, sampling: str
) -> None:
    how = {"augment": ALL, "sampling": sampling}
    whole = batch_bytes(read(train_stream(manifest, **how), 1))
    with train_stream(manifest, **how) as stream:
        batches = stream.epoch(1)
        next(batches), next(batches)
        state = stream.state()
    with train_stream(manifest, **how) as other:
        other.resume(state)
        assert batch_bytes(other.epoch(1)) == whole[2:]


@pytest.mark.parametrize("section", NEW, ids=NAMES)
def test_the_cache_is_never_seen_in_a_mixed_batch(
    manifest: Manifest, section: AugmentSection, tmp_path: Path
) -> None:
    first = batch_bytes(read(train_stream(manifest, augment=section)))
    how = {"augment": section, "cache": tmp_path / "cache"}
    assert batch_bytes(read(train_stream(manifest, **how))) == first
    with without_files(manifest):
        assert batch_bytes(read(train_stream(manifest, **how))) == first


def test_a_cache_serves_whatever_is_augmented(manifest: Manifest, tmp_path: Path) -> None:
    read(train_stream(manifest, augment=None, cache=tmp_path))
    read(train_stream(manifest, augment=ALL, cache=tmp_path))
    assert len(list((tmp_path / "decoded").glob("*/rows.u8"))) == 1


def test_every_epoch_mixes_anew(manifest: Manifest) -> None:
    first, second = (row_bytes(read(train_stream(manifest, augment=MIXUP), n)) for n in (0, 1))
    assert all(first[row] != second[row] for row in first)


# --- the path without them -------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"dtype": "uint8"},
        {"layout": "channels-first"},
        {"channels": 1, "scaling": "mean-std", "mean": (0.4,), "std": (0.3,)},
        {"scaling": "per-image"},
        {"channels": 4, "layout": "channels-first", "scaling": "none"},
    ],
)
def test_a_picture_that_is_not_erased_is_what_it_is_without_erasing(
    manifest: Manifest, how: dict[str, Any]
) -> None:
    never = CHANGES.model_copy(update={"erasing": 1e-12})
    alone = batch_bytes(read(train_stream(manifest, augment=CHANGES, **how)))
    assert batch_bytes(read(train_stream(manifest, augment=never, **how))) == alone


def test_erasing_and_mixing_leave_the_order_as_it_is(manifest: Manifest) -> None:
    before, after = (
        rows_of(read(train_stream(manifest, augment=section))) for section in (MOVES, ALL)
    )
    assert before == after


# --- targets ---------------------------------------------------------------------------


@pytest.mark.parametrize("section", [MIXUP, CUTMIX, ALL], ids=NAMES[1:])
def test_targets_of_several_classes_sum_to_one(section: AugmentSection) -> None:
    for batch in read(plain_stream(section)):
        assert batch.targets.shape == (len(batch), 3)
        assert batch.targets.dtype == np.float32
        np.testing.assert_allclose(batch.targets.sum(axis=1), 1, atol=1e-6)
        assert (batch.targets >= 0).all()


def test_targets_of_two_classes_are_shares_of_the_second(manifest: Manifest) -> None:
    found = np.concatenate([b.targets for b in read(plain_stream(MIXUP, plain(classes=2)))])
    assert found.shape == (60,)
    assert ((found >= 0) & (found <= 1)).all()
    assert 5 < ((found > 0) & (found < 1)).sum() < 60  # partners of the same class stay whole


def test_labels_and_weights_stay_those_of_the_record() -> None:
    weights = (1 + np.arange(60) % 4).astype(np.float32)
    for batch in read(plain_stream(ALL, plain(weights=weights))):
        np.testing.assert_array_equal(batch.labels, batch.rows % 3)
        np.testing.assert_array_equal(batch.weights, 1 + batch.rows % 4)


def test_a_mixup_is_the_mean_of_two_records_in_the_shares_of_its_target() -> None:
    for batch in read(plain_stream(MIXUP, plain(2, 2))):
        assert np.ptp(batch.images, axis=(1, 2, 3)).max() == 0
        np.testing.assert_allclose(batch.images[:, 0, 0, 0], batch.targets, atol=1e-6)


def test_a_cutmix_has_as_many_pixels_of_each_record_as_its_target_says() -> None:
    for batch in read(plain_stream(CUTMIX, plain(2, 2))):
        assert set(np.unique(batch.images)) <= {0.0, 1.0}
        np.testing.assert_allclose(batch.images.mean(axis=(1, 2, 3)), batch.targets, atol=1e-6)


def test_a_cutmix_is_one_rectangle() -> None:
    cut = 0
    for batch in read(plain_stream(CUTMIX, plain(40, 2, weights=np.ones(40, np.float32)))):
        for image, row in zip(batch.images[..., 0], batch.rows, strict=True):
            other = image != row
            inside = other[np.ix_(other.any(axis=1), other.any(axis=0))]
            assert inside.all()
            cut += bool(other.any())
    assert cut > 20


def test_what_is_mixed_in_is_changed_as_when_it_comes_itself() -> None:
    noisy = plain(2, 2)
    noisy.pixels[:] = np.random.default_rng(0).integers(0, 256, noisy.pixels.shape)
    section = CHANGES.model_copy(update={"erasing": 0.5})
    with plain_stream(section, noisy) as alone:
        (batch,) = alone.epoch(0)
        pictures = dict(zip(batch.rows.tolist(), batch.images, strict=True))
    with plain_stream(section.model_copy(update={"mixup": 1.0}), noisy) as stream:
        (batch,) = stream.epoch(0)
    for row, image, share in zip(batch.rows.tolist(), batch.images, batch.targets, strict=True):
        assert 0 < share < 1
        expected = pictures[0] * (1 - share) + pictures[1] * share
        np.testing.assert_allclose(image, expected, atol=1e-3, err_msg=str(row))


def test_whole_numbers_are_rounded_once_after_mixing() -> None:
    floats = read(plain_stream(MIXUP, batch_size=60))[0]
    whole = read(plain_stream(MIXUP, batch_size=60, dtype="uint8"))[0]
    np.testing.assert_array_equal(whole.images, np.floor(floats.images + np.float32(0.5)))


def test_pixels_are_mixed_before_they_are_scaled(manifest: Manifest) -> None:
    raw = read(train_stream(manifest, augment=ALL, scaling="none"))
    scaled = read(train_stream(manifest, augment=ALL, scaling="per-image"))
    for before, after in zip(raw, scaled, strict=True):
        values = before.images.astype(np.float64)
        mean, deviation = (f(values, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
        np.testing.assert_allclose(after.images, (values - mean) / deviation, atol=1e-3)


def test_channels_first_are_the_same_mixed_pixels(manifest: Manifest) -> None:
    last = read(train_stream(manifest, augment=ALL))
    first = read(train_stream(manifest, augment=ALL, layout="channels-first"))
    for one, other in zip(last, first, strict=True):
        np.testing.assert_array_equal(one.images.transpose(0, 3, 1, 2), other.images)


# --- partners --------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("count", [2, 3, 500])
def test_no_record_is_mixed_with_itself(sampling: Any, count: int) -> None:
    rows = np.arange(10, 10 + count, dtype=np.uint32)
    labels = (np.arange(count + 10) % 7 == 0).astype(np.int32)
    order = make_order(
        rows, seed=3, shuffle=True, sampling=sampling, labels=labels,
        weights=np.ones(count + 10, np.float32),
    )  # fmt: skip
    own = rows[KEYS % count].astype(np.int64)
    found = Mixer(MIXUP, SIZE, 3, order, rows).draw(4, rows=own, keys=KEYS)
    assert (found.rows != own).all()
    assert np.isin(found.rows, rows).all()


def test_every_other_record_is_as_likely_a_partner() -> None:
    found = mixed(MIXUP)
    distance = (found.rows - KEYS % 500) % 500
    counts = np.bincount(distance, minlength=500)[1:]
    assert stats.chisquare(counts).pvalue > 0.001


def test_partners_come_as_often_as_the_sampling_lets_them_come() -> None:
    rare = (np.arange(500) >= 490).astype(np.int32)
    found = mixed(MIXUP, sampling="oversample", labels=rare)
    assert abs((found.rows >= 490).mean() - 0.5) < 0.03


def test_a_split_of_one_record_is_left_alone() -> None:
    (batch,) = read(plain_stream(ALL.model_copy(update={"erasing": 0.0}), plain(1, 2)))
    assert batch.targets.tolist() == [0.0]


def test_with_both_on_each_record_gets_one_of_the_two_by_a_fair_draw() -> None:
    found = mixed(AugmentSection(mixup=1.0, cutmix=1.0))
    cut = found.keeps == 0
    assert abs(cut.mean() - 0.5) < 0.02  # five deviations of 20,000
    assert (found.boxes[~cut] == (0, 0, 40, 60)).all()


# --- faults ----------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path) -> Manifest:
    made = write_pictures(tmp_path)
    path_of(made, 7).write_bytes(b"")
    return made


def test_a_damaged_record_is_black_weighs_nothing_and_keeps_its_target(damaged: Manifest) -> None:
    section = ALL.model_copy(update={"mixup": 5.0})
    how = {"augment": section, "scaling": "mean-std", "mean": (0.5,) * 3, "std": (0.2,) * 3}
    (batch,) = read(train_stream(damaged, batch_size=50, **how, **LENIENT))
    place = batch.rows.tolist().index(7)
    assert not batch.images[place].any()
    assert batch.weights[place] == 0
    assert batch.targets[place].tolist() == [0.0, 1.0, 0.0]
    assert (np.delete(batch.weights, place) == 1).all()


@pytest.mark.parametrize("section", [MIXUP, CUTMIX], ids=["mixup", "cutmix"])
def test_a_record_whose_partner_is_damaged_stays_unmixed(
    damaged: Manifest, section: AugmentSection
) -> None:
    alone = row_bytes(read(train_stream(damaged, augment=None, **LENIENT)))
    unmixed = 0
    with train_stream(damaged, augment=section, **LENIENT) as stream:
        for epoch in range(8):
            batches = list(stream.epoch(epoch))
            partners = stream._mixer.draw(  # type: ignore[union-attr]
                epoch, rows=np.array(rows_of(batches)), keys=np.array(rows_of(batches))
            ).rows
            found = row_bytes(batches)
            for row, partner in zip(rows_of(batches), partners, strict=True):
                if partner == 7 and row != 7:
                    unmixed += 1
                    assert found[row] == alone[row]
    assert unmixed


def test_a_damaged_partner_is_recorded_where_it_comes_itself(damaged: Manifest) -> None:
    how = config(shuffle=True, augment=MIXUP, **LENIENT)
    found = []
    for number in range(2):
        stream = Stream(damaged, split="train", config=how, shard_index=number, num_shards=2)
        with stream:
            for epoch in range(4):
                came = 7 in rows_of(stream.epoch(epoch))
                found.append((came, sorted(stream.faults)))
    assert all(faults == ([7] if came else []) for came, faults in found)
    assert {came for came, _ in found} == {True, False}


def test_a_damaged_record_counts_once_in_the_budget(damaged: Manifest) -> None:
    read(train_stream(damaged, augment=MIXUP))  # one fault of 23 is within the least budget
    with pytest.raises(DataError, match="1 of 23 images could not be read"):
        read(train_stream(damaged, augment=MIXUP, max_faults=0))


# --- the draws -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [0.05, 0.2, 0.5, 1.0, 3.0, 40.0])
def test_shares_are_drawn_from_the_symmetric_beta_distribution(shape: float) -> None:
    found = mixed(AugmentSection(mixup=shape)).shares.astype(float)
    assert found.mean() == pytest.approx(0.5, abs=0.02)
    assert found.var() == pytest.approx(1 / (4 * (2 * shape + 1)), rel=0.05)
    middle = found[(found > 1e-6) & (found < 1 - 1e-6)]  # beyond, float32 has no more values
    beta = stats.beta(shape, shape)
    low, high = beta.cdf([1e-6, 1 - 1e-6])
    assert stats.kstest((beta.cdf(middle) - low) / (high - low), "uniform").pvalue > 0.001


@pytest.mark.parametrize("shape", [1e-9, 1e-3, 1e6])
def test_extreme_shapes_give_shares_all_the_same(shape: float) -> None:
    draws = np.random.default_rng(0).random((2, 1000))
    draws[0, :2] = 0, 1 - 2**-53
    found = symmetric_beta(np.full(1000, shape), *draws)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_cut_leaves_the_share_that_was_drawn_unless_the_edge_clips_it() -> None:
    own = np.array([0.0, 0.25, 0.75, 1.0, 0.75])
    y = x = np.array([0.5, 0.5, 0.5, 0.5, 0.0])
    boxes, left = cut_boxes((40, 60), own, y=y, x=x)
    np.testing.assert_allclose(left[:4], own[:4], atol=0.01)
    assert boxes[2].tolist() == [10, 15, 30, 45]
    assert boxes[4].tolist() == [0, 0, 10, 15]  # centred in the corner: a quarter is inside
    assert left[4] == 1 - 150 / 2400


def test_the_share_of_a_cutmix_is_what_its_rectangle_leaves() -> None:
    found = mixed(CUTMIX)
    top, left, bottom, right = found.boxes.T
    area = (bottom - top) * (right - left)
    np.testing.assert_allclose(found.shares, 1 - area / 2400, atol=1e-6)
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, 2:] <= (40, 60)).all()


# --- erasing ---------------------------------------------------------------------------


def erased(size: tuple[int, int], chance: float = 1.0) -> npt.NDArray[np.int32]:
    found = draw_erasures(chance, size=size, seed=0, epoch=0, keys=KEYS)
    assert found is not None
    return found.boxes


@pytest.mark.parametrize("size", [(120, 120), (90, 240), (300, 60), (20, 1000)])
def test_an_erased_rectangle_has_2_to_33_percent_of_the_area(size: tuple[int, int]) -> None:
    top, left, bottom, right = erased(size).T
    share = (bottom - top) * (right - left) / (size[0] * size[1])
    assert 0.015 < share.min() < 0.03
    assert 0.3 < share.max() < 0.345  # whole pixels
    assert top.min() == left.min() == 0
    assert (bottom.max(), right.max()) == size


def test_an_erased_rectangle_is_as_often_tall_as_wide() -> None:
    top, left, bottom, right = erased((200, 200)).T
    aspect = (bottom - top) / (right - left)
    assert 0.28 < aspect.min() < 0.32
    assert 3.1 < aspect.max() < 3.5
    assert abs((aspect > 1).mean() - 0.5) < 0.03


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3)])
def test_even_a_tiny_picture_loses_at_least_a_pixel_of_its_own(size: tuple[int, int]) -> None:
    boxes = erased(size)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert (boxes[:, 2:] <= size).all()


def test_as_many_records_are_erased_as_the_chance_says() -> None:
    boxes = erased((30, 30), 0.25)
    assert abs(boxes.any(axis=1).mean() - 0.25) < 0.016  # five deviations of 20,000
    assert draw_erasures(0.0, size=SIZE, seed=0, epoch=0, keys=KEYS) is None


def test_the_extremes_of_a_rectangle_are_those_that_were_asked_for() -> None:
    ends = np.array([0.0, 1.0])
    boxes = erased_boxes((100, 100), np.full(2, 0.2), shape=ends, y=ends, x=ends)
    assert boxes[0, :2].tolist() == [0, 0]
    assert boxes[1, 2:].tolist() == [100, 100]
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    np.testing.assert_allclose(heights / widths, [0.3, 3.3], rtol=0.05)


def test_erased_pixels_get_random_colours_and_the_others_stay() -> None:
    alone = read(plain_stream(None, batch_size=60))[0].images
    found = read(plain_stream(AugmentSection(erasing=1.0), batch_size=60))[0].images
    same = (found == alone).all(axis=3)
    assert 0.6 < same.mean() < 0.95
    colours = found[~same]
    assert colours.min() >= 0
    assert colours.max() <= 255
    assert stats.kstest(colours.reshape(-1) / 255, "uniform").pvalue > 0.001


def test_an_erased_rectangle_stays_upright_where_the_picture_is_turned() -> None:
    section = AugmentSection(erasing=1.0, rotation=45, fill="nearest")
    for batch in read(plain_stream(section)):
        for image, row in zip(batch.images, batch.rows, strict=True):
            other = (np.abs(image - row) > 0.01).any(axis=2)
            assert other[np.ix_(other.any(axis=1), other.any(axis=0))].all()


def test_alpha_is_not_erased() -> None:
    pictures = np.full((3, 8, 10, 4), 77, np.float32)
    box = np.tile(np.array([2, 3, 6, 9], np.int32), (3, 1))
    Blender().erase(pictures, Erasures(box, np.arange(3, dtype=np.uint64)))
    assert (pictures[..., 3] == 77).all()
    assert (pictures[:, 2:6, 3:9, :3] != 77).any()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_numpy_blends_to_the_same_bytes_as_machine_code(channels: int) -> None:
    rng = np.random.default_rng(1)
    own, others = rng.uniform(0, 255, (2, 50, 8, 10, channels)).astype(np.float32)
    keeps = rng.random(50).astype(np.float32)
    found = draw_erasures(0.8, size=(8, 10), seed=1, epoch=0, keys=KEYS[:50])
    assert found is not None
    made = []
    for blender in (Blender(engine="numba"), Blender(engine="numpy")):
        picture = own.copy()
        blender.erase(picture, found)
        blender.overlay(picture, others, found.boxes[::-1].copy(), keeps)
        made.append(picture.tobytes())
    assert made[0] == made[1] != own.tobytes()


# --- golden ----------------------------------------------------------------------------


def test_the_draws_are_those_that_saved_runs_depend_on() -> None:
    found = mixed(AugmentSection(mixup=0.4, cutmix=1.0), epoch=3)
    assert found.rows[:6].tolist() == [422, 399, 102, 498, 88, 333]
    assert found.shares[:6].round(4).tolist() == pytest.approx(
        [0.9504, 0.6413, 0.7083, 0.4375, 0.6837, 0.5849], abs=1e-4
    )
    assert found.boxes[:3].tolist() == [[33, 4, 40, 21], [0, 7, 21, 48], [0, 0, 25, 28]]
    erasures = draw_erasures(1.0, size=(40, 60), seed=7, epoch=3, keys=KEYS[:3])
    assert erasures is not None
    assert erasures.boxes.tolist() == [[5, 3, 33, 16], [14, 28, 40, 58], [1, 20, 19, 59]]
    assert erasures.hashes.tolist() == [
        10436445987763095837,
        4243492005994151774,
        7558021597217925328,
    ]


# --- how a recipe streams --------------------------------------------------------------


def resolved(**changes: Any) -> Any:
    return load_recipe("skin-binary", changes)


def test_only_training_is_sampled_and_mixed() -> None:
    recipe = resolved(**{"balance.sampling": "oversample", "augment.mixup": 0.2})
    training, other = (StreamConfig.of(recipe, training=each) for each in (True, False))
    assert (training.sampling, other.sampling) == ("oversample", "all")
    assert (training.blends, other.blends) == (True, False)


@pytest.mark.parametrize(
    ("size", "share", "expected"),
    [
        ((122, 122), 0.5, (60, 60)),
        ((122, 100), 0.75, (92, 76)),
        ((91, 121), 1.0, (91, 121)),
        ((20, 30), 0.1, (8, 8)),
        ((6, 30), 0.5, (6, 16)),
    ],
)
def test_a_share_of_the_image_size_is_even_and_at_least_8(
    size: tuple[int, int], share: float, expected: tuple[int, int]
) -> None:
    recipe = resolved(**{"data.image_size": list(size)})
    assert StreamConfig.of(recipe, training=True, share=share).image_size == expected


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"share must be above 0 and at most 1, got {share}"):
        StreamConfig.of(resolved(), training=True, share=share)


def test_mixing_counts_in_the_memory_of_a_stream() -> None:
    how = {"image_size": (512, 512), "max_memory": 120_000_000, "num_threads": 2, "batch_size": 8}
    Stream(plain_index_of_files(), split=None, config=StreamConfig(**how)).close()
    with pytest.raises(ValueError, match="max_memory=120,000,000 bytes is too little"):
        Stream(plain_index_of_files(), split=None, config=StreamConfig(**how, augment=MIXUP))


def plain_index_of_files() -> RecordIndex:
    return manifest_below(Path("/nowhere"), split=["train"] * COUNT).index()
