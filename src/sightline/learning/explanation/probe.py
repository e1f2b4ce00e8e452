"""A trained network that can be asked: its scores, what its layers see, and their gradients.

Scores are logits, before the sigmoid or softmax: a probability close to 1 no longer says what it
came from, and its gradient is close to 0. All of it is computed in float32, also in a network that
was trained in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.learning.explanation.calls import (
    Call,
    Change,
    changed,
    heard,
    names_of,
    operations_in,
    without_activation,
)
from sightline.learning.explanation.gradients import Floats, gradient
from sightline.learning.models import lacking
from sightline.learning.models.composing import MEMBER

MOST_AT_ONCE = 32  # images of one step
_ENDS = ("sigmoid", "softmax")
_CLOSE = 1e-4  # of probabilities made from logits to those of the network
_LEAST = 1e-30  # a probability, before its logarithm
_MOST_NAMED = 40  # layers in a message


@dataclass(frozen=True, slots=True)
class Place:
    """The output of one layer with a height and a width.

    Attributes:
        name: Of the layer.
        operation: The layer, or an operation between layers.
        number: Which of its calls.
        shape: (h, w, C) of one image.
        channels_first: The layer has them as (C, h, w).
    """

    name: str
    operation: Any
    number: int
    shape: tuple[int, int, int]
    channels_first: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """A network to be asked.

    Attributes:
        model: It is not trained further: only its scores and gradients are taken.
        image_shape: (H, W, C) of its input.
        places: Its layers with a spatial output, in the order they are called, from the first
            convolution on.
        weighted: Its layers with weights of their own and their names, in the order of calls.
        end: What makes probabilities of logits: the last layer's activation, the last operation,
            or None where nobody can see it. Then scores are logarithms of probabilities.
        units: Columns of the network's own output.
    """

    model: keras.Model
    image_shape: tuple[int, int, int]
    places: tuple[Place, ...]
    weighted: tuple[tuple[str, Any], ...]
    end: Any
    units: int

    @classmethod
    def of(
        cls,
        model: keras.Model,
        image_shape: tuple[int, int, int],
        *,
        counted_anew: bool = False,
    ) -> Probe:
        """Return a network ready to be asked; it computes in float32 from then on.

        Args:
            model: Output (B, 1) sigmoid or (B, K) softmax; it is not used for anything else.
            image_shape: (H, W, C).
            counted_anew: Give layers without a name of their own numbers within the network.
        """
        model.trainable = False
        for operation in [model, *operations_in(model)]:
            if isinstance(operation, keras.Layer):
                operation.dtype_policy = "float32"
        trial = np.random.default_rng(0).random((1, *image_shape), np.float32)
        calls, output = heard(model, keras.ops.convert_to_tensor(trial))
        names = names_of(calls, counted_anew=counted_anew)
        probe = cls(
            model,
            image_shape,
            tuple(_places(calls, names)),
            tuple(_weighted(calls, names)),
            _end(calls, output),
            int(output.shape[-1]),
        )
        return probe if probe._end_is_right(trial) else replace(probe, end=None)

    @property
    def from_logits(self) -> bool:
        """Whether scores are logits, not logarithms of probabilities."""
        return self.end is not None

    def place(self, name: str | None = None) -> Place:
        """Return a layer by its name, or the one that class activation maps are made from.

        That is the last with a spatial output before everything is pooled or flattened; a pooling
        at its end is passed over, as the layer before it sees finer.

        Raises:
            DataError: The network has no such layer, or none with a spatial output.
        """
        if not self.places:
            raise DataError(
                f"the network {self.model.name!r} has no convolution with an output of height and "
                "width, so there is no layer to look into. --method occlusion and "
                "--method integrated-gradients need none and work."
            )
        if name is None:
            fine = [each for each in self.places if not _is_pooling(each.operation)]
            return (fine or self.places)[-1]
        found = [each for each in self.places if each.name == name]
        if not found:
            names = list(dict.fromkeys(each.name for each in self.places))
            told = ", ".join(names[-_MOST_NAMED:])
            more = f" (the last {_MOST_NAMED} of {len(names)})" if len(names) > _MOST_NAMED else ""
            raise DataError(
                f"the network has no layer {name!r} with a spatial output. It has, from input to "
                f"output{more}: {told}"
            )
        return found[-1]

    @property
    def has_parts(self) -> bool:
        """Whether it is an ensemble of several networks."""
        return len(self.places_of_parts()) > 1

    def places_of_parts(self) -> list[Place]:
        """Return `place` of each network inside an ensemble, where it sees images unmirrored.

        Of any other network, its own.

        Raises:
            DataError: There is none with a spatial output.
        """
        inside = [
            each for each in getattr(self.model, "layers", ()) if each.name.startswith(MEMBER)
        ]
        found = list[Place]()
        for part in inside:
            own = {id(each) for each in operations_in(part)}
            places = [each for each in self.places if id(each.operation) in own]
            fine = [each for each in places if not _is_pooling(each.operation)] or places
            if fine:
                last = fine[-1].operation
                found.append(next(each for each in fine if each.operation is last))
        return found or [self.place()]

    def scores(self, images: Floats) -> Floats:
        """Return (B, K) float32 scores; of two classes by one sigmoid unit, minus z and z.

        Args:
            images: (B, H, W, C) float32, scaled as in training, any number.
        """

        def ask(batch: Floats) -> tuple[Floats]:
            scores = self._scores(keras.ops.convert_to_tensor(batch))
            return (_plain(scores),)

        return self._in_batches(ask, images)[0]

    def probabilities(self, scores: Floats) -> Floats:
        """Return (B, K) float32 probabilities of scores."""
        if not self.from_logits:
            return np.asarray(np.exp(scores), np.float32)
        # Of one sigmoid unit, scores are minus and plus its logit: a softmax of their halves.
        share = 0.5 if self.units == 1 else 1.0
        raised = np.exp((scores - scores.max(axis=1, keepdims=True)) * share)
        return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)

    def features(self, images: Floats, place: Place) -> Floats:
        """Return (B, h, w, C) float32: what a layer puts out."""

        def ask(batch: Floats) -> tuple[Floats]:
            kept: list[Any] = []

            def keep(_: Any, output: Any) -> Any:
                kept.append(output)
                return output

            with changed({place.operation: keep}):
                self.model(keras.ops.convert_to_tensor(batch), training=False)
            return (_channels_last(_plain(kept[place.number]), place),)

        return self._in_batches(ask, images)[0]

    def slopes(
        self, images: Floats, targets: npt.NDArray[np.int64], place: Place
    ) -> tuple[Floats, Floats]:
        """Return what a layer puts out and the gradient of each target's score there.

        Both (B, h, w, C) float32. The gradient is that of zeros added to the layer's output, so it
        does not matter by how many ways the output is used.

        Args:
            images: (B, H, W, C).
            targets: (B,) class indices.
            place: Which layer.
        """
        shape = place.shape[2:] + place.shape[:2] if place.channels_first else place.shape

        def ask(batch: Floats, wanted: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
            def score(added: Any) -> tuple[Any, Sequence[Any]]:
                kept: list[Any] = []

                def add(_: Any, output: Any) -> Any:
                    kept.append(output)
                    return output + added if len(kept) == place.number + 1 else output

                scores = self._scores(keras.ops.convert_to_tensor(batch), {place.operation: add})
                return _chosen(scores, wanted), [kept[place.number]]

            found, (features,) = gradient(score, np.zeros((len(batch), *shape), np.float32))
            return _channels_last(features, place), _channels_last(found, place)

        features, slopes = self._in_batches(ask, images, targets)
        return features, slopes

    def image_slopes(self, images: Floats, targets: npt.NDArray[np.int64]) -> Floats:
        """Return (B, H, W, C) float32: the gradient of each target's score at the pixels."""

        def ask(batch: Floats, wanted: npt.NDArray[np.int64]) -> tuple[Floats]:
            def score(pixels: Any) -> tuple[Any, Sequence[Any]]:
                return _chosen(self._scores(pixels), wanted), []

            return (gradient(score, batch)[0],)

        return self._in_batches(ask, images, targets)[0]

    def _scores(self, images: Any, changes: Mapping[Any, Change] | None = None) -> Any:
        """Return a tensor (B, K) of scores."""
        with _left_out(self.end), changed(changes or {}):
            output = self.model(images, training=False)
        if not self.from_logits:
            if output.shape[-1] == 1:
                output = keras.ops.concatenate([1 - output, output], axis=-1)
            return keras.ops.log(keras.ops.maximum(output, _LEAST))
        if output.shape[-1] == 1:
            return keras.ops.concatenate([-output, output], axis=-1)
        return output

    def _end_is_right(self, trial: Floats) -> bool:
        """Say whether logits give the probabilities that the network gives."""
        if not self.from_logits:
            return True
        own = _plain(self.model(keras.ops.convert_to_tensor(trial), training=False))
        own = np.concatenate([1 - own, own], axis=1) if own.shape[1] == 1 else own
        return bool(np.allclose(self.probabilities(self.scores(trial)), own, atol=_CLOSE))

    def _in_batches(
        self, ask: Callable[..., tuple[Floats, ...]], *arrays: npt.NDArray[Any]
    ) -> list[Floats]:
        """Return what `ask` says of arrays, asked in batches of one size.

        The last one is filled up, as JAX compiles every operation anew for another size.
        """
        count = len(arrays[0])
        size = min(MOST_AT_ONCE, count)
        height, width = self.image_shape[:2]
        parts: list[list[Floats]] = []
        with lacking.told_of(
            f"to explain {size} images of {height}x{width} at a time",
            "End other programs that take it, or use a machine with more.",
        ):
            for begin in range(0, count, size):
                rows = np.arange(begin, begin + size) % count
                answers = ask(*(array[rows] for array in arrays))
                parts.append([answer[: count - begin] for answer in answers])
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]


