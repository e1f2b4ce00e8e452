"""Generators: their order, their augmentation, their scaling and their split."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.adoption.catalogue import OUR_MODULE
from sightline.adoption.checks.calls import as_function
from sightline.adoption.faults import Edit, Fault
from sightline.adoption.names import Value, dotted_text, shown
from sightline.adoption.program import UNKNOWN
from sightline.adoption.reading import AUGMENTING, FLOW_ORDERS, Flow, Made, Reading

_DROPPED = ("has_ext", "sort", "drop_duplicates")  # Keras warns of these
_ORDERED = frozenset({"filenames", "filepaths", "classes", "labels"})


def validation_augmented(reading: Reading) -> Iterator[Fault]:
    """Yield validation and test generators that change their pictures at random."""
    told: set[ast.Call] = set()
    for role, flow in _judging_flows(reading):
        if flow.augmenter is None or flow.call in told:
            continue
        names = [name for name in flow.augmenter.arguments if _augments(reading, flow, name)]
        if not names:
            continue
        told.add(flow.call)
        shared = any(
            other.augmenter is not None and other.augmenter.call is flow.augmenter.call
            for other in _training_flows(reading)
        )
        which = " It is the ImageDataGenerator of the training." if shared else ""
        many = f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        yield Fault(
            "validation-augmented",
            "warning",
            flow.call,
            f"`{flow.name}` is used for {role} and is augmented ({many}): "
            f"every epoch measures other pictures.{which}",
            "Give it an ImageDataGenerator of its own that only rescales.",
        )


def _augments(reading: Reading, flow: Flow, name: str) -> bool:
    assert flow.augmenter is not None
    if name not in AUGMENTING:
        return False
    value = reading.constant(flow.augmenter, name)
    return value not in (0, 0.0, False, None)


def _training_flows(reading: Reading) -> Iterator[Flow]:
    found = (reading.flow(run.arguments.get("x")) for run in reading.of("fit"))
    return (flow for flow in found if flow is not None)


def _judging_flows(reading: Reading) -> Iterator[tuple[str, Flow]]:
    """Yield the generators that judge a model, with the word for it."""
    for run in reading.runs:
        word = {"fit": "validation", "evaluate": "evaluation", "predict": "prediction"}[run.verb]
        given = run.arguments.get("validation_data" if run.verb == "fit" else "x")
        flow = reading.flow(given)
        if flow is not None:
            yield word, flow


def training_unshuffled(reading: Reading) -> Iterator[Fault]:
    """Yield training generators that keep the order of the files."""
    told: set[ast.Call] = set()
    for flow in _training_flows(reading):
        if reading.constant(flow, "shuffle", True) is not False or flow.call in told:
            continue
        told.add(flow.call)
        order = "class after class" if flow.method == "flow_from_directory" else "in their order"
        yield Fault(
            "train-unshuffled",
            "error",
            flow.call,
            f"`{flow.name}` trains with shuffle=False: the pictures come {order}, "
            "every epoch the same.",
            "Remove shuffle=False: shuffling is the default.",
        )


def predictions_shuffled(reading: Reading) -> Iterator[Fault]:
    """Yield predictions of a shuffled generator that are matched to its files by position."""
    for run in reading.of("predict"):
        flow = reading.flow(run.arguments.get("x"))
        if flow is None or run.adopted or reading.constant(flow, "shuffle", True) is not True:
            continue
        used = _ordered_use(reading, flow)
        if used is None:
            continue
        edits: tuple[Edit, ...] = ()
        if run.method == "predict_generator":  # ours gives the rows in the order of the files
            edits = as_function(reading, run)
        yield Fault(
            "predictions-shuffled",
            "error",
            run.call,
            f"`{flow.name}` shuffles, so the rows of this prediction are not in the order of "
            f"`{shown(used)}` (line {used.lineno}): every name gets another picture's prediction.",
            f"Give shuffle=False to {flow.method} of `{flow.name}`, or call predict_generator "
            f"of {OUR_MODULE}, which keeps the order of the files.",
            edits,
        )


def _ordered_use(reading: Reading, flow: Flow) -> ast.Attribute | None:
    """Return the first place that reads a generator's files or labels in their order."""
    program = reading.program
    for node in program.nodes(ast.Attribute):
        if node.attr not in _ORDERED or not dotted_text(node):
            continue
        owner = reading.flow(Value(node.value, program.frame_of(node)))
        if owner is not None and owner.call is flow.call and not _only_counted(reading, node):
            assert isinstance(node, ast.Attribute)
            return node
    return None


