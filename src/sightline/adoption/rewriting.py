"""Changes the text of a program at a few places and keeps every other character.

Expressions are found by their place in the text, which Python's parser and libcst agree on.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping, Sequence

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from sightline.adoption.catalogue import OUR_MODULE
from sightline.adoption.faults import (
    AddImport,
    CallFunction,
    Edit,
    JoinArguments,
    Relocate,
    RemoveArgument,
    RenameArgument,
    RenameMethod,
    Replace,
    Wrap,
)
from sightline.adoption.moving import relocated, statement_of
from sightline.adoption.program import NEWLINE

Span = tuple[int, int, int, int]
_OnCall = RenameArgument | RemoveArgument | RenameMethod | CallFunction | JoinArguments
_Lines = cst.FlattenSentinel[cst.SimpleStatementLine]


def rewrite(code: str, edits: Iterable[Edit]) -> str | None:
    """Return the program with the edits made, or None where that cannot be done safely.

    Args:
        code: A program that Python can parse.
        edits: Changes at nodes of this very text, as Python's parser placed them.
    """
    try:
        module = cst.parse_module(code)
    except (cst.ParserSyntaxError, RecursionError):  # Python reads more than libcst does
        return None
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    ranges = wrapper.resolve(PositionProvider)
    rewriter = _Rewriter(module, ranges, _Places(code), list(dict.fromkeys(edits)))
    changed = module.visit(rewriter)
    return _restored(code, module.code, changed.code) if rewriter.complete else None


def _restored(code: str, read: str, changed: str) -> str | None:
    """Return the changed text with every other line as it was written.

    libcst forgets the odd space, as in `except (A, B) :`, so that what it read may differ.
    """
    if read == code:
        return changed
    lines, same, new = (text.splitlines(keepends=True) for text in (code, read, changed))
    if len(lines) != len(same):
        return None
    matcher = difflib.SequenceMatcher(None, same, new, autojunk=False)
    parts: list[str] = []
    for kind, begin, end, new_begin, new_end in matcher.get_opcodes():
        parts += lines[begin:end] if kind == "equal" else new[new_begin:new_end]
    return "".join(parts)


class _Places:
    """Turns the places of Python's parser, in UTF-8 bytes, into libcst's, in characters."""

    def __init__(self, code: str) -> None:
        self._lines = NEWLINE.split(code)

    def span(self, node: ast.expr | ast.stmt) -> Span:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            node.lineno,
            self._column(node.lineno, node.col_offset),
            node.end_lineno,
            self._column(node.end_lineno, node.end_col_offset),
        )

    def _column(self, line: int, offset: int) -> int:
        return len(self._lines[line - 1].encode()[:offset].decode())


class _Rewriter(cst.CSTTransformer):
    """Applies the edits on the way up through the tree."""

    def __init__(
        self,
        module: cst.Module,
        ranges: Mapping[cst.CSTNode, CodeRange],
        places: _Places,
        edits: Sequence[Edit],
    ) -> None:
        super().__init__()
        self._module = module
        self._ranges = ranges
        self._calls: dict[Span, list[_OnCall]] = {}
        self._expressions: dict[Span, list[Replace | Wrap]] = {}
        self._moves: dict[Span, list[Relocate]] = {}
        self._imports = [each for each in edits if isinstance(each, AddImport)]
        lines = []
        for edit in edits:
            if isinstance(edit, AddImport):
                continue
            if isinstance(edit, Relocate):
                self._moves.setdefault(places.span(edit.statement), []).append(edit)
                continue
            node = edit.node if isinstance(edit, (Replace, Wrap)) else edit.call
            lines.append(node.lineno)
            if isinstance(edit, (Replace, Wrap)):
                self._expressions.setdefault(places.span(node), []).append(edit)
            else:
                self._calls.setdefault(places.span(node), []).append(edit)
        self._anchor = self._find_anchor(min(lines, default=0)) if self._imports else None

    @property
    def complete(self) -> bool:
        """Whether every edit found its place."""
        return not (self._calls or self._expressions or self._moves)

    def _span(self, node: cst.CSTNode) -> Span:
        found = self._ranges[node]
        return (found.start.line, found.start.column, found.end.line, found.end.column)

    def _find_anchor(self, before: int) -> cst.SimpleStatementLine | None:
        """Return the import at the top level that new imports follow."""
        found = None
        for line in self._module.body:
            if not isinstance(line, cst.SimpleStatementLine):
                continue
            kinds = (cst.Import, cst.ImportFrom)
            own = [small for small in line.body if isinstance(small, kinds)]
            if not own or (found is not None and self._span(line)[0] >= before):
                continue
            found = line
            moves = [move for small in own for move in self._moves.get(self._span(small), [])]
            ours = any(statement_of(small) == OUR_MODULE for small in own)
            if ours or any(move.target.startswith(OUR_MODULE) for move in moves):
                break
        return found

    def on_leave(  # type: ignore[override]
        self, original_node: cst.CSTNode, updated_node: cst.CSTNode
    ) -> cst.CSTNode | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNode]:
        """Return the changed node in place of the original one."""
        updated = super().on_leave(original_node, updated_node)
        if isinstance(original_node, cst.SimpleStatementLine):
            assert isinstance(updated, cst.SimpleStatementLine)
            return self._changed_line(original_node, updated)
        if isinstance(original_node, cst.SimpleStatementSuite):
            assert isinstance(updated, cst.SimpleStatementSuite)
            return updated.with_changes(body=self._changed_body(original_node, updated))
        if not isinstance(original_node, cst.BaseExpression):
            return updated
        span = self._span(original_node)
        if isinstance(original_node, cst.Call):
            for edit in self._calls.pop(span, []):
                assert isinstance(updated, cst.Call)
                updated = changed_call(updated, edit)
        for change in self._expressions.pop(span, []):
            assert isinstance(updated, cst.BaseExpression)
            updated = self._changed_expression(updated, change)
        return updated

    def leave_Module(
        self,
        original_node: cst.Module,  # noqa: ARG002 - the signature is libcst's
        updated_node: cst.Module,
    ) -> cst.Module:
        """Return the module, imports put at its top where no other import stands there."""
        if not self._imports or self._anchor is not None:
            return updated_node
        _, more = _with_imports([], self._imports)
        body = list(updated_node.body)
        place = next((index for index, line in enumerate(body) if not _opens(line)), len(body))
        body[place:place] = [cst.SimpleStatementLine([each]) for each in more]
        return updated_node.with_changes(body=body)

    def _changed_expression(
        self, node: cst.BaseExpression, edit: Replace | Wrap
    ) -> cst.BaseExpression:
        if isinstance(edit, Replace):
            return cst.parse_expression(edit.source, self._module.config_for_parsing)
        inner = self._module.code_for_node(node)
        text = f"{edit.before}{inner}{edit.after}"
        return cst.parse_expression(text, self._module.config_for_parsing)

    def _changed_body(
        self,
        original: cst.SimpleStatementLine | cst.SimpleStatementSuite,
        updated: cst.SimpleStatementLine | cst.SimpleStatementSuite,
    ) -> list[cst.BaseSmallStatement]:
        """Return the small statements of a line, imports moved where they have to."""
        body: list[cst.BaseSmallStatement] = []
        for before, after in zip(original.body, updated.body, strict=True):
            moves = self._moves.pop(self._span(before), []) if self._moves else []
            if moves and isinstance(after, (cst.Import, cst.ImportFrom)):
                body += relocated(after, moves)
            else:
                body.append(after)
        return body

    def _changed_line(
        self, original: cst.SimpleStatementLine, updated: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | _Lines:
        body = self._changed_body(original, updated)
        wanted = self._imports if original is self._anchor else []
        body, more = _with_imports(body, wanted)
        if len(original.body) > 1:  # a line of several statements stays one line
            return updated.with_changes(body=[*body, *more])
        extra = [cst.SimpleStatementLine([each]) for each in [*body[1:], *more]]
        line = updated.with_changes(body=body[:1])
        return cst.FlattenSentinel([line, *extra]) if extra else line


def _with_imports(
    body: Sequence[cst.BaseSmallStatement], wanted: Sequence[AddImport]
) -> tuple[list[cst.BaseSmallStatement], list[cst.BaseSmallStatement]]:
    """Return a line's statements with our names added to our import in it, and further imports."""
    names = sorted({each.name for each in wanted if each.module == OUR_MODULE and each.name})
    statements: list[cst.BaseSmallStatement] = []
    for small in body:
        if names and statement_of(small) == OUR_MODULE and _has_room(small):
            assert isinstance(small, cst.ImportFrom)
            assert not isinstance(small.names, cst.ImportStar)
            known = {each.evaluated_name for each in small.names}
            new = [cst.ImportAlias(cst.Name(name)) for name in names if name not in known]
            old = [*small.names[:-1], small.names[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]
            small = small.with_changes(names=[*old, *new])
            names = []
        statements.append(small)
    more = [f"from {OUR_MODULE} import {', '.join(names)}"] if names else []
    others = {(each.module, each.alias) for each in wanted if not each.name}
    more += [f"import {each}" + (f" as {alias}" if alias else "") for each, alias in sorted(others)]
    return statements, [_parsed(text) for text in more]


def _opens(line: cst.CSTNode) -> bool:
    """Return whether a statement stays before imports: a docstring, or what hides IPython's own."""
    if not isinstance(line, cst.SimpleStatementLine):
        return False
    first = line.body[0]
    if isinstance(first, cst.Expr):
        return isinstance(first.value, (cst.SimpleString, cst.ConcatenatedString))
    return isinstance(first, cst.Pass)


def _parsed(text: str) -> cst.BaseSmallStatement:
    line = cst.parse_statement(text)
    assert isinstance(line, cst.SimpleStatementLine)
    return line.body[0]


def _has_room(small: cst.BaseSmallStatement) -> bool:
    """Return whether names can be added without a thought to parentheses and comments."""
    return (
        isinstance(small, cst.ImportFrom)
        and small.lpar is None
        and not isinstance(small.names, cst.ImportStar)
    )


def changed_call(call: cst.Call, edit: _OnCall) -> cst.Call:
    """Return a call with one edit made."""
    if isinstance(edit, RenameArgument):
        renamed = [
            each.with_changes(keyword=cst.Name(edit.new))
            if each.keyword is not None and each.keyword.value == edit.old
            else each
            for each in call.args
        ]
        return call.with_changes(args=renamed)
    if isinstance(edit, RemoveArgument):
        return _without(call, edit.name)
    if isinstance(edit, JoinArguments):
        return _joined(call)
    assert isinstance(call.func, cst.Attribute)
    if isinstance(edit, RenameMethod):
        return call.with_changes(func=call.func.with_changes(attr=cst.Name(edit.new)))
    return _as_function(call, call.func.value, edit.function)


def _without(call: cst.Call, name: str) -> cst.Call:
    """Return a call without one keyword argument; comments on other lines stay."""
    args = list(call.args)
    index = next(i for i, arg in enumerate(args) if arg.keyword and arg.keyword.value == name)
    removed = args.pop(index)
    if index == len(args) and args:
        last = args[-1]
        comma = last.comma
        space = comma.whitespace_after if isinstance(comma, cst.Comma) else None
        if isinstance(space, cst.ParenthesizedWhitespace) and space.first_line.comment:
            return call.with_changes(args=args)
        args[-1] = last.with_changes(
            comma=removed.comma, whitespace_after_arg=removed.whitespace_after_arg
        )
    return call.with_changes(args=args)


def _joined(call: cst.Call) -> cst.Call:
    """Return `f(32, (3, 3), ...)` for `f(32, 3, 3, ...)`."""
    first, rows, columns, *rest = call.args
    items = [cst.Element(rows.value), cst.Element(columns.value)]
    pair = cst.Arg(
        cst.Tuple(items), comma=columns.comma, whitespace_after_arg=columns.whitespace_after_arg
    )
    return call.with_changes(args=[first, pair, *rest])


def _as_function(call: cst.Call, model: cst.BaseExpression, function: str) -> cst.Call:
    """Return `function(model, x)` for `model.method(x)`, a line an argument where it was so."""
    space = call.whitespace_before_args
    on_lines = isinstance(space, cst.ParenthesizedWhitespace) and space.first_line.comment is None
    after = space if on_lines else cst.SimpleWhitespace(" ")
    comma = cst.Comma(whitespace_after=after) if call.args else cst.MaybeSentinel.DEFAULT
    return call.with_changes(
        func=cst.parse_expression(function), args=[cst.Arg(model, comma=comma), *call.args]
    )
