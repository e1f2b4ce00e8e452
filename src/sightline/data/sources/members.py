"""What is inside one tar shard: its samples, found from the headers alone."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sightline.data.images import IMAGE_EXTENSIONS
from sightline.data.sources.passed import PassedOver
from sightline.data.sources.walk import HIDDEN, NOT_REGULAR, NOT_UTF8, is_hidden, is_utf8
from sightline.errors import DataError

_LABELS = ("cls", "json", "txt")  # the first that a sample has is its label
_JSON_KEYS = ("label", "cls", "class")
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_BLOCK = tarfile.BLOCKSIZE
_LARGEST_LABEL = 1 << 24  # bytes; a .json may hold more than the label


class Sample(NamedTuple):
    """One image of a shard and its label.

    Attributes:
        image: Name of the image's member.
        begin: Where its data begin in the shard, bytes.
        size: Bytes.
        label: Text or a whole number; None where labels are not asked for.
        label_member: Name of the member that the label is from.
    """

    image: str
    begin: int
    size: int
    label: str | int | None = None
    label_member: str = ""


class _Member(NamedTuple):
    name: str
    extension: str  # all behind the first dot, in small letters
    begin: int
    size: int


@dataclass(slots=True)
class _Shard:
    """A shard that is being read."""

    path: str
    file: BinaryIO

    def error(self, member: str, what: str) -> DataError:
        return DataError(f"{self.path}, member {member!r}: {what}")


def samples_of(path: str, *, labelled: bool = True) -> tuple[list[Sample], int, PassedOver]:
    """Return the samples of a shard in order, its time in nanoseconds, and what was passed over.

    Args:
        path: The shard.
        labelled: One image a key with its label; False takes every image without one.

    Raises:
        DataError: The shard cannot be read, is compressed, cut short, or not in the layout.
    """
    passed_over = PassedOver()
    try:
        with Path(path).open("rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise DataError(f"{path} is not a file. Give the .tar files themselves.")
            shard = _Shard(path, file)
            _refuse_compressed(shard)
            members = _members(shard, about.st_size, passed_over)
            samples = _by_key(shard, members) if labelled else _images(members)
    except FileNotFoundError:
        raise DataError(f"there is no shard {path}. Check the path for a typing error.") from None
    except tarfile.TarError as error:
        raise DataError(
            f"{path} cannot be read as a tar file: {error}. Was it copied whole?"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check its disk.") from error
    if not samples:
        what = "samples" if labelled else "images"
        raise DataError(f"{path} holds no {what}. Remove it, or write it again.")
    return samples, about.st_mtime_ns, passed_over


def _members(shard: _Shard, file_size: int, passed_over: PassedOver) -> Iterator[_Member]:
    """Yield the regular members of a shard, in order."""
    seen: set[str] = set()
    with tarfile.open(fileobj=shard.file, mode="r:") as archive:
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep every header
            name = entry.name.removeprefix("./")
            kind = _kind_passed_over(entry, name)
            if kind is not None:
                if kind:
                    passed_over.add(kind, name)
                continue
            if entry.issparse():
                raise shard.error(name, "it is stored with holes. Write the shard again.")
            if entry.offset_data + entry.size > file_size:
                raise shard.error(name, f"the shard ends inside it, at byte {file_size:,}. {_COPY}")
            if name in seen:
                raise shard.error(name, "it is there twice. Keep one member of each name.")
            seen.add(name)
            extension = name.rpartition("/")[2].partition(".")[2].lower()
            yield _Member(name, extension, entry.offset_data, entry.size)
        _refuse_wrong_end(shard, archive.offset, file_size)


_COPY = "Copy the shard again."


def _kind_passed_over(entry: tarfile.TarInfo, name: str) -> str | None:
    """Return the kind under which a member is passed over, "" for folders; None: it is kept."""
    if entry.isdir():
        return ""
    if not is_utf8(name):
        return NOT_UTF8
    if any(is_hidden(part) for part in name.split("/")):
        return HIDDEN
    return None if entry.isreg() else NOT_REGULAR


def _images(members: Iterable[_Member]) -> list[Sample]:
    return [
        Sample(member.name, member.begin, member.size)
        for member in members
        if _is_image(member.extension)
    ]


def _by_key(shard: _Shard, members: Iterable[_Member]) -> list[Sample]:
    by_key: dict[str, list[_Member]] = {}
    for member in members:
        key = member.name[: len(member.name) - len(member.extension)].removesuffix(".")
        by_key.setdefault(key, []).append(member)
    return [_sample(shard, key, found) for key, found in by_key.items()]


def _sample(shard: _Shard, key: str, members: list[_Member]) -> Sample:
    images = [member for member in members if _is_image(member.extension)]
    exact = [member for member in images if "." not in member.extension]
    names = [member.name for member in members]
    if not images:
        raise shard.error(
            names[0],
            f"key {key!r} has no image, only {names}. Known are {_KNOWN}. Remove it.",
        )
    if len(exact or images) > 1:
        found = [member.name for member in exact or images]
        raise shard.error(
            found[1],
            f"key {key!r} has {len(found)} images, {found}. Keep one image a key.",
        )
    image = (exact or images)[0]
    for kind in _LABELS:
        for member in members:
            if member.extension == kind:
                label = _read_label(shard, member)
                return Sample(image.name, image.begin, image.size, label, member.name)
    raise shard.error(
        image.name,
        f"key {key!r} has no label. Put {key}.cls (a number or a name) or {key}.json beside it.",
    )


_KNOWN = ", ".join(sorted(IMAGE_EXTENSIONS))


def _is_image(extension: str) -> bool:
    return f".{extension.rpartition('.')[2]}" in IMAGE_EXTENSIONS


def _read_label(shard: _Shard, member: _Member) -> str | int:
    if member.size > _LARGEST_LABEL:
        raise shard.error(member.name, f"a label of {member.size:,} bytes. Is it one?")
    content = os.pread(shard.file.fileno(), member.size, member.begin)
    try:
        text = content.decode().strip()
        value = _from_json(text) if member.extension == "json" else text
    except ValueError as error:
        raise shard.error(member.name, f"it holds no label that can be read: {error}") from error
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise shard.error(
            member.name,
            f"the label is {value!r}; it must be a name or a whole number"
            + (f" under one of {list(_JSON_KEYS)}." if member.extension == "json" else "."),
        )
    return value


def _from_json(text: str) -> object:
    """Return what stands under the first known key; None without one."""
    value = json.loads(text)
    if not isinstance(value, dict):
        return None
    return next((value[key] for key in _JSON_KEYS if key in value), None)


def _refuse_compressed(shard: _Shard) -> None:
    start = os.pread(shard.file.fileno(), 8, 0)
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            raise DataError(
                f"{shard.path} is compressed with {kind}, so the images in it cannot be read "
                "where they are. Unpack it to a plain .tar; images do not shrink further anyway."
            )


def _refuse_wrong_end(shard: _Shard, end: int, file_size: int) -> None:
    """Refuse a shard without its end mark, a block of zeros, or with more behind it."""
    descriptor = shard.file.fileno()
    behind = os.pread(descriptor, 1 << 20, end)
    if len(behind) < _BLOCK:
        raise DataError(
            f"{shard.path} ends at byte {file_size:,} without the end mark of a tar file: it is "
            f"cut short. {_COPY}"
        )
    if behind.count(0) != len(behind):
        raise DataError(
            f"{shard.path} goes on behind its end mark at byte {end:,}: two tar files in one. "
            "Write them as two shards."
        )
