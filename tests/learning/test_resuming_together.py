"""What a recipe can ask for, several at once: stopped in the middle, all ends as if it had not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import pytest
from test_applications import FROZEN, tiny
from test_own_models import DATED
from test_resuming import StopAt, differing
from tiny import Batches, train, write_splits

import sightline as sl


@dataclass(frozen=True)
class Together:
    """A recipe, and after how many steps of how many in all it is stopped.

    Attributes:
        changes: Of the recipe, "__" for the dot.
        stop: Steps, within an epoch that is not the first.
        steps: Of the whole training.
        recipe: By name.
        classes: How many there are.
        may_differ: What a network with a date of its own leaves different.
    """

    changes: Mapping[str, Any]
    stop: int
    steps: int
    recipe: str = "basic"
    classes: int = 2
    may_differ: frozenset[str] = field(default_factory=frozenset)


# Of 22 and 11 images in batches of 8: an epoch has 5 steps, 3 undersampled, 6 oversampled.
QUICK = {
    "bfloat16, mixup, undersampling, one-cycle, accumulation": Together(
        {
            "precision": "mixed_bfloat16",
            "augment__mixup": 0.4,
            "balance__sampling": "undersample",
            "schedule__kind": "one-cycle",
            "train__accumulate": 2,
            "train__epochs": 3,
            "model__dropout": [0.2, 0.2, 0.2],
        },
        stop=5,
        steps=9,
    ),
    "cutmix, erasing, oversampling, cosine, clipping, batch normalisation": Together(
        {
            "augment__cutmix": 1.0,
            "augment__erasing": 0.5,
            "balance__sampling": "oversample",
            "schedule__kind": "cosine",
            "train__clip_norm": 0.1,
            "model__normalisation": "batch",
        },
        stop=8,
        steps=12,
    ),
}
SLOW = {
    "class weights, focal loss, accumulation over epochs, average, metrics": Together(
        {
            "balance__class_weights": "balanced",
            "balance__focal_gamma": 2.0,
            "balance__initial_bias": True,
            "train__accumulate": 3,
            "train__weight_average": 0.9,
            "train__metrics": ["accuracy", "f1", "auc"],
            "train__best": "val_auc",
            "model__dropout": [0.2, 0.2, 0.2],
        },
        stop=7,
        steps=10,
    ),
    "bfloat16, growing images, lion, cutmix and mixup, exponential, average": Together(
        {
            "precision": "mixed_bfloat16",
            "data__image_size": [24, 32],
            "data__grow": [0.5, 1.0],
            "train__optimizer": "lion",
            "train__learning_rate": 0.0003,
            "train__epochs": 3,
            "augment__cutmix": 0.5,
            "augment__mixup": 0.5,
            "schedule__kind": "exponential",
            "schedule__epochs": 1,
            "model__dropout": [0.3],
        },
        stop=12,
        steps=15,
        recipe="auto",
    ),
    "three classes, mixup and cutmix, focal loss, group normalisation, sgd": Together(
        {
            "augment__mixup": 0.3,
            "augment__cutmix": 0.3,
            "balance__focal_gamma": 0.5,
            "model__normalisation": "group",
            "train__optimizer": "sgd",
            "train__label_smoothing": 0.1,
            "train__metrics": ["balanced_accuracy", "auc"],
            "schedule__kind": "step",
            "schedule__epochs": 1,
        },
        stop=8,
        steps=12,
        classes=3,
    ),
    "frozen, then not, with bfloat16, mixup, one-cycle, accumulation over the phases": Together(
        {
            **{key.replace(".", "__"): value for key, value in FROZEN.items()},
            "model__width": 32,  # of no use to it
            "precision": "mixed_bfloat16",
            "augment__mixup": 0.4,
            "schedule__kind": "one-cycle",
            "train__accumulate": 2,
        },
        stop=7,
        steps=10,
        may_differ=frozenset(DATED),
    ),
    "bfloat16, layer normalisation, per image, rmsprop, undersampling, plateau, average": Together(
        {
            "precision": "mixed_bfloat16",
            "data__scaling": "per-image",
            "data__channels": 1,
            "model__normalisation": "layer",
            "model__l2": 0.001,
            "train__optimizer": "rmsprop",
            "train__weight_average": 0.9,
            "train__epochs": 3,
            "balance__sampling": "undersample",
            "schedule__kind": "plateau",
            "schedule__patience": 1,
            "augment__erasing": 0.5,
        },
        stop=7,
        steps=9,
    ),
    "oversampling, mean and deviation, mixup, accumulation, clipping, bfloat16": Together(
        {
            "precision": "mixed_bfloat16",
            "data__scaling": "mean-std",
            "balance__sampling": "oversample",
            "balance__focal_gamma": 1.0,
            "augment__mixup": 0.4,
            "train__accumulate": 4,
            "train__clip_norm": 0.5,
            "train__optimizer": "adamw",
            "train__weight_decay": 0.1,
            "schedule__kind": "cosine",
        },
        stop=9,
        steps=12,
    ),
}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"cat": 22, "cow": 11, "dog": 11}, {"cat": 4, "cow": 4, "dog": 4}
    return write_splits(tmp_path_factory.mktemp("three"), *counts)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    model = tiny(include_top=False, weights=None, pooling="avg", input_shape=(12, 16, 3))
    model.save_weights(path)
    return path


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_stopped_in_the_middle_it_ends_as_if_it_had_not(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = (QUICK | SLOW)[name]
    images = request.getfixturevalue("three" if case.classes == 3 else "pictures")
    changes = {"checkpoint__steps": 1, **case.changes}
    if "model__frozen_epochs" in changes:
        monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
        changes["model__weights"] = str(request.getfixturevalue("weights"))
    seen, other = Batches(), Batches()
    whole = train(images, tmp_path / "whole", recipe=case.recipe, callbacks=[seen], **changes)
    assert len(seen.sums) == case.steps
    stopped = train(
        images,
        tmp_path / "stopped",
        recipe=case.recipe,
        callbacks=[Batches(), StopAt(case.stop)],
        **changes,
    )
    assert stopped.state == "interrupted"
    resumed = sl.train(
        resume=stopped.path, only_train=True, callbacks=[other], progress=sl.Silent()
    )
    assert set(differing(resumed, whole)) <= case.may_differ
    assert other.sums == seen.sums
