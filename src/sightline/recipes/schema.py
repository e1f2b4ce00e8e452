"""The recipe: every decision of a training, in one validated place.

Sections mirror the TOML file: [data] [augment] [model] [balance] [train] [schedule] [stop].
A value may be "auto" only where the type says so; `resolve_shape` and `resolve_epochs` replace it
by a number before anything is built, and the run folder keeps the resolved recipe. Its backend
alone may stay "auto", so that a run opens on any backend.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

Auto = Literal["auto"]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
NETWORKS = ("skin-binary", "ham10000", "chest-xray", "basic", "residual")


# Filters. TensorFlow 2.21 with oneDNN died in the gradients of 12 of 12 trainings with 4 or 8, and
# of none of 14 with 16.
_NARROWEST_RESIDUAL = 16
_ONLY_FOR = {  # key: what decides whether it has an effect, and with which values
    "model.width": ("network", ("basic", "residual")),
    "model.stages": ("network", ("residual",)),
    "model.padding": ("network", ("ham10000",)),
    "train.momentum": ("optimizer", ("sgd",)),
    "train.weight_decay": ("optimizer", ("adamw", "sgd")),
}


class _Section(BaseModel):
    """A part of the recipe: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, about: ValidationInfo) -> object:
        field = cls.model_fields[str(about.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError(f"must not be true or false, got {str(value).lower()}")
        return value


class DataSection(_Section):
    """Which pixels go in, and how the images are shared out.

    Attributes:
        image_size: (height, width) in pixels.
        channels: 3 = RGB, 1 = grey.
        scaling: "1/255" gives 0..1; "none" 0..255; "mean-std" (pixel / 255 - mean) / std for each
            channel; "per-image" mean 0 and deviation 1 over each image.
        mean: For "mean-std", 0..1, one value a channel; () is measured on the training images.
        std: For "mean-std", likewise.
        quality: How files become pixels: "fast", "best" (antialiased) or "compat" (as Keras).
        background: RGB 0..255 that transparent images are laid on.
        validation: Share of the images held out to choose weights, when no folder gives it.
        test: Share held out to judge, when no folder gives it; 0 for none.
    """

    image_size: tuple[Count, Count] | Auto
    channels: Literal[1, 3] | Auto = 3
    scaling: Literal["1/255", "none", "mean-std", "per-image"] = "1/255"
    mean: tuple[Share, ...] = ()
    std: tuple[Positive, ...] = ()
    quality: Literal["fast", "best", "compat"] = "fast"
    background: tuple[Byte, Byte, Byte] = (255, 255, 255)
    validation: Share = 0.15
    test: Share = 0.15


class AugmentSection(_Section):
    """Random changes of the training images, drawn anew each epoch; all off by default.

    Attributes:
        rotation: Degrees, drawn from -rotation..rotation.
        width_shift: Share of the width.
        height_shift: Share of the height.
        shear: Degrees (Keras' unit).
        zoom: The image is scaled by a factor from 1-zoom..1+zoom, each axis on its own.
        horizontal_flip: Mirror left and right half of the time.
        vertical_flip: Mirror up and down half of the time.
        brightness: Every colour times a factor from 1-brightness..1+brightness.
        channel_shift: 0..255; a value from -channel_shift..channel_shift is added to every colour,
            within the image's own range.
        fill: What appears where the image was moved away.
        fill_value: 0..255, for fill "constant".
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    width_shift: Share = 0.0
    height_shift: Share = 0.0
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    zoom: Share = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    brightness: Share = 0.0
    channel_shift: Annotated[float, Field(ge=0, le=255)] = 0.0
    fill: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"
    fill_value: Annotated[float, Field(ge=0, le=255)] = 0.0


class ModelSection(_Section):
    """The network, by name, and its free values.

    Attributes:
        network: One of NETWORKS.
        width: Filters of the first stage of "residual" (16 or more), or block of "basic".
        stages: Stages of "residual", each halving height and width but the first.
        dropout: Rates of the network's dropout layers, from input to output.
        padding: Of the convolutions of "ham10000".
    """

    network: Literal["skin-binary", "ham10000", "chest-xray", "basic", "residual"]
    width: Count | Auto = 32
    stages: Annotated[int, Field(ge=1, le=6)] | Auto = 3
    dropout: tuple[Share, ...] = ()
    padding: Literal["same", "valid"] = "same"


class BalanceSection(_Section):
    """What is done about classes of unequal size.

    Attributes:
        class_weights: "balanced" weighs class c by total / (classes * count of c).
        initial_bias: Start the output at the training set's class shares: log(positives /
            negatives) for two classes, log(share) for several.
    """

    class_weights: Literal["none", "balanced"] = "none"
    initial_bias: bool = False


class TrainSection(_Section):
    """The optimisation.

    Attributes:
        epochs: Passes over the training images, at most.
        batch_size: Images a step.
        optimizer: By its Keras name.
        learning_rate: At the start (the peak, with a warm-up).
        weight_decay: Decoupled; for "adamw" and "sgd".
        momentum: For "sgd".
        label_smoothing: Share of the target spread over all classes.
        weight_average: Decay a step of the exponential moving average of the weights; 0 = off.
            When on, validation, best weights and `last` are those of the average.
        best: Which validation column chooses the best weights.
        metrics: Reported for training and validation, beside loss.
        minutes: Wall-clock budget that an "auto" number of epochs is planned for.
        release_memory: Give freed memory back to the system at each epoch's end.
    """

    epochs: Count | Auto
    batch_size: Count | Auto = 32
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: Positive = 0.001
    weight_decay: NotNegative = 0.0
    momentum: Share = 0.9
    label_smoothing: Share = 0.0
    weight_average: Share = 0.0
    best: Literal["val_loss", "val_accuracy", "val_balanced_accuracy", "val_f1"] = "val_loss"
    metrics: tuple[Literal["accuracy", "balanced_accuracy", "precision", "recall", "f1"], ...] = (
        "accuracy",
    )
    minutes: Positive = 10.0
    release_memory: bool = False


class ScheduleSection(_Section):
    """How the learning rate changes.

    Attributes:
        kind: "constant"; "exponential": lr * rate ** (epoch / epochs); "plateau": lr * factor
            after `patience` epochs without a better val_loss; "cosine": a linear warm-up, then
            half a cosine down to 0 at the last step.
        rate: For "exponential": the factor reached after `epochs` epochs.
        epochs: For "exponential".
        factor: For "plateau".
        patience: For "plateau", epochs.
        warmup: For "cosine": share of all steps.
    """

    kind: Literal["constant", "exponential", "plateau", "cosine"] = "constant"
    rate: Positive = 0.1
    epochs: Count = 20
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Count = 3
    warmup: Share = 0.1


class StopSection(_Section):
    """When to stop before the last epoch.

    Attributes:
        monitor: The column watched.
        patience: Epochs without a better value before stopping; 0 = never stop early.
        min_delta: A change smaller than this is not better.
    """

    monitor: Literal["val_loss", "val_accuracy", "val_balanced_accuracy", "val_f1"] = "val_loss"
    patience: Annotated[int, Field(ge=0)] = 0
    min_delta: NotNegative = 0.0


class CheckpointSection(_Section):
    """How often a training is saved, so that it can be resumed.

    Attributes:
        steps: Every so many steps; 0 leaves it to the clock.
        seconds: So many apart; "auto" is a hundred times what saving takes, 1 % of the time.
    """

    steps: Annotated[int, Field(ge=0)] = 0
    seconds: Positive | Auto = "auto"


class AuditSection(_Section):
    """What the audit of the images is told.

    Attributes:
        mute: Codes of findings that do not count, e.g. "shortcut"; reports say that they were
            muted. The leakage gate stays.
    """

    mute: tuple[str, ...] = ()


class Recipe(_Section):
    """A complete training recipe.

    Attributes:
        name: What it is called in reports.
        seed: Decides split, order, augmentation, initial weights and dropout; 0..2**32-1.
        precision: "auto" probes mixed_bfloat16 where the processor has it.
        backend: "auto" = the Keras already imported, else KERAS_BACKEND, else TensorFlow.
    """

    name: str
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "float32"
    backend: Literal["auto", "tensorflow", "jax", "torch"] = "auto"
    data: DataSection
    audit: AuditSection = AuditSection()
    augment: AugmentSection = AugmentSection()
    model: ModelSection
    balance: BalanceSection = BalanceSection()
    train: TrainSection
    schedule: ScheduleSection = ScheduleSection()
    stop: StopSection = StopSection()
    checkpoint: CheckpointSection = CheckpointSection()

    @model_validator(mode="after")
    def _combination_makes_sense(self) -> Recipe:
        if self.data.validation + self.data.test >= 1:
            raise ValueError(
                f"data.validation {self.data.validation} and data.test {self.data.test} leave "
                "nothing to train on: their sum must be below 1"
            )
        self._refuse_what_has_no_effect()
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

    def _refuse_what_has_no_effect(self) -> None:
        """Refuse values that were changed and that this network or optimizer does not use."""
        for name, (decides, serves) in _ONLY_FOR.items():
            part, _, key = name.partition(".")
            section = getattr(self, part)
            value, chosen = getattr(section, key), getattr(section, decides)
            default = type(section).model_fields[key].default
            if chosen not in serves and value not in (default, "auto"):
                plain = default if isinstance(default, str) else f"{default:g}"
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
