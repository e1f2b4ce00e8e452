"""A whole stream with quality="compat" against Keras, from the files to the batch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sightline.data.images import Interpolation
from sightline.data.stream import Stream, StreamConfig, keys
from sightline.recipes import AugmentSection
from sightline.records import Manifest

COUNT, SIDE, SEED = 12, 61, 5
MOVES = AugmentSection(
    rotation=20, width_shift=0.2, height_shift=0.2, shear=12, zoom=0.2, horizontal_flip=True,
    vertical_flip=True,
)  # fmt: skip
GEOMETRY = 0.002  # of 255: SciPy sums the same products in another order

pytestmark = pytest.mark.filterwarnings("ignore:.*scipy.ndimage.*:DeprecationWarning")

Arrays = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def keras() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own, while they are imported
        pytest.importorskip("keras.src.legacy.preprocessing.image")
        return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Pictures of many sizes in two class folders: JPEG, and PNG in RGB, grey and RGBA."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    names = []
    for number in range(COUNT):
        noise = rng.integers(0, 256, (40 + 17 * number, 150 - 9 * number, 4)).astype(np.uint8)
        pixels = Image.fromarray(np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5), np.uint8))
        mode, extension = [("RGB", "jpg"), ("L", "png"), ("RGBA", "png")][number % 3]
        names.append(f"{'ab'[number % 2]}/{number:02d}.{extension}")
        (root / names[-1]).parent.mkdir(exist_ok=True)
        pixels.convert(mode).save(root / names[-1])
    labels = [name[0] for name in names]
    return Manifest.make(root, {"record_id": names, "label": labels, "split": ["train"] * COUNT})


def streamed(manifest: Manifest, epoch: int = 0, **how: Any) -> tuple[Arrays, list[Path]]:
    """Return all images of an epoch as float32, 0..255, and their files."""
    settings = {"quality": "compat", "scaling": "none", "num_threads": 2, "seed": SEED, **how}
    config = StreamConfig(image_size=(SIDE, SIDE), batch_size=COUNT, **settings)
    with Stream(manifest, split="train", config=config) as stream:
        (batch,) = stream.epoch(epoch)
        paths = [manifest.root / stream.record_id(row) for row in batch.rows.tolist()]
    return np.asarray(batch.images, np.float32), paths


def shown(keras: Any, paths: list[Path], **how: Any) -> Arrays:
    """Return what Keras loads."""
    load, size = keras.utils.load_img, (SIDE, SIDE)
    images = [keras.utils.img_to_array(load(path, target_size=size, **how)) for path in paths]
    return np.stack(images)


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_images_are_those_of_load_img(keras: Any, manifest: Manifest, interpolation: str) -> None:
    found, paths = streamed(manifest, interpolation=interpolation)
    expected = shown(keras, paths, interpolation=interpolation)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("channels", "colour"), [(1, "grayscale"), (4, "rgba")])
def test_grey_and_alpha_are_those_of_load_img(
    keras: Any, manifest: Manifest, channels: int, colour: str
) -> None:
    found, paths = streamed(manifest, channels=channels, interpolation="bilinear")
    expected = shown(keras, paths, interpolation="bilinear", color_mode=colour)
    np.testing.assert_array_equal(found, expected)


def test_batches_are_those_of_flow_from_directory(keras: Any, manifest: Manifest) -> None:
    generator = keras.src.legacy.preprocessing.image.ImageDataGenerator(rescale=1 / 255)
    flow = generator.flow_from_directory(
        str(manifest.root), target_size=(SIDE, SIDE), batch_size=COUNT, class_mode="binary",
        shuffle=False,
    )  # fmt: skip
    expected, labels = next(flow)
    found, paths = streamed(manifest, scaling="1/255")
    assert [str(path) for path in paths] == list(flow.filepaths)
    assert [path.parent.name == "b" for path in paths] == labels.tolist()
    np.testing.assert_array_equal(found, expected)


def parameters(section: AugmentSection, epoch: int) -> list[dict[str, Any]]:
    """Return what the stream draws for each record, by Keras' names."""
    rows = np.arange(COUNT)
    draws = keys.uniforms(keys.AUGMENT, seed=SEED, epoch=epoch, rows=rows, draws=10)
    spread = 2 * draws - 1
    return [
        {
            "theta": section.rotation * way[0],
            "ty": section.height_shift * SIDE * way[1],
            "tx": section.width_shift * SIDE * way[2],
            "shear": section.shear * way[3],
            "zy": 1 + section.zoom * way[4],
            "zx": 1 + section.zoom * way[5],
            "flip_horizontal": bool(draw[6] < 0.5) and section.horizontal_flip,
            "flip_vertical": bool(draw[7] < 0.5) and section.vertical_flip,
            "brightness": 1 + section.brightness * way[8] if section.brightness else None,
            "channel_shift_intensity": section.channel_shift * way[9],
        }
        for draw, way in zip(draws, spread, strict=True)
    ]


def by_keras(keras: Any, images: Arrays, section: AugmentSection, epoch: int) -> Arrays:
    """Return images changed by Keras' own functions with the parameters of the stream."""
    generator = keras.src.legacy.preprocessing.image.ImageDataGenerator(fill_mode=section.fill)
    changes = parameters(section, epoch)
    return np.stack(list(map(generator.apply_transform, images, changes)))


@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect", "wrap"])
@pytest.mark.parametrize("epoch", [0, 1])
def test_augmented_images_are_keras_with_the_same_parameters(
    keras: Any, manifest: Manifest, epoch: int, fill: str
) -> None:
    section = MOVES.model_copy(update={"fill": fill})
    found, paths = streamed(manifest, epoch, augment=section)
    expected = by_keras(keras, shown(keras, paths), section, epoch)
    np.testing.assert_allclose(found, expected, rtol=0, atol=GEOMETRY)


def test_augmented_images_are_keras_also_with_a_channel_shift_and_scaled(
    keras: Any, manifest: Manifest
) -> None:
    section = MOVES.model_copy(update={"channel_shift": 40.0})
    found, paths = streamed(manifest, augment=section, scaling="1/255")
    expected = by_keras(keras, shown(keras, paths), section, 0) * np.float32(1 / 255)
    np.testing.assert_allclose(found, expected, rtol=0, atol=GEOMETRY / 255)


def test_with_brightness_they_differ_by_keras_cutting_to_whole_levels(
    keras: Any, manifest: Manifest
) -> None:
    section = MOVES.model_copy(update={"brightness": 0.4, "channel_shift": 20.0})
    found, paths = streamed(manifest, augment=section)
    more = found - by_keras(keras, shown(keras, paths), section, 0)
    # It cuts the moved picture, and then the brightened one: a level times 1.4, and a level.
    assert more.min() > -2 * GEOMETRY
    assert more.max() < 1.4 + 1 + 2 * GEOMETRY
