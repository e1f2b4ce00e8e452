"""The notebooks in examples/, each run from top to bottom in a kernel of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import sightline as sl
from sightline.data.digits import write_digits

EXAMPLES = Path(__file__).parents[1] / "examples"
FIRST, LATER = EXAMPLES / "kaggle.ipynb", EXAMPLES / "kaggle-later.ipynb"


def close(folder: Path, *, writable: bool) -> None:
    """Take or give the right to write a folder and all below it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o755 if path.is_dir() else 0o644) if writable else 0o555)


def contents(folder: Path) -> dict[Path, int]:
    """Return every path below a folder, and when it was changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def execute(path: Path, working: Path, **variables: Path | str):
    """Return a notebook's cells after a run in a new kernel, in an empty working folder."""
    working.mkdir()
    notebook = nbformat.read(path, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_WORKING", str(working))
        for name, value in variables.items():
            patch.setenv(name, str(value))
        resources = {"metadata": {"path": str(working)}}
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    return notebook


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """0, 1 and 7 of the digits, in a read-only folder."""
    place = tmp_path_factory.mktemp("images")
    digits = write_digits(place / "digits")
    for name in ("0", "1", "7"):
        shutil.copytree(digits / name, place / "input" / name)
    close(place / "input", writable=False)
    yield place / "input"
    close(place / "input", writable=True)


@pytest.fixture(scope="module")
def first(images, tmp_path_factory):
    """The first notebook after its run, its working folder, and the images before and after."""
    working = tmp_path_factory.mktemp("first") / "working"
    before = contents(images)
    notebook = execute(FIRST, working, SIGHTLINE_INPUT=images, SIGHTLINE_MINUTES="0.1")
    return notebook, working, (before, contents(images))


@pytest.fixture(scope="module")
def later(images, first, tmp_path_factory):
    """The later notebook, likewise, with the first one's run in a read-only copy."""
    place = tmp_path_factory.mktemp("later")
    saved = Path(shutil.copytree(first[1] / "runs" / "first", place / "attached" / "first"))
    close(saved, writable=False)
    before = contents(saved)
    notebook = execute(LATER, place / "working", SIGHTLINE_INPUT=images, SIGHTLINE_SAVED=saved)
    yield notebook, place / "working", (before, contents(saved))
    close(saved, writable=True)


def said(notebook) -> str:
    """Return all text that the cells put out."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            texts.append(output.get("text", ""))
            texts += [part for kind, part in output.get("data", {}).items() if "text" in kind]
    return "\n".join(texts)


def errors(notebook) -> list[object]:
    """Return what the cells wrote to standard error."""
    return [o for c in notebook.cells for o in c.get("outputs", []) if o.get("name") == "stderr"]


def on_a_bare_python(cell: str) -> subprocess.CompletedProcess[str]:
    """Run a cell in a Python that sees no installed package."""
    return subprocess.run(
        [sys.executable, "-S", "-E", "-c", cell], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("path", [FIRST, LATER], ids=lambda path: path.stem)
def test_a_notebook_ships_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.skipif(Path("/kaggle/input").exists(), reason="wheels may be attached here")
@pytest.mark.parametrize("path", [FIRST, LATER], ids=lambda path: path.stem)
def test_without_sightline_and_its_wheel_a_notebook_says_what_to_attach(path):
    done = on_a_bare_python(nbformat.read(path, as_version=4).cells[1].source)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("There is no sightline-*.whl below /kaggle/input. Make one (")


def test_no_cell_of_the_first_notebook_warns_or_writes_errors(first):
    assert errors(first[0]) == []


@pytest.mark.slow
def test_no_cell_of_the_later_notebook_warns_or_writes_errors(later):
    assert errors(later[0]) == []


def test_the_notebook_names_the_device(first):
    (device,) = (check for check in sl.doctor() if check.code == "device")
    assert device.title in said(first[0])


def test_the_notebook_shows_every_epoch_while_it_trains(first):
    assert "epoch   1/" in said(first[0])


def test_the_notebook_writes_nothing_beside_the_images(first):
    before, after = first[2]
    assert before == after


def test_the_notebook_leaves_a_row_for_every_image(first):
    rows = (first[1] / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 178 + 182 + 179


@pytest.mark.slow
def test_the_later_notebook_opens_the_saved_run(later):
    assert "first finished best epoch" in said(later[0])


@pytest.mark.slow
def test_the_later_notebook_trains_again_on_the_same_splits(first, later):
    one, two = sl.open_run(first[1] / "runs" / "first"), sl.open_run(later[1] / "runs" / "second")
    assert one.manifest.table.equals(two.manifest.table)


@pytest.mark.slow
def test_the_later_notebook_changes_nothing_in_the_saved_run(later):
    before, after = later[2]
    assert before == after
