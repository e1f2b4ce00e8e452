"""Tiny real photographs, and one run on them that many tests read and none changes."""

from __future__ import annotations

import resource
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline import runs
from sightline.data.images import encode_png

MakePhotos = Callable[..., Path]
PutManifest = Callable[[sl.Run, sl.Manifest], sl.Run]
Settings = Mapping[str, Any]

_SIDE = 8  # px


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep out of the user's own cache and state, in processes that tests start as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_STATE", str(tmp_path_factory.mktemp("state")))
        patch.setenv("SIGHTLINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def make_photos() -> MakePhotos:
    """Return a function that writes noisy PNG into class folders, each class brighter.

    Folders of different names hold different images, unless a seed says otherwise.
    """

    def make(
        folder: Path,
        counts: Mapping[str, int] | None = None,
        *,
        seed: int | None = None,
        start: int = 0,
    ) -> Path:
        rng = np.random.default_rng(zlib.crc32(folder.name.encode()) if seed is None else seed)
        for number, (name, count) in enumerate((counts or {"dark": 10, "light": 10}).items()):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for image in range(start, start + count):
                pixels = rng.integers(0, 120, (_SIDE, _SIDE, 3)) + 60 * number
                path = folder / name / f"{name}_{image:02d}.png"
                path.write_bytes(encode_png(pixels.astype(np.uint8)))
        return folder

    return make


@pytest.fixture
def full_disk() -> Callable[..., AbstractContextManager[None]]:
    """Return a context in which files of this process grow to so many bytes, 0, and no further."""

    @contextmanager
    def full(size: int = 0) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return full


@pytest.fixture(scope="session")
def quick() -> Settings:
    """Changes that make a training of the recipe `basic` take a second.

    The second epoch's learning rate is far too high, so that its weights are worse.
    """
    return {
        "train.epochs": 2,
        "train.batch_size": 8,
        "model.width": 4,
        "schedule.kind": "exponential",
        "schedule.rate": 1e4,
        "schedule.epochs": 1,
    }


@pytest.fixture(scope="session")
def photos(make_photos: MakePhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 images of two classes, without splits."""
    return make_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="session")
def trained(photos: Path, quick: Settings, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A finished run of two epochs whose best is not its last; it must not be changed."""
    return sl.train(
        photos,
        recipe="basic",
        changes=quick,
        out=tmp_path_factory.mktemp("runs") / "trained",
        progress=sl.Silent(),
    )


@pytest.fixture
def run(trained: sl.Run, tmp_path: Path) -> sl.Run:
    """A copy of `trained` that a test may change."""
    return sl.open_run(shutil.copytree(trained.path, tmp_path / "run"))


@pytest.fixture(scope="session")
def doubting(tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A finished run that is often wrong: 180 images of two classes that are much alike.

    60 are validation, 60 test; nothing was judged. It keeps an average of its weights, and must
    not be changed.
    """
    folder, rng = tmp_path_factory.mktemp("data") / "alike", np.random.default_rng(3)
    for number, name in enumerate(("benign", "malignant")):
        (folder / name).mkdir(parents=True)
        for image in range(90):
            pixels = rng.integers(0, 100, (_SIDE, _SIDE, 3)) + rng.integers(0, 90) + 40 * number
            (folder / name / f"{name[0]}{image:02d}.png").write_bytes(
                encode_png(pixels.astype(np.uint8))
            )
    changes = {
        "train.epochs": 3, "train.batch_size": 20, "model.width": 4, "data.validation": 1 / 3,
        "data.test": 1 / 3, "train.weight_average": 0.5,
    }  # fmt: skip
    return sl.train(
        folder,
        recipe="basic",
        changes=changes,
        out=tmp_path_factory.mktemp("runs") / "doubting",
        only_train=True,
        progress=sl.Silent(),
    )


@pytest.fixture
def doubter(doubting: sl.Run, tmp_path: Path) -> sl.Run:
    """A copy of `doubting` that a test may change."""
    return sl.open_run(shutil.copytree(doubting.path, tmp_path / "doubter"))


@pytest.fixture(scope="session")
def put_manifest() -> PutManifest:
    """Return a function that gives a run another manifest, known to it, and opens it again."""

    def put(run: sl.Run, manifest: sl.Manifest) -> sl.Run:
        path = run.path / "manifest.parquet"
        manifest.save(path)
        for file in (path, path.with_name(f"{path.name}.npy")):
            runs.replace_file(run.path, file.name, file.read_bytes())
        return sl.open_run(run.path)

    return put
