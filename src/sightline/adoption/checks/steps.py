"""Numbers of batches worked out by hand, and what they leave out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.adoption.checks.calls import renaming
from sightline.adoption.faults import Edit, Fault, RemoveArgument, Replace
from sightline.adoption.names import Value, dotted_text, shown
from sightline.adoption.reading import ADOPTED, Flow, Reading, Run
from sightline.records import Severity

# What is counted -> the argument that holds the generator it counts.
_STEPS = {"steps_per_epoch": "x", "validation_steps": "validation_data", "steps": "x"}
# Keras 1 counted images.
_SAMPLES = {
    "samples_per_epoch": ("steps_per_epoch", "x"),
    "nb_val_samples": ("validation_steps", "validation_data"),
    "val_samples": ("steps", "x"),
}


def steps_by_hand(reading: Reading) -> Iterator[Fault]:
    """Yield numbers of steps that are fractions, drop images, or are fixed."""
    for run in reading.runs:
        for argument, holder in _STEPS.items():
            given = run.arguments.get(argument)
            if given is None:
                continue
            steps = reading.program.follow(given)
            source = run.arguments.get(holder)
            flow = reading.flow(source)
            if source is not None and flow is None and reading.program.constant(source) is None:
                continue
            if flow is None and source is not None and reading.is_endless(source):
                continue
            fault = _judged(reading, run, argument, steps, flow)
            if fault is None:
                continue
            by_hand = isinstance(_unwrapped(reading, steps), ast.BinOp)  # else it may be meant
            edits = _mended(run, argument, given, source, flow) if by_hand else ()
            yield Fault(*fault, edits=edits)


_Judged = tuple[str, Severity, ast.expr, str, str]


def _judged(
    reading: Reading, run: Run, argument: str, steps: Value, flow: Flow | None
) -> _Judged | None:
    """Return what is wrong with one number of steps, None where nothing is."""
    node = _unwrapped(reading, steps)
    text = f"{argument}={shown(steps.node)}"
    if _is_fraction(node):
        return (
            "steps-not-whole",
            "error",
            run.place(argument),
            f"{text} is no whole number in Python 3: Keras 3 stops with TypeError.",
            _advice(argument, flow),
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv):
        return _divided(reading, run, argument, Value(node, steps.frame), text, flow)
    number = reading.program.constant(steps)
    if isinstance(number, int) and not isinstance(number, bool) and flow is not None:
        return _fixed(reading, run, argument, number, flow)
    return None


def _advice(argument: str, flow: Flow | None) -> str:
    name = "the generator" if flow is None else flow.name
    return f"Write {argument}=len({name}), or leave it out: a generator knows its batches."


def _is_fraction(node: ast.expr) -> bool:
    """Return whether a number is a quotient, or a sum or product with one, as in `n / b + 1`."""
    if not isinstance(node, ast.BinOp):
        return False
    if isinstance(node.op, ast.Div):
        return True
    sums = isinstance(node.op, (ast.Add, ast.Sub, ast.Mult))
    return sums and (_is_fraction(node.left) or _is_fraction(node.right))


def _is_repeated(source: Value) -> bool:
    """Return whether a generator is given as `generator.repeat()`, which has no end."""
    called = source.node.func if isinstance(source.node, ast.Call) else None
    return isinstance(called, ast.Attribute) and called.attr == "repeat"


def _unwrapped(reading: Reading, steps: Value) -> ast.expr:
    """Return `n // b` for int(n / b), and `n / b` for np.ceil(n / b), which is no int either."""
    node = steps.node
    if not isinstance(node, ast.Call) or len(node.args) != 1:
        return node
    name = reading.program.dotted(node.func) or dotted_text(node.func)
    inner = reading.program.follow(Value(node.args[0], steps.frame)).node
    if not isinstance(inner, ast.BinOp) or not isinstance(inner.op, (ast.Div, ast.FloorDiv)):
        return node
    if name in {"int", "math.floor"}:
        return ast.copy_location(ast.BinOp(inner.left, ast.FloorDiv(), inner.right), inner)
    return inner if name in {"numpy.ceil", "numpy.floor"} else node


def _divided(
    reading: Reading, run: Run, argument: str, steps: Value, text: str, flow: Flow | None
) -> _Judged:
    assert isinstance(steps.node, ast.BinOp)
    count = reading.program.constant(Value(steps.node.left, steps.frame))
    batch = reading.program.constant(Value(steps.node.right, steps.frame))
    advice = _advice(argument, flow)
    rest = ""
    if isinstance(count, int) and isinstance(batch, int) and batch > 0:
        if count % batch == 0:
            title = f"{text} is {count // batch} as long as there are exactly {count} images."
            return "steps-fixed", "info", run.place(argument), title, advice
        rest = f" of {count % batch} images"
    if run.verb == "predict":
        title = f"{text} leaves out the last batch{rest}: fewer predictions than files."
        return "steps-drop-images", "error", run.place(argument), title, advice
    starved = flow is not None and not _is_repeated(run.arguments["x"])
    if argument == "steps_per_epoch" and run.method == "fit" and starved:
        title = (
            f"{text} leaves the last batch{rest} over, and Keras 3 makes that batch alone "
            "the next epoch: every second epoch trains on it and nothing else."
        )
        return "steps-drop-images", "error", run.place(argument), title, advice
    title = f"{text} leaves out the last batch{rest}."
    return "steps-drop-images", "warning", run.place(argument), title, advice


def _fixed(reading: Reading, run: Run, argument: str, number: int, flow: Flow) -> _Judged | None:
    """Return the finding of a number written down, with what the generator's folder holds."""
    batch = reading.constant(flow, "batch_size", 32)
    images = reading.images(flow)
    title = f"{argument}={number} is written by hand"
    if isinstance(batch, int):
        title += f": {number * batch:,} images in batches of {batch}"
    if images is None or not isinstance(batch, int):
        severity: Severity = "warning" if argument == "steps_per_epoch" else "info"
        title += f", whatever `{flow.name}` holds."
    else:
        batches = -(-images // batch)
        if batches == number:
            return None
        severity = "error" if argument == "steps_per_epoch" and number < batches else "warning"
        title += f", but `{flow.name}` holds {images:,}, that is {batches} batches."
    advice = f"Write {argument}=len({flow.name}), or leave it out, unless a part is meant."
    return "steps-fixed", severity, run.place(argument), title, advice


def _mended(
    run: Run, argument: str, given: Value, source: Value | None, flow: Flow | None
) -> tuple[Edit, ...]:
    """Return the change to `len(generator)`; none where the number may be meant, or is far."""
    keyword = next((each for each in run.call.keywords if each.arg == argument), None)
    direct = keyword is not None or any(each is given.node for each in run.call.args)
    if flow is None or source is None or not direct:
        return ()
    node = source.node
    if _is_repeated(source):
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Attribute)
        node = node.func.value
    name = dotted_text(node)
    if name:
        return (Replace(given.node, f"len({name})"),)
    if _is_repeated(source):  # it never ends: the number has to stay
        return ()
    return (RemoveArgument(run.call, argument),) if keyword is not None else ()


