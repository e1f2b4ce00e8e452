"""Where the cache of decoded images is, and who may look into it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sightline.data.stream.cache import (
    CacheKey,
    CacheWarning,
    PixelCache,
    cache_root,
    list_caches,
)

KEY = CacheKey(
    index_fingerprint="of these files",
    num_rows=2,
    image_size=(8, 8),
    channels=3,
    quality="fast",
    interpolation="bilinear",
    crop_to_aspect_ratio=False,
    rule_set="sightline",
    background=(255, 255, 255),
    resize_version=1,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def opened(root: Path | None, images_root: str = "photos") -> PixelCache:
    cache = PixelCache.open(root, KEY, images_root=images_root)
    assert cache is not None
    return cache


def test_a_root_that_cannot_be_made_is_warned_of_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(CacheWarning, match="cannot be kept: Not a directory") as caught:
        assert PixelCache.open(tmp_path / "file" / "kept", KEY, images_root="photos") is None
    (warning,) = caught
    told = "Name a folder that you may write to: cache=..., or SIGHTLINE_CACHE"
    assert told in str(warning.message)


def test_a_root_of_our_own_making_is_private(root: Path) -> None:
    opened(root)
    assert root.stat().st_mode & 0o777 == 0o700


def test_a_root_that_was_there_keeps_its_mode(root: Path) -> None:
    root.mkdir(mode=0o755)
    opened(root)
    assert root.stat().st_mode & 0o777 == 0o755


def test_a_folder_whose_name_is_no_text_is_described(root: Path) -> None:
    images = os.fsdecode(b"caf\xe9")
    opened(root, images)
    assert list_caches(root)[0].images_root == "caf\ufffd"


def test_the_variable_decides_where_the_root_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    assert opened(None).folder.parent == tmp_path / "decoded"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG is not the custom of this system")
@pytest.mark.parametrize(("given", "made"), [("", ".cache"), ("cache", ".cache"), ("/x", "/x")])
def test_without_the_variable_the_users_cache_folder_is_taken(
    given: str, made: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SIGHTLINE_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert cache_root() == tmp_path / made / "sightline"
