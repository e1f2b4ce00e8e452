"""Methods and arguments that Keras 3 does not know, or knows under another name."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from sightline.adoption.catalogue import (
    OPTIMIZERS,
    ORDERINGS,
    OUR_MODULE,
    REMOVED_ARGUMENTS,
    RENAMED_ARGUMENTS,
    STILL_ACCEPTED,
    WORKER_ARGUMENTS,
)
from sightline.adoption.checks.imports import our_function
from sightline.adoption.faults import (
    CallFunction,
    Edit,
    Fault,
    JoinArguments,
    RemoveArgument,
    RenameArgument,
    RenameMethod,
    Replace,
    Wrap,
)
from sightline.adoption.names import Value, dotted_text, shown
from sightline.adoption.program import UNKNOWN
from sightline.adoption.reading import ADOPTED, Made, Reading, Run

_MODERN_WORKERS = dict(zip(WORKER_ARGUMENTS[3:], WORKER_ARGUMENTS[:3], strict=True))
_PAIR_LAYERS = frozenset({"Conv2D", "Convolution2D", "SeparableConv2D", "SeparableConvolution2D"})


def generator_methods(reading: Reading) -> Iterator[Fault]:
    """Yield calls of the three methods that Keras 3 has no more."""
    if any(reading.calls("keras.preprocessing.image.enable_keras2_methods")):
        return
    for run in reading.runs:
        if run.method in ADOPTED and not run.adopted:
            yield Fault(
                "generator-method",
                "error",
                run.call,
                f"`{run.name}.{run.method}` does not exist in Keras 3: "
                "the program stops with AttributeError.",
                f"Call {run.method}({run.name}, ...) of {OUR_MODULE}; it takes the same arguments.",
                as_function(reading, run),
            )


def as_function(reading: Reading, run: Run) -> tuple[Edit, ...]:
    """Return the change of `model.fit_generator(x)` into our `fit_generator(model, x)`."""
    text, imports = our_function(reading.program, run.method)
    return (CallFunction(run.call, text), *imports)


def removed_methods(reading: Reading) -> Iterator[Fault]:
    """Yield calls of predict_classes, predict_proba and a generator's .next()."""
    for call in reading.program.calls:
        if not isinstance(call.func, ast.Attribute):
            continue
        value = Value(call.func.value, reading.program.frame_of(call))
        method, owner = call.func.attr, shown(call.func.value)
        if method == "next" and not call.args:
            yield from _next(reading, call, value, owner)
        elif method in {"predict_classes", "predict_proba"} and reading.is_model(value):
            advice, edits = _instead(reading, call, value)
            yield Fault(
                "removed-method",
                "error",
                call,
                f"`{owner}.{method}` does not exist in Keras 3: "
                "the program stops with AttributeError.",
                advice,
                edits,
            )


def _next(reading: Reading, call: ast.Call, value: Value, owner: str) -> Iterator[Fault]:
    flow = reading.flow(value)
    if flow is None or flow.augmenter is None:
        return
    if reading.program.dotted(flow.augmenter.call.func).startswith(OUR_MODULE):
        return
    yield Fault(
        "removed-method",
        "error",
        call,
        f"`{owner}.next()` does not exist in Keras 3: the program stops with AttributeError.",
        f"Write next({owner}).",
        (CallFunction(call, "next"),),
    )


def _instead(reading: Reading, call: ast.Call, value: Value) -> tuple[str, tuple[Edit, ...]]:
    """Return what to write for predict_classes or predict_proba, and the change."""
    assert isinstance(call.func, ast.Attribute)
    rename = RenameMethod(call, "predict")
    if call.func.attr == "predict_proba":
        return "Write predict: it gives the probabilities.", (rename,)
    output = reading.output(value)
    if output is None or not isinstance(output.units, int):
        return "Write predict(...).argmax(axis=-1); with one output, (predict(...) > 0.5).", ()
    if output.units == 1:
        advice = "Write (predict(...) > 0.5): the model has one output."
        return advice, (rename, Wrap(call, "(", ' > 0.5).astype("int32")'))
    advice = f"Write predict(...).argmax(axis=-1): the model has {output.units} outputs."
    return advice, (rename, Wrap(call, "", ".argmax(axis=-1)"))


def arguments_of_runs(reading: Reading) -> Iterator[Fault]:
    """Yield arguments of fit, evaluate and predict that Keras 3 refuses."""
    for run in reading.runs:
        new = "Keras 2 took it; Keras 3 stops with an error."
        names = {keyword.arg for keyword in run.call.keywords if keyword.arg}
        for old in sorted(names & {"nb_epoch"}):
            edits = renaming(run.call, old, "epochs")
            yield _renamed(_place(run.call, old), run.method, old, "epochs", edits)
        in_generators = run.method in ADOPTED
        for name in sorted(names & {*WORKER_ARGUMENTS, "show_accuracy"}):
            if in_generators and name in _MODERN_WORKERS:
                modern = _MODERN_WORKERS[name]
                edits = renaming(run.call, name, modern)
                yield _renamed(_place(run.call, name), run.method, name, modern, edits)
            elif not in_generators or name == "show_accuracy":
                yield Fault(
                    "removed-argument",
                    "error",
                    _place(run.call, name),
                    f"`{name}=` is no argument of {run.method}. {new}",
                    "Remove it: a generator of Sightline works in parallel by itself.",
                    (RemoveArgument(run.call, name),),
                )
        if reading.constant(run, "class_weight") == "auto":
            yield Fault(
                "class-weight-text",
                "error",
                run.place("class_weight"),
                f'class_weight="auto" of {run.method} stops with AttributeError: '
                "it must be a dict.",
                "Give {class index: weight}, for instance total / (classes * count).",
            )