def _left_out(end: Any) -> AbstractContextManager[None]:
    """Return the context in which the end of a network makes no probabilities of its logits."""
    if end is None:
        return nullcontext()
    if hasattr(end, "activation"):
        return without_activation([end])
    return changed({end: lambda inputs, _: inputs})


def _places(calls: Sequence[Call], names: Mapping[int, str]) -> list[Place]:
    """Return the spatial outputs from the first convolution on, each once."""
    found: list[Place] = []
    seen: list[Any] = []
    layout, begun = "channels_last", False
    for call in calls:
        # Layers that have no layout of their own keep that of the layer before them.
        layout = getattr(call.operation, "data_format", None) or layout
        begun = begun or _convolves(call.operation)
        # Dropout and a network inside hand on what another layer has put out.
        is_new = not any(call.output is output for output in seen)
        seen.append(call.output)
        shape = tuple(call.output.shape)[1:]
        if not begun or not is_new or len(shape) != 3:
            continue
        first = layout == "channels_first"
        height, width, channels = (*shape[1:], shape[0]) if first else shape
        if height * width > 1:
            plain = (int(height), int(width), int(channels))
            found.append(
                Place(names[id(call.operation)], call.operation, call.number, plain, first)
            )
    return found


def _weighted(calls: Sequence[Call], names: Mapping[int, str]) -> list[tuple[str, Any]]:
    """Return the layers with weights and no layers inside, each once, in the order of calls."""
    found: dict[int, Any] = {}
    for call in calls:
        inner = getattr(call.operation, "_layers", ())
        if getattr(call.operation, "weights", ()) and not inner:
            found[id(call.operation)] = call.operation
    return [(names[number], operation) for number, operation in found.items()]


def _end(calls: Sequence[Call], output: Any) -> Any:
    """Return the operation that makes probabilities of logits as the last thing that is done."""
    last = next((call.operation for call in calls if call.output is output), None)
    if getattr(getattr(last, "activation", None), "__name__", "") in _ENDS:
        return last
    return last if type(last).__name__.lower() in _ENDS else None


def _convolves(operation: Any) -> bool:
    return any(len(weight.shape) == 4 for weight in getattr(operation, "weights", ()))


def _is_pooling(operation: Any) -> bool:
    return "Pooling" in type(operation).__name__


def _chosen(scores: Any, targets: npt.NDArray[np.int64]) -> Any:
    """Return a tensor (B,): each row's score of its own target."""
    one_hot = np.eye(scores.shape[-1], dtype=np.float32)[targets]
    return keras.ops.sum(scores * keras.ops.convert_to_tensor(one_hot), axis=-1)


def _channels_last(array: Floats, place: Place) -> Floats:
    return np.moveaxis(array, 1, -1) if place.channels_first else array


def _plain(tensor: Any) -> Floats:
    if hasattr(tensor, "detach"):
        tensor = tensor.detach()
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)
