"""`Judge`: the verdict on a pair, from memory or from the pixels of both files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from sightline.data.auditing.copies.confirming import (
    CONFIRMING_VERSION,
    MIN_SIMILARITY,
    VIEW_SIDE,
    View,
    similarity,
    view,
)
from sightline.data.auditing.copies.fingerprints import FINGERPRINT_VERSION
from sightline.data.auditing.copies.variants import SAME, Variant
from sightline.data.images import load
from sightline.errors import DataError
from sightline.records import Location

# One row a pair that was looked at on its pixels, and an orientation: a verdict depends on nothing
# else. `how` is done to a for it to become b.
VERDICTS_SCHEMA = pl.Schema(
    {
        "sha256_a": pl.String,  # the smaller one
        "sha256_b": pl.String,
        "how": pl.String,
        "similarity": pl.Float32,
        "confirmed": pl.Boolean,
        "version": pl.Int32,  # VERDICTS_VERSION when it was given
    }
)
VERDICTS_VERSION = 100 * FINGERPRINT_VERSION + CONFIRMING_VERSION
_KEPT_VIEWS = 4096  # at most 150 MB


class Verdict(NamedTuple):
    """One row of VERDICTS_SCHEMA without its version."""

    sha256_a: str
    sha256_b: str
    how: str
    similarity: float
    confirmed: bool


class Picture(NamedTuple):
    """A file, and what it contains."""

    sha256: str
    location: Location


class Views:
    """The small grey pictures of the files looked at last; safe in threads."""

    def __init__(self) -> None:
        self._views: OrderedDict[str, View] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, picture: Picture) -> View:
        """Return the picture upright, as `view` makes it.

        Raises:
            DataError: The file cannot be read any more.
        """
        with self._lock:
            if picture.sha256 in self._views:
                self._views.move_to_end(picture.sha256)
                return self._views[picture.sha256]
        # The audit has decoded the file under its own limit before.
        pixels = load(
            picture.location,
            channels=1,
            min_size=(VIEW_SIDE, VIEW_SIDE),
            max_megapixels=float("inf"),
        )
        seen = view(pixels[..., 0])
        with self._lock:
            self._views[picture.sha256] = seen
            while len(self._views) > _KEPT_VIEWS:
                self._views.popitem(last=False)
        return seen


class Judge:
    """Verdicts on pairs, none given twice.

    Args:
        known: Columns of VERDICTS_SCHEMA; rows of other versions are not used.

    Raises:
        ValueError: `known` has other columns.
    """

    def __init__(self, known: pl.DataFrame) -> None:
        if known.schema != VERDICTS_SCHEMA:
            raise ValueError(f"known must have the columns {VERDICTS_SCHEMA}, got {known.schema}")
        self._known = known.filter(pl.col("version") == VERDICTS_VERSION)
        rows = self._known.drop("version").iter_rows()
        self._verdicts = {row[:3]: Verdict(*row) for row in rows}
        self._new: list[Verdict] = []
        self._views = Views()

    def best(self, a: Picture, b: Picture, variants: Sequence[Variant]) -> Verdict | None:
        """Return the confirmed verdict on a pair: "same" if it is one, else the most similar.

        None where no variant is confirmed, or a file cannot be read any more. Safe in threads.

        Args:
            a: The picture with the smaller sha256.
            b: The other.
            variants: What to do to a, in any order.
        """
        best: Verdict | None = None
        for variant in sorted(variants, key=lambda variant: (variant != SAME, variant.how)):
            verdict = self._verdict(a, b, variant)
            if verdict is None or not verdict.confirmed:
                continue
            if variant == SAME:
                return verdict
            if best is None or verdict.similarity > best.similarity:
                best = verdict
        return best

    def table(self) -> pl.DataFrame:
        """Return every verdict known and given, of VERDICTS_SCHEMA, sorted by the pair."""
        version = pl.lit(VERDICTS_VERSION, pl.Int32).alias("version")
        columns = {name: kind for name, kind in VERDICTS_SCHEMA.items() if name != "version"}
        new = pl.DataFrame(self._new, schema=columns, orient="row").with_columns(version)
        return pl.concat([self._known, new]).sort("sha256_a", "sha256_b", "how")

    def _verdict(self, a: Picture, b: Picture, variant: Variant) -> Verdict | None:
        key = (a.sha256, b.sha256, variant.how)
        if key in self._verdicts:
            return self._verdicts[key]
        try:
            alike = similarity(variant.apply(self._views.of(a)), self._views.of(b))
        except DataError:  # changed since it was inspected: the next audit will see what it is
            return None
        alike = float(np.float32(alike))  # the same number when it comes back from a file
        verdict = Verdict(*key, alike, alike >= MIN_SIMILARITY)
        self._verdicts[key] = verdict
        self._new.append(verdict)
        return verdict