def renaming(call: ast.Call, old: str, new: str) -> tuple[Edit, ...]:
    """Return the change of an argument's name; none where the new one is given as well."""
    given = any(keyword.arg == new for keyword in call.keywords)
    return () if given else (RenameArgument(call, old, new),)


def _place(call: ast.Call, argument: str) -> ast.expr:
    return next(each.value for each in call.keywords if each.arg == argument)


def _renamed(
    node: ast.expr, of: str, old: str, new: str, edits: tuple[Edit, ...], advice: str = ""
) -> Fault:
    known = (of, old) not in STILL_ACCEPTED
    title = f"`{old}=` of {of} is called `{new}=` in Keras 3"
    return Fault(
        "renamed-argument",
        "error" if known else "warning",
        node,
        f"{title}, which refuses the old name." if known else f"{title}; the old name still works.",
        advice or f"Write {new}=.",
        edits,
    )


def renamed_arguments(reading: Reading) -> Iterator[Fault]:
    """Yield old arguments of optimizers, layers, models and regularizers."""
    for call in reading.program.calls:
        name = reading.program.origin(call.func)
        home, _, last = name.rpartition(".")
        table = RENAMED_ARGUMENTS.get(last)
        if table is None or not home.startswith("keras"):
            continue
        for keyword in call.keywords:
            new = table.get(keyword.arg or "")
            if keyword.arg is None or new is None:
                continue
            value = Value(keyword.value, reading.program.frame_of(call))
            yield _renamed(
                keyword.value,
                last,
                keyword.arg,
                new,
                _renaming(reading, call, keyword.arg, new, value),
            )


def _renaming(
    reading: Reading, call: ast.Call, old: str, new: str, value: Value
) -> tuple[Edit, ...]:
    edits = renaming(call, old, new)
    if old != "dim_ordering" or not edits:
        return edits
    ordering = ORDERINGS.get(str(reading.program.constant(value)))
    return (*edits, Replace(value.node, f'"{ordering}"')) if ordering else ()


def removed_arguments(reading: Reading) -> Iterator[Fault]:
    """Yield arguments of layers, callbacks and optimizers that Keras 3 has no more."""
    for call in reading.program.calls:
        name = reading.program.origin(call.func)
        home, _, last = name.rpartition(".")
        if not home.startswith("keras"):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        for old in REMOVED_ARGUMENTS.get(last, ()):
            if old in given:
                yield Fault(
                    "removed-argument",
                    "error",
                    given[old],
                    f"`{old}=` is no argument of {last} in Keras 3, which stops with an error.",
                    "Remove it.",
                    (RemoveArgument(call, old),),
                )
        value = {name: Value(node, reading.program.frame_of(call)) for name, node in given.items()}
        if last == "ModelCheckpoint" and "period" in given:
            yield _period(reading, call, value["period"])
        if last in OPTIMIZERS and "decay" in given:
            yield _decay(reading, call, last, value)


def _period(reading: Reading, call: ast.Call, value: Value) -> Fault:
    period = reading.program.constant(value)
    return Fault(
        "removed-argument",
        "error",
        value.node,
        f"`period={shown(value.node)}` is no argument of ModelCheckpoint in Keras 3.",
        "Remove it: saving after every epoch is the default."
        if period == 1
        else "Save after every epoch, or give save_freq= a number of batches.",
        (RemoveArgument(call, "period"),) if period == 1 else (),
    )


def _decay(
    reading: Reading, call: ast.Call, last: str, values: Mapping[str | None, Value]
) -> Fault:
    decay = values["decay"]
    zero = reading.program.constant(decay) == 0
    rate = values.get("lr") or values.get("learning_rate")
    text = shown(rate.node) if rate else "the learning rate"
    schedule = f"InverseTimeDecay({text}, decay_steps=1, decay_rate={shown(decay.node)})"
    return Fault(
        "decay-ignored",
        "info" if zero else "error",
        decay.node,
        f"`decay={shown(decay.node)}` of {last} is ignored by Keras 3: "
        + ("it changed nothing before either." if zero else "the learning rate never falls."),
        "Remove it."
        if zero
        else f"Give learning_rate=keras.optimizers.schedules.{schedule}: the same curve.",
        (RemoveArgument(call, "decay"),) if zero else (),
    )


