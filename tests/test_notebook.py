"""The notebook in examples/, run from top to bottom in a kernel of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from sightline.data.digits import write_digits

NOTEBOOK = Path(__file__).parents[1] / "examples" / "kaggle.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook's cells after a run on 0, 1 and 7 of the digits, in a read-only folder."""
    place = tmp_path_factory.mktemp("kaggle")
    digits = write_digits(place / "digits")
    images, working = place / "input", place / "working"
    working.mkdir()
    for name in ("0", "1", "7"):
        shutil.copytree(digits / name, images / name)
    before = sorted(images.rglob("*"))
    for path in (*before, images):
        path.chmod(0o555 if path.is_dir() else 0o444)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_INPUT", str(images))
        patch.setenv("SIGHTLINE_WORKING", str(working))
        patch.setenv("SIGHTLINE_MINUTES", "0.1")
        client = NotebookClient(
            notebook, timeout=300, kernel_name="python3",
            resources={"metadata": {"path": str(working)}},
        )  # fmt: skip
        client.execute()
    yield notebook, working, (before, sorted(images.rglob("*")))
    for path in (images, *before):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _said(notebook) -> str:
    """Return all text that the cells put out."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            texts.append(output.get("text", ""))
            texts += [part for kind, part in output.get("data", {}).items() if "text" in kind]
    return "\n".join(texts)


def test_the_notebook_ships_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_no_cell_of_the_notebook_warns_or_writes_errors(executed):
    notebook, _, _ = executed
    streams = [o for c in notebook.cells for o in c.get("outputs", []) if o.get("name") == "stderr"]
    assert streams == []


def test_the_notebook_names_the_device(executed):
    assert "device" in _said(executed[0])


def test_the_notebook_shows_every_epoch_while_it_trains(executed):
    assert "epoch   1/" in _said(executed[0])


def test_the_notebook_writes_nothing_beside_the_images(executed):
    before, after = executed[2]
    assert before == after


def test_a_later_notebook_goes_on_from_the_saved_run(executed):
    _, working, _ = executed
    assert (working / "runs" / "second" / "model.keras").exists()


def test_the_notebook_leaves_a_row_for_every_image(executed):
    _, working, _ = executed
    rows = (working / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 178 + 182 + 179
