"""What an ImageDataGenerator's settings ask for, as iterators need to know it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sightline.preprocessing.generator import ImageDataGenerator

Array = npt.NDArray[Any]

FILLS = ("nearest", "constant", "reflect", "wrap")  # that the stream's kernel knows
_SMALL = 1 << 16  # bytes


def content_of(array: Array) -> Any:
    """Return what tells whether an array was changed: its values, of a large one only itself."""
    return array.tobytes() if array.nbytes < _SMALL else id(array)


def fill_mode_of(generator: ImageDataGenerator) -> Any:
    """Return the fill mode, or one that the kernel knows where no pixel is moved."""
    return generator.fill_mode if generator.fill_mode in FILLS else "nearest"


def moves_pixels(generator: ImageDataGenerator) -> bool:
    """Say whether any range can move a pixel."""
    return bool(
        generator.rotation_range
        or generator.width_shift_range
        or generator.height_shift_range
        or generator.shear_range
        or list(generator.zoom_range) != [1, 1]
        or generator.horizontal_flip
        or generator.vertical_flip
    )


def changes_at_random(generator: ImageDataGenerator) -> bool:
    """Say whether any range can change a picture."""
    return (
        moves_pixels(generator)
        or bool(generator.channel_shift_range)
        or generator.brightness_range is not None
    )


def normalizes(generator: ImageDataGenerator) -> bool:
    """Say whether pictures are centred, scaled or whitened."""
    return (
        generator.samplewise_center
        or generator.samplewise_std_normalization
        or generator.featurewise_center
        or generator.featurewise_std_normalization
        or generator.zca_whitening
    )


def is_random_state(before: Any) -> bool:
    """Say whether NumPy's global generator stands where it stood."""
    now: Any = np.random.get_state()
    return now[2:] == before[2:] and np.array_equal(now[1], before[1])


def check_split(subset: str | None, generator: ImageDataGenerator | None) -> None:
    """Refuse a validation subset of nothing, and warn of one that is changed at random.

    Raises:
        ValueError: The generator has no `validation_split`.
    """
    if subset != "validation" or generator is None or generator.strict_keras:
        return
    if not generator._validation_split:
        raise ValueError(
            'subset="validation" needs a share to take: give ImageDataGenerator('
            "validation_split=0.2), got none. Keras would give no picture at all."
        )
    if changes_at_random(generator):
        warnings.warn(
            "the validation subset is changed at random, as this generator asks for. Take "
            'subset="validation" from a second ImageDataGenerator that has the same '
            "validation_split and rescale, and no random changes.",
            stacklevel=5,
        )
