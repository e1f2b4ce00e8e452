"""Every operation on files below some folders, seen before it happens: to die there, or to fail.

Python's audit events tell of open, rename, remove, mkdir and truncate; the rest goes through
`Raw`, which stands below every buffer that `open` makes, and through `os.fsync` and `os.pwrite`.
So a buffered write is met where it becomes a call of the system, and only there. What libraries
write in machine code (polars' parquet) is met at its fsync and its rename alone.
"""

from __future__ import annotations

import builtins
import io
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_RENAMES = {"os.rename": "rename", "os.link": "link"}
_OTHERS = {"os.remove": "remove", "os.mkdir": "mkdir", "os.rmdir": "rmdir", "os.utime": "utime"}
BUFFER = io.DEFAULT_BUFFER_SIZE


@dataclass(frozen=True)
class Operation:
    """What is about to happen: open, read, write, fsync, rename, remove, mkdir, rmdir, ..."""

    kind: str
    path: str
    size: int = 0  # bytes to write


@dataclass
class Watch:
    """Tells `meet` of each operation below the folders; it may raise, die, or do nothing.

    `meet` returns how many bytes of a write are to be written before `after` is called with the
    same operation; None for all of them, and then nobody is called.
    """

    folders: tuple[str, ...]
    meet: Callable[[Operation], int | None]
    after: Callable[[Operation], None] = lambda _: None
    disk: Disk | None = None
    reading: bool = False  # whether opening a file to read it counts
    _inside: bool = field(default=False, repr=False)

    def tell(self, kind: str, path: str, size: int = 0) -> int | None:
        if self._inside or not path.startswith(self.folders):
            return None
        self._inside = True
        try:
            return self.meet(Operation(kind, path, size))
        finally:
            self._inside = False


_watch: Watch | None = None
_real_open, _real_fsync, _real_pwrite = io.open, os.fsync, os.pwrite


def install() -> None:
    """Begin to see operations, for good; until `start` nothing happens with them."""
    sys.addaudithook(_audit)
    io.open = builtins.open = _open  # type: ignore[assignment]
    os.fsync, os.pwrite = _fsync, _pwrite  # type: ignore[assignment]


def start(watch: Watch | None) -> None:
    """Tell this watch from now on, or nobody."""
    global _watch
    _watch = watch


def _audit(event: str, args: tuple[Any, ...]) -> None:
    watch = _watch
    if watch is None or watch._inside or not (event == "open" or event.startswith("os.")):
        return
    if event == "open":
        path, _, flags = args
        writes = isinstance(flags, int) and flags & _WRITES
        if isinstance(path, (str, bytes, os.PathLike)) and (writes or watch.reading):
            watch.tell("open" if writes else "open to read", _absolute(path))
    elif event in _RENAMES:
        source, target = _absolute(args[0], args[2]), _absolute(args[1], args[3])
        watch.tell(_RENAMES[event], target)
        if watch.disk is not None and event == "os.rename":
            watch.disk.forget(target)
        del source
    elif event in _OTHERS:
        path = _absolute(args[0], args[-1])
        watch.tell(_OTHERS[event], path)
        if watch.disk is not None and event in ("os.remove", "os.rmdir"):
            watch.disk.forget(path)
    elif event == "os.truncate":
        watch.tell("truncate", _of(args[0]))


def _absolute(path: Any, folder: Any = -1) -> str:
    if isinstance(path, int):
        return _of(path)
    name = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0 and not name.startswith("/"):
        return f"{_of(folder)}/{name}"
    return os.path.abspath(name)  # noqa: PTH100


def _of(file: Any) -> str:
    if not isinstance(file, int):
        return _absolute(file)
    try:
        return os.readlink(f"/proc/self/fd/{file}")  # noqa: PTH115
    except OSError:
        return ""


class Raw(io.FileIO):
    """A file as `open` makes it, whose writes are seen."""

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        written = _written(_of(self.fileno()), view, super().write)
        return len(view) if written is None else written

    def truncate(self, size: int | None = None) -> int:
        if _watch is not None:
            _watch.tell("truncate", _of(self.fileno()))
        return super().truncate(size)


