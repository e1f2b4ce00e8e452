"""Names and modules that Keras 3 has elsewhere, or nowhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from sightline.adoption.catalogue import (
    BACKEND_ADVICE,
    BACKEND_NAMES_LEFT,
    IMAGE_MODULE,
    IMAGE_NAMES_LEFT,
    LEFT_IN_TENSORFLOW,
    ONLY_IN_TENSORFLOW,
    OUR_IMAGE_NAMES,
    OUR_MODULE,
    PRIVATE_ROOTS,
    REMOVED_FROM_TENSORFLOW,
    REMOVED_NAMES,
    TENSORFLOW_ADVICE,
    modern,
    rooted,
    within,
)
from sightline.adoption.faults import AddImport, Edit, Fault, Relocate, Replace
from sightline.adoption.names import dotted_text
from sightline.adoption.program import Program
from sightline.adoption.reading import Reading
from sightline.records import Severity

_TENSORFLOW = "tensorflow.keras"
_LOST = OUR_IMAGE_NAMES - IMAGE_NAMES_LEFT
_TENSORFLOW_ROOTS = (_TENSORFLOW, "tensorflow.python.keras", "tensorflow.contrib.keras")


@dataclass(frozen=True, slots=True)
class _Name:
    """One dotted name the program takes from Keras, by an import or written out.

    Attributes:
        node: The statement or the expression.
        dotted: As it is written.
        index: Which name of an import; -1 for an expression.
    """

    node: ast.Import | ast.ImportFrom | ast.expr
    dotted: str
    index: int = -1


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is to be said of a name, and where it is instead, if anywhere."""

    code: str
    severity: Severity
    title: str
    advice: str
    target: str = ""


def moved_names(reading: Reading) -> Iterator[Fault]:
    """Yield names that moved, are gone, or are better taken from Sightline."""
    program = reading.program
    mixed = _to_one_keras(program)
    found: dict[tuple[ast.AST, str], Fault] = {}
    for name in _names(program):
        verdict = _verdict(program, name.dotted)
        if verdict is None or _only_loads(name):
            continue
        target = _in_keras(verdict.target) if mixed else verdict.target
        edits = _edits(program, name, target)
        if verdict.code == "image-generator-import" and name.index >= 0:
            edits = (*edits, *_companions(name))
        # Names that one import takes from one place are one finding.
        key = (name.node, verdict.title)
        if key in found:
            edits = (*found[key].edits, *edits)
        found[key] = Fault(
            verdict.code, verdict.severity, name.node, verdict.title, verdict.advice, edits
        )
    yield from found.values()


def mixed_imports(reading: Reading) -> Iterator[Fault]:
    """Yield one finding where a program takes Keras from two places."""
    program = reading.program
    names = [name for name in _names(program) if not _is_image(name.dotted)]
    own = [name for name in names if within(name.dotted, "keras")]
    foreign = [name for name in names if within(name.dotted, _TENSORFLOW)]
    if not own or not foreign:
        return
    edits = _to_one_keras(program)
    advice = "Take all of Keras from `keras`: the two are the same only with TensorFlow behind."
    if not edits:
        advice += " Some of the names are only in tensorflow.keras: change those by hand first."
    yield Fault(
        "mixed-imports",
        "warning",
        foreign[0].node,
        f"Keras is taken from two places: `{foreign[0].dotted}` here, and `{own[0].dotted}` "
        f"in line {own[0].node.lineno}.",
        advice,
        edits,
    )


CHECKS = (moved_names, mixed_imports)


def _names(program: Program) -> Iterator[_Name]:
    """Yield every name that comes from a module, by an import or as a chain of attributes."""
    for node in program.nodes(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.ImportFrom) and (node.level or not node.module):
            continue
        for index, alias in enumerate(node.names):
            dotted = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
            yield _Name(node, dotted, index)
    for node in program.nodes(ast.Attribute):
        parent = program.parent(node)
        if isinstance(parent, ast.Attribute):
            continue
        dotted = program.dotted(node)
        if dotted and _verdict(program, _root_dotted(program, node)) is None:
            yield _Name(node, dotted)


