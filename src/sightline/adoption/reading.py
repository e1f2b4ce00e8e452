"""What a Keras program does: its generators, models, trainings, callbacks and files."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.adoption.catalogue import IMAGE_MODULE, OUR_MODULE
from sightline.adoption.folders import count_images
from sightline.adoption.names import Value, dotted_text, position, shown
from sightline.adoption.program import UNKNOWN, Program

AUGMENTER = f"{IMAGE_MODULE}.ImageDataGenerator"
ADOPTED = frozenset({"fit_generator", "evaluate_generator", "predict_generator"})

_AUGMENTER_ORDER = (
    "featurewise_center", "samplewise_center", "featurewise_std_normalization",
    "samplewise_std_normalization", "zca_whitening", "zca_epsilon", "rotation_range",
    "width_shift_range", "height_shift_range", "brightness_range", "shear_range", "zoom_range",
    "channel_shift_range", "fill_mode", "cval", "horizontal_flip", "vertical_flip", "rescale",
    "preprocessing_function", "data_format", "validation_split", "interpolation_order", "dtype",
)  # fmt: skip
FLOW_ORDERS: Mapping[str, tuple[str, ...]] = {
    "flow": ("x", "y", "batch_size", "shuffle", "sample_weight", "seed", "save_to_dir",
             "save_prefix", "save_format", "ignore_class_split", "subset"),
    "flow_from_directory": (
        "directory", "target_size", "color_mode", "classes", "class_mode", "batch_size",
        "shuffle", "seed", "save_to_dir", "save_prefix", "save_format", "follow_links", "subset",
        "interpolation", "keep_aspect_ratio"),
    "flow_from_dataframe": (
        "dataframe", "directory", "x_col", "y_col", "weight_col", "target_size", "color_mode",
        "classes", "class_mode", "batch_size", "shuffle", "seed", "save_to_dir", "save_prefix",
        "save_format", "subset", "interpolation", "validate_filenames"),
}  # fmt: skip
_RUN_ORDERS: Mapping[str, tuple[str, ...]] = {
    "fit": ("x", "y", "batch_size", "epochs", "verbose", "callbacks", "validation_split",
            "validation_data", "shuffle", "class_weight", "sample_weight", "initial_epoch",
            "steps_per_epoch", "validation_steps", "validation_batch_size", "validation_freq"),
    "evaluate": ("x", "y", "batch_size", "verbose", "sample_weight", "steps", "callbacks"),
    "predict": ("x", "batch_size", "verbose", "steps", "callbacks"),
    "fit_generator": ("x", "steps_per_epoch", "epochs", "verbose", "callbacks",
                      "validation_data", "validation_steps"),
    "evaluate_generator": ("x", "steps"),
    "predict_generator": ("x", "steps"),
}  # fmt: skip
# Old names of arguments, so that an old call is understood like a new one.
_OLD_ARGUMENTS = {"generator": "x", "nb_epoch": "epochs", "val_samples": "steps"}
_CALLBACK_ORDERS: Mapping[str, tuple[str, ...]] = {
    "EarlyStopping": ("monitor", "min_delta", "patience", "verbose", "mode", "baseline",
                      "restore_best_weights"),
    "ModelCheckpoint": ("filepath", "monitor", "verbose", "save_best_only", "save_weights_only"),
    "ReduceLROnPlateau": ("monitor",),
}  # fmt: skip
AUGMENTING = frozenset({
    "rotation_range", "width_shift_range", "height_shift_range", "brightness_range",
    "shear_range", "zoom_range", "channel_shift_range", "horizontal_flip", "vertical_flip",
})  # fmt: skip
_MOST_LAYERS = 400  # followed back through a functional model


@dataclass(frozen=True, slots=True)
class Made:
    """One call that makes or does something, with its arguments by name."""

    call: ast.Call
    name: str
    arguments: Mapping[str, Value]

    def place(self, argument: str) -> ast.expr:
        """Return where an argument is written, if in the call itself, else the call."""
        given = self.arguments.get(argument)
        own = [*self.call.args, *(keyword.value for keyword in self.call.keywords)]
        return given.node if given is not None and given.node in own else self.call


@dataclass(frozen=True, slots=True)
class Flow(Made):
    """A generator: `flow`, `flow_from_directory` or `flow_from_dataframe` of an augmenter.

    Attributes:
        method: Which of the three.
        augmenter: The ImageDataGenerator, where it is known.
    """

    method: str
    augmenter: Made | None


@dataclass(frozen=True, slots=True)
class Run(Made):
    """A call that trains, evaluates or predicts.

    Attributes:
        verb: "fit", "evaluate" or "predict".
        method: The name called: "fit", "fit_generator" ...
        adopted: It is Sightline's function, not a method of the model.
        model: The expression of the model.
        value: The same, to be followed.
    """

    verb: str
    method: str
    adopted: bool
    model: ast.expr
    value: Value


@dataclass(frozen=True, slots=True)
class Output:
    """The last dense layer of a model, and the activation on it."""

    call: ast.Call
    units: Any
    activation: Any


class Reading:
    """The generators, models, trainings, callbacks and files of one program."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self._folder = folder  # where the program lies; its own paths are taken from there

    def made(self, value: Value, order: tuple[str, ...] = ()) -> Made | None:
        """Return a call with its arguments, if the value comes to one."""
        value = self.program.follow(value)
        if not isinstance(value.node, ast.Call):
            return None
        arguments = self.program.arguments(value.node, order, value.frame)
        return Made(value.node, self.program.origin(value.node.func), arguments)

    def augmenter(self, value: Value) -> Made | None:
        """Return the ImageDataGenerator that a value is."""
        made = self.made(value, _AUGMENTER_ORDER)
        return made if made is not None and made.name == AUGMENTER else None

    def flow(self, value: Value | None) -> Flow | None:
        """Return the generator that a value is."""
        if value is None:
            return None
        value = self.program.follow(value)
        call = value.node
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            return None
        method = call.func.attr
        if method == "repeat":
            return self.flow(Value(call.func.value, value.frame))
        if method not in FLOW_ORDERS:
            return None
        augmenter = self.augmenter(Value(call.func.value, value.frame))
        if augmenter is None and method == "flow":
            return None
        arguments = self.program.arguments(call, FLOW_ORDERS[method], value.frame)
        return Flow(call, self._name_of(call), arguments, method, augmenter)

    def _name_of(self, call: ast.Call) -> str:
        """Return the name the program gives a call's result, or the call's own text."""
        parent = self.program.parent(call)
        if isinstance(parent, ast.Assign) and dotted_text(parent.targets[0]):
            return dotted_text(parent.targets[0])
        return shown(call)

    def calls(self, *names: str) -> Iterator[Made]:
        """Yield the calls of some canonical names."""
        for call in self.program.calls:
            name = self.program.origin(call.func)
            if name in names:
                frame = self.program.frame_of(call)
                order = _CALLBACK_ORDERS.get(name.rpartition(".")[2], ())
                yield Made(call, name, self.program.arguments(call, order, frame))

    def callbacks(self, *names: str) -> Iterator[Made]:
        """Yield the calls that make callbacks of some names."""
        return self.calls(*(f"keras.callbacks.{name}" for name in names))

    @functools.cached_property
    def augmenters(self) -> tuple[Made, ...]:
        """Every ImageDataGenerator that is made."""
        frame_of = self.program.frame_of
        found = (self.augmenter(Value(call, frame_of(call))) for call in self.program.calls)
        return tuple(each for each in found if each is not None)

    @functools.cached_property
    def flows(self) -> tuple[Flow, ...]:
        """Every generator that is made, where it is made."""
        frame_of = self.program.frame_of
        made = (call for call in self.program.calls if isinstance(call.func, ast.Attribute))
        own = (call for call in made if call.func.attr in FLOW_ORDERS)  # type: ignore[attr-defined]
        found = (self.flow(Value(call, frame_of(call))) for call in own)
        return tuple(each for each in found if each is not None)

    @functools.cached_property
    def compiles(self) -> tuple[tuple[Any, Made], ...]:
        """Every `compile` of a model, with the model's key."""
        found = []
        for call in self.program.calls:
            if not (isinstance(call.func, ast.Attribute) and call.func.attr == "compile"):
                continue
            frame = self.program.frame_of(call)
            arguments = self.program.arguments(call, ("optimizer", "loss", "metrics"), frame)
            if {"optimizer", "loss", "metrics"} & set(arguments):
                key = self.key(Value(call.func.value, frame))
                found.append((key, Made(call, "compile", arguments)))
        return tuple(found)

    def compiled(self, run: Run) -> Made | None:
        """Return how the model of a training was compiled."""
        key = self.key(run.value)
        own = [made for each, made in self.compiles if each == key]
        return own[-1] if own else None

    def key(self, value: Value) -> Any:
        """Return what tells one model from another: where it is made, else its name."""
        found = self.program.follow(value).node
        return found if isinstance(found, ast.Call) else dotted_text(found)

    def is_model(self, value: Value) -> bool:
        """Return whether a value is, as far as the text shows, a Keras model."""
        key = self.key(value)
        if any(each == key for each, _ in self.compiles):
            return True
        made = self.made(value)
        homes = ("keras.models.", "keras.Sequential", "keras.Model", "keras.applications.",
                 "keras.saving.load_model")  # fmt: skip
        return made is not None and made.name.startswith(homes)

    @functools.cached_property
    def runs(self) -> tuple[Run, ...]:
        """Every call that trains, evaluates or predicts, in the order of the text."""
        found = (self._run(call) for call in self.program.calls)
        return tuple(sorted(filter(None, found), key=lambda run: position(run.call)))

    def of(self, verb: str) -> Iterator[Run]:
        """Yield the runs of one verb."""
        return (run for run in self.runs if run.verb == verb)

    def _run(self, call: ast.Call) -> Run | None:
        frame = self.program.frame_of(call)
        dotted = self.program.dotted(call.func)
        home, _, method = dotted.rpartition(".")
        adopted = home == OUR_MODULE and method in ADOPTED and bool(call.args)
        if adopted:
            model = call.args[0]
        elif isinstance(call.func, ast.Attribute) and call.func.attr in _RUN_ORDERS:
            model, method = call.func.value, call.func.attr
            if dotted:  # a function of some module
                return None
        else:
            return None
        order = ("model", *_RUN_ORDERS[method]) if adopted else _RUN_ORDERS[method]
        given = self.program.arguments(call, order, frame)
        arguments = {_OLD_ARGUMENTS.get(name, name): value for name, value in given.items()}
        value = Value(model, frame)
        generator = self.flow(arguments.get("x")) is not None
        if method not in ADOPTED and not generator and not self.is_model(value):
            return None
        verb = method.partition("_")[0]
        return Run(call, shown(model), arguments, verb, method, adopted, model, value)

    def attached(self, run: Run, *names: str) -> Iterator[Made]:
        """Yield the callbacks of some names that a training is given."""
        given = run.arguments.get("callbacks")
        if given is None:
            return
        whole = self.program.follow(given)
        items = whole.node.elts if isinstance(whole.node, (ast.List, ast.Tuple)) else [whole.node]
        for item in items:
            made = self.made(Value(item, whole.frame))
            home, _, name = ("" if made is None else made.name).rpartition(".")
            if made is not None and home == "keras.callbacks" and name in names:
                value = self.program.follow(Value(item, whole.frame))
                order = _CALLBACK_ORDERS.get(name, ())
                yield Made(made.call, name, self.program.arguments(made.call, order, value.frame))

    def metrics(self, compiled: Made) -> tuple[Any, ...] | None:
        """Return the metrics a model is compiled with; UNKNOWN for those that are not text."""
        given = compiled.arguments.get("metrics")
        if given is None:
            return ()
        whole = self.program.follow(given)
        if not isinstance(whole.node, (ast.List, ast.Tuple)):
            return None
        return tuple(self.program.constant(Value(each, whole.frame)) for each in whole.node.elts)

    def layers(self, value: Value) -> list[Value]:
        """Return the layers of a model, first to last, as far as they are known."""
        value = self.program.follow(value)
        made = self.made(value, ("inputs", "outputs"))
        if made is None:
            return []
        if made.name.endswith(".Sequential"):
            return [*self._listed(value), *self._added(value.node)]
        if made.name.endswith(".Model") and "outputs" in made.arguments:
            return self._chained(made.arguments["outputs"])
        return []

    def _listed(self, value: Value) -> list[Value]:
        arguments = self.program.arguments(value.node, ("layers",), value.frame)  # type: ignore[arg-type]
        whole = self.program.follow(arguments["layers"]) if "layers" in arguments else None
        if whole is None or not isinstance(whole.node, (ast.List, ast.Tuple)):
            return []
        return [self.program.follow(Value(each, whole.frame)) for each in whole.node.elts]

    def _added(self, model: ast.expr) -> list[Value]:
        added = []
        for call in self.program.calls:
            method = call.func
            if not (isinstance(method, ast.Attribute) and method.attr == "add" and call.args):
                continue
            frame = self.program.frame_of(call)
            if self.key(Value(method.value, frame)) is model:
                added.append(self.program.follow(Value(call.args[0], frame)))
        return added

    def _chained(self, output: Value) -> list[Value]:
        """Return the layers of `Dense(1)(Flatten()(x))`, first to last."""
        found: list[Value] = []
        value = self.program.follow(output)
        while isinstance(value.node, ast.Call) and len(found) < _MOST_LAYERS:
            found.append(self.program.follow(Value(value.node.func, value.frame)))
            if not isinstance(found[-1].node, ast.Call) or not value.node.args:
                found[-1] = value  # Input(...), or what is not followed
                break
            value = self.program.follow(Value(value.node.args[0], value.frame))
        return found[::-1]

    def output(self, value: Value) -> Output | None:
        """Return the last dense layer of a model, if it ends with one."""
        activation: Any = None
        for layer in reversed(self.layers(value)):
            made = self.made(layer, ("units", "activation"))
            name = "" if made is None else made.name.rpartition(".")[2]
            if name in {"Sequential", "Model"}:  # a model on top of another
                return self.output(layer) if activation is None else None
            if made is None or name not in {"Activation", "Softmax", "Dense"}:
                return None
            if name == "Dense":
                units = made.arguments.get("units", made.arguments.get("output_dim"))
                own = made.arguments.get("activation")
                if own is not None:
                    activation = self.program.constant(own)
                return Output(made.call, self.program.constant(units), activation)
            own = made.arguments.get("units")  # Activation's first
            own = made.arguments.get("activation", own)
            activation = "softmax" if name == "Softmax" else self.program.constant(own)
        return None

    def constant(self, made: Made, name: str, default: Any = UNKNOWN) -> Any:
        """Return the value of one argument, `default` where it is not given."""
        given = made.arguments.get(name)
        return default if given is None else self.program.constant(given)

    def images(self, flow: Flow) -> int | None:
        """Return how many pictures lie in a generator's folder, if it is there; by name alone."""
        split = flow.augmenter is not None and "validation_split" in flow.augmenter.arguments
        if flow.method != "flow_from_directory" or split:
            return None
        folder = self.constant(flow, "directory")
        return count_images(self._folder, folder) if isinstance(folder, str) else None

    def is_endless(self, value: Value) -> bool:
        """Return whether a value is a generator function of the program, called."""
        node = self.program.follow(value).node
        function = self.program.called(node) if isinstance(node, ast.Call) else None
        inside = ast.walk(function) if function is not None else ()
        return any(isinstance(each, (ast.Yield, ast.YieldFrom)) for each in inside)
