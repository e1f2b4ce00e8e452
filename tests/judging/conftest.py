"""Random predictions that the tests of this wing judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from sightline.records import Predictions

MakePredictions = Callable[..., Predictions]


@pytest.fixture(scope="session")
def make_predictions() -> MakePredictions:
    """Return a function that makes predictions right more often than chance."""

    def make(
        class_names: Sequence[str] = ("a", "b", "c"),
        *,
        count: int = 200,
        seed: int = 0,
        labels: Sequence[str | None] | None = None,
        reasons: Sequence[str | None] | None = None,
        epoch: int = 4,
    ) -> Predictions:
        rng = np.random.default_rng(seed)
        if labels is None:
            labels = rng.choice(list(class_names), count).tolist()
        logits = rng.normal(size=(len(labels), len(class_names)))
        for row, label in enumerate(labels):
            if label in class_names:
                logits[row, list(class_names).index(label)] += 1.0
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        if reasons is not None:
            probabilities[[reason is not None for reason in reasons]] = np.nan
        return Predictions.make(
            class_names=class_names,
            record_ids=[f"{row:04d}.png" for row in range(len(labels))],
            probabilities=probabilities.astype(np.float32),
            labels=labels,
            reasons=reasons,
            epoch=epoch,
        )

    return make
