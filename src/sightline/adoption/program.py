"""What the names of a program stand for, read off its text and never by running it.

The reading is modest on purpose: a name whose value depends on a branch, a loop or two different
calls is unknown, and what is unknown is not reported.
"""

from __future__ import annotations

import ast
import builtins
import operator
import os.path
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from sightline.adoption.catalogue import canonical
from sightline.adoption.names import (
    TOP,
    Binding,
    Frame,
    Function,
    Value,
    bindings_of,
    bound_at,
    dotted_text,
    only,
    position,
)

UNKNOWN: Final = object()
# What Python counts as the end of a line; str.splitlines knows more.
NEWLINE = re.compile("\r\n|\r|\n")

_DEEPEST = 20  # names followed through names, calls through calls
_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


class Program:
    """A parsed program, its names and its calls.

    Attributes:
        tree: The module.
        calls: Every call, in the order of the text.
    """

    def __init__(self, tree: ast.Module, code: str) -> None:
        self.tree = tree
        self._lines = NEWLINE.split(code)
        self._parents: dict[ast.AST, ast.AST] = {}
        self._functions: dict[ast.AST, Function | None] = {}
        self._bindings: dict[tuple[Function | None, str], list[Binding]] = {}
        self._stars: list[str] = []
        self._uses: dict[Function, list[ast.Call]] = {}
        self._dotted: dict[ast.expr, str] = {}
        self._nodes = list(self._walk())
        for node in self._nodes:
            for name, binding in bindings_of(node, self._functions[node]):
                if name == "*":
                    self._stars.append(binding.dotted)
                    continue
                home = None if "." in name else binding.function  # self.x: one for the program
                self._bindings.setdefault((home, name), []).append(binding)
        self.calls = [node for node in self._nodes if isinstance(node, ast.Call)]
        self.calls.sort(key=lambda call: (call.end_lineno or 0, call.end_col_offset or 0))
        for call in self.calls:
            function = self.called(call)
            if function is not None:
                self._uses.setdefault(function, []).append(call)

    def _walk(self) -> Iterator[ast.AST]:
        """Yield every node, remembering its parent and the function it stands in."""
        pending: list[tuple[ast.AST, Function | None]] = [(self.tree, None)]
        while pending:
            node, function = pending.pop()
            self._functions[node] = function
            yield node
            inside = node if isinstance(node, Function) else function
            for child in reversed(list(ast.iter_child_nodes(node))):
                self._parents[child] = node
                pending.append((child, inside))

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[Any]:
        """Yield the nodes of some kinds, in the order of the text."""
        return (node for node in self._nodes if isinstance(node, kinds))

    def is_quoted(self, node: ast.expr, quote: str) -> bool:
        """Return whether a text is written with some quotes."""
        line, column = position(node)
        return self._lines[line - 1].encode()[column:].startswith(quote.encode())

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return the node that holds a node."""
        return self._parents.get(node)

    def function_of(self, node: ast.AST) -> Function | None:
        """Return the function a node stands in, or None at the top level."""
        return self._functions.get(node)

    def frame_of(self, node: ast.AST) -> Frame:
        """Return how the code around a node is called: its parameters are known if only once."""
        return self._frame(self.function_of(node), 0)

    def _frame(self, function: Function | None, depth: int) -> Frame:
        if function is None:
            return TOP
        uses = self._uses.get(function, [])
        if len(uses) != 1 or depth > _DEEPEST:
            return Frame(function)
        return Frame(function, uses[0], self._frame(self.function_of(uses[0]), depth + 1))

    def is_bound(self, name: str) -> bool:
        """Return whether the program gives a name a meaning of its own, other than by import."""
        return any(
            binding.kind != "import"
            for (_, bound), bindings in self._bindings.items()
            if bound == name
            for binding in bindings
        )

    def is_used_unbound(self, name: str) -> bool:
        """Return whether a name is used that only `from MODULE import *` can have given."""
        if any(bound == name for _, bound in self._bindings):
            return False
        return any(node.id == name for node in self.nodes(ast.Name))

    def imported_as(self, name: str) -> frozenset[str]:
        """Return what is imported under a name, anywhere."""
        found = (b for (_, bound), all_ in self._bindings.items() if bound == name for b in all_)
        return frozenset(each.dotted for each in found if each.kind == "import")

    def dotted(self, node: ast.expr) -> str:
        """Return what a name or chain stands for, as it was imported; "" if it was not."""
        found = self._dotted.get(node)
        if found is None:
            found = self._dotted[node] = self._imported(node, 0)
        return found

    def _imported(self, node: ast.expr, depth: int) -> str:
        text = dotted_text(node)
        root, _, rest = text.partition(".")
        if not text or depth > _DEEPEST:
            return ""
        while isinstance(node, ast.Attribute):
            node = node.value
        binding = self._lookup(root, node)
        if binding is None:
            found = self._from_star(root)
        elif binding.kind == "import":
            found = binding.dotted
        elif binding.kind == "value" and binding.value is not None:
            found = self._imported(binding.value, depth + 1)
        else:
            found = ""
        return f"{found}.{rest}" if found and rest else found

    def origin(self, node: ast.expr) -> str:
        """Return the canonical name of what a name or chain stands for, or ""."""
        return canonical(self.dotted(node))

    def _from_star(self, name: str) -> str:
        """Return what a name no one binds may be, after `from MODULE import *`."""
        stars = [module for module in self._stars if canonical(module).startswith("keras")]
        if not stars or hasattr(builtins, name) or any((f, name) in self._bindings for f in [None]):
            return ""
        if len(stars) == 1:
            return f"{stars[0]}.{name}"
        wanted = _HOMES.get(name, "keras.layers")
        return next((f"{each}.{name}" for each in stars if canonical(each) == wanted), "")

    def _lookup(self, name: str, at: ast.AST) -> Binding | None:
        function = self.function_of(at)
        home = function
        while True:
            found = self._bindings.get((home, name))
            if found:
                return self._choose(found, at) if home is function else only(found)
            if home is None:
                return None
            home = self.function_of(home)

    def _choose(self, found: Sequence[Binding], at: ast.AST) -> Binding | None:
        """Return the binding that holds at a place of the same function."""
        before = [each for each in found if bound_at(each) <= position(at)]
        if not before:
            return None
        last = before[-1]
        if last.kind == "import" or len(before) == 1 or not self._depends(last.node, at):
            return last
        return None

    def _depends(self, node: ast.AST, at: ast.AST) -> bool:
        """Return whether a node runs on a branch or in a loop that a place is not in."""
        around = set(self._ancestors(at))
        inside = [each for each in self._ancestors(node) if each not in around]
        return any(isinstance(each, _BRANCHES) for each in inside)

    def _ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        parent = self._parents.get(node)
        while parent is not None:
            yield parent
            parent = self._parents.get(parent)

    def called(self, call: ast.Call) -> Function | None:
        """Return the program's own function that a call runs."""
        if not isinstance(call.func, ast.Name):
            return None
        binding = self._lookup(call.func.id, call.func)
        if binding is None or not isinstance(binding.node, Function):
            return None
        return binding.node

    def follow(self, value: Value, depth: int = 0) -> Value:
        """Return what an expression comes to: names and the program's own functions are followed.

        Where that is not plain, the expression itself comes back.
        """
        node, frame = value.node, value.frame
        if depth > _DEEPEST:
            return value
        if isinstance(node, ast.NamedExpr):
            return self.follow(Value(node.value, frame), depth + 1)
        if isinstance(node, (ast.Name, ast.Attribute)):
            found = self._assigned(value, depth)
        elif isinstance(node, ast.Call):
            found = self._returned(node, frame)
        else:
            found = None
        return value if found is None else self.follow(found, depth + 1)

    def _assigned(self, value: Value, depth: int) -> Value | None:
        """Return the expression a name was given."""
        binding = self._lookup(dotted_text(value.node), value.node)
        if binding is None:
            return None
        at_home = binding.function is value.frame.function
        frame = value.frame if at_home else self._frame(binding.function, 0)
        if binding.kind == "parameter":
            return self._given(binding, frame)
        if binding.value is None:
            return None
        if binding.kind == "value":
            return Value(binding.value, frame)
        whole = self.follow(Value(binding.value, frame), depth + 1)
        items = whole.node.elts if isinstance(whole.node, (ast.Tuple, ast.List)) else []
        if len(items) <= binding.index or any(isinstance(item, ast.Starred) for item in items):
            return None
        return Value(items[binding.index], whole.frame)

    def _given(self, binding: Binding, frame: Frame) -> Value | None:
        """Return what a call gives a parameter, or its default."""
        if frame.call is None or frame.function is None or frame.caller is None:
            return None
        assert isinstance(binding.node, ast.arg)
        if any(keyword.arg is None for keyword in frame.call.keywords):
            return None
        order = [each.arg for each in frame.function.args.args]
        given = self.arguments(frame.call, order, frame.caller).get(binding.node.arg)
        if given is None and binding.value is not None:
            return Value(binding.value, frame.caller)
        return given

    def _returned(self, call: ast.Call, frame: Frame) -> Value | None:
        """Return what a call of the program's own function gives back, if there is one return."""
        function = self.called(call)
        if function is None:
            return None
        returns = [
            node
            for node in ast.walk(function)
            if isinstance(node, ast.Return) and self.function_of(node) is function
        ]
        if len(returns) != 1 or returns[0].value is None:
            return None
        return Value(returns[0].value, Frame(function, call, frame))

    def arguments(self, call: ast.Call, order: Sequence[str], frame: Frame) -> dict[str, Value]:
        """Return a call's arguments by name, those of a known `**mapping` as well."""
        found: dict[str, Value] = {}
        for name, argument in zip(order, call.args, strict=False):
            if isinstance(argument, ast.Starred):
                break
            found[name] = Value(argument, frame)
        for keyword in call.keywords:
            if keyword.arg is not None:
                found[keyword.arg] = Value(keyword.value, frame)
            else:
                found.update(self._mapping(Value(keyword.value, frame)))
        return found

    def _mapping(self, value: Value) -> dict[str, Value]:
        """Return the items of `dict(a=1)` or `{"a": 1}`."""
        value = self.follow(value)
        node = value.node
        if isinstance(node, ast.Call) and dotted_text(node.func) == "dict":
            return {each.arg: Value(each.value, value.frame) for each in node.keywords if each.arg}
        if not isinstance(node, ast.Dict):
            return {}
        return {
            key.value: Value(item, value.frame)
            for key, item in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }

    def constant(self, value: Value | None, depth: int = 0) -> Any:
        """Return the number, text, tuple ... that an expression is, or UNKNOWN."""
        if value is None or depth > _DEEPEST:
            return UNKNOWN
        value = self.follow(value)
        node = value.node
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.Tuple, ast.List)):
            parts = tuple(self.constant(Value(each, value.frame), depth + 1) for each in node.elts)
            return UNKNOWN if UNKNOWN in parts else parts
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            number = self.constant(Value(node.operand, value.frame), depth + 1)
            return -number if isinstance(number, (int, float)) else UNKNOWN
        if isinstance(node, ast.BinOp):
            return self._computed(node, value.frame, depth)
        if isinstance(node, ast.Call):
            return self._path(node, value.frame, depth)
        return UNKNOWN

    def ending(self, value: Value | None, depth: int = 0) -> str:
        """Return the end of a text as far as it is known: "/best.h5" of `folder + "/best.h5"`."""
        if value is None or depth > _DEEPEST:
            return ""
        whole = self.constant(value)
        if isinstance(whole, str):
            return whole
        value = self.follow(value)
        node: ast.expr | None = value.node
        if isinstance(node, ast.BinOp):
            node = node.right if isinstance(node.op, (ast.Add, ast.Div)) else node.left
        elif isinstance(node, ast.JoinedStr):
            node = node.values[-1] if node.values else None
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            last = node.args[-1] if node.func.attr == "join" and node.args else None
            node = node.func.value if node.func.attr == "format" else last
        else:
            node = None
        return "" if node is None else self.ending(Value(node, value.frame), depth + 1)

    def _computed(self, node: ast.BinOp, frame: Frame, depth: int) -> Any:
        left = self.constant(Value(node.left, frame), depth + 1)
        right = self.constant(Value(node.right, frame), depth + 1)
        if isinstance(left, str) and isinstance(right, str):
            if isinstance(node.op, ast.Div):  # pathlib
                return os.path.join(left, right)  # noqa: PTH118 - it is text, of any system
            return left + right if isinstance(node.op, ast.Add) else UNKNOWN
        compute = _ARITHMETIC.get(type(node.op))
        numbers = all(type(each) in (int, float) for each in (left, right))
        if compute is None or not numbers or (compute is not operator.add and right == 0):
            return UNKNOWN
        try:
            return compute(left, right)
        except OverflowError:
            return UNKNOWN

    def _path(self, call: ast.Call, frame: Frame, depth: int) -> Any:
        """Return the text of `os.path.join(...)`, `Path(...)` or `str(...)`."""
        name = self.dotted(call.func) or dotted_text(call.func)
        if name not in {"os.path.join", "pathlib.Path", "Path", "str"} or not call.args:
            return UNKNOWN
        parts = [self.constant(Value(each, frame), depth + 1) for each in call.args]
        if not all(isinstance(part, str) for part in parts):
            return UNKNOWN
        return os.path.join(*parts)  # noqa: PTH118


_HOMES = {
    "ImageDataGenerator": "keras.preprocessing.image",
    "Model": "keras.models",
    "Sequential": "keras.models",
    "load_model": "keras.models",
    "EarlyStopping": "keras.callbacks",
    "ModelCheckpoint": "keras.callbacks",
    "ReduceLROnPlateau": "keras.callbacks",
    "TensorBoard": "keras.callbacks",
    "Adam": "keras.optimizers",
    "RMSprop": "keras.optimizers",
    "SGD": "keras.optimizers",
}
