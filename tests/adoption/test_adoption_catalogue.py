"""What the catalogue says of Keras 3, asked of the Keras that is installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest

from sightline.adoption import catalogue

keras = pytest.importorskip("keras")

_GIVEN: dict[str, tuple[Any, ...]] = {
    "AveragePooling2D": (2,),
    "MaxPool2D": (2,),
    "MaxPooling2D": (2,),
    "UpSampling2D": (2,),
    "l1": (),
    "l2": (),
    "to_categorical": ([0, 1],),
}
_REQUIRED = {"filters": 3, "kernel_size": 3, "units": 3, "rate": 0.5}


def found(name: str) -> Any:
    """Return what a dotted name under keras is, None where it is nothing."""
    value: Any = keras
    for part in name.split(".")[1:]:
        value = getattr(value, part, None)
    return value


def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize(("old", "new"), catalogue.MOVED_MODULES.items())
def test_moved_modules_are_gone_and_their_homes_are_there(old: str, new: str) -> None:
    assert not is_module(old) or old == "keras.optimizers.legacy"
    assert is_module(new)


def test_legacy_optimizers_cannot_be_made() -> None:
    with pytest.raises(ImportError, match="not supported in Keras 3"):
        keras.optimizers.legacy.Adam()


@pytest.mark.parametrize(("old", "new"), catalogue.RENAMED_NAMES.items())
def test_renamed_names_are_gone_and_the_new_ones_are_there(old: str, new: str) -> None:
    assert found(old) is None
    assert found(new) is not None


@pytest.mark.parametrize("name", catalogue.REMOVED_NAMES)
def test_removed_names_are_gone(name: str) -> None:
    assert found(name) is None
    assert not is_module(name)


@pytest.mark.parametrize("name", sorted(catalogue.ONLY_IN_TENSORFLOW))
def test_names_of_tensorflow_s_keras_are_not_in_keras(name: str) -> None:
    assert found(name) is None


def test_what_is_left_of_image_preprocessing_is_listed() -> None:
    module = importlib.import_module("keras.preprocessing.image")
    names = {name for name in dir(module) if not name.startswith("_")}
    assert names == catalogue.IMAGE_NAMES_LEFT


def test_what_is_left_of_the_backend_is_listed() -> None:
    names = {name for name in dir(importlib.import_module("keras.backend")) if name[0] != "_"}
    assert names <= catalogue.BACKEND_NAMES_LEFT | {"src"}


def homes(name: str) -> Any:
    for home in ("layers", "optimizers", "models", "regularizers", "utils"):
        value = getattr(getattr(keras, home), name, None)
        if value is not None:
            return value
    return None


PAIRS = sorted(
    (name, old, new)
    for name, table in catalogue.RENAMED_ARGUMENTS.items()
    for old, new in table.items()
)


@pytest.mark.parametrize(("name", "old", "new"), PAIRS)
def test_old_arguments_are_refused(name: str, old: str, new: str) -> None:
    make = homes(name)
    if make is None:  # Keras 1's own name of a layer that has another one now
        pytest.skip(f"Keras has no {name}")
    taken = () if name in _GIVEN else tuple(_REQUIRED.items())
    code = make.__init__.__code__ if isinstance(make, type) else make.__code__
    given = {key: value for key, value in taken if key in code.co_varnames and key != new}
    if (name, old) in catalogue.STILL_ACCEPTED:
        with pytest.warns(UserWarning, match="deprecated"):
            make(**given, **{old: 1})
        return
    with pytest.raises((ValueError, TypeError)):  # noqa: PT011, RUF100 - Keras' own words
        make(*_GIVEN.get(name, ()), **given, **{old: 1})


@pytest.mark.parametrize(
    ("name", "old"), [(n, o) for n, all_ in catalogue.REMOVED_ARGUMENTS.items() for o in all_]
)
def test_removed_arguments_are_refused(name: str, old: str) -> None:
    make = homes(name) or getattr(keras.callbacks, name)
    with pytest.raises((ValueError, TypeError), match=old):
        make(**{old: 1})


def test_sightline_has_every_name_that_scripts_are_given() -> None:
    if importlib.util.find_spec("sightline.preprocessing") is None:
        pytest.skip("sightline.preprocessing is not there")
    module = importlib.import_module(catalogue.OUR_MODULE)
    assert {name for name in catalogue.OUR_IMAGE_NAMES if not hasattr(module, name)} == set()
