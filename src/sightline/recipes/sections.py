"""The sections of a recipe, one a part of the TOML file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Auto = Literal["auto"]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
MetricName = Literal["accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc"]
Normalisation = Literal["none", "batch", "group", "layer"]
Column = Literal[
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_precision",
    "val_recall",
    "val_f1",
    "val_auc",
    "loss",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "auc",
]


class Section(BaseModel):
    """A part of the recipe: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, about: ValidationInfo) -> object:
        field = cls.model_fields[str(about.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError(f"must not be true or false, got {str(value).lower()}")
        return value


class DataSection(Section):
    """Which pixels go in, and how the images are shared out.

    Attributes:
        image_size: (height, width) in pixels.
        channels: 3 = RGB, 1 = grey.
        scaling: "1/255" gives 0..1; "none" 0..255; "mean-std" (pixel / 255 - mean) / std for each
            channel; "per-image" mean 0 and deviation 1 over each image; "auto" is "per-image" for
            grey images in "residual", as their brightness is often exposure alone, else "1/255".
        mean: For "mean-std", 0..1, one value a channel; () is measured on the training images.
        std: For "mean-std", likewise.
        quality: How files become pixels: "fast", "best" (antialiased) or "compat" (as Keras).
        background: RGB 0..255 that transparent images are laid on.
        grow: Shares of image_size to begin with, each for an equal part of the epochs, e.g. (0.5,
            0.75, 1.0); the last is 1. () is image_size from the first epoch. Only for networks
            that take any size ("residual").
        validation: Share of the images held out to choose weights, when no folder gives it.
        test: Share held out to judge, when no folder gives it; 0 for none.
    """

    image_size: tuple[Count, Count] | Auto
    channels: Literal[1, 3] | Auto = 3
    scaling: Literal["1/255", "none", "mean-std", "per-image"] | Auto = "1/255"
    mean: tuple[Share, ...] = ()
    std: tuple[Positive, ...] = ()
    quality: Literal["fast", "best", "compat"] = "fast"
    background: tuple[Byte, Byte, Byte] = (255, 255, 255)
    grow: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    validation: Share = 0.15
    test: Share = 0.15


class AugmentSection(Section):
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
        erasing: Share of the images that lose a random rectangle of 2 to 33 % of their area to
            random colours.
        mixup: Two images are laid over each other, and so are their targets, in shares drawn from
            Beta(mixup, mixup); 0 for none. 0.2 is usual.
        cutmix: Like mixup, with a rectangle of the one put into the other; 0 for none. With both,
            each image gets one of the two.
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
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    fill: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"
    fill_value: Annotated[float, Field(ge=0, le=255)] = 0.0


class ModelSection(Section):
    """The network, by name, and its free values.

    Attributes:
        network: One of NETWORKS; "applications/NAME", a network of keras.applications; or
            "module:function", a function that is given the resolved recipe and the number of
            classes and returns a Keras model. "own" is a model that was given as an object.
        width: Filters of the first stage of "residual" (16 or more), or block of "basic".
        stages: Stages of "residual", each halving height and width but the first.
        blocks: Blocks of "basic", of a convolution each, halving height and width; or of each
            stage of "residual", of two.
        kernel: Height and width of the kernels of "basic", and of the blocks of "residual".
        activation: Of "basic" and "residual", by its Keras name.
        dense: Units of each dense layer of "basic" before its output; () for none.
        dropout: Rates of the network's dropout layers, from input to output.
        padding: Of the convolutions of "ham10000".
        normalisation: Of "basic" and "residual", at each convolution; "group" has groups of 8
            channels, "layer" one over all. Several: one for each block of "basic", or stage of
            "residual".
        l1: Times the sum of the absolute values of all kernels, added to the objective.
        l2: Times the sum of their squares, likewise.
        weights: A file of weights for "applications/NAME", e.g. of Keras' own download with no
            top; "" starts from scratch.
        frozen_epochs: With such weights, epochs in which only the new head learns; then all.
        unfrozen_rate: What the learning rate is multiplied by from then on.
    """

    network: str
    width: Count | Auto = 32
    stages: Annotated[int, Field(ge=1, le=6)] | Auto = 3
    blocks: Annotated[int, Field(ge=1, le=8)] | Auto = 2
    kernel: Annotated[int, Field(ge=1, le=11)] = 3
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh"] = "relu"
    dense: tuple[Count, ...] = (64,)
    dropout: tuple[Share, ...] = ()
    padding: Literal["same", "valid"] = "same"
    normalisation: Normalisation | tuple[Normalisation, ...] = "none"
    l1: NotNegative = 0.0
    l2: NotNegative = 0.0
    weights: str = ""
    frozen_epochs: Annotated[int, Field(ge=0)] = 0
    unfrozen_rate: Positive = 0.1


class BalanceSection(Section):
    """What is done about classes of unequal size.

    Attributes:
        class_weights: "balanced" weighs class c by total / (classes * count of c).
        sampling: "oversample" shows each class as often as the largest, its images again and
            again, each time augmented anew; "undersample" as often as the smallest, other images
            of the larger classes each epoch.
        focal_gamma: Each image weighs (1 - its probability of the true class) ** gamma; 0 for
            plain cross-entropy. After Lin et al. 2017, "Focal loss for dense object detection".
        initial_bias: Start the output at the class shares of an epoch's images, those of the
            training set unless `sampling` makes them even: log(positives / negatives) for two
            classes, log(share) for several.
    """

    class_weights: Literal["none", "balanced"] = "none"
    sampling: Literal["all", "oversample", "undersample"] = "all"
    focal_gamma: NotNegative = 0.0
    initial_bias: bool = False


class TrainSection(Section):
    """The optimisation.

    Attributes:
        epochs: Passes over the training images, at most.
        batch_size: Images a step.
        optimizer: By its Keras name.
        learning_rate: At the start (the peak, with a warm-up).
        weight_decay: Decoupled; for "adamw", "sgd" and "lion".
        momentum: For "sgd".
        clip_norm: The gradient is scaled down to this norm, over all weights; 0 = off.
        accumulate: Steps whose gradients are averaged before the weights change.
        label_smoothing: Share of the target spread over all classes.
        weight_average: Decay a step of the exponential moving average of the weights; 0 = off,
            "auto" by the number of steps. When on, validation, best weights and `last` are those
            of the average; the trained weights are validated beside it, as "raw_val_loss".
        best: Which column chooses the best weights: of validation, or (to see how far a network
            can be fitted) of training; "epoch": the last ones are the best, which needs no
            validation images.
        metrics: Reported for training and validation, beside loss.
        minutes: Wall-clock budget that an "auto" number of epochs is planned for.
        log_to: Where each epoch is logged as well, beside TensorBoard's events: "mlflow" (SQLite in
            the run folder, or as MLFLOW_TRACKING_URI says), "wandb" (offline in the run folder, or
            as WANDB_MODE says).
        release_memory: Give freed memory back to the system at each epoch's end.
    """

    epochs: Count | Auto
    batch_size: Count | Auto = 32
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "lion"] = "adam"
    learning_rate: Positive = 0.001
    weight_decay: NotNegative = 0.0
    momentum: Share = 0.9
    clip_norm: NotNegative = 0.0
    accumulate: Count = 1
    label_smoothing: Share = 0.0
    weight_average: Share | Auto = 0.0
    best: Column | Literal["epoch"] = "val_loss"
    metrics: tuple[MetricName, ...] = ("accuracy",)
    minutes: Positive = 10.0
    log_to: tuple[Literal["mlflow", "wandb"], ...] = ()
    release_memory: bool = False


class ScheduleSection(Section):
    """How the learning rate changes.

    Attributes:
        kind: "constant"; "exponential": lr * rate ** (epoch / epochs); "plateau": lr * factor
            after `patience` epochs without a better val_loss; "cosine": a linear warm-up, then
            half a cosine down to 0 at the last step; "step": lr * factor after every `epochs`
            epochs; "one-cycle": up from lr / 25 to lr over `warmup` of all steps, then down to
            lr / 250,000, each along half a cosine; momentum stays. After Smith 2018,
            "Super-convergence".
        rate: For "exponential": the factor reached after `epochs` epochs.
        epochs: For "exponential" and "step".
        factor: For "plateau" and "step".
        patience: For "plateau", epochs.
        warmup: For "cosine" and "one-cycle": share of all steps.
    """

    kind: Literal["constant", "exponential", "step", "plateau", "cosine", "one-cycle"] = "constant"
    rate: Positive = 0.1
    epochs: Count = 20
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Count = 3
    warmup: Share = 0.1


class StopSection(Section):
    """When to stop before the last epoch.

    Attributes:
        monitor: The column watched.
        patience: Epochs without a better value before stopping; 0 = never stop early.
        min_delta: A change smaller than this is not better.
        minutes: No epoch begins that is expected to end later than this after the start; 0 = none.
    """

    monitor: Column = "val_loss"
    patience: Annotated[int, Field(ge=0)] = 0
    min_delta: NotNegative = 0.0
    minutes: NotNegative = 0.0


class CheckpointSection(Section):
    """How often a training is saved, so that it can be resumed.

    Attributes:
        steps: Every so many steps; 0 leaves it to the clock.
        seconds: So many apart; with `steps` too, whichever comes first. "auto" leaves it to
            `steps`; without them it is a hundred times what saving takes, 1 % of the time, and
            the first comes after 20 seconds to five minutes, the longer the larger the network.
    """

    steps: Annotated[int, Field(ge=0)] = 0
    seconds: Positive | Auto = "auto"


class AuditSection(Section):
    """What the audit of the images is told.

    Attributes:
        mute: Codes of findings that do not count, e.g. "shortcut"; reports say that they were
            muted. The leakage gate stays.
    """

    mute: tuple[str, ...] = ()


class MemberSection(Section):
    """One model of an ensemble.

    Attributes:
        run: What its run was called.
        fingerprint: Of its weights, network and preprocessing.
        weight: Its share of the mean, over 0 and at most 1.
    """

    run: str
    fingerprint: str
    weight: Annotated[float, Field(gt=0, le=1)]


class EnsembleSection(Section):
    """What an ensemble was made of; `sightline ensemble` writes it, and nothing trains by it.

    Attributes:
        method: How the weights were found; "soup" is the mean of the networks' own weights.
        flips: Along which axes images are mirrored as well, and the probabilities averaged.
        members: The models in it.
    """

    method: Literal["mean", "weighted", "greedy", "soup"]
    flips: tuple[Literal["horizontal", "vertical"], ...] = ()
    members: tuple[MemberSection, ...]
