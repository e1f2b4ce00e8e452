"""The package as a whole: what an import costs, what is exported, how the code is kept."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sightline as sl

SOURCE = Path(sl.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
VERBS = (
    "audit",
    "cv",
    "diagnose",
    "doctor",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "find_learning_rate",
    "import_model",
    "index_arrays",
    "index_folder",
    "plot_history",
    "predict",
    "preview",
    "report",
    "scan",
    "split",
    "train",
    "tune",
)
MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_MODULE = 60, 600
MACHINE_PATH = re.compile(r"(?<![\w.:/])(/(home|root|work|tmp|Users|mnt|srv)/|[A-Z]:\\)")

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def in_a_new_process(program: str) -> Any:
    """Return what a program prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Yield public functions and classes, and the public methods of those classes."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public(node.body, f"{prefix}{node.name}.")


def lines_of_code(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is None or first.end_lineno is None:
        return lines
    return lines - (first.end_lineno - first.lineno + 1)


# --- what an import costs --------------------------------------------------------------


@pytest.mark.parametrize("package", ["keras", "tensorflow", "jax", "torch", "polars", "numpy"])
def test_an_import_loads_neither_a_framework_nor_polars(package: str) -> None:
    loaded = in_a_new_process("import sightline, sys, json; print(json.dumps(list(sys.modules)))")
    assert package not in loaded


def test_an_import_takes_less_than_half_a_second() -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import sightline"], check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5


def test_the_verbs_load_no_framework_before_they_are_called() -> None:
    program = """
import json, sys
import sightline as sl
found = [getattr(sl, name) for name in sl.__all__]
print(json.dumps([name for name in ("keras", "tensorflow", "jax", "torch") if name in sys.modules]))
"""
    assert in_a_new_process(program) == []


# --- what is exported ------------------------------------------------------------------


@pytest.mark.parametrize("name", sl.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(sl, name).__name__ == name


def test_exported_names_are_the_names_found_in_the_rooms() -> None:
    assert sl.__all__ == sorted(sl._ROOM_OF)


def test_exported_names_are_the_names_that_type_checkers_see() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text("utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = [
        alias.name
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(seen) == sl.__all__


def test_dir_lists_the_exported_names() -> None:
    assert dir(sl) == sl.__all__


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'sightline' has no attribute 'magic'"):
        sl.magic  # noqa: B018


def test_no_module_takes_the_name_of_a_verb() -> None:
    paths = [path.relative_to(SOURCE.parent).with_suffix("") for path in MODULES]
    modules = [
        ".".join(path.parts).removesuffix(".__init__")
        for path in paths
        if path.name != "__main__" and path.parts[1] != "learning"  # which would load Keras
    ]
    program = f"""
import importlib, inspect, json
import sightline as sl
for module in {modules}:
    importlib.import_module(module)
print(json.dumps([name for name in {VERBS} if not inspect.isfunction(getattr(sl, name))]))
"""
    assert in_a_new_process(program) == []


def test_no_module_is_called_as_something_exported() -> None:
    rooms = {path.stem for path in SOURCE.iterdir()}
    assert rooms.isdisjoint(sl.__all__)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_a_function(name: str) -> None:
    assert inspect.isfunction(getattr(sl, name))


def test_the_version_is_that_of_the_installed_package() -> None:
    assert sl.__version__ == importlib.metadata.version("sightline")


def test_the_package_says_that_it_is_typed() -> None:
    assert (SOURCE / "py.typed").exists()


def test_a_source_archive_holds_what_its_makefile_needs() -> None:
    root = SOURCE.parents[1]
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    packed = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"Makefile", "requirements.lock", "CONTRIBUTING.md", "benchmarks"} <= set(packed)
    assert [name for name in packed if not (root / name).exists()] == []


# --- how the code is kept --------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_public_thing_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    missing = [name for name, node in public(tree.body) if not ast.get_docstring(node)]
    assert missing == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_function_is_long(path: Path) -> None:
    lengths = {node.name: lines_of_code(node) for node in functions(path)}
    assert {k: v for k, v in lengths.items() if v > MOST_LINES_OF_A_FUNCTION} == {}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES_OF_A_MODULE


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(SOURCE.rglob("*")) if path.suffix in (".py", ".toml", ".j2")],
    ids=name_of,
)
def test_no_file_knows_a_path_of_one_machine(path: Path) -> None:
    assert [
        line for line in path.read_text("utf-8").splitlines() if MACHINE_PATH.search(line)
    ] == []
