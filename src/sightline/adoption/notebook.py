"""A notebook's code cells as one program, and the way back into its JSON.

Only the text of changed cells is written anew: the rest of the file keeps every byte.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.errors import DataError

_MARK = "\ufeff"  # of byte order
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_OWN = re.compile(r"\s*([%!?]|(pip3?|conda|cd|ls|mkdir|rm|cp|mv|cat|wget|unzip)\s|ls\s*$)")
_OWN_ASSIGNED = re.compile(r"\s*[\w, \t]+=\s*[%!]")
_HELP = re.compile(r".*\?\s*(#.*)?$")
# Cell magics whose cell is Python all the same.
_PYTHON_CELLS = frozenset({"time", "timeit", "capture", "prun", "memit"})


@dataclass(frozen=True, slots=True)
class _Cell:
    """One code cell: its number over all cells from 1, and where its source is in the JSON."""

    number: int
    source: str
    begin: int
    end: int
    masked: str


@dataclass(frozen=True, slots=True)
class Notebook:
    """A notebook whose code cells were read; the attributes are those of a Script."""

    text: str
    mark: str
    cells: tuple[_Cell, ...]
    code: str
    lines: tuple[str, ...]
    places: tuple[tuple[int | None, int], ...]

    def units(self, code: str) -> list[str]:
        """Return the cells of a program."""
        return [cell for _, cell in self._split(code)]

    def rebuild(self, code: str) -> bytes:
        """Return the file with the cells of a changed program."""
        parts: list[str] = []
        done = 0
        for cell, (_, masked) in zip(self.cells, self._split(code), strict=True):
            if masked == cell.masked:
                continue
            source = _unmasked(masked, cell.source.split("\n"), self.mark)
            old = self.text[cell.begin : cell.end]
            parts += [self.text[done : cell.begin], _as_before(source, old)]
            done = cell.end
        return "".join([*parts, self.text[done:]]).encode()

    def _split(self, code: str) -> Iterator[tuple[int, str]]:
        border = re.compile(rf"^pass  # {self.mark} cell (\d+)\n", re.MULTILINE)
        parts = border.split(code)[1:]
        for number, cell in zip(parts[::2], parts[1::2], strict=True):
            yield int(number), cell.removesuffix("\n")


def read_notebook(path: Path, original: bytes) -> Notebook:
    """Return a notebook's code.

    Raises:
        DataError: It is no notebook of Python, or a cell is not Python.
    """
    text, content = _content(path, original)
    mark = "sightline"
    while mark in text:
        mark += "_"
    cells = tuple(_code_cells(text, content["cells"], mark))
    code: list[str] = []
    lines: list[str] = []
    places: list[tuple[int | None, int]] = []
    for cell in cells:
        code.append(f"pass  # {mark} cell {cell.number}\n{cell.masked}\n")
        own = cell.source.split("\n")
        lines += ["", *own]
        places += [(cell.number, 1), *((cell.number, row) for row in range(1, len(own) + 1))]
    return Notebook(
        text, mark, cells, "".join(code), tuple(lines) or ("",), tuple(places) or ((1, 1),)
    )


def _content(path: Path, original: bytes) -> tuple[str, Mapping[str, Any]]:
    """Return the file's text and its JSON, checked to be a notebook of Python.

    Raises:
        DataError: It is not.
    """
    try:
        text = original.decode()
        content = json.loads(text.removeprefix(_MARK))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no notebook: its content is not JSON ({error}). Save it anew in Jupyter."
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        old = (
            " It is of format 3 or older."
            if isinstance(content, dict) and "worksheets" in content
            else ""
        )
        raise DataError(
            f"{path} has no cells.{old} Open it in Jupyter and save it in the present format."
        )
    metadata = content.get("metadata")
    kernel = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    language = kernel.get("language", "python") if isinstance(kernel, dict) else "python"
    if str(language).lower() not in {"python", "ipython", "python3"}:
        raise DataError(f"{path} is a notebook of {language!r}. Only Python can be adopted.")
    return text, content


def _code_cells(text: str, cells: list[Any], mark: str) -> Iterator[_Cell]:
    spans = list(_source_spans(text))
    for number, (cell, span) in enumerate(zip(cells, spans, strict=True), start=1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code" or span is None:
            continue
        source = cell["source"]
        if isinstance(source, list):
            source = "".join(each for each in source if isinstance(each, str))
        if isinstance(source, str):
            yield _Cell(number, source, *span, _masked(source, mark))


def _source_spans(text: str) -> list[tuple[int, int] | None]:
    """Return where in the JSON each cell's source stands; of keys given twice the last counts."""
    spans: list[tuple[int, int] | None] = []
    for key, begin, _ in _members(text, _after_space(text, len(text) - len(text.lstrip(_MARK)))):
        if key == "cells":
            items = _items(text, begin)
            spans = [_source_span(text, place) for place, _ in items]
    return spans


