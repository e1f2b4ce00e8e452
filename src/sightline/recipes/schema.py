"""The recipe: every decision of a training, in one validated place.

Sections mirror the TOML file: [data] [audit] [augment] [model] [balance] [train] [schedule] [stop]
[checkpoint]; only a run that was put together has `ensemble`. A value may be "auto" only where the
type says so; `resolve_shape` and `resolve_length` replace it by a value before anything is built,
and the run folder keeps the resolved recipe. Two may stay "auto" there: its backend, so that a run
opens on any, and checkpoint.seconds, which follow from what saving takes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sightline.recipes.sections import (
    AuditSection,
    AugmentSection,
    BalanceSection,
    CheckpointSection,
    DataSection,
    EnsembleSection,
    ModelSection,
    ScheduleSection,
    Section,
    StopSection,
    TrainSection,
)

NETWORKS = ("skin-binary", "ham10000", "chest-xray", "basic", "residual")


# Filters. TensorFlow 2.21 with oneDNN died in the gradients of 12 of 12 trainings with 4 or 8, and
# of none of 14 with 16.
_NARROWEST_RESIDUAL = 16
ONLY_FOR = {  # key: what decides whether it has an effect, and with which values
    "model.width": ("network", ("basic", "residual")),
    "model.stages": ("network", ("residual",)),
    "model.blocks": ("network", ("basic", "residual")),
    "model.kernel": ("network", ("basic", "residual")),
    "model.activation": ("network", ("basic", "residual")),
    "model.dense": ("network", ("basic",)),
    "model.padding": ("network", ("ham10000",)),
    "train.momentum": ("optimizer", ("sgd",)),
    "model.normalisation": ("network", ("basic", "residual")),
    "train.weight_decay": ("optimizer", ("adamw", "sgd", "lion")),
}
APPLICATIONS = "applications/"  # before the name of a network of keras.applications
EVERY_EPOCH = "epoch"  # of train.best: each is better than the one before
OWN = "own"  # the network of a model that was given as an object


class Recipe(Section):
    """A complete training recipe.

    Attributes:
        name: What it is called in reports.
        seed: Decides split, order, augmentation, initial weights and dropout; 0..2**32-1.
        precision: "auto" probes mixed_bfloat16 where the processor has it.
        backend: "auto" = the Keras already imported, else KERAS_BACKEND, else TensorFlow.
        devices: "all" shares each batch out between all accelerators of this machine (without
            any, between the processors that TensorFlow or JAX sees); not on torch.
        ensemble: Of a run that several others were put together into; else None.
    """

    name: str
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "float32"
    backend: Literal["auto", "tensorflow", "jax", "torch"] = "auto"
    devices: Literal["one", "all"] = "one"
    data: DataSection
    audit: AuditSection = AuditSection()
    augment: AugmentSection = AugmentSection()
    model: ModelSection
    balance: BalanceSection = BalanceSection()
    train: TrainSection
    schedule: ScheduleSection = ScheduleSection()
    stop: StopSection = StopSection()
    checkpoint: CheckpointSection = CheckpointSection()
    ensemble: EnsembleSection | None = None

    @model_validator(mode="after")
    def _combination_makes_sense(self) -> Recipe:
        if self.data.validation + self.data.test >= 1:
            raise ValueError(
                f"data.validation {self.data.validation} and data.test {self.data.test} leave "
                "nothing to train on: their sum must be below 1"
            )
        self._refuse_what_has_no_effect()
        self._refuse_unknown_network()
        self._refuse_what_is_not_measured()
        if self.balance.sampling != "all" and self.balance.class_weights != "none":
            raise ValueError(
                f"balance.sampling {self.balance.sampling!r} makes the classes equally frequent, "
                f"and balance.class_weights {self.balance.class_weights!r} would weigh the rare "
                "ones once more: set one of the two"
            )
        width = self.model.width
        if self.model.network == "residual" and width != "auto" and width < _NARROWEST_RESIDUAL:
            raise ValueError(
                f"model.width {width} is too narrow for network 'residual': with few filters "
                "TensorFlow can crash and take the whole process with it; use "
                f"{_NARROWEST_RESIDUAL} or more"
            )
        return self

    @model_validator(mode="after")
    def _scaling_fits(self) -> Recipe:
        data = self.data
        given = {len(data.mean), len(data.std)}
        channels = {1, 3} if data.channels == "auto" else {data.channels}
        fits = given == {0} or (len(given) == 1 and given <= channels)
        if not fits or (data.scaling != "mean-std" and given != {0}):
            raise ValueError(
                f"data.mean has {len(data.mean)} and data.std {len(data.std)} values: with "
                'data.scaling "mean-std" give one of each for every channel, or neither, to have '
                "them measured; with any other scaling leave both out"
            )
        return self

    @property
    def needs_validation(self) -> bool:
        """Whether validation images decide something in training."""
        followed = [self.train.best] + [self.stop.monitor] * bool(self.stop.patience)
        return self.schedule.kind == "plateau" or any(map(_of_validation, followed))

    def _refuse_what_is_not_measured(self) -> None:
        """Refuse to follow a figure of the training images that nobody takes."""
        for name, column in (("train.best", self.train.best), ("stop.monitor", self.stop.monitor)):
            of_training = not _of_validation(column) and column not in ("loss", EVERY_EPOCH)
            if of_training and column not in self.train.metrics:
                raise ValueError(
                    f"{name} {column!r} is a figure of the training images that is not among "
                    f"train.metrics {list(self.train.metrics)}: name it there as well, or follow "
                    f"'val_{column}'"
                )

    def _refuse_unknown_network(self) -> None:
        """Refuse a network that nobody knows, and weights or sizes that do not go with it."""
        network = self.model.network
        module, colon, function = network.partition(":")
        named = network in (*NETWORKS, OWN) or network.startswith(APPLICATIONS)
        if not named and not (colon and function.isidentifier() and module):
            raise ValueError(
                f"model.network {network!r} is none of {', '.join(NETWORKS)}; give one of these, "
                f'"{APPLICATIONS}NAME" or "module:function"'
            )
        if self.model.weights and not network.startswith(APPLICATIONS):
            raise ValueError(
                f"model.weights has no effect with network {network!r}; use it with "
                f'"{APPLICATIONS}NAME"'
            )
        if self.model.frozen_epochs and not self.model.weights:
            raise ValueError(
                f"model.frozen_epochs {self.model.frozen_epochs} would keep random weights as they "
                "are: give model.weights, or set it to 0"
            )
        if self.data.grow and network != "residual":
            raise ValueError(
                f"data.grow {list(self.data.grow)} needs a network that takes images of any size: "
                f"'residual', not {network!r}"
            )
        if self.data.grow and self.data.grow[-1] != 1:
            raise ValueError(
                f"data.grow {list(self.data.grow)} must end in 1, the whole size that images are "
                f"validated at, not in {self.data.grow[-1]:g}"
            )

    def _refuse_what_has_no_effect(self) -> None:
        """Refuse values that were changed and that this network or optimizer does not use."""
        for name, (decides, serves) in ONLY_FOR.items():
            part, _, key = name.partition(".")
            section = getattr(self, part)
            value, chosen = getattr(section, key), getattr(section, decides)
            default = type(section).model_fields[key].default
            if chosen not in serves and value not in (default, "auto"):
                plain = f"{default:g}" if isinstance(default, (int, float)) else default
                raise ValueError(
                    f"{name} has no effect with {decides} {chosen!r}; "
                    f"use {' or '.join(serves)}, or set it to {plain}"
                )

    def unresolved(self) -> list[str]:
        """Return the dotted names of the values that are still to be planned.

        Precision and backend are not among them: a plan chooses the one, and the other may stay
        "auto" for good.
        """
        sections = {name: getattr(self, name) for name in ("data", "model", "train")}
        return [
            f"{name}.{field}"
            for name, section in sections.items()
            for field in type(section).model_fields
            if getattr(section, field) == "auto"
        ]


def _of_validation(column: str) -> bool:
    return column.startswith("val_")
