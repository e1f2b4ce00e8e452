"""The one way folders are read: what counts as an image, and what is passed over and counted."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sightline.data.images import IMAGE_EXTENSIONS
from sightline.errors import DataError

HIDDEN = "hidden or system"
NOT_AN_IMAGE = "not an image"
NOT_REGULAR = "not a regular file"
NOT_UTF8 = "name is not UTF-8"
LOOP = "symlink loop"
REPEATED_LINK = "repeated link to a folder"

# What operating systems, network drives and notebooks leave behind without a leading dot.
_SYSTEM_NAMES = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin",
     "system volume information", "lost+found")
)  # fmt: skip

_Identity = tuple[int, int]


class FoundFile(NamedTuple):
    """A file and what its stat said; `record_id` is relative to the folder that was read."""

    record_id: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Everything below one folder, in sorted order.

    Attributes:
        where: Absolute path of the folder.
        images: Files with an image extension; ids are relative to `where`.
        folders: Every folder below, relative to `where`.
        ignored: What was passed over, by kind.
    """

    where: str
    images: tuple[FoundFile, ...]
    folders: tuple[str, ...]
    ignored: Counter[str]

    def below(self, name: str) -> Tree:
        """Return the part of the tree inside one of its folders; it counts nothing as ignored."""
        start = f"{name}/"
        return Tree(
            f"{self.where.rstrip('/')}/{name}",
            tuple(
                image._replace(record_id=image.record_id[len(start) :])
                for image in self.images
                if image.record_id.startswith(start)
            ),
            tuple(path[len(start) :] for path in self.folders if path.startswith(start)),
            Counter(),
        )

    def loose_images(self) -> list[str]:
        """Return the names of the images that lie in the folder itself."""
        return [image.record_id for image in self.images if "/" not in image.record_id]

    def top_folders(self) -> list[str]:
        """Return the names of the folders on the first level."""
        return [path for path in self.folders if "/" not in path]

    def folders_with_images(self) -> list[str]:
        """Return the names of the first-level folders that hold an image at any depth."""
        ids = (image.record_id for image in self.images)
        return sorted({record_id.partition("/")[0] for record_id in ids if "/" in record_id})


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


def walk(folder: str, *, follow_links: bool) -> Tree:
    """Return everything below an absolute folder; the same tree gives the same result.

    Hidden and system names, other extensions, devices, dangling links and names that are not
    UTF-8 are counted, not returned. Links inside the folder are followed, loops end.

    Raises:
        DataError: A folder cannot be read, or a link leaves `folder` without `follow_links`.
    """
    reader = _Reader(folder, follow_links)
    reader.pending.append(("", frozenset({_identity(Path(folder).stat())})))
    while reader.pending:
        reader.read(*reader.pending.pop())
    return Tree(folder, tuple(sorted(reader.images)), tuple(sorted(reader.folders)), reader.ignored)


@dataclass(slots=True)
class _Reader:
    """One walk in progress; `pending` holds folders to read with the folders above them."""

    root: str
    follow_links: bool
    pending: list[tuple[str, frozenset[_Identity]]] = field(default_factory=list)
    images: list[FoundFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    linked: set[_Identity] = field(default_factory=set)

    def read(self, folder: str, above: frozenset[_Identity]) -> None:
        """Sort out the entries of one folder."""
        prefix = f"{folder}/" if folder else ""
        for entry in _entries(f"{self.root.rstrip('/')}/{folder}"):
            passed_over = self._visit(entry, prefix, above)
            if passed_over:
                self.ignored[passed_over] += 1

    def _visit(
        self, entry: os.DirEntry[str], prefix: str, above: frozenset[_Identity]
    ) -> str | None:
        """Keep one entry, or return the kind under which it is passed over."""
        if entry.name.startswith(".") or entry.name.casefold() in _SYSTEM_NAMES:
            return HIDDEN
        if not is_utf8(entry.name):
            return NOT_UTF8
        try:
            about = entry.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                return LOOP
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return NOT_REGULAR  # a link to nothing
            raise DataError(f"cannot read {entry.path}: {error.strerror}") from error
        if stat.S_ISDIR(about.st_mode):
            return self._visit_folder(entry, prefix + entry.name, _identity(about), above)
        if not stat.S_ISREG(about.st_mode):
            return NOT_REGULAR
        if not has_image_extension(entry.name):
            return NOT_AN_IMAGE
        if entry.is_symlink() and not self.follow_links:
            refuse_outside(entry.path, self.root)
        self.images.append(FoundFile(prefix + entry.name, about.st_size, about.st_mtime_ns))
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
    return Path(name).suffix.lower() in IMAGE_EXTENSIONS


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder}: {error.strerror}. Check its permissions."
        ) from error


def _identity(about: os.stat_result) -> _Identity:
    return about.st_dev, about.st_ino
