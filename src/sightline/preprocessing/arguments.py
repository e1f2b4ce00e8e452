"""What ImageDataGenerator's arguments may be, in Keras' own words where they may not."""

from __future__ import annotations

import warnings
from typing import Any

import keras

_DEPRECATED = {
    "has_ext": "has_ext is deprecated, filenames in the dataframe have to match the exact "
    "filenames in disk.",
    "sort": "sort is deprecated, batches will be created in thesame order than the filenames "
    "provided if `shuffle`is set to `False`.",
    "drop_duplicates": "drop_duplicates is deprecated, you can drop duplicates by using the "
    "pandas.DataFrame.drop_duplicates method.",
}


def checked_class_mode(
    class_mode: str | None, extras: dict[str, Any], *, strict: bool
) -> str | None:
    """Return the class mode of a table, and say what becomes of arguments that are none any more.

    Args:
        class_mode: As it was given.
        extras: Arguments of other names.
        strict: Ignore unknown ones, as Keras does.

    Raises:
        TypeError: There is an unknown one.
    """
    for name, told in _DEPRECATED.items():
        if name in extras:
            warnings.warn(told, DeprecationWarning, stacklevel=3)
    if class_mode == "other":
        told = '`class_mode="other"` is deprecated, please use `class_mode="raw"`.'
        warnings.warn(told, DeprecationWarning, stacklevel=3)
        class_mode = "raw"
    unknown = sorted(set(extras) - set(_DEPRECATED) - {"keep_aspect_ratio"})
    if unknown and not strict:
        raise TypeError(
            f"flow_from_dataframe() has no argument {unknown[0]!r}, got "
            f"{unknown[0]}={extras[unknown[0]]!r}. Correct its name or leave it out; "
            "strict_keras=True ignores it, as Keras does."
        )
    return class_mode


def checked_zoom(given: Any) -> list[float]:
    """Return the least and the largest factor.

    Raises:
        ValueError: It is neither a number nor two.
    """
    if isinstance(given, float | int):
        return [1 - given, 1 + given]
    if len(given) == 2 and all(isinstance(value, float | int) for value in given):
        return [given[0], given[1]]
    raise ValueError(
        f"`zoom_range` should be a float or a tuple or list of two floats. Received: {given}"
    )


def checked_brightness(given: Any) -> Any:
    """Return two factors, or None.

    Raises:
        ValueError: It is not two of anything.
    """
    if given is not None and (not isinstance(given, tuple | list) or len(given) != 2):
        raise ValueError(
            f"`brightness_range should be tuple or list of two floats. Received: {given}"
        )
    return given


def checked_data_format(given: str | None) -> str:
    """Return "channels_last" or "channels_first".

    Raises:
        ValueError: It is another word.
    """
    chosen: str = keras.config.image_data_format() if given is None else given
    if chosen not in {"channels_last", "channels_first"}:
        raise ValueError(
            '`data_format` should be `"channels_last"` (channel after row and column) or '
            f'`"channels_first"` (channel before row and column). Received: {given}'
        )
    return chosen
