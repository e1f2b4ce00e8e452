"""`find_copies` on small sets: pairs, groups, what binds and what does not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from copies_pictures import copies_of, grey, picture, planting, write
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from sightline.data.auditing.copies import cascade, judging
from sightline.data.auditing.copies.clusters import DisjointSets, largest_binding
from sightline.data.images import encode_jpeg, encode_png
from sightline.records import Manifest
from sightline.records.audit import PAIRS_SCHEMA


def packed(image, level: int) -> bytes:
    """Return a PNG whose bytes differ with the level while its pixels do not."""
    blue_first = np.ascontiguousarray(image[..., ::-1])
    return cv2.imencode(".png", blue_first, [cv2.IMWRITE_PNG_COMPRESSION, level])[1].tobytes()


def pairs_of(copies) -> list[tuple[str, str, str, str]]:
    return [row[:4] for row in copies.pairs.iter_rows()]


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29))))
def test_sets_are_the_connected_parts_whatever_the_order(count: int, edges) -> None:
    edges = [(a % count, b % count) for a, b in edges]
    forward, backward = DisjointSets(count), DisjointSets(count)
    joined = sum([forward.join(a, b) for a, b in edges])
    for a, b in reversed(edges):
        backward.join(b, a)
    assert forward.groups() == backward.groups()
    assert forward.roots().tolist() == [forward.find(member) for member in range(count)]
    assert len(set(forward.roots().tolist())) == count - joined
    reach = np.eye(count, dtype=int)
    for a, b in edges:
        reach[a, b] = reach[b, a] = 1
    reach = np.linalg.matrix_power(reach, count) > 0 if count < 15 else reach > 0
    for a, b in zip(*np.nonzero(reach), strict=True):
        assert forward.find(int(a)) == forward.find(int(b))


@pytest.mark.parametrize(("images", "limit"), [(10, 20), (2000, 20), (2100, 21), (10**6, 10**4)])
def test_a_cluster_binds_up_to_1_percent_of_the_images_and_20(images: int, limit: int) -> None:
    assert largest_binding(images) == limit


def test_equal_bytes_are_copies_at_any_size_and_every_record_is_named(tmp_path: Path) -> None:
    content = encode_png(picture(0, 4, 4))
    manifest, inspected = write(tmp_path, {"c": content, "a": content, "b": content})
    copies = copies_of(manifest, inspected)
    assert pairs_of(copies) == [("a", "b", "copy", "same"), ("a", "c", "copy", "same")]
    group = hashlib.sha256(content).hexdigest()[:16]
    assert copies.copy_group.to_list() == [group] * 3
    assert copies.near_group.to_list() == [None] * 3
    assert copies.pairs.schema == PAIRS_SCHEMA


def test_equal_pixels_in_other_bytes_are_near_copies_at_any_size(tmp_path: Path) -> None:
    image = picture(1, 4, 4)
    Image.fromarray(image).save(tmp_path / "b.bmp")
    manifest, inspected = write(tmp_path, {"a.png": image, "other.png": picture(2, 4, 4)})
    copies = copies_of(manifest, inspected)
    assert pairs_of(copies) == [("a.png", "b.bmp", "near copy", "same")]
    smallest = min(inspected["sha256"].head(2))
    assert copies.near_group.to_list() == [f"near-{smallest[:16]}"] * 2 + [None]
    assert not len(copies.verdicts)  # no file was decoded for it


def test_pictures_under_32_pixels_are_never_near_copies(tmp_path: Path) -> None:
    image = picture(3, 31, 64)
    manifest, inspected = write(tmp_path, {"a": image, "b": encode_jpeg(image, 95)})
    assert not len(copies_of(manifest, inspected).pairs)


def test_pictures_from_32_pixels_on_are(tmp_path: Path) -> None:
    image = picture(3, 32, 64)
    manifest, inspected = write(tmp_path, {"a": image, "b": encode_jpeg(image, 95)})
    assert pairs_of(copies_of(manifest, inspected)) == [("a", "b", "near copy", "same")]


def test_flat_pictures_are_no_copies_of_one_another(tmp_path: Path) -> None:
    files = {f"{level}": np.full((64, 64, 3), level, np.uint8) for level in range(0, 250, 10)}
    manifest, inspected = write(tmp_path, files)
    copies = copies_of(manifest, inspected)
    assert not len(copies.pairs)
    assert copies.near_group.null_count() == 25


def test_the_digits_have_no_near_groups(tmp_path: Path) -> None:
    digits = (load_digits().images * 15.9).astype(np.uint8)
    files = {
        f"{number:04d}.png": encode_png(image[..., None]) for number, image in enumerate(digits)
    }
    manifest, inspected = write(tmp_path, files)
    copies = copies_of(manifest, inspected)
    assert copies.near_group.null_count() == len(manifest) == 1797
    assert not (copies.pairs["kind"] == "near copy").any()


@pytest.mark.parametrize(
    ("how", "back", "change"),
    [
        ("mirrored", "mirrored", np.fliplr),
        ("flipped", "flipped", np.flipud),
        ("rotated 90", "rotated 270", np.rot90),
        ("rotated 180", "rotated 180", lambda image: np.rot90(image, 2)),
        ("rotated 270", "rotated 90", lambda image: np.rot90(image, 3)),
        ("transposed", "transposed", lambda image: image.transpose(1, 0, 2)),
        ("transversed", "transversed", lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
    ],
)
def test_how_says_what_makes_the_second_of_the_first(tmp_path, how, back, change) -> None:
    """In both orders of the names, whatever the order of the contents."""
    image = picture(4)
    changed = encode_jpeg(np.ascontiguousarray(change(image)), 90)
    one = copies_of(*write(tmp_path / "one", {"a": image, "b": changed}))
    two = copies_of(*write(tmp_path / "two", {"a": changed, "b": image}))
    assert pairs_of(one) == [("a", "b", "near copy", how)]
    assert pairs_of(two) == [("a", "b", "near copy", back)]


def mixed_files() -> dict[str, object]:
    """Return two clusters of edited copies, an exact copy, and pictures of their own."""
    edits = planting().CALIBRATION
    files: dict[str, object] = {f"own {number}": picture(number) for number in range(10, 20)}
    for number in (20, 21):
        files[f"original {number}"] = picture(number)
        for name, (_, edit) in edits.items():
            files[f"{name} {number}"] = edit(picture(number))
    files["exact"] = encode_png(picture(20))
    return files


def test_a_cluster_holds_all_its_copies_and_nothing_else(tmp_path: Path) -> None:
    manifest, inspected = write(tmp_path, mixed_files())
    copies = copies_of(manifest, inspected)
    near = dict(zip(manifest.table["record_id"], copies.near_group, strict=True))
    for number in (20, 21):
        groups = {group for name, group in near.items() if name.endswith(str(number))}
        assert len(groups) == 1
    assert near["exact"] == near["original 20"] != near["original 21"]
    assert all(group is None for name, group in near.items() if name.startswith("own"))
    edges = copies.pairs.filter(pl.col("kind") == "near copy")
    assert len(edges) == 2 * len(planting().CALIBRATION)  # no more than join them


def test_the_outcome_knows_neither_names_nor_root_nor_workers(tmp_path: Path) -> None:
    files = mixed_files()
    backwards = {f"{99 - number}": content for number, content in enumerate(files.values())}
    manifest, inspected = write(tmp_path / "one", files)
    others = write(tmp_path / "elsewhere" / "two", backwards)
    one, three, other = (
        copies_of(manifest, inspected),
        copies_of(manifest, inspected, workers=3),
        copies_of(*others),
    )
    for name in ("pairs", "verdicts"):
        assert getattr(one, name).equals(getattr(three, name))
    assert other.verdicts.equals(one.verdicts)

    def groups(copies, table) -> dict[str, str | None]:
        return dict(zip(table["sha256"], copies.near_group, strict=True))

    assert groups(one, inspected) == groups(other, others[1])


def test_what_is_known_is_not_decoded_again_and_changes_nothing(tmp_path: Path) -> None:
    manifest, inspected = write(tmp_path, mixed_files())
    first = copies_of(manifest, inspected)
    for path in tmp_path.iterdir():
        path.unlink()
    second = copies_of(manifest, inspected, known=first.verdicts)
    assert second.pairs.equals(first.pairs)
    assert second.near_group.equals(first.near_group)
    assert second.verdicts.equals(first.verdicts)


def test_a_file_that_is_gone_is_no_copy_and_stops_nothing(tmp_path: Path) -> None:
    image = picture(5)
    files = {"a": image, "b": encode_jpeg(image, 90), "c": encode_jpeg(image, 80)}
    manifest, inspected = write(tmp_path, files)
    (tmp_path / "b").unlink()
    copies = copies_of(manifest, inspected)
    assert pairs_of(copies) == [("a", "c", "near copy", "same")]


def test_quarantined_files_take_no_part(tmp_path: Path) -> None:
    content = encode_png(picture(6))
    manifest, inspected = write(tmp_path, {"a": content, "b": content, "c": b"no picture"})
    quarantined = pl.col("record_id") == "b"
    status = pl.when(quarantined).then(pl.lit("quarantined")).otherwise("status")
    copies = copies_of(manifest, inspected.with_columns(status=status))
    assert not len(copies.pairs)
    assert copies.copy_group.null_count() == 3


def test_a_near_cluster_over_the_limit_is_listed_and_does_not_bind(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cascade, "largest_binding", lambda num_images: 2)
    image = picture(7)
    files = {name: encode_jpeg(image, 80 + n) for n, name in enumerate("abc")}
    files |= {"d": files["a"], "x": picture(8), "y": encode_jpeg(picture(8), 90)}
    manifest, inspected = write(tmp_path, files)
    copies = copies_of(manifest, inspected)
    assert copies.unbound == (("a", "b", "c", "d"),)
    assert [group is None for group in copies.near_group] == [True] * 4 + [False] * 2
    assert copies.copy_group.drop_nulls().len() == 2  # equal bytes bind all the same


def test_equal_pixels_bind_even_inside_a_cluster_that_does_not(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cascade, "largest_binding", lambda num_images: 2)
    image = picture(7)
    files = {name: encode_jpeg(image, 80 + n) for n, name in enumerate("abc")}
    files |= {"p": packed(image, 1), "q": packed(image, 9)}
    manifest, inspected = write(tmp_path, files)
    copies = copies_of(manifest, inspected)
    assert copies.unbound == (("a", "b", "c", "p", "q"),)
    assert [group is None for group in copies.near_group] == [True] * 3 + [False] * 2
    assert copies.near_group.drop_nulls().n_unique() == 1


def test_many_files_of_equal_pixels_are_one_picture_and_bind(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cascade, "largest_binding", lambda num_images: 2)
    image = picture(7)
    files = {f"{level}": packed(image, level) for level in (0, 1, 6, 9)}
    copies = copies_of(*write(tmp_path, files))
    assert copies.unbound == ()
    assert copies.near_group.null_count() == 0


def test_exact_copies_do_not_make_a_near_cluster_too_large(tmp_path: Path) -> None:
    image = picture(9)
    content = encode_png(image)
    files = {f"{number:02d}": content for number in range(25)} | {"near": encode_jpeg(image, 90)}
    copies = copies_of(*write(tmp_path, files))
    assert copies.unbound == ()
    assert copies.near_group.null_count() == 0


def test_many_copies_of_one_picture_are_not_all_compared(tmp_path: Path) -> None:
    image = picture(10)
    files = {f"{quality}": encode_jpeg(image, quality) for quality in range(60, 100)}
    judged: list[int] = []
    manifest, inspected = write(tmp_path, files)
    copies = copies_of(manifest, inspected, on_done=judged.append)
    assert len(copies.pairs) == 39
    assert 39 <= sum(judged) == len(copies.verdicts) < 40 * 39 // 4


def test_candidates_are_judged_in_parts_with_the_same_outcome(tmp_path, monkeypatch) -> None:
    manifest, inspected = write(tmp_path, mixed_files())
    whole = copies_of(manifest, inspected)
    monkeypatch.setattr(cascade, "_CANDIDATES_AT_ONCE", 3)
    parts = copies_of(manifest, inspected)
    assert parts.near_group.equals(whole.near_group)


def test_few_views_are_kept_with_the_same_outcome(tmp_path, monkeypatch) -> None:
    manifest, inspected = write(tmp_path, mixed_files())
    whole = copies_of(manifest, inspected)
    monkeypatch.setattr(judging, "_KEPT_VIEWS", 1)
    assert copies_of(manifest, inspected).pairs.equals(whole.pairs)


@pytest.mark.parametrize("count", [0, 1])
def test_a_set_of_no_or_one_image_has_no_copies(tmp_path: Path, count: int) -> None:
    files = {"a": picture(0)} if count else {}
    copies = copies_of(*write(tmp_path, files))
    assert (len(copies.pairs), len(copies.copy_group), copies.unbound) == (0, count, ())


def test_an_inspected_table_of_other_records_is_refused(tmp_path: Path) -> None:
    manifest, inspected = write(tmp_path, {"a": picture(0)})
    other = Manifest.make(manifest.root, {"record_id": ["b"]})
    with pytest.raises(ValueError, match="inspected must have the 1 records of the manifest"):
        copies_of(other, inspected)


def test_grey_and_colour_versions_are_near_copies(tmp_path: Path) -> None:
    image = picture(30)
    files = {"colour": image, "grey": encode_png(grey(image)[..., None])}
    assert pairs_of(copies_of(*write(tmp_path, files))) == [("colour", "grey", "near copy", "same")]
