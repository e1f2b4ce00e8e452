"""Files that are read and written: encodings, line ends, refusals, and what a copy keeps."""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat
import sysconfig
from pathlib import Path

import pytest
from judged import FEED, Read, codes, left_of, mended

from sightline.adoption import adopt, copy_path, write_copy
from sightline.adoption.script import MOST_SCRIPT_BYTES
from sightline.errors import DataError

OLD = "from keras.optimizers import Adam\nx = Adam(lr=1)\n"
TESTS = Path(__file__).parents[1]
STANDARD = Path(sysconfig.get_paths()["stdlib"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*nothing\.py"):
        adopt(tmp_path / "nothing.py")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.py").mkdir()
    with pytest.raises(DataError, match=r"old\.py is a folder\. Name one"):
        adopt(tmp_path / "old.py")


@pytest.mark.parametrize(("name", "got"), [("a.txt", r"\.txt"), ("script", "no ending")])
def test_other_kinds_of_files_are_refused(tmp_path: Path, name: str, got: str) -> None:
    (tmp_path / name).write_text("import keras\n")
    with pytest.raises(DataError, match=rf"must be a \.py or \.ipynb file, got {got}\."):
        adopt(tmp_path / name)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(DataError, match="is no ordinary file"):
        adopt(tmp_path / "pipe.py")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "huge.py").write_bytes(b"x = 1\n" * (MOST_SCRIPT_BYTES // 6 + 1))
    with pytest.raises(DataError, match=r"has 4,000,002 bytes, more than the 4,000,000"):
        adopt(tmp_path / "huge.py")


def test_a_syntax_error_is_named_with_its_line(read: Read) -> None:
    with pytest.raises(DataError, match=r"script\.py line 2 is not Python .*got 'def f\(:'"):
        read("import keras\ndef f(:\n    pass\n")


@pytest.mark.parametrize(
    "line", ['print "loss", loss', "exec code", "except IOError, e:", "raise E, 'no'"]
)
def test_python_2_is_called_by_its_name(read: Read, line: str) -> None:
    code = f"import keras\ntry:\n    pass\n{line}\n    pass\n" if "except" in line else f"{line}\n"
    with pytest.raises(DataError, match=r"line \d is Python 2, got .*2to3"):
        read(code)


def test_a_line_of_ipython_in_a_script_is_named(read: Read) -> None:
    with pytest.raises(DataError, match=r"line 2 is IPython's own, got '%matplotlib inline'"):
        read("import keras\n%matplotlib inline\n")


@pytest.mark.parametrize(
    "content", [b"# caf\xe9\nimport keras\n", b"# coding: klingon\n", b"\xff\xfei\x00m\x00"]
)
def test_other_encodings_are_refused_plainly(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.py").write_bytes(content)
    with pytest.raises(DataError, match="is not the text it should be"):
        adopt(tmp_path / "a.py")


def test_null_bytes_are_refused(read: Read) -> None:
    with pytest.raises(DataError, match=r"is no(t| ) ?Python"):
        read("import keras\0\n")


def test_a_program_nested_without_end_is_refused(read: Read) -> None:
    with pytest.raises(DataError, match=r"nested too deeply|is not Python"):
        read("import keras\nx = " + "-" * 100_000 + "1\n")


@pytest.mark.parametrize("code", ["", "\n", "# nothing\n", "import numpy\nprint(1)\n"])
def test_a_program_without_keras_has_nothing_to_adopt(read: Read, code: str) -> None:
    adoption = read(code)
    assert (adoption.uses_keras, adoption.findings, adoption.mended) == (False, (), None)


@pytest.mark.parametrize(
    ("begin", "encoding", "end"),
    [(b"", "utf-8", "\n"), (b"", "utf-8", "\r\n"), (b"", "utf-8", "\r"),
     (codecs.BOM_UTF8, "utf-8", "\r\n"), (b"# -*- coding: latin-1 -*-\n", "latin-1", "\n"),
     (b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n", "cp1252", "\n")],
)  # fmt: skip
def test_a_copy_keeps_every_other_byte(
    tmp_path: Path, begin: bytes, encoding: str, end: str
) -> None:
    lines = ["from keras.optimizers import Adam", "", "x = 1  # \u00fc\xdf", "if x:",
             "\t'\u00e9'; y = Adam( lr = 1 ,\t # \u00e4", "\t)  ", "\f", "z = '''a",
             "  b'''", "  "]  # fmt: skip
    content = begin + end.join(lines).encode(encoding)  # no end of line at its end
    (tmp_path / "a.py").write_bytes(content)
    assert adopt(tmp_path / "a.py").mended == content.replace(b" lr = ", b" learning_rate = ")


def test_line_numbers_are_those_of_an_editor(read: Read) -> None:
    lines = [
        "import keras",
        "'''\f\u2028'''",
        "\f",
        "from keras.optimizers import Adam",
        "Adam(lr=1)",
    ]
    code = "\r\n".join(lines)
    assert read(code).findings[0].evidence == {
        "line": 5, "cell": None, "source": "Adam(lr=1)", "mended": True,
    }  # fmt: skip


def test_the_copy_goes_beside_the_script(tmp_path: Path, read: Read) -> None:
    adoption = read(OLD, "old.v1.py")
    assert write_copy(adoption) == tmp_path / "old.v1.sightline.py"
    assert (tmp_path / "old.v1.sightline.py").read_text() == OLD.replace("lr=", "learning_rate=")
    assert (tmp_path / "old.v1.py").read_text() == OLD


def test_a_copy_is_never_written_over_a_file(tmp_path: Path, read: Read) -> None:
    adoption = read(OLD)
    write_copy(adoption)
    for path in (None, tmp_path / "script.py", tmp_path / "script.sightline.py"):
        with pytest.raises(DataError, match=r"already, and a copy is never written over a file"):
            write_copy(adoption, path)
    assert (tmp_path / "script.py").read_text() == OLD


def test_a_copy_is_of_the_same_kind(tmp_path: Path, read: Read) -> None:
    with pytest.raises(DataError, match=r"must end in \.py, got .*new\.ipynb"):
        write_copy(read(OLD), tmp_path / "new.ipynb")


def test_a_copy_into_no_folder_is_the_system_s_error(tmp_path: Path, read: Read) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        write_copy(read(OLD), tmp_path / "none" / "new.py")
    assert caught.value.errno == errno.ENOENT


def test_a_copy_may_be_run_like_its_script(tmp_path: Path, read: Read) -> None:
    adoption = read(OLD)
    (tmp_path / "script.py").chmod(0o755)
    assert stat.S_IMODE(write_copy(adoption).stat().st_mode) == 0o755


def test_an_unchanged_script_s_copy_is_equal(tmp_path: Path, read: Read) -> None:
    adoption = read("import keras\r\n\tx\n".replace("\tx", "x"))
    assert adoption.mended is None
    assert write_copy(adoption).read_bytes() == b"import keras\r\nx\n"


def test_the_name_of_a_copy_keeps_the_ending() -> None:
    assert copy_path(Path("a/b.ipynb")) == Path("a/b.sightline.ipynb")


def sample() -> list[Path]:
    own = sorted(path for path in TESTS.rglob("*.py") if "adoption" not in path.parts)
    small = (path for path in sorted(STANDARD.glob("*.py")) if path.stat().st_size < 60_000)
    return [*own, *list(small)[:200]]


def test_hundreds_of_other_programs_are_read_and_kept(tmp_path: Path) -> None:
    for number, path in enumerate(sample()):
        content = path.read_bytes()
        adoption = adopt(path)
        copy = write_copy(adoption, tmp_path / f"{number}.py")
        assert not adoption.refused, (path, codes(adoption))
        assert adoption.mended is None or path.is_relative_to(TESTS), (path, codes(adoption))
        assert copy.read_bytes() == (adoption.mended or content)


def test_every_program_can_be_rewritten_without_a_change_elsewhere(tmp_path: Path) -> None:
    """One line to mend, put before some programs of the standard library."""
    for path in [*sample()[-20:], STANDARD / "webbrowser.py"]:
        code = path.read_text("utf-8")
        if "from __future__" in code:
            continue
        (tmp_path / "a.py").write_text(OLD + code, newline="")
        adoption = adopt(tmp_path / "a.py")
        assert mended(adoption) == OLD.replace("lr=", "learning_rate=") + code


def test_a_space_that_libcst_forgets_is_kept(read: Read) -> None:
    code = "try:\n    pass\nexcept (KeyError, OSError) :\n    pass\n"
    assert mended(read(OLD + code)) == OLD.replace("lr=", "learning_rate=") + code


def test_a_copy_has_none_of_what_was_mended(read: Read) -> None:
    code = FEED.replace("sightline", "keras") + (
        "model.fit_generator(train, steps_per_epoch=train.n // 32, workers=3)\n"
        "model.predict_generator(val, steps=val.n / 32)\n"
    )
    first = read(code)
    second = read(mended(first))
    assert {(each.code, each.title) for each in second.findings} <= left_of(first)
    assert second.mended is None


def test_every_code_is_documented() -> None:
    checks = (TESTS.parent / "src" / "sightline" / "adoption" / "checks").glob("*.py")
    literal = re.compile(r'"([a-z0-9]+(?:-[a-z0-9]+)+)"')
    codes = {code for path in checks for code in literal.findall(path.read_text("utf-8"))}
    page = (TESTS.parent / "docs" / "adopt.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    told = {code.strip() for row in rows for code in row.split(",")} - {"code", "---"}
    assert told == codes