def samples_by_hand(reading: Reading) -> Iterator[Fault]:
    """Yield Keras 1's numbers of images, which are numbers of batches since Keras 2."""
    for run in reading.runs:
        for keyword in run.call.keywords:
            if keyword.arg not in _SAMPLES:
                continue
            new, holder = _SAMPLES[keyword.arg]
            source = run.arguments.get(holder)
            known = reading.flow(source) is not None
            name = dotted_text(source.node) if source is not None and known else ""
            renamed = renaming(run.call, keyword.arg, new)
            edits = (*renamed, Replace(keyword.value, f"len({name})"))
            yield Fault(
                "renamed-argument",
                "error",
                keyword.value,
                f"`{keyword.arg}={shown(keyword.value)}` counts images; "
                f"since Keras 2 it is `{new}=`, which counts batches.",
                f"Write {new}=len({name or 'the generator'}).",
                edits if name and renamed else (),
            )


def batch_size_beside_generator(reading: Reading) -> Iterator[Fault]:
    """Yield `batch_size=` given together with a generator, which has its own."""
    for run in reading.runs:
        flow = reading.flow(run.arguments.get("x"))
        keywords = {each.arg for each in run.call.keywords}
        if flow is None or "batch_size" not in run.arguments or run.method in ADOPTED:
            continue
        given = reading.constant(run, "batch_size")
        own = reading.constant(flow, "batch_size", 32)
        yield Fault(
            "batch-size-ignored",
            "warning",
            run.place("batch_size"),
            f"batch_size={shown(run.arguments['batch_size'].node)} of {run.method} has no effect: "
            f"`{flow.name}` makes the batches"
            + (f", of {own}." if isinstance(own, int) and own != given else "."),
            f"Give batch_size= to {flow.method} instead.",
            (RemoveArgument(run.call, "batch_size"),) if "batch_size" in keywords else (),
        )


def labels_beside_generator(reading: Reading) -> Iterator[Fault]:
    """Yield a second argument of fit or evaluate beside a generator: those are labels."""
    for run in reading.runs:
        flow = reading.flow(run.arguments.get("x"))
        given = run.arguments.get("y")
        if flow is None or given is None or reading.program.constant(given) is None:
            continue
        yield Fault(
            "labels-beside-generator",
            "error",
            run.place("y"),
            f"`{shown(given.node)}` is read as the labels of {run.method}, and `{flow.name}` "
            "brings its own: Keras stops with ValueError.",
            "Remove it; a number of steps goes by its name, steps= or steps_per_epoch=.",
        )


CHECKS = (steps_by_hand, samples_by_hand, batch_size_beside_generator, labels_beside_generator)
