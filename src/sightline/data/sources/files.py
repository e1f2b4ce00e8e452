"""Images without labels, for prediction."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sightline.data.sources.kept import FILES_SCHEMA, KeptFiles
from sightline.data.sources.options import DEFAULTS, ScanOptions
from sightline.data.sources.walk import absolute, is_utf8, relative, walk
from sightline.errors import DataError
from sightline.records import Manifest


def scan_files(paths: Sequence[Path | str], options: ScanOptions = DEFAULTS) -> Manifest:
    """Return the manifest of files and folders, in any order, without labels.

    Folders are read at every depth. A file that is named is taken whatever its extension; a
    file that is reached twice is there once. The root is the common parent folder.

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
    ignored: Counter[str] = Counter()
    parts = []
    for folder in folders:
        kept = KeptFiles()
        ignored += walk(folder, kept, follow_links=options.follow_links).ignored
        place = relative(folder, root)
        start = pl.lit(_readable(f"{place}/") if place else "")
        parts.append(kept.table().with_columns(record_id=start + pl.col("record_id")))
    named = [
        (_readable(relative(path, root)), about.st_size, about.st_mtime_ns)
        for path, about in files.items()
    ]
    parts.append(pl.DataFrame(named, schema=FILES_SCHEMA, orient="row"))
    table = pl.concat(parts)
    if not len(table):
        raise DataError(f"there is no image in {', '.join(list(folders)[:5])}")
    if len(parts) > 1:
        table = table.unique("record_id", keep="last").sort("record_id")
    groups = options.groups(table["record_id"])
    if groups is not None:
        table = table.with_columns(groups.alias("group"))
    return Manifest.make(Path(root), table, ignored=ignored)


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
