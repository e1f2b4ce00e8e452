"""What one check found in a program, and the changes of its text that mend it."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from sightline.records import Severity


@dataclass(frozen=True, slots=True)
class RenameArgument:
    """`f(old=1)` becomes `f(new=1)`."""

    call: ast.Call
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class RemoveArgument:
    """`f(a, name=1)` becomes `f(a)`."""

    call: ast.Call
    name: str


@dataclass(frozen=True, slots=True)
class RenameMethod:
    """`model.old(x)` becomes `model.new(x)`."""

    call: ast.Call
    new: str


@dataclass(frozen=True, slots=True)
class CallFunction:
    """`model.method(x)` becomes `function(model, x)`."""

    call: ast.Call
    function: str


@dataclass(frozen=True, slots=True)
class JoinArguments:
    """`f(32, 3, 3)` becomes `f(32, (3, 3))`, from the second positional argument on."""

    call: ast.Call


@dataclass(frozen=True, slots=True)
class Replace:
    """An expression becomes another."""

    node: ast.expr
    source: str


@dataclass(frozen=True, slots=True)
class Wrap:
    """An expression gets text around it."""

    node: ast.expr
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Relocate:
    """One name of an import comes from elsewhere, under the name the program knows it by."""

    statement: ast.Import | ast.ImportFrom
    index: int
    target: str


@dataclass(frozen=True, slots=True)
class AddImport:
    """A name is imported that was not; `name` "" imports the module itself."""

    module: str
    name: str = ""
    alias: str = ""


Edit = (
    RenameArgument | RemoveArgument | RenameMethod | CallFunction | JoinArguments
    | Replace | Wrap | Relocate | AddImport
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding, still tied to the node it is about.

    Attributes:
        code: Stable name of the check.
        severity: "error" stops the program on Keras 3, or trains or judges wrongly.
        node: Where.
        title: What is wrong, in one sentence with the script's own names and values.
        advice: What to do.
        edits: What mends it; none where a person has to decide.
    """

    code: str
    severity: Severity
    node: ast.expr | ast.stmt
    title: str
    advice: str
    edits: tuple[Edit, ...] = ()
