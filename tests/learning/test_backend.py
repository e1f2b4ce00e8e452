"""Which backend is used, what it runs on, and what is said when it cannot be."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import write_images

import sightline as sl
from sightline.data.stream import usable_cores
from sightline.errors import SetupError, how_to_install
from sightline.learning.models import backend

no_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is not None, reason="JAX is installed here"
)


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own, where no Keras is loaded and no backend named yet."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment | variables,
        check=False,
    )


def refusal(code: str, **variables: str) -> str:
    """Return the last line of the traceback that the code ends with."""
    ended = python(f"from sightline.learning.models import backend; {code}", **variables)
    assert ended.returncode == 1, ended.stdout
    return ended.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("wanted", ["auto", "tensorflow"])
def test_a_keras_that_is_imported_already_is_taken(wanted: str) -> None:
    assert backend.choose(wanted) == "tensorflow"


def test_a_keras_imported_with_another_backend_names_the_variable_to_set() -> None:
    message = (
        "already imported with backend 'tensorflow', and this recipe asks for 'jax'. Set the "
        "variable KERAS_BACKEND=jax before Python starts, or use --set backend=tensorflow"
    )
    with pytest.raises(SetupError, match=message):
        backend.choose("jax")


def test_training_refuses_a_recipe_for_another_backend(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", {"cat": 4, "dog": 4})
    with pytest.raises(sl.SetupError, match="KERAS_BACKEND=torch"):
        sl.train(folder, changes={"backend": "torch"}, out=tmp_path / "run", progress=sl.Silent())
    assert not (tmp_path / "run").exists()


def test_an_unknown_backend_in_the_variable_is_refused() -> None:
    message = refusal("backend.choose()", KERAS_BACKEND="theano")
    assert message == (
        "sightline.errors.SetupError: KERAS_BACKEND is 'theano'; Sightline runs on tensorflow, "
        "jax, torch"
    )


@no_jax
def test_a_backend_that_is_not_installed_is_told_with_its_command() -> None:
    message = refusal("backend.choose('jax')")
    assert re.search(r"Install it with: pip install 'jax[<>=][\d.,<>=]+'$", message)


@no_jax
def test_a_backend_of_the_variable_that_is_not_installed_is_told_too() -> None:
    assert "pip install 'jax" in refusal("backend.choose()", KERAS_BACKEND="jax")


@pytest.mark.parametrize("name", ["keras", *backend.BACKENDS])
def test_no_command_installs_the_package_that_is_called_sightline_elsewhere(name: str) -> None:
    assert re.fullmatch(rf"pip install '{name}[<>=][\d.,<>=]+'", how_to_install(name))


def test_a_package_that_sightline_does_not_know_is_installed_in_any_version() -> None:
    assert how_to_install("catboost") == "pip install catboost"


@no_jax
def test_a_failed_choice_does_not_bind_the_next() -> None:
    code = """
import os
from sightline.learning.models import backend
try:
    backend.choose("jax")
except ImportError:
    print(os.environ.get("KERAS_BACKEND"))
"""
    assert python(code).stdout == "None\n"


@pytest.fixture(scope="module")
def fresh() -> subprocess.CompletedProcess[str]:
    """A Python that chooses for itself and says what it found."""
    return python(
        "import json, os, sys\n"
        "from sightline.learning.models import backend\n"
        "before = [name for name in ('keras', *backend.BACKENDS) if name in sys.modules]\n"
        "name = backend.choose()\n"
        "print(json.dumps({'before': before, 'name': name, 'about': backend.describe(name),\n"
        "                  'variable': os.environ['KERAS_BACKEND']}))"
    )


def answer(fresh: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fresh.stdout)
    return found


def test_importing_the_module_loads_no_framework(
    fresh: subprocess.CompletedProcess[str],
) -> None:
    assert answer(fresh)["before"] == []


def test_without_a_wish_the_first_installed_backend_is_taken(
    fresh: subprocess.CompletedProcess[str],
) -> None:
    installed = next(name for name in backend.BACKENDS if importlib.util.find_spec(name))
    assert (answer(fresh)["name"], answer(fresh)["variable"]) == (installed, installed)


def test_loading_a_backend_writes_nothing_to_standard_error(
    fresh: subprocess.CompletedProcess[str],
) -> None:
    assert fresh.stderr == ""


def test_the_machine_is_described_by_what_decides_speed(
    fresh: subprocess.CompletedProcess[str],
) -> None:
    about = answer(fresh)["about"]
    assert set(about) == {
        "backend", "device", "accelerators", "bfloat16", "threads", "settings", "versions",
    }  # fmt: skip
    assert about["threads"] == usable_cores()


def test_the_versions_of_keras_and_the_backend_are_described(
    fresh: subprocess.CompletedProcess[str],
) -> None:
    assert set(answer(fresh)["about"]["versions"]) == {"keras", answer(fresh)["name"]}


# --- a run that is used -----------------------------------------------------------------------


def used(made_on: str) -> str:
    """Return what a run is used on in a Python of its own."""
    code = f"from sightline.learning.models import backend; print(backend.choose_for({made_on!r}))"
    return python(code).stdout.strip()


@pytest.mark.parametrize("made_on", ["jax", "torch", "unknown"])
def test_a_run_is_used_on_the_backend_that_is_loaded(made_on: str) -> None:
    assert backend.choose_for(made_on) == "tensorflow"


def test_the_variable_counts_more_than_the_backend_of_the_run() -> None:
    message = refusal("backend.choose_for('tensorflow')", KERAS_BACKEND="theano")
    assert "KERAS_BACKEND is 'theano'" in message


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_a_run_is_used_on_its_own_backend_where_that_is_installed() -> None:
    assert used("jax") == "jax"


@no_jax
def test_a_run_is_used_on_an_installed_backend_where_its_own_is_not() -> None:
    assert used("jax") in backend.BACKENDS
