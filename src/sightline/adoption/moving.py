"""Imports that take their names from another place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libcst as cst
from libcst.helpers import get_full_name_for_node

from sightline.adoption.faults import Relocate


def relocated(
    statement: cst.Import | cst.ImportFrom, moves: Sequence[Relocate]
) -> list[cst.BaseSmallStatement]:
    """Return one import as it has to be: the names that stay, then those that moved."""
    targets = {move.index: move.target for move in moves}
    if isinstance(statement, cst.Import):
        names = [
            alias.with_changes(name=_expression(targets[index])) if index in targets else alias
            for index, alias in enumerate(statement.names)
        ]
        return [statement.with_changes(names=names)]
    if isinstance(statement.names, cst.ImportStar):
        home = targets[0].rpartition(".")[0]
        return [statement.with_changes(module=_expression(home), relative=())]
    modules = {target.rpartition(".")[0] for target in targets.values()}
    if len(targets) == len(statement.names) and len(modules) == 1 and modules != {""}:
        return [_moved_whole(statement, statement.names, targets, modules.pop())]
    return _split(statement, statement.names, targets)


def statement_of(small: cst.BaseSmallStatement) -> str:
    """Return the module that `from MODULE import ...` names, "" for another statement."""
    if not isinstance(small, cst.ImportFrom) or small.module is None or small.relative:
        return ""
    return get_full_name_for_node(small.module) or ""


def _moved_whole(
    statement: cst.ImportFrom,
    aliases: Sequence[cst.ImportAlias],
    targets: Mapping[int, str],
    module: str,
) -> cst.ImportFrom:
    names = [_renamed(alias, targets[index]) for index, alias in enumerate(aliases)]
    return statement.with_changes(module=_expression(module), relative=(), names=names)


def _split(
    statement: cst.ImportFrom, aliases: Sequence[cst.ImportAlias], targets: Mapping[int, str]
) -> list[cst.BaseSmallStatement]:
    kept = [alias for index, alias in enumerate(aliases) if index not in targets]
    statements: list[cst.BaseSmallStatement] = []
    if kept:
        if statement.lpar is None:
            kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        statements.append(statement.with_changes(names=kept))
    groups: dict[str, list[cst.ImportAlias]] = {}
    for index, target in targets.items():
        home, _, _ = target.rpartition(".")
        bare = aliases[index].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        groups.setdefault(home, []).append(_renamed(bare, target))
    for home, names in groups.items():
        if home:
            statements.append(cst.ImportFrom(module=_expression(home), names=names))
        else:
            statements.append(cst.Import(names=names))
    return statements


def _renamed(alias: cst.ImportAlias, target: str) -> cst.ImportAlias:
    """Return the alias with its new name, known to the program under its old one."""
    local = alias.evaluated_alias or alias.evaluated_name
    name = target.rpartition(".")[2]
    if name == alias.evaluated_name:
        return alias
    asname = None if name == local else alias.asname or cst.AsName(cst.Name(local))
    return alias.with_changes(name=cst.Name(name), asname=asname)


def _expression(dotted: str) -> cst.Attribute | cst.Name:
    found = cst.parse_expression(dotted)
    assert isinstance(found, (cst.Attribute, cst.Name))
    return found
