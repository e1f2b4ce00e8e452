"""Where a program gives its names a meaning."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Function = ast.FunctionDef | ast.AsyncFunctionDef

_LONGEST = 60  # characters of an expression in a sentence


@dataclass(frozen=True, slots=True)
class Frame:
    """The call that a function's parameters get their values from; none at the top level."""

    function: Function | None = None
    call: ast.Call | None = None
    caller: Frame | None = None


TOP = Frame()


@dataclass(frozen=True, slots=True)
class Value:
    """An expression, and the call it is to be read in."""

    node: ast.expr
    frame: Frame = TOP


def shown(node: ast.AST) -> str:
    """Return the text of an expression, shortened for a sentence."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


@dataclass(frozen=True, slots=True)
class Binding:
    """One place where a name gets a meaning.

    Attributes:
        kind: "item" is one element of a tuple, "opaque" anything that is not followed.
        node: Where.
        function: The function it is local to, if any.
        value: The expression assigned, or a parameter's default.
        index: Which element of it, or which parameter.
        dotted: What is imported.
    """

    kind: Literal["import", "value", "item", "function", "parameter", "opaque"]
    node: ast.AST
    function: Function | None
    value: ast.expr | None = None
    index: int = 0
    dotted: str = ""


def position(node: ast.AST) -> tuple[int, int]:
    """Return (line from 1, byte column from 0) where a node begins."""
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def dotted_text(node: ast.expr) -> str:
    """Return "a.b.c" for a name or a chain of attributes, "" for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(names)])


def only(found: Sequence[Binding]) -> Binding | None:
    """Return the one binding that a function sees from outside, or None where there are several."""
    if all(each.kind == "import" for each in found):
        return found[-1]
    return found[0] if len(found) == 1 else None


def bound_at(binding: Binding) -> tuple[int, int]:
    """Return where a binding begins to hold: after its statement, or where a definition begins."""
    node = binding.node
    if isinstance(node, (Function, ast.ClassDef, ast.arg)):
        return position(node)
    return getattr(node, "end_lineno", 0) or 0, getattr(node, "end_col_offset", 0) or 0


def bindings_of(node: ast.AST, function: Function | None) -> Iterator[tuple[str, Binding]]:
    """Yield the names a node binds, with their bindings; "*" for all names of a module."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _imported(node, function)
    elif isinstance(node, Function):
        yield node.name, Binding("function", node, function)
        yield from _parameters(node)
    elif isinstance(node, ast.ClassDef):
        yield node.name, Binding("function", node, function)
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from _targets(target, node, function, node.value)
    elif isinstance(node, (ast.For, ast.AsyncFor, ast.AugAssign)):
        yield from _targets(node.target, node.target, function, None)
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield from _targets(node.optional_vars, node.optional_vars, function, None)
    elif isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name, Binding("opaque", node, function)


def _imported(
    node: ast.Import | ast.ImportFrom, function: Function | None
) -> Iterator[tuple[str, Binding]]:
    module = "." * node.level + (node.module or "") if isinstance(node, ast.ImportFrom) else None
    for alias in node.names:
        if module is None:
            dotted = alias.name if alias.asname else alias.name.partition(".")[0]
            name = alias.asname or dotted
        else:
            dotted = module if alias.name == "*" else f"{module}.{alias.name}"
            name = alias.asname or alias.name
        yield name, Binding("import", node, function, dotted=dotted)


def _parameters(function: Function) -> Iterator[tuple[str, Binding]]:
    spec = function.args
    defaults: list[ast.expr | None] = [None] * (len(spec.args) - len(spec.defaults))
    with_defaults = [
        *zip(spec.args, [*defaults, *spec.defaults], strict=False),
        *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
    ]
    for each, default in with_defaults:
        yield each.arg, Binding("parameter", each, function, default)
    for rest in (spec.vararg, spec.kwarg, *spec.posonlyargs):
        if rest is not None:
            yield rest.arg, Binding("opaque", rest, function)


def _targets(
    target: ast.expr, node: ast.AST, function: Function | None, value: ast.expr | None
) -> Iterator[tuple[str, Binding]]:
    """Yield the names of one target: a name, self.x, or a tuple of them."""
    if isinstance(target, (ast.Name, ast.Attribute)):
        name = dotted_text(target)
        if name:
            kind: Literal["value", "opaque"] = "opaque" if value is None else "value"
            yield name, Binding(kind, node, function, value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        for index, each in enumerate(target.elts):
            name = dotted_text(each)
            if name:
                yield (
                    name,
                    Binding("opaque" if value is None else "item", node, function, value, index),
                )
