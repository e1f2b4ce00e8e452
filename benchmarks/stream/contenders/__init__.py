"""Everyone who runs, and the file that says how.

A file's functions take a Work and return an Epoch (see `workload`); what they need is imported
inside the process that runs them. Peers are written as their own guides write them, and where a
guide leaves a choice, as fast as could be found.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One way to turn files into batches.

    Attributes:
        name: Short, for files and tables of figures.
        title: For people.
        entry: "file:function" in this folder.
        plain: Runs without augmentation too.
        augmented: Runs with augmentation.
        limit: A bound of the machine rather than a loader.
        threads: Its own number; 0 takes the race's.
    """

    name: str
    title: str
    entry: str
    plain: bool = False
    augmented: bool = True
    limit: bool = False
    threads: int = 0


def _ours(name: str, title: str, function: str, **options: bool | int) -> Contender:
    return Contender(name=name, title=title, entry=f"ours:{function}", **options)  # type: ignore[arg-type]


CONTENDERS = (
    _ours("sightline", "Sightline", "uncached", plain=True),
    _ours("sightline-cached", "Sightline, cached", "cached", plain=True),
    _ours("sightline-filling", "Sightline, a new cache each epoch", "filling"),
    _ours("sightline-1", "Sightline, one thread", "uncached", threads=1),
    _ours("sightline-cached-1", "Sightline, cached, one thread", "cached", threads=1),
    Contender(
        name="keras-generator",
        title="Keras ImageDataGenerator.flow_from_directory",
        entry="keras_generator:build",
        plain=True,
    ),
    Contender(
        name="keras-layers",
        title="image_dataset_from_directory + Keras layers",
        entry="keras_layers:uncached",
        plain=True,
    ),
    Contender(
        name="keras-layers-cached",
        title="image_dataset_from_directory .cache() + Keras layers",
        entry="keras_layers:cached",
    ),
    Contender(
        name="tf-data",
        title="tf.data by hand, ImageProjectiveTransform",
        entry="tf_data:projective",
        plain=True,
    ),
    Contender(
        name="tf-data-cached",
        title="tf.data by hand .cache(), ImageProjectiveTransform",
        entry="tf_data:projective_cached",
        plain=True,
    ),
    Contender(
        name="tf-data-xla",
        title="tf.data by hand, own warp compiled by XLA",
        entry="tf_data:compiled",
    ),
    Contender(
        name="tf-data-xla-cached",
        title="tf.data by hand .cache(), own warp compiled by XLA",
        entry="tf_data:compiled_cached",
    ),
    Contender(
        name="torch-torchvision",
        title="torch DataLoader + PIL + torchvision v2",
        entry="torch_loader:with_torchvision",
    ),
    Contender(
        name="torch-albumentations",
        title="torch DataLoader + OpenCV + albumentations",
        entry="torch_loader:with_albumentations",
    ),
    Contender(name="grain", title="grain + OpenCV", entry="grain_loader:build"),
    Contender(name="spdl", title="SPDL + OpenCV", entry="spdl_loader:build"),
    Contender(name="dali", title="DALI, on the CPU", entry="dali:build", plain=True),
    Contender(
        name="ffcv",
        title="FFCV, packed pixels (without rotation, shear, zoom)",
        entry="ffcv_loader:pixels",
        plain=True,
    ),
    Contender(
        name="ffcv-jpeg",
        title="FFCV, packed JPEG (without rotation, shear, zoom)",
        entry="ffcv_loader:jpegs",
    ),
    Contender(
        name="bare-decode",
        title="simplejpeg in a loop, full size",
        entry="limits:decode",
        limit=True,
        threads=1,
    ),
    Contender(
        name="bare-decode-scaled",
        title="simplejpeg in a loop, smallest scale that covers",
        entry="limits:decode_scaled",
        limit=True,
        threads=1,
    ),
    Contender(
        name="bare-kernel",
        title="Sightline's kernel in a loop, pictures in memory",
        entry="limits:kernel",
        limit=True,
        threads=1,
    ),
    Contender(
        name="bare-warp",
        title="cv2.warpAffine float32 in a loop, pictures in memory",
        entry="limits:warp_affine",
        limit=True,
        threads=1,
    ),
)