def convolution_sizes(reading: Reading) -> Iterator[Fault]:
    """Yield `Conv2D(32, 3, 3)`: Keras 1's rows and columns, which are read as strides now."""
    for call in reading.program.calls:
        last = reading.program.origin(call.func).rpartition(".")[2]
        if last not in _PAIR_LAYERS or len(call.args) != 3:
            continue
        frame = reading.program.frame_of(call)
        filters, rows, columns = (
            reading.program.constant(Value(each, frame)) for each in call.args
        )
        if not all(isinstance(each, int) for each in (filters, rows, columns)):
            continue
        yield Fault(
            "convolution-size",
            "error",
            call,
            f"`{shown(call)}` is read as a {rows}x{rows} kernel that moves by {columns} pixels: "
            "the third number is `strides` since Keras 2.",
            f"Write ({rows}, {columns}) for the kernel, or name strides= if you mean it.",
            (JoinArguments(call),),
        )


def learning_rates(reading: Reading) -> Iterator[Fault]:
    """Yield `model.optimizer.lr`, which Keras 3 calls learning_rate."""
    for node in reading.program.nodes(ast.Attribute):
        owner = node.value
        if node.attr != "lr" or not isinstance(owner, ast.Attribute) or owner.attr != "optimizer":
            continue
        text = dotted_text(node)
        if not text:
            continue
        written = isinstance(node.ctx, ast.Store)
        yield Fault(
            "renamed-attribute",
            "error",
            node,
            f"`{text}` is `learning_rate` in Keras 3: "
            + ("setting it changes nothing." if written else "reading it stops the program."),
            "Write learning_rate.",
            (Replace(node, text.removesuffix("lr") + "learning_rate"),),
        )


def metrics_as_text(reading: Reading) -> Iterator[Fault]:
    """Yield `metrics="accuracy"`, which must be a list."""
    for _, made in reading.compiles:
        given = made.arguments.get("metrics")
        name = UNKNOWN if given is None else reading.program.constant(given)
        if given is None or not isinstance(name, str):
            continue
        direct = isinstance(given.node, ast.Constant)
        yield Fault(
            "metrics-text",
            "error",
            made.place("metrics"),
            f"metrics={name!r} stops with ValueError in Keras 3: it must be a list.",
            f"Write metrics=[{name!r}].",
            (Wrap(given.node, "[", "]"),) if direct else (),
        )


def names_of_metrics(reading: Reading) -> Iterator[Fault]:
    """Yield history keys and monitors of an accuracy that goes by its other name."""
    known = _accuracy(reading)
    if known is None:
        return
    other = "acc" if known == "accuracy" else "accuracy"
    for node in reading.program.nodes(ast.Subscript):
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if key in {other, f"val_{other}"} and _is_history(reading, node.value):
            right = key.replace(other, known)
            yield Fault(
                "history-key",
                "error",
                node,
                f"`{shown(node)}` stops with KeyError: the metric is compiled as {known!r}.",
                f'Write "{right}".',
                (Replace(node.slice, _requoted(reading, node.slice, right)),),
            )
    for made in reading.callbacks("EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"):
        yield from _monitor(reading, made, known, other)


def _monitor(reading: Reading, made: Made, known: str, other: str) -> Iterator[Fault]:
    monitor = reading.constant(made, "monitor")
    if monitor not in {other, f"val_{other}"}:
        return
    node = made.arguments["monitor"].node
    right = monitor.replace(other, known)
    stops = reading.constant(made, "mode", "auto") == "auto"
    yield Fault(
        "monitor-name",
        "error",
        made.place("monitor"),
        f"monitor={monitor!r} names no metric: the model is compiled with {known!r}, and "
        + ("Keras 3 stops." if stops else "the callback does nothing but warn."),
        f'Write monitor="{right}".',
        (Replace(node, _requoted(reading, node, right)),) if isinstance(node, ast.Constant) else (),
    )


def _accuracy(reading: Reading) -> str | None:
    """Return the one name the accuracy is compiled under, or None where that is not plain."""
    found: set[str] = set()
    for _, made in reading.compiles:
        metrics = reading.metrics(made)
        if metrics is None or UNKNOWN in metrics:
            return None
        found |= {each for each in metrics if isinstance(each, str)} & {"acc", "accuracy"}
    return found.pop() if len(found) == 1 else None


def _is_history(reading: Reading, node: ast.expr) -> bool:
    value = reading.program.follow(Value(node, reading.program.frame_of(node)))
    return isinstance(value.node, ast.Attribute) and value.node.attr == "history"


def _requoted(reading: Reading, node: ast.expr, text: str) -> str:
    """Return a text in the quotes that the program uses at a place."""
    quote = "'" if reading.program.is_quoted(node, "'") else '"'
    return f"{quote}{text}{quote}"


CHECKS = (
    generator_methods,
    removed_methods,
    arguments_of_runs,
    renamed_arguments,
    removed_arguments,
    convolution_sizes,
    learning_rates,
    metrics_as_text,
    names_of_metrics,
)
