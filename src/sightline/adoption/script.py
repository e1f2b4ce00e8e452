"""A script or notebook as it lies on the disk, read as text and never run."""

from __future__ import annotations

import ast
import codecs
import io
import re
import tokenize
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sightline.adoption.notebook import Notebook, read_notebook
from sightline.adoption.program import NEWLINE
from sightline.errors import DataError

MOST_SCRIPT_BYTES = 4_000_000
MOST_NOTEBOOK_BYTES = 400_000_000  # the pictures in its outputs
SUFFIXES = (".py", ".ipynb")

_PYTHON_2 = re.compile(
    r"Missing parentheses in call to '(print|exec)'|multiple exception types must be|"
    r"leading zeros in decimal|invalid decimal literal.*L|<> "
)
_PYTHON_2_LINE = re.compile(r"^\s*(print\s+[^(=\s]|exec\s+[^(=\s]|raise \w+,|except [\w.]+, )")


@dataclass(frozen=True, slots=True)
class Script:
    """One program, in whichever kind of file.

    Attributes:
        path: The file.
        original: Its bytes.
        code: The program. A notebook's code cells follow each other in it, with lines that are
            IPython's own replaced by `pass`.
        lines: Its lines as the file has them, IPython's own included.
        places: (cell or None, line) of every line; cells are counted over all cells from 1.
        rebuild: Gives the file's bytes for a changed program; what did not change is kept.
        units: Gives the pieces of a program that Python compiles each on its own.
    """

    path: Path
    original: bytes
    code: str
    lines: tuple[str, ...]
    places: tuple[tuple[int | None, int], ...]
    rebuild: Callable[[str], bytes]
    units: Callable[[str], list[str]]


def read_script(path: str | Path) -> tuple[Script, ast.Module]:
    """Return a script or notebook and its parsed program.

    Raises:
        DataError: It is missing, a folder, too large, no Python 3, or no notebook.
        OSError: It cannot be read.
    """
    path = Path(path)
    _check(path)
    original = path.read_bytes()
    if path.suffix.lower() == ".ipynb":
        notebook = read_notebook(path, original)
        script = _from_notebook(path, original, notebook)
    else:
        script = _from_python(path, original)
    parsed = _parsed(script)
    return script, parsed


def _check(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder. Name one .py or .ipynb file in it.")
    if not path.exists():
        raise DataError(f"there is no file {path}. Check its name.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path} must be a .py or .ipynb file, got {path.suffix or 'no ending'}.")
    if not path.is_file():
        raise DataError(f"{path} is no ordinary file. Name a .py or .ipynb file.")
    most = MOST_NOTEBOOK_BYTES if suffix == ".ipynb" else MOST_SCRIPT_BYTES
    size = path.stat().st_size
    if size > most:
        raise DataError(
            f"{path} has {size:,} bytes, more than the {most:,} that a file of its kind may have. "
            "Name a script or notebook written by hand."
        )


def _from_python(path: Path, original: bytes) -> Script:
    mark = codecs.BOM_UTF8 if original.startswith(codecs.BOM_UTF8) else b""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(original).readline)
        encoding = encoding.removesuffix("-sig")
        code = original[len(mark) :].decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        reason = str(error).partition(" for '")[0]
        raise DataError(
            f"{path} is not the text it should be ({reason}). Save it as UTF-8, or name its "
            "encoding in the first line: # -*- coding: latin-1 -*-"
        ) from None
    lines = tuple(NEWLINE.split(code))
    places = tuple((None, number) for number in range(1, len(lines) + 1))

    def rebuild(changed: str) -> bytes:
        return mark + changed.encode(encoding)

    return Script(path, original, code, lines, places, rebuild, lambda changed: [changed])


def _from_notebook(path: Path, original: bytes, notebook: Notebook) -> Script:
    return Script(
        path, original, notebook.code, notebook.lines, notebook.places,
        notebook.rebuild, notebook.units,
    )  # fmt: skip


def compiles(script: Script, code: str) -> bool:
    """Return whether a changed program is still one."""
    try:
        for unit in script.units(code):
            _compile(unit)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _compile(unit: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a text is the author's
        compile(unit, "<script>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def _parsed(script: Script) -> ast.Module:
    """Return the program's tree; every unit has to compile as well."""
    done = 0  # lines of the units before
    try:
        for unit in script.units(script.code):
            _compile(unit)
            done += len(NEWLINE.split(unit)) + (script.path.suffix.lower() == ".ipynb")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(script.code)
    except SyntaxError as error:
        raise _refusal(script, error, done) from None
    except ValueError as error:  # a null byte, in some versions of Python
        raise DataError(f"{script.path} is no Python program: {error}.") from None
    except (RecursionError, MemoryError):
        raise too_deep(script.path) from None


def too_deep(path: Path) -> DataError:
    """Return the error for a program whose expressions go deeper than Python follows."""
    return DataError(f"{path} is nested too deeply to be read. Adopt the part that trains.")


def _refusal(script: Script, error: SyntaxError, done: int) -> DataError:
    """Return the error for a program that Python 3 does not understand, naming the line."""
    in_cells = script.path.suffix.lower() == ".ipynb"
    row = done + (error.lineno or 1) - 1 + in_cells
    row = min(max(row, 0), len(script.lines) - 1)
    cell, line = script.places[row]
    where = (
        f"{script.path} line {line}" if cell is None else f"{script.path} cell {cell}, line {line}"
    )
    text = script.lines[row].strip()
    if _PYTHON_2.search(error.msg or "") or _PYTHON_2_LINE.match(script.lines[row]):
        return DataError(
            f"{where} is Python 2, got {text!r}. Turn the script into Python 3 first, for example "
            "with the 2to3 tool of Python 3.12 or older."
        )
    if cell is None and text.startswith(("%", "!")):
        return DataError(
            f"{where} is IPython's own, got {text!r}. Remove the line, or name the notebook."
        )
    return DataError(f"{where} is not Python ({error.msg}), got {text!r}. Mend that line first.")
