"""The one way folders are read: what counts as an image, and what is passed over and counted."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from sightline.data.images import IMAGE_EXTENSIONS
from sightline.data.sources.passed import PassedOver
from sightline.errors import DataError

HIDDEN = "hidden or system"
NOT_AN_IMAGE = "not an image"
NOT_REGULAR = "not a regular file"
NOT_UTF8 = "name is not UTF-8"
LOOP = "symlink loop"
REPEATED_LINK = "repeated link to a folder"

# What shards may be; only a plain .tar is read, the others are refused by name.
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")

# What operating systems, network drives and notebooks leave behind without a leading dot.
_SYSTEM_NAMES = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin",
     "system volume information", "lost+found")
)  # fmt: skip

_NAMES_AT_ONCE = 1 << 16
_SHOWN = 5

_Identity = tuple[int, int]


class FoundFile(NamedTuple):
    """A file and what its stat said; `record_id` is relative to the folder that was read."""

    record_id: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Own:
    """The images that lie in one folder itself: how many, and the first five names."""

    count: int
    first: tuple[str, ...]


class Keeper(Protocol):
    """Takes the images of one folder after another, while they are found.

    Folders come depth first, ascending by `path/`; those of one folder in any order, in one
    call or several.

    Attributes:
        with_stat: Whether sizes and times are wanted, which costs a system call a file.
    """

    with_stat: ClassVar[bool]

    def add(self, folder: str, names: list[str], sizes: array[int], mtimes: array[int], /) -> None:
        """Keep images of one folder, given relative to the folder that is read."""
        ...


@dataclass(frozen=True, slots=True)
class Tree:
    """How everything below one folder is laid out; the images themselves are in the keeper.

    Attributes:
        where: Absolute path of the folder.
        folders: Every folder below, relative to `where`, sorted.
        own: The folders that hold images themselves; "" is `where`.
        archives: Files that may hold images, e.g. `.tar`, relative to `where`, sorted.
        beside: What was passed over beside the archives, which may yet be read.
    """

    where: str
    folders: tuple[str, ...]
    own: Mapping[str, Own]
    archives: tuple[str, ...]
    beside: PassedOver

    @property
    def num_images(self) -> int:
        """Images at any depth."""
        return sum(own.count for own in self.own.values())

    @property
    def loose(self) -> Own:
        """The images that lie in the folder itself."""
        return self.own.get("", Own(0, ()))

    @property
    def passed_over(self) -> PassedOver:
        """What was passed over where no archive is read: archives are no images then."""
        passed_over = PassedOver()
        passed_over.merge(self.beside)
        for path in self.archives:
            passed_over.add(NOT_AN_IMAGE, path)
        return passed_over

    def below(self, name: str) -> Tree:
        """Return the part of the tree inside one of its folders; of `beside` it has nothing."""
        start = f"{name}/"
        return Tree(
            f"{self.where.rstrip('/')}/{name}",
            tuple(path[len(start) :] for path in self.folders if path.startswith(start)),
            {
                path[len(start) :]: own
                for path, own in self.own.items()
                if path == name or path.startswith(start)
            },
            tuple(path[len(start) :] for path in self.archives if path.startswith(start)),
            PassedOver(),
        )

    def top_folders(self) -> list[str]:
        """Return the names of the folders on the first level."""
        return [path for path in self.folders if "/" not in path]

    def folders_with_images(self) -> list[str]:
        """Return the names of the first-level folders that hold an image at any depth."""
        return sorted({path.partition("/")[0] for path in self.own if path})


def absolute(path: Path | str) -> str:
    """Return the absolute path without `.` and `..`; links are not resolved."""
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links


def absolute_folder(path: Path | str, *, what: str) -> str:
    """Return the absolute path of an existing folder.

    Raises:
        DataError: It does not exist or is not a folder.
    """
    place = Path(absolute(path))
    if place.is_dir():
        return str(place)
    if place.exists():
        raise DataError(f"{what} must be a folder, got the file {place}. Give its folder.")
    raise DataError(f"{what} does not exist: {place}. Check the path for a typing error.")


def is_inside(path: str, folder: str) -> bool:
    """Return whether `path` is `folder` or lies below it, by name alone."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def relative(path: str, folder: str) -> str:
    """Return `path` relative to `folder`, which it must lie below; "" for the folder itself."""
    return path[len(folder.rstrip("/")) + 1 :]


