"""Notebooks: cells, magics, and a JSON that keeps its bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from judged import codes

from sightline.adoption import Adoption, adopt
from sightline.errors import DataError

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
IMPORT = "from keras.optimizers import Adam"


def code(*lines: str, **more: Any) -> dict[str, Any]:
    source = [f"{line}\n" for line in lines[:-1]] + list(lines[-1:])
    return {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [],
            "source": source, **more}  # fmt: skip


def text(*lines: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": list(lines)}


def notebook(*cells: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {"kernelspec": KERNEL},
            "nbformat": 4, "nbformat_minor": 4, **more}  # fmt: skip


def adopted(folder: Path, content: Any, **how: Any) -> Adoption:
    path = folder / "note.ipynb"
    path.write_text(content if isinstance(content, str) else json.dumps(content, **how), "utf-8")
    return adopt(path)


def sources(adoption: Adoption) -> list[str]:
    assert adoption.mended is not None
    return ["".join(cell["source"]) for cell in json.loads(adoption.mended)["cells"]]


def test_findings_are_placed_by_cell_and_line(tmp_path: Path) -> None:
    cells = (text("# Title"), code(IMPORT), code(), code("%matplotlib inline", "", "Adam(lr=1)"))
    adoption = adopted(tmp_path, notebook(*cells))
    assert codes(adoption) == ["renamed-argument"]
    assert adoption.findings[0].evidence == {
        "line": 3, "cell": 4, "source": "Adam(lr=1)", "mended": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "lines",
    [
        ["%matplotlib inline", "x = Adam(lr=1)"],
        ["!pip install 'keras<2' && echo \"don't\"", "x = Adam(lr=1)"],
        ["x = Adam(lr=1)", "x?", "??Adam"],
        ["files = !ls data", "names = %who_ls", "x = Adam(lr=1)"],
        ["if files:", "    !mkdir -p out", "    %cd out", "x = Adam(lr=1)"],
        ["%%time", "x = Adam(lr=1)"],
        ["", "%%capture out", "x = Adam(lr=1)"],
        ["!pip install a \\", "    b \\", "    c", "x = Adam(lr=1)"],
        ["pip install keras", "x = Adam(lr=1)"],
        ["print('%d of'", "      % 3)", "x = Adam(lr=1)"],
        ["a = '''", "%matplotlib", "!ls'''", "x = Adam(lr=1)"],
        ["x = Adam(lr=1)  # \u00e4\u2028 \f", "await feed()"],
    ],
)
def test_lines_of_ipython_are_kept(tmp_path: Path, lines: list[str]) -> None:
    adoption = adopted(tmp_path, notebook(code(IMPORT), code(*lines)))
    assert codes(adoption) == ["renamed-argument"]
    expected = "\n".join(lines).replace("lr=", "learning_rate=")
    assert sources(adoption)[1] == expected


def test_cells_of_other_languages_are_kept(tmp_path: Path) -> None:
    cells = (code("%%bash", "for f in *; do echo $f; done"), code(IMPORT), code("Adam(lr=1)"))
    adoption = adopted(tmp_path, notebook(*cells))
    assert sources(adoption)[0] == "%%bash\nfor f in *; do echo $f; done"


@pytest.mark.parametrize("indent", [None, 1, 2, "\t"])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_the_rest_of_the_file_keeps_its_bytes(
    tmp_path: Path, indent: Any, ascii_only: bool, end: str
) -> None:
    picture = {"output_type": "display_data", "data": {"image/png": "iVBORw0\n"}, "metadata": {}}
    cells = (
        text("# \u00dcbung \U0001f600"),
        code(IMPORT, "", "# \u00fc", "Adam(lr=1)", outputs=[picture], id="b"),
        code("print('\u00e9')"),
    )
    content = json.dumps(
        notebook(*cells, zeta=1.50, alpha=1e3), indent=indent, ensure_ascii=ascii_only
    )
    adoption = adopted(tmp_path, content + end)
    assert adoption.mended is not None
    expected = (content + end).replace("Adam(lr=1)", "Adam(learning_rate=1)")
    assert adoption.mended.decode() == expected


def test_a_source_that_is_one_text_stays_one(tmp_path: Path) -> None:
    cell = {**code(), "source": IMPORT + "\nAdam(lr=1)\n"}
    content = json.dumps(notebook(cell), indent=1)
    adoption = adopted(tmp_path, content)
    assert adoption.mended is not None
    assert adoption.mended.decode() == content.replace("(lr=", "(learning_rate=")


def test_new_imports_stand_in_the_cell_of_the_old_ones(tmp_path: Path) -> None:
    cells = (
        code("import os"),
        text("Keras"),
        code(
            "import keras",
            "from keras.preprocessing.image import (",
            "    ImageDataGenerator,",
            ")",
        ),
        code("model = keras.Sequential()"),
        code("model.fit_generator(ImageDataGenerator().flow(x, y, seed=1))"),
    )
    adoption = adopted(tmp_path, notebook(*cells), indent=1)
    assert sources(adoption)[2] == (
        "import keras\nfrom sightline.preprocessing.image import (\n    ImageDataGenerator,\n)\n"
        "from sightline.preprocessing.image import fit_generator"
    )
    assert sources(adoption)[4] == "fit_generator(model, ImageDataGenerator().flow(x, y, seed=1))"
    assert adoption.mended is not None
    nbformat.validate(nbformat.reads(adoption.mended.decode(), as_version=4))


def test_a_name_is_what_the_last_cell_before_made_it(tmp_path: Path) -> None:
    cells = (
        code("from sightline.preprocessing.image import ImageDataGenerator", "import keras"),
        code("feed = ImageDataGenerator().flow(x, y, seed=1, shuffle=False)"),
        code("feed = ImageDataGenerator().flow(x, y)"),
        code("model = keras.Sequential()", "model.fit(feed)"),
    )
    assert codes(adopted(tmp_path, notebook(*cells))) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no notebook: its content is not JSON"),
        ("{", "is no notebook: its content is not JSON"),
        ("[" * 100_000, "is no notebook: its content is not JSON"),
        ("[]", "has no cells"),
        ('{"a": 1}', "has no cells"),
        ('{"worksheets": [], "nbformat": 3}', "has no cells. It is of format 3 or older"),
        (json.dumps(notebook(metadata={"kernelspec": {"language": "R"}})), "is a notebook of 'R'"),
        (json.dumps(notebook(text("a"), code("import keras", "x = ("))),
         r"cell 2, line 2 is not Python .*got 'x = \('"),
        (json.dumps(notebook(code("import keras", "", 'print "a"'))), "cell 1, line 3 is Python 2"),
    ],
)  # fmt: skip
def test_what_is_no_notebook_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        adopted(tmp_path, content)


@pytest.mark.parametrize(
    "cells", [[], [None], [{"cell_type": "code"}], [code()], [{**code(), "source": 3}], [{}]]
)
def test_odd_cells_are_passed_over(tmp_path: Path, cells: list[Any]) -> None:
    assert not adopted(tmp_path, {"cells": cells, "metadata": None}).uses_keras


def test_keys_given_twice_are_read_like_json(tmp_path: Path) -> None:
    cell = json.dumps(code(IMPORT, "Adam(lr=1)"))
    adoption = adopted(tmp_path, f'{{"cells": [1, 2], "cells": [{cell}]}}')
    assert codes(adoption) == ["renamed-argument"]
    assert adoption.mended is not None
    assert b'"cells": [1, 2], "cells"' in adoption.mended


def test_a_mark_of_byte_order_is_kept(tmp_path: Path) -> None:
    content = "\ufeff" + json.dumps(notebook(code(IMPORT, "Adam(lr=1)")))
    adoption = adopted(tmp_path, content)
    assert adoption.mended == content.replace("(lr=", "(learning_rate=").encode()
