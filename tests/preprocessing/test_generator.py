"""ImageDataGenerator itself: its words, `fit`, `standardize`, arrays; beside Keras' own class."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
from both import MOVES, QUIET, both, legacy, random_state, same

from sightline.preprocessing import image as ours

pytestmark = QUIET

EVERYTHING = {
    "featurewise_center": True,
    "samplewise_center": True,
    "featurewise_std_normalization": True,
    "samplewise_std_normalization": True,
}


def pictures(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape, np.float32) * 255


def a_generator(module: Any, **arguments: Any) -> Any:
    if module is ours:
        arguments["strict_keras"] = True
    return module.ImageDataGenerator(**arguments)


def told(make: Any) -> list[tuple[type[Warning], str]]:
    """Return the warnings of a call, but those of Keras' use of SciPy."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        make()
    return [(w.category, str(w.message)) for w in found if "scipy" not in str(w.message)]


# --- words -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"validation_split": 5}, "`validation_split` must be strictly between 0 and 1"),
        ({"validation_split": -0.1}, "`validation_split` must be strictly between 0 and 1"),
        ({"data_format": "unknown"}, "`data_format` should be"),
        ({"brightness_range": 0.1}, "`brightness_range should be tuple or list"),
        ({"brightness_range": (1, 2, 3)}, "`brightness_range should be tuple or list"),
        ({"brightness_range": np.ones(2)}, "`brightness_range should be tuple or list"),
        ({"zoom_range": (1, 2, 3)}, "`zoom_range` should be a float"),
        ({"zoom_range": ("a", "b")}, "`zoom_range` should be a float"),
    ],
)
def test_arguments_are_refused_in_keras_words(arguments: dict[str, Any], match: str) -> None:
    def refusal(module: Any) -> str:
        with pytest.raises(ValueError, match=match) as told:
            a_generator(module, **arguments)
        return str(told.value)

    theirs, mine = both(refusal)
    assert mine == theirs


@pytest.mark.parametrize(
    "arguments",
    [
        {"zca_whitening": True},
        {"zca_whitening": True, "featurewise_std_normalization": True},
        {"zca_whitening": True, "featurewise_std_normalization": True, "featurewise_center": True},
        {"featurewise_std_normalization": True},
        {"samplewise_std_normalization": True},
        {"samplewise_std_normalization": True, "featurewise_std_normalization": True},
    ],
)
def test_what_overrides_what_is_told_in_keras_words(arguments: dict[str, Any]) -> None:
    theirs, mine = both(lambda module: told(lambda: a_generator(module, **arguments)))
    assert mine == theirs
    assert mine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, mine = both(lambda module: vars(a_generator(module, **arguments)))
    assert {name: mine[name] for name in theirs} == theirs