def is_utf8(name: str) -> bool:
    """Return whether a name from the file system was valid UTF-8."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_outside(link: str, folder: str) -> None:
    """Refuse a path whose real place is not below the real place of `folder`.

    Raises:
        DataError: It leaves the folder.
    """
    target = os.path.realpath(link)
    if not is_inside(target, os.path.realpath(folder)):
        raise DataError(
            f"the link {link} leads out of {folder}, to {target}. Copy the images into the "
            "folder, or ask for such links to be followed (follow_links=True, --follow-links)."
        )


def walk(folder: str, keeper: Keeper, *, follow_links: bool) -> Tree:
    """Give every image below an absolute folder to `keeper`, and return how they are laid out.

    The same tree gives the same result. Hidden and system names, other extensions, devices,
    dangling links and names that are not UTF-8 are passed over, not kept. Links inside the folder
    are followed, loops end. Takes memory for 65,536 names at a time.

    Raises:
        DataError: A folder cannot be read, or a link leaves `folder` without `follow_links`.
    """
    reader = _Reader(folder, keeper, follow_links)
    reader.pending.append(("", frozenset({_identity(Path(folder).stat())})))
    while reader.pending:
        reader.read(*reader.pending.pop())
    return Tree(
        folder,
        tuple(sorted(reader.folders)),
        reader.own,
        tuple(sorted(reader.archives)),
        reader.passed_over,
    )


@dataclass(slots=True)
class _Reader:
    """One walk in progress; `pending` holds folders to read with the folders above them."""

    root: str
    keeper: Keeper
    follow_links: bool
    pending: list[tuple[str, frozenset[_Identity]]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    own: dict[str, Own] = field(default_factory=dict)
    archives: list[str] = field(default_factory=list)
    passed_over: PassedOver = field(default_factory=PassedOver)
    linked: set[_Identity] = field(default_factory=set)
    names: list[str] = field(default_factory=list)  # of the folder in hand, not yet kept
    sizes: array[int] = field(default_factory=lambda: array("q"))
    mtimes: array[int] = field(default_factory=lambda: array("q"))

    def read(self, folder: str, above: frozenset[_Identity]) -> None:
        """Sort out the entries of one folder."""
        prefix = f"{folder}/" if folder else ""
        first_below = len(self.pending)
        with_stat, later = self.keeper.with_stat, []
        for entry in _entries(f"{self.root.rstrip('/')}/{folder}"):
            name = entry.name
            if not entry.is_file(follow_symlinks=False):
                later.append(entry)  # in order, whatever order the system lists them in
            elif not has_image_extension(name) or name[0] == "." or not is_utf8(name):
                self._pass_over(name, prefix)
            elif with_stat:
                self._keep(entry, folder)
            else:
                self.names.append(name)
        for entry in sorted(later, key=lambda entry: entry.name):
            kind = self._visit(entry, prefix, above)
            if kind:
                self.passed_over.add(kind, prefix + entry.name)
        self._hand_over(folder)
        below = self.pending[first_below:]
        self.pending[first_below:] = sorted(below, key=lambda one: f"{one[0]}/", reverse=True)

    def _keep(self, entry: os.DirEntry[str], folder: str) -> None:
        """Keep one image; a file that has gone meanwhile is passed over."""
        if self.keeper.with_stat:
            try:
                about = entry.stat()
            except OSError as error:
                path = f"{folder}/{entry.name}" if folder else entry.name
                self.passed_over.add(_why_not(entry, error), path)
                return
            self.sizes.append(about.st_size)
            self.mtimes.append(about.st_mtime_ns)
        self.names.append(entry.name)
        if len(self.names) >= _NAMES_AT_ONCE:
            self._hand_over(folder)

    def _hand_over(self, folder: str) -> None:
        if not self.names:
            return
        known = self.own.get(folder, Own(0, ()))
        first = heapq.nsmallest(_SHOWN, [*known.first, *self.names])
        self.own[folder] = Own(known.count + len(self.names), tuple(first))
        self.keeper.add(folder, self.names, self.sizes, self.mtimes)
        self.names, self.sizes, self.mtimes = [], array("q"), array("q")

    def _pass_over(self, name: str, prefix: str) -> None:
        """Take a regular file that is no image for an archive, or pass it over."""
        if is_hidden(name):
            self.passed_over.add(HIDDEN, prefix + name)
        elif not is_utf8(name):
            self.passed_over.add(NOT_UTF8, prefix + name)
        elif name.lower().endswith(ARCHIVES):
            self.archives.append(prefix + name)
        else:
            self.passed_over.add(NOT_AN_IMAGE, prefix + name)

    def _visit(
        self, entry: os.DirEntry[str], prefix: str, above: frozenset[_Identity]
    ) -> str | None:
        """Look into a folder, link or device, or return the kind under which it is passed over."""
        if is_hidden(entry.name):
            return HIDDEN
        if not is_utf8(entry.name):
            return NOT_UTF8
        try:
            about = entry.stat()
        except OSError as error:
            return _why_not(entry, error)
        if stat.S_ISDIR(about.st_mode):
            return self._visit_folder(entry, prefix + entry.name, _identity(about), above)
        if not stat.S_ISREG(about.st_mode):
            return NOT_REGULAR
        if not has_image_extension(entry.name):
            self._pass_over(entry.name, prefix)
            return None
        if not self.follow_links:
            refuse_outside(entry.path, self.root)
        self._keep(entry, prefix[:-1])
        return None

    def _visit_folder(
        self,
        entry: os.DirEntry[str],
        path: str,
        identity: _Identity,
        above: frozenset[_Identity],
    ) -> str | None:
        if identity in above:
            return LOOP
        if entry.is_symlink():
            if not self.follow_links:
                refuse_outside(entry.path, self.root)
            if identity in self.linked:  # else folders linking to each other multiply
                return REPEATED_LINK
            self.linked.add(identity)
        self.folders.append(path)
        self.pending.append((path, above | {identity}))
        return None


def has_image_extension(name: str) -> bool:
    """Return whether the name ends like an image, in capitals or not."""
    return name[name.rfind(".") :].lower() in IMAGE_EXTENSIONS


def is_hidden(name: str) -> bool:
    """Return whether a name is left behind by a system, or hidden."""
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def _why_not(entry: os.DirEntry[str], error: OSError) -> str:
    """Return the kind under which an entry without a stat is passed over."""
    if error.errno == errno.ELOOP:
        return LOOP
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NOT_REGULAR  # a link to nothing
    raise DataError(f"cannot read {entry.path}: {error.strerror}") from error


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder}: {error.strerror}. Check its permissions."
        ) from error


def _identity(about: os.stat_result) -> _Identity:
    return about.st_dev, about.st_ino
