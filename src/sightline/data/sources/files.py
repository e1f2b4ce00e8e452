"""Images without labels, for prediction."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sightline.data.sources.kept import FILES_SCHEMA, KeptFiles
from sightline.data.sources.options import DEFAULTS, ScanOptions
from sightline.data.sources.passed import PassedOver
from sightline.data.sources.shards import holds_shards, read_shards
from sightline.data.sources.walk import absolute, is_utf8, relative, walk
from sightline.errors import DataError
from sightline.records import Manifest


def scan_files(paths: Sequence[Path | str], options: ScanOptions = DEFAULTS) -> Manifest:
    """Return the manifest of files, shards and folders, in any order, without labels.

    Folders are read at every depth; where one holds .tar shards and no image file, the images in
    the shards are taken. A file that is named is a shard if it is called .tar, else it is taken
    whatever its extension; one that is reached twice is there once. The root is the common parent
    folder.

    Raises:
        DataError: No path is given, one does not exist or is neither file nor folder, or there
            is no image.
    """
    if not paths:
        raise DataError("no path was given. Name image files, or folders that hold them.")
    files: dict[str, os.stat_result] = {}
    folders: dict[str, None] = {}  # as an ordered set
    for path in sorted({absolute(path) for path in paths}):
        about = _stat(path)
        if stat.S_ISDIR(about.st_mode):
            folders[path] = None
        elif stat.S_ISREG(about.st_mode):
            files[path] = about
        else:
            raise DataError(f"{path} is neither a file nor a folder. Name image files.")
    root = os.path.commonpath([*folders, *(str(Path(path).parent) for path in files)])
    passed_over = PassedOver()
    shards = [relative(path, root) for path in files if _is_shard(path)]
    parts = []
    for folder in folders:
        kept = KeptFiles()
        tree = walk(folder, kept, follow_links=options.follow_links)
        place = relative(folder, root)
        start = _readable(f"{place}/") if place else ""
        if holds_shards(tree):
            shards += [f"{start}{name}" for name in tree.archives]
        else:
            passed_over.merge(tree.passed_over, start)
            parts.append(kept.table().with_columns(record_id=pl.lit(start) + pl.col("record_id")))
    named = [
        (_readable(relative(path, root)), about.st_size, about.st_mtime_ns)
        for path, about in files.items()
        if not _is_shard(path)
    ]
    parts.append(pl.DataFrame(named, schema=FILES_SCHEMA, orient="row"))
    inside, beside = read_shards(root, sorted(set(shards)), options, labelled=False)
    passed_over.merge(beside)
    table = pl.concat([*parts, inside], how="diagonal")
    if not len(table):
        raise DataError(f"there is no image in {', '.join(list(folders)[:5])}")
    if len(parts) + len(shards) > 1:
        table = table.unique("record_id", keep="last").sort("record_id")
    groups = options.groups(table["record_id"])
    if groups is not None:
        table = table.with_columns(groups.alias("group"))
    return Manifest.make(
        Path(root), table, ignored=passed_over.counts, passed_over=passed_over.names
    )


def _is_shard(path: str) -> bool:
    return path.lower().endswith(".tar")


def _stat(path: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        raise DataError(
            f"there is no file or folder {path}. Check the path for a typing error."
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _readable(name: str) -> str:
    if not is_utf8(name):
        raise DataError(f"the name {name!a} is not valid UTF-8. Rename the file.")
    return name
