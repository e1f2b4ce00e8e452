from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import RunError
from sightline.records import Manifest, RecordIndex
from sightline.runs import (
    append_history,
    create_run,
    cut_history,
    file_sha256,
    latest_checkpoint,
    load_checkpoint,
    locked,
    new_run_path,
    read_history,
    read_tensors,
    save_checkpoint,
    save_manifest,
    write_atomically,
    write_json,
    write_tensors,
)
from sightline.runs.places import lock_refused

TENSORS = {"model/w": np.arange(6, dtype=np.float32).reshape(2, 3), "optimizer/0": np.int64(7)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


# --- atomic files ----------------------------------------------------------------------


def test_a_written_file_has_its_content(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", lambda path: path.write_text("new"))
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_written_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", lambda path: path.write_text("new"))
    assert names(tmp_path) == ["a.txt"]


def test_folders_of_a_written_file_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "x" / "y" / "a.txt", lambda path: path.write_text("new"))
    assert names(tmp_path / "x" / "y") == ["a.txt"]


def half_written(path: Path) -> None:
    path.write_text("half")
    raise OSError(28, "No space left on device")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a.txt", half_written)
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_failed_write_leaves_nothing_beside_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a.txt", half_written)
    assert names(tmp_path) == []


def test_the_final_name_holds_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    seen: list[str] = []

    def write(path: Path) -> None:
        path.write_text("new")
        seen.append((tmp_path / "a.txt").read_text())

    write_atomically(tmp_path / "a.txt", write)
    assert seen == ["old"]


def test_a_reader_that_has_the_old_file_open_reads_it_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with (tmp_path / "a.txt").open() as reader:
        write_atomically(tmp_path / "a.txt", lambda path: path.write_text("new"))
        assert reader.read() == "old"


def test_writers_see_the_suffix_of_the_final_name(tmp_path: Path) -> None:
    suffixes: list[str] = []

    def write(path: Path) -> None:
        suffixes.append(path.suffix)
        path.touch()

    write_atomically(tmp_path / "model.keras", write)
    assert suffixes == [".keras"]


def test_json_is_written_as_readable_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "ünï"})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n  "name": "ünï"\n}\n'


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "a.json", {"new": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}


def test_a_saved_manifest_has_its_index_beside_it_and_nothing_else(tmp_path: Path) -> None:
    manifest = Manifest.make(Path("/r"), {"record_id": ["a", "b"], "label": ["x", "y"]})
    save_manifest(manifest, tmp_path / "manifest.parquet")
    assert names(tmp_path) == ["manifest.parquet", "manifest.parquet.npy"]
    assert len(RecordIndex.open(tmp_path / "manifest.parquet.npy")) == 2


# --- weights ---------------------------------------------------------------------------


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w.safetensors", TENSORS, epoch=3)
    back, _ = read_tensors(tmp_path / "w.safetensors")
    assert {name: array.tolist() for name, array in back.items()} == {
        "model/w": [[0, 1, 2], [3, 4, 5]],
        "optimizer/0": 7,
    }


def test_weights_that_are_not_contiguous_come_back_as_they_were(tmp_path: Path) -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    write_tensors(tmp_path / "w.safetensors", {"w": turned}, epoch=3)
    back, _ = read_tensors(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(back["w"], turned)


def test_weights_come_back_with_their_epoch(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w.safetensors", TENSORS, epoch=3)
    assert read_tensors(tmp_path / "w.safetensors")[1] == 3


def test_weights_with_one_flipped_bit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, TENSORS, epoch=3)
    flip_last_byte(path)
    with pytest.raises(RunError, match=rf"{path} is damaged: its sha256 .* Copy the run folder"):
        read_tensors(path)


def test_weights_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, TENSORS, epoch=3)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunError, match=rf"{path} is damaged or cannot be read"):
        read_tensors(path)


def test_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.numpy.save({"w": np.ones(2, np.float32)}))
    with pytest.raises(RunError, match=r"w\.safetensors is damaged or cannot be read: 'epoch'"):
        read_tensors(path)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"{tmp_path}/w\.safetensors is missing"):
        read_tensors(tmp_path / "w.safetensors")


# --- history ---------------------------------------------------------------------------

rows = st.lists(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda key: key != "crc"),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
        max_size=4,
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=30)
@given(rows)
def test_a_history_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    for row in written:
        append_history(path, row)
    assert read_history(path) == written