def test_a_generator_that_was_not_fitted_says_so_in_keras_words() -> None:
    arguments = EVERYTHING | {"zca_whitening": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pair = both(lambda module: a_generator(module, **arguments))
        other = both(lambda module: a_generator(module, **EVERYTHING))
    for theirs, mine in (pair, other):
        x = pictures(4, 4, 3)
        assert told(partial(mine.standardize, x.copy())) == told(
            partial(theirs.standardize, x.copy())
        )


@pytest.mark.parametrize("shape", [(5, 10, 10), (5,), (4, 6, 6, 3, 1)])
def test_arrays_of_another_rank_are_refused_in_keras_words(shape: tuple[int, ...]) -> None:
    for name, match in (("fit", "should have rank 4"), ("flow", "should have rank 4")):

        def refusal(module: Any, name: str = name, match: str = match) -> str:
            with pytest.raises(ValueError, match=match) as told:
                getattr(a_generator(module), name)(pictures(*shape))
            return str(told.value)

        theirs, mine = both(refusal)
        assert mine == theirs


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_odd_numbers_of_channels_are_told_of_in_keras_words(data_format: str) -> None:
    x = pictures(4, 5, 6, 5)
    for name in ("fit", "flow"):
        theirs, mine = both(
            lambda module, name=name: told(
                lambda: getattr(a_generator(module, data_format=data_format), name)(x)
            )
        )
        assert mine == theirs
        assert len(mine) == 1


@pytest.mark.parametrize(
    ("x", "how", "match"),
    [
        ((pictures(4, 3, 3, 1), np.ones(5)), {}, "All of the arrays in `x`"),
        ((pictures(4, 3, 3, 1), [np.ones(4), np.ones(3)]), {}, "All of the arrays in `x`"),
        (pictures(4, 3, 3, 1), {"y": np.ones(5)}, r"`x` \(images tensor\) and `y` \(labels\)"),
        (pictures(4, 3, 3, 1), {"y": np.ones(4), "sample_weight": np.ones(3)}, "`sample_weight`"),
        (pictures(4, 3, 3, 1), {"y": np.ones(4), "subset": "foo"}, "Invalid subset name: foo"),
        (
            pictures(4, 3, 3, 1),
            {"y": np.array([0, 0, 1, 1]), "subset": "validation"},
            "have different number of classes after the split",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_keras_words(
    x: Any, how: dict[str, Any], match: str
) -> None:
    def refusal(module: Any) -> str:
        with pytest.raises(ValueError, match=match) as told:
            a_generator(module, validation_split=0.5).flow(x, **how)
        return str(told.value)

    theirs, mine = both(refusal)
    assert mine == theirs


def test_a_split_of_sorted_labels_may_be_asked_for() -> None:
    x, y = pictures(8, 3, 3, 1), np.repeat([0, 1], 4)
    how = {"subset": "validation", "ignore_class_split": True, "shuffle": False}
    theirs, mine = both(lambda module: a_generator(module, validation_split=0.5).flow(x, y, **how))
    same(theirs[0], mine[0])
    assert list(mine[0][1]) == [0, 0, 0, 0]


# --- fit and standardize ---------------------------------------------------------------


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", [{}, {"augment": True}, {"augment": True, "rounds": 3, "seed": 4}])
@pytest.mark.parametrize(
    "arguments", [{}, {"rescale": 1 / 255}, {"zca_whitening": True, "featurewise_center": True}]
)
def test_what_is_measured_and_done_with_it_is_keras(
    arguments: dict[str, Any], how: dict[str, Any], dtype: str, data_format: str
) -> None:
    x = pictures(12, 3, 5, 4) if data_format == "channels_first" else pictures(12, 5, 4, 3)
    both_center = {"featurewise_center": True, "featurewise_std_normalization": True}
    settings = (arguments if "zca_whitening" in arguments else both_center | arguments) | MOVES

    def use(module: Any) -> list[Any]:
        generator = a_generator(module, **settings, dtype=dtype, data_format=data_format)
        generator.fit(x, **how)
        iterator = generator.flow(x, np.arange(12), batch_size=5, seed=1)
        found = [generator.mean, generator.std, generator.zca_whitening_matrix]
        found = [each for each in found if each is not None]
        found += [generator.standardize(x[:4].astype(dtype)), random_state()[0]]
        return [*found, *(next(iterator)[0] for _ in range(3))]

    theirs, mine = both(use)
    assert mine.pop(len(mine) - 4) == theirs.pop(len(theirs) - 4)
    assert len(mine) == len(theirs)
    for one, other in zip(theirs, mine, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=2e-3)


def test_a_fitted_set_has_mean_0_and_deviation_1() -> None:
    x = pictures(8, 20, 20, 3)
    generator = ours.ImageDataGenerator(
        rescale=1 / 255,
        featurewise_center=True,
        featurewise_std_normalization=True,
        dtype="float64",
    )
    generator.fit(x)
    batch = generator.flow(x, batch_size=8).next()
    assert abs(batch.mean()) < 1e-6
    assert abs(1 - batch.std()) < 1e-5


def test_a_whitened_set_is_uncorrelated() -> None:
    x = pictures(8, 20, 20, 3)
    generator = ours.ImageDataGenerator(
        rescale=1 / 255, featurewise_center=True, zca_whitening=True, dtype="float64"
    )
    generator.fit(x)
    flat = generator.flow(x, batch_size=8).next().reshape(8, -1)
    assert (np.abs(flat @ flat.T / 8) - np.eye(8) < 1e-6).all()


def test_labels_are_moved_without_new_values() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (1, 5, 5, 1))
    generator = ours.ImageDataGenerator(rotation_range=90, interpolation_order=0)
    theirs, mine = both(
        lambda module: next(
            module.ImageDataGenerator(rotation_range=90, interpolation_order=0).flow(
                labels, seed=123
            )
        )
    )
    same(theirs, mine)
    assert set(np.unique(next(generator.flow(labels)))) <= set(np.unique(labels))


def test_no_samples_are_an_empty_batch_of_any_size() -> None:
    for batch_size in (0, 32):
        theirs, mine = both(
            lambda module, batch_size=batch_size: next(
                module.Iterator(0, batch_size, False, 0).index_generator
            )
        )
        assert theirs.size == mine.size == 0


@pytest.mark.parametrize("module", [legacy, ours])
def test_methods_that_a_subclass_must_give_are_missed(module: Any) -> None:
    # Keras raises it without a word, and so does ours.
    with pytest.raises(NotImplementedError, match=r"^$"):
        next(module.Iterator(3, 2, False, 0))
