"""From the columns of a manifest to the flat arrays of an index, without a Python list of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.records.index import Offsets, empty_offsets

_ROWS_AT_ONCE = 1 << 16  # strings are joined in parts, so that only a part is there twice


def join_names(ids: pl.Series) -> tuple[npt.NDArray[np.uint8], Offsets]:
    """Return the UTF-8 of every string end to end, and (n+1,) where each begins and ends."""
    lengths = ids.str.len_bytes().to_numpy()
    total = int(lengths.sum(dtype=np.uint64))
    offsets = empty_offsets(len(ids), total)
    np.cumsum(lengths, out=offsets[1:])
    names: npt.NDArray[np.uint8] = np.empty(total, np.uint8)
    for begin in range(0, len(ids), _ROWS_AT_ONCE):
        joined = str(ids.slice(begin, _ROWS_AT_ONCE).str.join("").item()).encode()
        start = int(offsets[begin])
        names[start : start + len(joined)] = np.frombuffer(joined, np.uint8)
    return names, offsets


def numbers(
    column: pl.Series,
    places: Mapping[str, int],
    *,
    otherwise: int,
    dtype: type[pl.Int32] | type[pl.UInt8],
) -> npt.NDArray[Any]:
    """Return the number of each string as `dtype`, and `otherwise` for null."""
    return column.replace_strict(places, default=otherwise, return_dtype=dtype).to_numpy()


def known(column: pl.Series) -> npt.NDArray[np.int64] | None:
    """Return whole numbers with -1 for null; None where every one is null."""
    if column.null_count() == len(column):
        return None
    return column.fill_null(-1).to_numpy()


def digest_of(sha256: pl.Series) -> str | None:
    """Return the sha256 of every content's sha256, in order; None where one is not known."""
    if not len(sha256) or sha256.null_count():
        return None
    digest = hashlib.sha256()
    for begin in range(0, len(sha256), _ROWS_AT_ONCE):
        lines = sha256.slice(begin, _ROWS_AT_ONCE).str.join("\n").item()
        digest.update(f"{lines}\n".encode())
    return digest.hexdigest()