def three_epochs(tmp_path: Path) -> Path:
    for epoch in range(3):
        append_history(tmp_path / "history.jsonl", {"epoch": epoch, "loss": 0.1 * epoch})
    return tmp_path / "history.jsonl"


def epochs(path: Path) -> list[int]:
    return [row["epoch"] for row in read_history(path)]


def test_without_a_file_there_is_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path / "history.jsonl") == []


def test_a_history_torn_anywhere_in_its_last_line_keeps_the_lines_before(tmp_path: Path) -> None:
    path = three_epochs(tmp_path)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert epochs(path) == [0, 1]


def test_an_epoch_after_a_torn_line_takes_its_place(tmp_path: Path) -> None:
    path = three_epochs(tmp_path)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole) + 1):
        path.write_bytes(whole[:end])
        append_history(path, {"epoch": "again"})
        complete = end >= len(whole) - 1  # only the line's end was missing, or nothing
        assert epochs(path) == [0, 1, *([2] if complete else []), "again"]


def test_a_damaged_last_line_is_dropped(tmp_path: Path) -> None:
    path = three_epochs(tmp_path)
    path.write_text(path.read_text().replace('"loss": 0.2', '"loss": 0.3'))
    assert epochs(path) == [0, 1]


@pytest.mark.parametrize("line", ['{"epoch": 1, "loss": 0.5, "crc": 1}', "[]", "5", "", "{", "{}"])
def test_a_damaged_line_before_the_last_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    path = three_epochs(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, lines[2]]) + "\n")
    with pytest.raises(RunError, match=rf"{path}, line 2, is damaged"):
        read_history(path)


# --- the folder and its lock -----------------------------------------------------------


def test_a_new_run_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert create_run(tmp_path / "runs" / "a").is_dir()


def test_an_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    assert create_run(tmp_path) == tmp_path


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RunError, match=rf"{tmp_path} already holds something.* with --out"):
        create_run(tmp_path)


def test_a_folder_that_is_refused_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="overwrites no run"):
        create_run(tmp_path)
    assert (names(tmp_path), (tmp_path / "mine.txt").read_text()) == (["mine.txt"], "mine")


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_run_folder_where_a_file_is_in_the_way_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=rf"{tmp_path}/{name}.* with --out"):
        create_run(tmp_path / name)


def test_two_runs_of_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    made = [create_run(new_run_path("basic", parent=tmp_path)) for _ in range(3)]
    for path in made:
        (path / "run.json").touch()
    assert len(set(made)) == 3


