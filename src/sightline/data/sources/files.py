"""Images without labels, for prediction."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sightline.data.sources.options import DEFAULTS, ScanOptions
from sightline.data.sources.walk import FoundFile, absolute, is_utf8, relative, walk
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
    files: dict[str, FoundFile] = {}
    folders: dict[str, None] = {}  # as an ordered set
    for path in sorted({absolute(path) for path in paths}):
        about = _stat(path)
        if stat.S_ISDIR(about.st_mode):
            folders[path] = None
        elif stat.S_ISREG(about.st_mode):
            files[path] = FoundFile(path, about.st_size, about.st_mtime_ns)
        else:
            raise DataError(f"{path} is neither a file nor a folder. Name image files.")
    root = os.path.commonpath([*folders, *(str(Path(path).parent) for path in files)])
    ignored: Counter[str] = Counter()
    for folder in folders:
        tree = walk(folder, follow_links=options.follow_links)
        ignored += tree.ignored
        start = folder.rstrip("/")
        files |= {f"{start}/{image.record_id}": image for image in tree.images}
    if not files:
        raise DataError(f"there is no image in {', '.join(list(folders)[:5])}")
    found = sorted((relative(path, root), file) for path, file in files.items())
    record_ids = [record_id for record_id, _ in found]
    _refuse_unreadable_names(record_ids)
    return Manifest.make(
        Path(root),
        {
            "record_id": record_ids,
            "group": options.groups(record_ids),
            "bytes": [file.bytes for _, file in found],
            "mtime_ns": [file.mtime_ns for _, file in found],
        },
        ignored=ignored,
    )


def _stat(path: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        raise DataError(
            f"there is no file or folder {path}. Check the path for a typing error."
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _refuse_unreadable_names(record_ids: Sequence[str]) -> None:
    for record_id in record_ids:
        if not is_utf8(record_id):
            raise DataError(f"the name {record_id!a} is not valid UTF-8. Rename the file.")
