"""Child programs that die, hang, are killed or left alone: the table is the same."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import sightline as sl
from sightline.data.auditing.children import inspect_all
from sightline.data.auditing.inspected import INSPECTED_SCHEMA
from sightline.data.images import encode_jpeg
from sightline.errors import SetupError
from sightline.records import Manifest

# A child that leaves a folder for each file it begins, and does what the file's name says.
_PROGRAM = """
import os, resource, signal, time, uuid
from sightline.data.auditing import child

LOG = {log!r}

def look(location, name, mode, max_megapixels):
    os.mkdir(f"{{LOG}}/{{name}} {{uuid.uuid4()}}")
    begun = sum(entry.startswith(name) for entry in os.listdir(LOG))
    if mode != child.HASH_ALONE:
        if name.startswith("crash") or name.startswith("once") and begun == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.startswith("hang"):
            time.sleep(1000)
        if name.startswith("raise"):
            raise KeyError("a defect")
        if name.startswith("exit"):
            os._exit(3)
    elif name.startswith("crash-always"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("greedy"):
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, used + 50_000_000))
    return child.look(location, name, mode, max_megapixels)

child.main(look)
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """300 small JPEGs; every 50th is empty."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(300):
        pixels = rng.integers(0, 256, (160, 160, 3), np.uint8)
        content = encode_jpeg(pixels) if number % 50 else b""
        (folder / f"{number:03d}.jpg").write_bytes(content)
    return Manifest.make(folder, {"record_id": [f"{n:03d}.jpg" for n in range(300)]})


@pytest.fixture(scope="module")
def undisturbed(pictures: Manifest) -> pl.DataFrame:
    return inspect_all(pictures, range(len(pictures)), workers=1)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., tuple[Manifest, Path, Path]]:
    """Return a function that makes files of these names, and the program that reads names."""

    def make(*names: str) -> tuple[Manifest, Path, Path]:
        folder, log = tmp_path / "files", tmp_path / "log"
        folder.mkdir()
        log.mkdir()
        for number, name in enumerate(names):
            (folder / name).write_bytes(encode_jpeg(np.full((16, 16, 3), number, np.uint8)))
        program = tmp_path / "program.py"
        program.write_text(_PROGRAM.format(log=str(log)))
        return Manifest.make(folder, {"record_id": list(names)}), program, log

    return make


def begun(log: Path) -> Counter[str]:
    return Counter(entry.name.partition(" ")[0] for entry in log.iterdir())


def own_children() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += [int(pid) for pid in (task / "children").read_text().split()]
    return [pid for pid in found if b"auditing/child.py" in command(pid)]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def as_bytes(table: pl.DataFrame) -> bytes:
    return repr((table.schema, table.rows())).encode()


def test_a_file_that_ends_its_child_is_tried_three_times_and_the_others_once(make) -> None:
    manifest, program, log = make("a.jpg", "b.jpg", "crash.jpg", "d.jpg", "e.jpg")
    table = inspect_all(manifest, range(5), workers=1, program=program)
    assert table["status"].to_list() == ["ok", "ok", "quarantined", "ok", "ok"]
    # Three times decoded, once hashed.
    assert begun(log) == {"a.jpg": 1, "b.jpg": 1, "crash.jpg": 4, "d.jpg": 1, "e.jpg": 1}


def test_what_ended_the_children_is_said_and_the_content_known(make) -> None:
    manifest, program, _ = make("crash.jpg")
    row = inspect_all(manifest, [0], workers=1, program=program).row(0, named=True)
    assert (row["reason"], row["stage"]) == ("CRASHED_DECODER", "decode")
    assert "3 times was ended by signal SIGSEGV" in row["detail"]
    assert row["bytes"] == (manifest.root / "crash.jpg").stat().st_size
    assert len(row["sha256"]) == 64


def test_a_file_that_cannot_even_be_hashed_is_given_up(make) -> None:
    manifest, program, _ = make("crash-always.jpg", "b.jpg")
    table = inspect_all(manifest, [0, 1], workers=2, program=program).sort("record_id")
    assert table["reason"].to_list() == [None, "CRASHED_DECODER"]
    assert table["sha256"].is_null().to_list() == [False, True]


def test_a_file_that_hangs_is_tried_twice(make) -> None:
    manifest, program, log = make("a.jpg", "hang.jpg", "c.jpg")
    table = inspect_all(manifest, range(3), workers=2, program=program, patience=0.4)
    assert table["reason"].to_list() == [None, None, "CRASHED_DECODER"]
    assert "2 times made no progress for 0.4 s" in table["detail"][2]
    assert begun(log) == {"a.jpg": 1, "c.jpg": 1, "hang.jpg": 3}


def test_a_file_that_ends_its_child_once_is_used(make) -> None:
    manifest, program, log = make("a.jpg", "once.jpg", "z.jpg")
    table = inspect_all(manifest, range(3), workers=1, program=program)
    assert table["status"].to_list() == ["ok"] * 3
    assert begun(log) == {"a.jpg": 1, "once.jpg": 2, "z.jpg": 1}


def test_a_defect_of_the_child_is_quarantined_with_its_last_words(make) -> None:
    manifest, program, _ = make("raise.jpg", "exit.jpg")
    details = inspect_all(manifest, range(2), workers=1, program=program)["detail"]
    assert "3 times ended with code 3 (it said nothing)" in details[0]
    assert "3 times ended with code 1 (KeyError: 'a defect')" in details[1]


def test_a_picture_that_takes_more_memory_than_a_child_has_is_too_large(make) -> None:
    manifest, program, _ = make("greedy.png")
    image = Image.new("RGB", (6000, 6000))
    image.save(manifest.root / "greedy.png")
    row = inspect_all(manifest, [0], workers=1, program=program).row(0, named=True)
    assert (row["reason"], row["stage"], row["width"]) == ("TOO_LARGE", "decode", 6000)
    assert "takes more memory" in row["detail"]


def test_children_that_cannot_start_are_an_error_that_says_why(make, tmp_path: Path) -> None:
    manifest, _, _ = make("a.jpg")
    broken = tmp_path / "broken.py"
    broken.write_text("raise OSError('no such library')\n")
    with pytest.raises(SetupError, match=r"OSError: no such library.*broken\.py"):
        inspect_all(manifest, [0], workers=2, program=broken)


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_children_gives_the_same_table(
    workers: int, pictures: Manifest, undisturbed: pl.DataFrame
) -> None:
    table = inspect_all(pictures, range(len(pictures)), workers=workers)
    assert as_bytes(table) == as_bytes(undisturbed)


class _Disturber:
    """Sends a signal to a child after every 20 files, so that no file is hit again and again."""

    def __init__(self, what: signal.Signals) -> None:
        self.what, self.hit, self.done = what, list[int](), 0

    def __call__(self, count: int) -> None:
        self.done += count
        left = [pid for pid in own_children() if pid not in self.hit]
        if left and self.done >= 20 * (len(self.hit) + 1):
            self.hit.append(left[0])
            os.kill(left[0], self.what)


def test_children_killed_in_the_middle_leave_the_same_table(
    pictures: Manifest, undisturbed: pl.DataFrame
) -> None:
    killer = _Disturber(signal.SIGKILL)
    table = inspect_all(pictures, range(len(pictures)), workers=2, on_done=killer)
    assert len(killer.hit) >= 10
    assert as_bytes(table) == as_bytes(undisturbed)


@pytest.mark.slow
def test_children_stopped_in_the_middle_leave_the_same_table(
    pictures: Manifest, undisturbed: pl.DataFrame
) -> None:
    stopper = _Disturber(signal.SIGSTOP)
    rows = range(len(pictures))
    table = inspect_all(pictures, rows, workers=2, on_done=stopper, patience=1.0)
    assert len(stopper.hit) >= 10
    assert as_bytes(table) == as_bytes(undisturbed)


def test_rows_come_in_the_order_asked_for_and_may_repeat(
    pictures: Manifest, undisturbed: pl.DataFrame
) -> None:
    rows = [7, 3, 0, 7]
    assert inspect_all(pictures, rows, workers=2).equals(undisturbed[rows])


def test_no_rows_give_an_empty_table(pictures: Manifest) -> None:
    assert inspect_all(pictures, [], workers=2).schema == INSPECTED_SCHEMA


def test_every_file_done_is_reported(pictures: Manifest) -> None:
    done: list[int] = []
    inspect_all(pictures, range(40), workers=2, on_done=done.append)
    assert sum(done) == 40


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_no_child_outlives_an_interruption(error: type[BaseException], pictures: Manifest) -> None:
    seen: list[int] = []

    def interrupt(_: int) -> None:
        seen.extend(own_children())
        raise error("enough")

    with pytest.raises(error, match="enough"):
        inspect_all(pictures, range(len(pictures)), workers=2, on_done=interrupt)
    assert seen
    assert not [pid for pid in seen if command(pid)]


def test_children_end_when_their_parent_is_killed(make, tmp_path: Path) -> None:
    manifest, program, log = make("hang.jpg")
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from sightline.records import Manifest\n"
        "from sightline.data.auditing.children import inspect_all\n"
        "manifest = Manifest.make(Path(sys.argv[1]), {'record_id': ['hang.jpg']})\n"
        "inspect_all(manifest, [0], workers=1, program=Path(sys.argv[2]))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script), str(manifest.root), str(program)])
    _wait(lambda: bool(begun(log)))
    (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.kill()
    parent.wait()
    _wait(lambda: not command(int(child)))


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_program_without_a_guard_that_found_the_package_itself_may_audit(
    pictures: Manifest, tmp_path: Path
) -> None:
    package = tmp_path / "elsewhere"
    package.mkdir()
    shutil.copytree(Path(sl.__file__).parent, package / "sightline", ignore=_compiled)
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(package)!r})\n"
        "from pathlib import Path\n"
        "import sightline\n"
        "from sightline.records import Manifest\n"
        "from sightline.data.auditing.children import inspect_all\n"
        "manifest = Manifest.make(Path(sys.argv[1]), {'record_id': ['001.jpg']})\n"
        "print(sightline.__file__, inspect_all(manifest, [0], workers=2)['status'][0])\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(pictures.root)],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(package / "sightline" / "__init__.py"), "ok"]


def _compiled(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"]


def test_a_folder_whose_name_is_no_text_is_read(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"\xff\n'")
    root.mkdir()
    (root / "a\nb.jpg").write_bytes(encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
    manifest = Manifest.make(root, {"record_id": ["a\nb.jpg", "gone.jpg"]})
    table = inspect_all(manifest, range(2), workers=1)
    assert table["reason"].to_list() == [None, "MISSING"]
    assert json.dumps(table["detail"][1]).isascii()


def test_records_of_an_archive_are_read_unless_it_was_written_since(tmp_path: Path) -> None:
    for label in ("ape", "bee"):
        with tarfile.open(tmp_path / f"{label}.tar", "w") as archive:
            for number in range(3):
                image = encode_jpeg(np.full((16, 16, 3), number, np.uint8))
                for kind, content in (("jpg", image), ("cls", label.encode())):
                    member = tarfile.TarInfo(f"{number}.{kind}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    manifest = sl.scan(tmp_path)
    assert len(manifest) == 6
    table = inspect_all(manifest, range(6), workers=2)
    assert table["status"].to_list() == ["ok"] * 6
    assert table["bytes"].to_list() == manifest.table["bytes"].to_list()
    os.utime(tmp_path / "ape.tar", ns=(0, 0))
    reasons = inspect_all(manifest, range(6), workers=2)["reason"].to_list()
    assert reasons == ["CHANGED"] * 3 + [None] * 3


def test_a_file_that_grew_since_the_scan_is_read_as_it_is(pictures: Manifest) -> None:
    stale = Manifest.make(pictures.root, {"record_id": ["001.jpg"], "bytes": [5], "mtime_ns": [5]})
    row = inspect_all(stale, [0], workers=1).row(0, named=True)
    about = (pictures.root / "001.jpg").stat()
    assert (row["status"], row["bytes"], row["mtime_ns"]) == (
        "ok", about.st_size, about.st_mtime_ns,
    )  # fmt: skip


@pytest.mark.parametrize(("workers", "patience"), [(0, 1.0), (1, 0.0)])
def test_settings_that_make_no_sense_are_refused(
    workers: int, patience: float, pictures: Manifest
) -> None:
    with pytest.raises(ValueError, match=f"got {workers} and {patience}"):
        inspect_all(pictures, [0], workers=workers, patience=patience)
