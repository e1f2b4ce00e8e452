"""tf.data written by hand, as fast as could be found.

What helped: decoding by JPEG's own scaling and fast transform; pictures cached as uint8 at the
target size; random numbers drawn for a whole batch; rotation, shifts, shear, zoom and flip in one
matrix; batches of them warped side by side, in any order; one thread a core set by hand (AUTOTUNE
took as much CPU, but often kept to one core for an epoch). What did not: resizing inside the warp
(the operation is slower than `resize`), warping uint8, gathering batches from one big tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from benchmarks.stream.workload import (
    BATCH,
    ROTATION,
    SHEAR,
    SHIFT,
    SIZE,
    ZOOM,
    Epoch,
    Work,
    labelled_files,
)

HEIGHT, WIDTH = SIZE
Warp = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def projective(work: Work) -> Epoch:
    """Decode anew each epoch; warp by ImageProjectiveTransformV3."""
    return _epochs(work, warp_projective, cached=False)


def projective_cached(work: Work) -> Epoch:
    """The same, with decoded pictures in memory."""
    return _epochs(work, warp_projective, cached=True)


def compiled(work: Work) -> Epoch:
    """Decode anew each epoch; warp by gathers that XLA compiles into one loop."""
    return _epochs(work, warp_compiled, cached=False)


def compiled_cached(work: Work) -> Epoch:
    """The same, with decoded pictures in memory."""
    return _epochs(work, warp_compiled, cached=True)


def _epochs(work: Work, warp: Warp, *, cached: bool) -> Epoch:
    paths, labels = labelled_files(work.folder)
    files = tf.data.Dataset.from_tensor_slices((paths, labels))
    if cached:
        pictures = files.map(_read, work.threads, deterministic=False).cache().shuffle(len(paths))
    else:
        pictures = files.shuffle(len(paths)).map(_read, work.threads, deterministic=False)

    def change(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if not work.augment:
            return tf.cast(images, tf.float32) * (1 / 255), labels
        return warp(images, draw_matrices(BATCH)), labels

    batches = pictures.batch(BATCH, drop_remainder=True).map(
        change, work.threads, deterministic=False
    )
    options = tf.data.Options()
    options.deterministic = False
    options.autotune.enabled = False
    options.threading.private_threadpool_size = work.threads
    options.threading.max_intra_op_parallelism = 1  # batches run side by side instead
    batches = batches.prefetch(work.threads).with_options(options)

    def epoch(_: int) -> Any:
        return batches

    return epoch


def _read(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return one picture at the target size as uint8, decoded at the least scale that covers."""
    content = tf.io.read_file(path)
    shape = tf.image.extract_jpeg_shape(content)
    spare = tf.minimum(shape[0] // HEIGHT, shape[1] // WIDTH)
    step = tf.reduce_sum(tf.cast(spare >= [2, 4, 8], tf.int32))
    decoders = [lambda scale=scale: _decode(content, scale) for scale in (1, 2, 4, 8)]
    return tf.switch_case(step, decoders), label


def _decode(content: tf.Tensor, scale: int) -> tf.Tensor:
    picture = tf.image.decode_jpeg(
        content, channels=3, ratio=scale, dct_method="INTEGER_FAST", fancy_upscaling=False
    )
    return tf.cast(tf.image.resize(picture, SIZE) + 0.5, tf.uint8)


def draw_matrices(count: int) -> tf.Tensor:
    """Return (count, 8) projective transforms, input (x, y) from output (x, y)."""

    def between(limit: float) -> tf.Tensor:
        return tf.random.uniform((count,), -limit, limit)

    angle, shear = between(math.radians(ROTATION)), between(math.radians(SHEAR))
    zoom_x, zoom_y = 1 + between(ZOOM), 1 + between(ZOOM)
    flip = tf.where(between(1.0) < 0, -1.0, 1.0)
    a, b = tf.cos(angle) * zoom_x * flip, -tf.sin(angle + shear) * zoom_y
    c, d = tf.sin(angle) * zoom_x * flip, tf.cos(angle + shear) * zoom_y
    middle_x, middle_y = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    move_x = between(SHIFT * WIDTH) + middle_x - a * middle_x - b * middle_y
    move_y = between(SHIFT * HEIGHT) + middle_y - c * middle_x - d * middle_y
    none = tf.zeros((count,))
    return tf.stack([a, b, move_x, c, d, move_y, none, none], axis=1)


def warp_projective(images: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """Return (B, 122, 122, 3) float32, 0..1, by TensorFlow's one operation for it."""
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=matrices,
        output_shape=SIZE,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return moved * (1 / 255)


@tf.function(jit_compile=True)
def warp_compiled(images: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """Return the same by four gathers and their bilinear mean."""
    y, x = tf.meshgrid(
        tf.range(HEIGHT, dtype=tf.float32), tf.range(WIDTH, dtype=tf.float32), indexing="ij"
    )
    part = matrices[:, :, None, None]
    from_x = tf.clip_by_value(part[:, 0] * x + part[:, 1] * y + part[:, 2], 0.0, WIDTH - 1.0)
    from_y = tf.clip_by_value(part[:, 3] * x + part[:, 4] * y + part[:, 5], 0.0, HEIGHT - 1.0)
    left = tf.minimum(tf.floor(from_x), WIDTH - 2.0)
    top = tf.minimum(tf.floor(from_y), HEIGHT - 2.0)
    right, down = (from_x - left)[..., None], (from_y - top)[..., None]
    place = tf.cast(top, tf.int32) * WIDTH + tf.cast(left, tf.int32)
    place += tf.range(BATCH)[:, None, None] * (HEIGHT * WIDTH)
    pixels = tf.reshape(images, (-1, 3))

    def corner(step: int) -> tf.Tensor:
        return tf.cast(tf.gather(pixels, place + step), tf.float32)

    above = corner(0) + right * (corner(1) - corner(0))
    below = corner(WIDTH) + right * (corner(WIDTH + 1) - corner(WIDTH))
    return (above + down * (below - above)) * (1 / 255)
