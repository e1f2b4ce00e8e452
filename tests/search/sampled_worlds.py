"""Samplers on simulated trainings: a world whose best values are known, without a framework."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.recipes import Recipe, flat, load_recipe
from sightline.records.trials import Trial, TrialSpec, Watch
from sightline.search import Sampled, Sampler, Space, StudyOf
from sightline.search.space import Choices, Range

RATE, WIDTH = 0.003, 48  # the best ones
EPOCHS = 9
SPACE = Space(
    {
        "train.learning_rate": Range(1e-5, 1e-1, log=True),
        "model.width": Range(16, 128, 16),
        "train.optimizer": Choices(("adam", "sgd", "rmsprop")),
        "train.momentum": Range(0.0, 0.9),
    }
)


def base() -> Recipe:
    return load_recipe("basic", {"data.image_size": [32, 32], "train.epochs": EPOCHS})


@dataclass
class Trainings:
    """Trainings whose val_loss is a bowl over the learning rate and the width.

    Attributes:
        most: Trainings that there is time for, on the split that chooses.
        fails: Of these optimizers.
        done: What came of each, by its key; another `Trainings` may begin with it.
        epochs: How many of each were done.
        rises: What is searched for is 1 - that loss, and more of it is better.
    """

    most: int = 10**9
    fails: Sequence[str] = ()
    done: dict[str, Trial] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    rises: bool = False

    def __call__(
        self, specs: Sequence[TrialSpec], watch: Watch | None = None
    ) -> list[Trial] | None:
        found = []
        for spec in specs:
            if spec.key not in self.done:
                if spec.fold is None and len(self.done) >= self.most:
                    return None
                self.done[spec.key] = self.trained(spec, watch)
            found.append(self.done[spec.key])
        return found

    def trained(self, spec: TrialSpec, watch: Watch | None) -> Trial:
        values = {**flat(base()), **spec.changes}
        if values["train.optimizer"] in self.fails:
            return Trial(spec, "failed", "it diverged", run=spec.key)
        end, curve, reason = loss_of(values), [], ""
        for epoch in range(1, EPOCHS + 1):
            curve.append(1 - end - 0.5 / epoch if self.rises else end + 0.5 / epoch)
            reason = watch(curve) if watch else ""
            if reason:
                break
        self.epochs[spec.key] = len(curve)
        state = "stopped" if reason else "finished"
        return Trial(spec, state, reason, curve[-1], curve[-1], 2.0, 100, tuple(curve),
                     tuple(curve), len(curve) - 1, 1.0, run=spec.key)  # fmt: skip


def loss_of(values: Mapping[str, Any]) -> float:
    rate = math.log10(values["train.learning_rate"] / RATE)
    return 0.3 + 0.1 * rate**2 + 0.1 * ((values["model.width"] - WIDTH) / 48) ** 2


def study_in(folder: Path, **more: Any) -> StudyOf:
    folder.mkdir(parents=True, exist_ok=True)
    given = {"space": SPACE, "objective": "val_loss", "images": "these"}
    return StudyOf(base(), **{**given, **more}, folder=folder)  # type: ignore[arg-type]


def sampled(of: StudyOf, trainings: Trainings, **more: Any) -> Sampled:
    first = trainings([TrialSpec()])
    assert first is not None
    return Sampler(of, trainings, first[0], **more).search()