def _source_span(text: str, place: int) -> tuple[int, int] | None:
    if text[place] != "{":
        return None
    spans = [(begin, end) for key, begin, end in _members(text, place) if key == "source"]
    return spans[-1] if spans else None


def _items(text: str, place: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of every value of the JSON list at a place."""
    place = _after_space(text, place + 1)
    while text[place] != "]":
        _, end = _DECODER.raw_decode(text, place)
        yield place, end
        place = _after_space(text, end)
        place = _after_space(text, place + (text[place] == ","))


def _members(text: str, place: int) -> Iterator[tuple[str, int, int]]:
    """Yield (key, begin, end) of every value of the JSON object at a place."""
    place = _after_space(text, place + 1)
    while text[place] != "}":
        key, place = _DECODER.raw_decode(text, place)
        begin = _after_space(text, _after_space(text, place) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        yield key, begin, end
        place = _after_space(text, end)
        place = _after_space(text, place + (text[place] == ","))


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None
    return found.end()


def _as_before(source: str, old: str) -> str:
    """Return a cell's source as JSON, written the way it was: a list of lines, or one text."""
    ascii_only = "\\u" in old or old.isascii()
    if not old.startswith("["):
        return json.dumps(source, ensure_ascii=ascii_only)
    kept = {json.loads(old[begin:end]): old[begin:end] for begin, end in _items(old, 0)}
    lines = [
        kept.get(each) or json.dumps(each, ensure_ascii=ascii_only)
        for each in _LINE.findall(source)
    ]
    opening = old[: _after_space(old, 1)]
    closing = re.search(r"\s*\]$", old)
    between = "," + (opening[1:] or " ")
    assert closing is not None
    return opening + between.join(lines) + closing.group()


def _masked(source: str, mark: str) -> str:
    """Return a cell with IPython's own lines replaced by `pass`, a line for a line."""
    lines = source.split("\n")
    first = next((row for row, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        name = lines[first][2:].split()[:1]
        last = first + 1 if name and name[0] in _PYTHON_CELLS else len(lines)
        for row in range(first, last):
            lines[row] = f"pass  # {mark} line {row}"
    for _ in range(len(lines)):
        fault = _fault(lines)
        if fault is None or not _is_own(lines[fault]):
            break
        _mask(lines, fault, mark)
    return "\n".join(lines)


def _fault(lines: list[str]) -> int | None:
    """Return the row of the first line that is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse("\n".join(lines))
    except SyntaxError as error:
        return min(max((error.lineno or 1) - 1, 0), len(lines) - 1)
    except (ValueError, RecursionError, MemoryError):
        return None
    return None


def _is_own(line: str) -> bool:
    return any(pattern.match(line) for pattern in (_OWN, _OWN_ASSIGNED, _HELP))


def _mask(lines: list[str], row: int, mark: str) -> None:
    """Replace one of IPython's lines, and those that it goes on over."""
    indent = lines[row][: len(lines[row]) - len(lines[row].lstrip())]
    goes_on = True
    while goes_on and row < len(lines):
        goes_on = lines[row].endswith("\\")
        lines[row] = f"{indent}pass  # {mark} line {row}"
        row += 1


def _unmasked(code: str, lines: list[str], mark: str) -> str:
    """Return a cell with IPython's own lines in their places again."""
    pattern = re.compile(rf"^[ \t]*pass  # {mark} line (\d+)$", re.MULTILINE)
    return pattern.sub(lambda found: lines[int(found.group(1))], code)