def _root_dotted(program: Program, node: ast.expr) -> str:
    """Return what the first name of a chain was imported as."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return program.dotted(node)


def _verdict(program: Program, dotted: str) -> _Verdict | None:
    name = rooted(dotted)
    if name == dotted and not within(name, "keras"):
        return _gone_from_tensorflow(dotted)
    if within(dotted, "sightline"):
        return None
    if within(name, IMAGE_MODULE):
        return _image_verdict(program, dotted, name)
    return _gone(dotted, name) or _private(dotted) or _moved(dotted, name)


def _image_verdict(program: Program, dotted: str, name: str) -> _Verdict | None:
    """Return what is to be said of `keras.preprocessing.image` or a name in it."""
    wanted = name[len(IMAGE_MODULE) + 1 :].partition(".")[0]
    if not wanted:
        wanted = _used_of_image(program, dotted)
    if wanted == "*":
        wanted = next((each for each in sorted(_LOST) if program.is_used_unbound(each)), "")
    works = within(dotted, _TENSORFLOW) or within(dotted, "keras.src")
    if wanted not in OUR_IMAGE_NAMES or (
        wanted in IMAGE_NAMES_LEFT and (works or within(dotted, "keras"))
    ):
        return None
    module = dotted.removesuffix(".*").removesuffix("." + wanted)
    if works:
        title = f"`{wanted}` of {module} is deprecated and decodes its images in one thread."
    elif within(dotted, "keras"):
        title = f"`{wanted}` is not in {module} of Keras 3: the program stops here."
    else:
        title = f"`{module}` is gone: the program stops here."
    target = OUR_MODULE + name[len(IMAGE_MODULE) :]
    advice = f"Take it from {OUR_MODULE}, which has the same names and arguments."
    return _Verdict(
        "image-generator-import", "warning" if works else "error", title, advice, target
    )


def _used_of_image(program: Program, dotted: str) -> str:
    """Return the first name a program uses of an imported module that the module lacks."""
    used = (program.dotted(node) for node in program.nodes(ast.Attribute))
    names = (each.rpartition(".") for each in used)
    return next((name for home, _, name in names if home == dotted and name in _LOST), "")


def _gone(dotted: str, name: str) -> _Verdict | None:
    in_tensorflow = within(dotted, _TENSORFLOW)
    for removed, advice in REMOVED_NAMES.items():
        exact = removed == "keras.layers.merge"  # a module of that name has only moved
        found = name == removed if exact else within(name, removed)
        if found and not (in_tensorflow and (removed in LEFT_IN_TENSORFLOW | ONLY_IN_TENSORFLOW)):
            return _Verdict("removed-name", "error", f"`{dotted}` is not in Keras 3.", advice)
    if in_tensorflow:
        return None
    own = name.split(".")
    if (
        own[:2] == ["keras", "backend"]
        and len(own) > 2
        and own[2] not in {*BACKEND_NAMES_LEFT, "*"}
    ):
        return _Verdict("removed-name", "error", f"`{dotted}` is not in Keras 3.", BACKEND_ADVICE)
    if any(within(name, only) for only in ONLY_IN_TENSORFLOW):
        title = f"`{dotted}` is not in Keras 3."
        return _Verdict("removed-name", "error", title, TENSORFLOW_ADVICE)
    return None


def _private(dotted: str) -> _Verdict | None:
    for root, public in PRIVATE_ROOTS.items():
        if within(dotted, root):
            target = public + modern(rooted(dotted))[len("keras") :]
            title = f"`{dotted}` is inside {root}, which is private or gone."
            return _Verdict("private-module", "error", title, f"Write {target}.", target)
    return None


def _moved(dotted: str, name: str) -> _Verdict | None:
    found = modern(name)
    if found == name or name == "keras.layers.merge":
        return None
    root = _TENSORFLOW if within(dotted, _TENSORFLOW) else "keras"
    target = root + found[len("keras") :]
    # The module alone, where only that has changed.
    old, new = dotted, target
    if dotted.rpartition(".")[2] == target.rpartition(".")[2]:
        old, new = dotted.rpartition(".")[0], target.rpartition(".")[0]
    title = f"`{old}` is not in Keras 3: it is `{new}` now."
    if within(name, "keras.optimizers.legacy"):
        title = f"`{old}` raises ImportError when it is used: Keras 3 has no legacy optimizers."
    return _Verdict("moved-name", "error", title, f"Write {new}.", target)


def _gone_from_tensorflow(dotted: str) -> _Verdict | None:
    for removed, advice in REMOVED_FROM_TENSORFLOW.items():
        if within(dotted, removed):
            title = f"`{dotted}` is not in TensorFlow 2: the program stops here."
            return _Verdict("removed-name", "error", title, advice)
    return None


def _edits(program: Program, name: _Name, target: str) -> tuple[Edit, ...]:
    if not target:
        return ()
    if isinstance(name.node, ast.expr):
        return _written(program, name.node, target)
    if isinstance(name.node, ast.Import) and name.node.names[name.index].asname is None:
        # `import keras.layers.core` only loads; its uses are written out and change there.
        fails = target.startswith("keras.") or within(name.dotted, "keras_preprocessing")
        return (Relocate(name.node, name.index, target),) if fails else ()
    return (Relocate(name.node, name.index, target),)


def _companions(name: _Name) -> Iterator[Edit]:
    """Yield the moves of the other names in an import that Sightline has as well."""
    assert isinstance(name.node, (ast.Import, ast.ImportFrom))
    for index, alias in enumerate(name.node.names):
        if isinstance(name.node, ast.ImportFrom) and _is_image(f"{name.node.module}.{alias.name}"):
            module = rooted(f"{name.node.module}.{alias.name}")[len(IMAGE_MODULE) :]
            if module[1:] in OUR_IMAGE_NAMES:
                yield Relocate(name.node, index, OUR_MODULE + module)


def _is_image(dotted: str) -> bool:
    return within(rooted(dotted), IMAGE_MODULE)


def _written(program: Program, node: ast.expr, target: str) -> tuple[Edit, ...]:
    """Return the change of a name that is written out, as in `keras.layers.core.Dense`."""
    if within(target, OUR_MODULE):
        name, dot, rest = target[len(OUR_MODULE) + 1 :].partition(".")
        text, edit = our_function(program, name)
        return (Replace(node, text + dot + rest), *edit)
    prefix = node
    while isinstance(prefix, ast.Attribute):
        prefix = prefix.value
        own = program.dotted(prefix)
        if own and within(target, own):
            return (Replace(node, dotted_text(prefix) + target[len(own) :]),)
    imported = program.imported_as("keras")
    if (
        not within(target, "keras")
        or program.is_bound("keras")
        or imported - {"keras", _TENSORFLOW}
    ):
        return ()
    return (Replace(node, target), *(() if imported else (AddImport("keras"),)))


def our_function(program: Program, name: str) -> tuple[str, tuple[Edit, ...]]:
    """Return how a program may write a name of ours, and the import that this needs."""
    known = program.imported_as(name)
    if f"{OUR_MODULE}.{name}" in known:
        return name, ()
    if program.is_bound(name) or any(not _is_image(each) for each in known):
        return f"sightline_image.{name}", (AddImport(OUR_MODULE, alias="sightline_image"),)
    moving = any(_verdict(program, each) is not None for each in known)
    return name, () if moving else (AddImport(OUR_MODULE, name),)


def _to_one_keras(program: Program) -> tuple[Edit, ...]:
    """Return the changes after which all of Keras comes from `keras`; none where that fails."""
    names = [
        name
        for name in _names(program)
        if within(rooted(name.dotted), "keras") and not _is_image(name.dotted)
    ]
    foreign = [name for name in names if _is_foreign(name)]
    if not foreign or not any(within(name.dotted, "keras") for name in names):
        return ()
    if any(_gone(rooted(name.dotted), rooted(name.dotted)) for name in foreign):
        return ()
    edits: list[Edit] = []
    for name in foreign:
        if isinstance(name.node, ast.expr):
            if within(rooted(_root_dotted(program, name.node)), "keras"):
                continue  # its import moves, and this with it
        elif isinstance(name.node, ast.Import) and name.node.names[name.index].asname is None:
            continue  # only loads
        changes = _edits(program, name, modern(rooted(name.dotted)))
        if not changes:
            return ()
        edits += changes
    return tuple(edits)


def _is_foreign(name: _Name) -> bool:
    return any(within(name.dotted, root) for root in _TENSORFLOW_ROOTS)


def _only_loads(name: _Name) -> bool:
    """Return whether an import is `import keras.preprocessing.image`, which works in itself."""
    if not isinstance(name.node, ast.Import) or name.node.names[name.index].asname is not None:
        return False
    return name.dotted in {IMAGE_MODULE, f"{_TENSORFLOW}.preprocessing.image"}


def _in_keras(target: str) -> str:
    return "keras" + target[len(_TENSORFLOW) :] if within(target, _TENSORFLOW) else target
