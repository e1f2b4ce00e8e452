"""`sightline adopt`: what is told, what is written, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sightline.cli import adopt

OLD = """\
import keras
from keras.preprocessing.image import ImageDataGenerator
model = keras.models.load_model("[b].keras")
feed = ImageDataGenerator().flow_from_directory("photos", seed=1)
model.fit_generator(feed, steps_per_epoch=feed.samples // 32)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "old.py").write_text(OLD)
    return tmp_path / "old.py"


def run_cli(*words: object) -> Any:
    app = typer.Typer()
    adopt.add_to(app)
    app.callback()(lambda: None)  # so that the command keeps its name
    return CliRunner().invoke(app, ["adopt", *map(str, words)])


def test_findings_are_told_a_block_each(script: Path) -> None:
    done = run_cli(script)
    assert done.exit_code == 1
    blocks = done.stdout.split("\n\n")
    assert blocks[1].splitlines() == [
        f"{script}:5  error  generator-method  (--write mends it)",
        "    model.fit_generator(feed, steps_per_epoch=feed.samples // 32)",
        "  `model.fit_generator` does not exist in Keras 3: the program stops with AttributeError.",
        "  Call fit_generator(model, ...) of sightline.preprocessing.image; "
        "it takes the same arguments.",
    ]
    assert blocks[-1].splitlines() == [
        "2 errors, 1 warning.",
        "3 of 3 are mended in a copy, old.sightline.py:",
        f"  sightline adopt {script} --write",
    ]


def test_nothing_is_written_without_being_asked(script: Path) -> None:
    run_cli(script)
    assert [path.name for path in script.parent.iterdir()] == ["old.py"]


def test_a_copy_is_written_and_named(script: Path) -> None:
    done = run_cli(script, "--write")
    copy = script.with_name("old.sightline.py")
    assert done.exit_code == 0  # no error is left in the copy
    assert done.stdout.endswith(f"Wrote {copy}: 3 of 3 mended.\n")
    assert "fit_generator(model, feed, steps_per_epoch=len(feed))" in copy.read_text()
    assert script.read_text() == OLD


def test_errors_that_are_left_in_the_copy_show_in_the_exit_code(script: Path) -> None:
    script.write_text(OLD + 'model.save("folder")\n')
    assert run_cli(script, "--write").exit_code == 1


def test_a_copy_goes_where_it_is_told(script: Path, tmp_path: Path) -> None:
    done = run_cli(script, "--out", tmp_path / "new.py")
    assert f"Wrote {tmp_path / 'new.py'}" in done.stdout


@pytest.mark.parametrize("out", ["old.py", "taken.py"])
def test_no_file_is_written_over(script: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "taken.py").write_text("mine")
    done = run_cli(script, "--out", tmp_path / out)
    assert done.exit_code == 2
    assert f"there is {tmp_path / out} already" in done.stderr
    assert script.read_text() == OLD
    assert (tmp_path / "taken.py").read_text() == "mine"


def test_json_holds_every_finding(script: Path) -> None:
    done = run_cli(script, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (told["path"], told["uses_keras"], told["copy"]) == (str(script), True, None)
    first = told["findings"][0]
    assert set(first) == {"code", "severity", "line", "cell", "source", "mended", "title", "advice"}
    assert (first["code"], first["line"], first["mended"]) == ("image-generator-import", 2, True)


def test_json_names_the_copy(script: Path) -> None:
    told = json.loads(run_cli(script, "--json", "--write").stdout)
    assert told["copy"] == str(script.with_name("old.sightline.py"))


def test_a_script_without_keras_has_nothing_to_adopt(script: Path) -> None:
    script.write_text("print(1)\n")
    done = run_cli(script, "--write")
    assert (done.exit_code, done.stdout) == (
        0,
        f"{script} does not use Keras: there is nothing to adopt.\n",
    )
    assert not script.with_name("old.sightline.py").exists()


def test_a_good_script_is_told_so(script: Path) -> None:
    script.write_text("import keras\n")
    assert run_cli(script).stdout == f"{script}: nothing is wrong with it.\n"


def test_findings_that_only_a_person_can_mend_give_no_copy(script: Path) -> None:
    script.write_text('import keras\nkeras.callbacks.ModelCheckpoint("a.hdf5")\n')
    done = run_cli(script, "--write")
    assert done.exit_code == 1
    assert done.stdout.endswith("None of them can be mended without you; no copy.\n")


def test_cells_are_told_as_cells(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": [line]} for line in OLD.splitlines(keepends=True)]
    (tmp_path / "old.ipynb").write_text(json.dumps({"cells": cells}))
    done = run_cli(tmp_path / "old.ipynb")
    assert f"{tmp_path / 'old.ipynb'} cell 5, line 1  error  generator-method" in done.stdout
    assert "Cells are counted from 1, text cells included." in done.stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("none.py", None, "there is no file"), ("a.txt", "", "must be a .py or .ipynb file"),
     ("a.py", 'print "a"\n', "is Python 2"), ("a.ipynb", "{", "is no notebook")],
)  # fmt: skip
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_input_is_told_in_one_message(
    tmp_path: Path, name: str, content: str | None, message: str, as_json: bool
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    done = run_cli(tmp_path / name, *(["--json"] if as_json else []))
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not as_json or message in json.loads(done.stdout)["message"]