HOLDER = """
import sys
from pathlib import Path
from sightline.runs import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_run_that_another_process_holds_is_refused_with_its_number(tmp_path: Path) -> None:
    with another_process_holding(tmp_path) as process:
        expected = rf"{tmp_path} is in use by process {process.pid} on .+\. Wait for it"
        with pytest.raises(RunError, match=expected), locked(tmp_path):
            pass


def test_one_who_only_looks_whether_a_run_is_held_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text("process 7 on ward")
    with (tmp_path / "run.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.1, looking.close).start()
        with locked(tmp_path):
            assert f"process {os.getpid()} on" in (tmp_path / "run.lock").read_text()


def test_a_holder_that_was_killed_blocks_nobody(tmp_path: Path) -> None:
    with another_process_holding(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked(tmp_path):
            assert f"process {os.getpid()} on" in (tmp_path / "run.lock").read_text()


def test_a_lock_that_another_process_holds_means_in_use() -> None:
    error = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    holder = f"process 7 on {socket.gethostname()}"
    said = str(lock_refused(Path("/r"), error, holder=holder))
    assert said == f"/r is in use by {holder}. Wait for it, or stop it."


def test_of_a_lock_of_another_machine_is_said_what_to_do_once_that_is_gone() -> None:
    error = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    said = str(lock_refused(Path("/r"), error, holder="process 7 on a-ward-far-away"))
    assert said.endswith(
        "Wait for it, or stop it. If a-ward-far-away is gone, make sure that no process works in "
        "/r any more, and remove /r/run.lock."
    )


def test_a_file_system_that_cannot_lock_is_not_called_in_use() -> None:
    error = OSError(errno.ENOLCK, "No locks available")
    said = str(lock_refused(Path("/r"), error, holder="process 7 on ward"))
    assert said.startswith("/r cannot be locked: No locks available. Some network drives cannot")


def test_a_lock_that_was_let_go_can_be_taken_again(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    with locked(tmp_path):
        assert (tmp_path / "run.lock").read_text().count("process") == 1


def test_an_error_lets_go_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="x"), locked(tmp_path):
        raise KeyError("x")
    with locked(tmp_path):
        pass


# --- checkpoints -----------------------------------------------------------------------


def test_the_two_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "mine").mkdir(parents=True)
    for step in (9, 10, 120):
        save_checkpoint(tmp_path, step, TENSORS, {"epoch": step})
    assert names(tmp_path / "checkpoints") == ["mine", "step-00000010", "step-00000120"]


def test_a_checkpoint_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) == (None, [])
    save_checkpoint(tmp_path, 9, TENSORS, {"epoch": 3, "value": 0.1 + 0.2})
    loaded, damaged = load_checkpoint(tmp_path)
    assert loaded is not None
    assert (loaded.meta, damaged) == ({"epoch": 3, "value": 0.1 + 0.2}, [])
    assert loaded.tensors.keys() == TENSORS.keys()
    assert all(np.array_equal(loaded.tensors[name], TENSORS[name]) for name in TENSORS)


def test_any_bit_that_flips_in_a_checkpoint_is_found_and_the_one_before_is_used(
    tmp_path: Path,
) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, TENSORS, {"epoch": step})
    rng, files = (
        np.random.default_rng(0),
        sorted((tmp_path / "checkpoints/step-00000002").iterdir()),
    )
    for _ in range(1000):
        path = files[rng.integers(len(files))]
        content = bytearray(whole := path.read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        loaded, damaged = load_checkpoint(tmp_path)
        assert loaded is not None
        assert loaded.meta["epoch"] == 1
        assert len(damaged) == 1
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["state.safetensors", "meta.json"])
def test_a_checkpoint_that_lacks_a_file_is_damaged(tmp_path: Path, name: str) -> None:
    save_checkpoint(tmp_path, 1, TENSORS, {"epoch": 1})
    (tmp_path / "checkpoints" / "step-00000001" / name).unlink()
    loaded, (told,) = load_checkpoint(tmp_path)
    assert loaded is None
    assert "step-00000001 is damaged or cannot be read" in told


# --- history that goes on from a checkpoint --------------------------------------------


def test_later_epochs_of_a_history_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for epoch in range(3):
        append_history(path, {"epoch": epoch})
    with path.open("a") as file:
        file.write('{"epoch": 3, "cr')  # torn by a crash
    cut_history(path, 2)
    assert read_history(path) == [{"epoch": 0}, {"epoch": 1}]
    append_history(path, {"epoch": 2})
    assert len(read_history(path)) == 3


def test_a_history_that_is_shorter_than_its_checkpoint_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="it has 0 epochs, and the checkpoint is of 2"):
        cut_history(tmp_path / "history.jsonl", 2)


def test_a_checkpoint_holds_weights_meta_and_their_sums(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 5, TENSORS, {"epoch": 5})
    folder = tmp_path / "checkpoints" / "step-00000005"
    assert (folder / "SHA256").read_text().split() == [
        file_sha256(folder / "state.safetensors"),
        "state.safetensors",
        file_sha256(folder / "meta.json"),
        "meta.json",
    ]


def test_the_same_step_may_be_saved_again(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 5, TENSORS, {"epoch": 1})
    save_checkpoint(tmp_path, 5, TENSORS, {"epoch": 2})
    loaded, damaged = load_checkpoint(tmp_path)
    assert loaded is not None
    assert (loaded.meta, damaged) == ({"epoch": 2}, [])
    assert names(tmp_path / "checkpoints") == ["step-00000005.2"]


def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 5, TENSORS, {"epoch": 5})
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_checkpoint(tmp_path, 6, TENSORS, {"epoch": 6, "more": object()})
    assert names(tmp_path / "checkpoints") == ["step-00000005"]


def test_half_a_checkpoint_does_not_count(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 5, TENSORS, {"epoch": 5})
    for name in ("step-00000006", ".step-00000007.1"):
        (tmp_path / "checkpoints" / name).mkdir()
    (tmp_path / "checkpoints" / ".step-00000007.1" / "SHA256").touch()
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.name == "step-00000005"


def test_without_a_checkpoint_there_is_no_newest(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
