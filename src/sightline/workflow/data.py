"""From images to a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from sightline.data.sources import SourceOptions, read_source
from sightline.errors import DataError
from sightline.records import Manifest


def scan(path: str | Path | None = None, **source: Unpack[SourceOptions]) -> Manifest:
    """Return the manifest of labelled images, however they are given.

    Only names and sizes are read, no pixels. The rows are sorted by `record_id`, the class names
    too, so equal folders give equal manifests.

    Args:
        path: A folder of class folders, or of train / validation / test folders holding those;
            a saved manifest; the images' folder when `labels` is given.
        **source: `train`, `validation`, `test`: three unrelated folders instead of `path`.
            `labels`, `path_col`, `label_col`, `group_col`, `split_col`, `fold_col`: a table and
            its columns. `group_regex`: finds the patient or lesion in each file's path.
            `follow_links`: follow symbolic links out of the folder.

    Raises:
        DataError: The images cannot be used as given; the message names the path, row or value
            and what to do.
    """
    return read_source(path, source)


def manifest_of(
    data: str | Path | Manifest | None, source: SourceOptions, *, learnable: bool = True
) -> Manifest:
    """Return `data` if it is a manifest already, else the manifest that `scan` makes of it.

    Without `learnable`, a single class and lopsided splits are let through: enough to judge on.

    Raises:
        DataError: As `scan`; or options of the scan are given beside a manifest.
    """
    if not isinstance(data, Manifest):
        return read_source(data, source, learnable=learnable)
    useless = [name for name, value in source.items() if value]
    if useless:
        raise DataError(
            f"the manifest of {data.root} is taken as it is, so {', '.join(useless)} would change "
            "nothing. Leave them out, or scan the images with them."
        )
    return data
