"""The verb: a script is read, judged and, where that is safe, mended in a copy."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.adoption.catalogue import rooted, within
from sightline.adoption.checks import CHECKS
from sightline.adoption.faults import Fault
from sightline.adoption.program import Program
from sightline.adoption.reading import Reading
from sightline.adoption.script import Script, compiles, read_script, too_deep
from sightline.errors import DataError
from sightline.records import Finding

_SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Adoption:
    """What was found in one script or notebook, and its mended text.

    Attributes:
        path: The file that was read; it is never written.
        findings: In the order of the text. The evidence of each holds "line" (from 1), "cell"
            (from 1 over all cells of a notebook, as Jupyter shows them; None in a script),
            "source" (that line as it is written) and "mended" (whether the mended text has it
            no more).
        source: The bytes of the file.
        mended: The bytes of a copy in which everything is mended that can be without a
            person's decision; None where there is nothing to mend.
        uses_keras: Whether Keras is imported at all; without it nothing is looked for.
        refused: Something could be mended, but the changed text would have been no program:
            then nothing is mended. That is a defect of Sightline.
    """

    path: Path
    findings: tuple[Finding, ...]
    source: bytes
    mended: bytes | None
    uses_keras: bool = True
    refused: bool = False


def adopt(path: str | Path) -> Adoption:
    """Return what is wrong or fragile in a Keras script or notebook, without running it.

    Args:
        path: A .py or .ipynb file of Python 3. Folders that it names are looked at beside it,
            by the names of their files alone.

    Raises:
        DataError: It is missing, a folder, too large, no Python 3, or no notebook.
        OSError: It cannot be read.
    """
    script, tree = read_script(path)
    try:
        program = Program(tree, script.code)
        if not _uses_keras(program):
            return Adoption(script.path, (), script.original, None, uses_keras=False)
        reading = Reading(program, script.path.absolute().parent)
        faults = _in_order(fault for check in CHECKS for fault in check(reading))
    except RecursionError:
        raise too_deep(script.path) from None
    mended = _mended(script, faults)
    findings = tuple(_finding(script, fault, mended is not None) for fault in faults)
    refused = mended is None and any(fault.edits for fault in faults)
    return Adoption(script.path, findings, script.original, mended, refused=refused)


def write_copy(adoption: Adoption, path: str | Path | None = None) -> Path:
    """Write the mended copy, or an equal one where nothing is mended, and return where it is.

    Args:
        adoption: What `adopt` gave.
        path: The new file; None puts NAME.sightline.py (or .ipynb) beside the original.

    Raises:
        DataError: There is such a file already, or it would be of another kind.
        OSError: It cannot be written.
    """
    target = copy_path(adoption.path) if path is None else Path(path)
    suffix = adoption.path.suffix
    if target.suffix.lower() != suffix.lower():
        raise DataError(f"the copy of {adoption.path} must end in {suffix}, got {target}.")
    content = adoption.source if adoption.mended is None else adoption.mended
    try:
        with target.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise DataError(
            f"there is {target} already, and a copy is never written over a file. "
            "Remove it, or name another with --out."
        ) from None
    except OSError:
        target.unlink(missing_ok=True)  # half a script is worse than none
        raise
    shutil.copymode(adoption.path, target)
    return target


def copy_path(path: Path) -> Path:
    """Return where a script's copy goes by default."""
    return path.with_name(f"{path.stem}.sightline{path.suffix}")


def _uses_keras(program: Program) -> bool:
    for node in program.nodes(ast.Import, ast.ImportFrom):
        module = getattr(node, "module", None)
        names = [f"{module}.{alias.name}" if module else alias.name for alias in node.names]
        if any(within(rooted(name), "keras") for name in names):
            return True
    chains = program.nodes(ast.Attribute)
    return any(within(rooted(program.dotted(node)), "keras") for node in chains)


def _in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults in the order of the text, each once."""
    found: dict[tuple[str, int, str], Fault] = {}
    for fault in faults:
        found.setdefault((fault.code, fault.node.lineno, fault.title), fault)

    def rank(fault: Fault) -> tuple[int, int, str]:
        return fault.node.lineno, _SEVERITIES.index(fault.severity), fault.code

    return sorted(found.values(), key=rank)


def _mended(script: Script, faults: Sequence[Fault]) -> bytes | None:
    edits = [edit for fault in faults for edit in fault.edits]
    if not edits:
        return None
    from sightline.adoption.rewriting import rewrite  # libcst is a tenth of a second

    code = rewrite(script.code, edits)
    if code is None or code == script.code or not compiles(script, code):
        return None
    return script.rebuild(code)


def _finding(script: Script, fault: Fault, mended: bool) -> Finding:
    row = min(fault.node.lineno, len(script.places)) - 1
    cell, line = script.places[row]
    evidence = {
        "line": line,
        "cell": cell,
        "source": script.lines[row].strip(),
        "mended": mended and bool(fault.edits),
    }
    return Finding(fault.code, fault.severity, fault.title, evidence, fault.advice)