def _written(path: str, view: memoryview, write: Callable[[memoryview], int]) -> int | None:
    """Write, all or as much as the watch wants."""
    wanted = _watch.tell("write", path, len(view)) if _watch is not None else None
    if wanted is None:
        return write(view)
    write(view[:wanted])
    assert _watch is not None
    _watch.after(Operation("write", path, len(view)))
    return None


def _open(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
    if _watch is None or isinstance(file, int) or not set(mode) & set("wax+"):
        return _real_open(file, mode, buffering, *rest, **named)
    keys = ("encoding", "errors", "newline", "closefd", "opener")
    named = dict(zip(keys, rest, strict=False)) | named
    raw = Raw(file, mode.replace("t", "").replace("b", ""), opener=named.get("opener"))
    if buffering == 0:
        return raw
    size = buffering if buffering > 1 else BUFFER
    buffered = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
    if "b" in mode:
        return buffered
    text = {key: named.get(key) for key in keys[:3]}
    wrapped = io.TextIOWrapper(buffered, **text, line_buffering=buffering == 1)  # type: ignore[arg-type]
    wrapped.mode = mode  # type: ignore[misc]
    return wrapped


def _fsync(file: Any) -> None:
    number = file if isinstance(file, int) else file.fileno()
    if _watch is None:
        _real_fsync(number)
        return
    _watch.tell("fsync", _of(number))
    if _watch.disk is not None:  # nobody pulls the plug of this machine: noting it is enough
        _watch.disk.flushed(number)


def _pwrite(file: int, content: Any, offset: int) -> int:
    view = memoryview(content).cast("B")
    path = _of(file)
    written = _written(path, view, lambda part: _real_pwrite(file, part, offset))
    return len(view) if written is None else written


class Disk:
    """What a power cut leaves: of a file what was last flushed, of a folder its names then.

    Args:
        root: Its folders and files are followed; itself it is there for good.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._identities: dict[int, int] = {}  # of an inode, as numbers of inodes are used again
        self._next = 0
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        for path in (root, *root.rglob("*")):  # there for long
            number = os.open(path, os.O_RDONLY)
            self.flushed(number)
            os.close(number)

    def flushed(self, number: int) -> None:
        """Take note of what a file or folder holds now."""
        about, path = os.fstat(number), Path(_of(number))
        if not str(path).startswith(str(self.root)):
            return
        identity = self._identity(about.st_ino)
        if not stat.S_ISDIR(about.st_mode):
            with _real_open(path, "rb") as file:
                self._contents[identity] = file.read()
            return
        with os.scandir(path) as entries:
            self._names[identity] = {
                each.name: (self._identity(each.inode()), each.is_dir()) for each in entries
            }

    def forget(self, path: str) -> None:
        """Take note that a file is about to lose its name: its inode may become another's."""
        try:
            about = os.lstat(path)
        except OSError:
            return
        if stat.S_ISDIR(about.st_mode) or about.st_nlink == 1:
            self._identities.pop(about.st_ino, None)

    def cut_power(self, *, names_survive: bool) -> None:
        """Leave what was flushed; or every name there is, and of files what was flushed."""
        left = self.root.with_name(self.root.name + ".left")
        left.mkdir()
        if names_survive:
            self._copy_names(self.root, left)
        else:
            self._rebuild(self._identity(self.root.stat().st_ino), left)
        self.root.rename(self.root.with_name(self.root.name + ".gone"))
        left.rename(self.root)

    def _identity(self, inode: int) -> int:
        if inode not in self._identities:
            self._identities[inode] = self._next
            self._next += 1
        return self._identities[inode]

    def _rebuild(self, identity: int, target: Path) -> None:
        for name, (each, is_folder) in self._names.get(identity, {}).items():
            if is_folder:
                (target / name).mkdir()
                self._rebuild(each, target / name)
            else:
                (target / name).write_bytes(self._contents.get(each, b""))

    def _copy_names(self, source: Path, target: Path) -> None:
        with os.scandir(source) as entries:
            for each in entries:
                if each.is_dir():
                    (target / each.name).mkdir()
                    self._copy_names(source / each.name, target / each.name)
                else:
                    content = self._contents.get(self._identity(each.inode()), b"")
                    (target / each.name).write_bytes(content)