def _only_counted(reading: Reading, node: ast.Attribute) -> bool:
    """Return whether a list is used for its length, or for what is in it in any order."""
    parent = reading.program.parent(node)
    names = {"len", "set", "Counter", "collections.Counter", "np.unique", "numpy.unique",
             "np.bincount", "max", "np.max"}  # fmt: skip
    return isinstance(parent, ast.Call) and dotted_text(parent.func) in names


def scaling_differs(reading: Reading) -> Iterator[Fault]:
    """Yield generators that are scaled in another way than the training's."""
    trained = next((flow for flow in _training_flows(reading) if flow.augmenter), None)
    if trained is None or trained.augmenter is None:
        return
    told: set[ast.Call] = set()
    for _, flow in _judging_flows(reading):
        if flow.augmenter is None or flow.augmenter.call in told | {trained.augmenter.call}:
            continue
        told.add(flow.augmenter.call)
        for name in ("rescale", "preprocessing_function"):
            own, theirs = (
                _scaling(reading, each, name) for each in (flow.augmenter, trained.augmenter)
            )
            if own == theirs or UNKNOWN in (own, theirs):
                continue
            yield Fault(
                "scaling-differs",
                "error",
                flow.augmenter.call,
                f"`{flow.name}` has {_written(flow.augmenter, name)}, the training's "
                f"`{trained.name}` {_written(trained.augmenter, name)}: "
                "the model is judged on numbers it never saw.",
                f"Give both the same {name}.",
            )


def _scaling(reading: Reading, augmenter: Made, name: str) -> object:
    given = augmenter.arguments.get(name)
    if given is None:
        return None
    if name == "preprocessing_function":
        return reading.program.origin(given.node) or UNKNOWN
    return reading.program.constant(given) or None  # rescale=0 does nothing


def _written(augmenter: Made, name: str) -> str:
    given = augmenter.arguments.get(name)
    return f"no {name}" if given is None else f"{name}={shown(given.node)}"


def scaled_twice(reading: Reading) -> Iterator[Fault]:
    """Yield generators that rescale what a network's own preprocess_input has scaled."""
    for made in reading.augmenters:
        given = made.arguments.get("preprocessing_function")
        if given is None or "rescale" not in made.arguments:
            continue
        name = reading.program.origin(given.node)
        if not name.startswith("keras.applications.") or not name.endswith(".preprocess_input"):
            continue
        yield Fault(
            "scaled-twice",
            "error",
            made.call,
            f"{_written(made, 'rescale')} comes on top of `{shown(given.node)}`, "
            "which scales already: the network gets numbers near 0.",
            "Remove rescale=: preprocess_input is all the network wants.",
        )


def split_by_order(reading: Reading) -> Iterator[Fault]:
    """Yield validation splits that take the first files or the last rows."""
    for made in reading.augmenters:
        share = reading.constant(made, "validation_split", 0)
        if share in (0, None):
            continue
        percent = f"{share:.0%}" if isinstance(share, float) else "part"
        yield Fault(
            "split-by-order",
            "warning",
            made.call,
            f"validation_split={shown(made.arguments['validation_split'].node)} takes the first "
            f"{percent} of each class by file name: not random, and pictures of one patient or "
            "scene fall on both sides.",
            "Split once by group: sightline split, then a folder or a column for each part.",
        )
    for run in reading.of("fit"):
        share = reading.constant(run, "validation_split", 0)
        if share in (0, None):
            continue
        yield Fault(
            "split-by-order",
            "warning",
            run.call,
            f"validation_split={shown(run.arguments['validation_split'].node)} of fit takes the "
            "last rows of the arrays, before any shuffling: the last class alone if they are "
            "sorted.",
            "Split the arrays by group first, and give validation_data=.",
        )


def unknown_arguments(reading: Reading) -> Iterator[Fault]:
    """Yield arguments of flow_from_dataframe that it does not have, and Keras passes over."""
    for flow in reading.flows:
        if flow.method != "flow_from_dataframe":
            continue
        for keyword in flow.call.keywords:
            if keyword.arg is None or keyword.arg in FLOW_ORDERS[flow.method] + _DROPPED:
                continue
            yield Fault(
                "unknown-argument",
                "error",
                keyword.value,
                f"`{keyword.arg}=` is no argument of flow_from_dataframe: Keras passes over it "
                "without a word.",
                "Remove it, or mend its name; Sightline refuses it.",
            )


CHECKS = (
    unknown_arguments,
    validation_augmented,
    training_unshuffled,
    predictions_shuffled,
    scaling_differs,
    scaled_twice,
    split_by_order,
)
