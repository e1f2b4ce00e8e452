"""What is known of a file besides its picture, as numbers that a model could predict from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing known of a file.

    Attributes:
        name: Its name in the evidence.
        words: Its name in a sentence.
        by_file: The picture's content cannot explain it: it tells where the file was made.
        values: Its values from the columns of INSPECTED_SCHEMA.
        unit: "bytes", "pixels", "" for other numbers, "name" for what is no number.
    """

    name: str
    words: str
    by_file: bool
    values: pl.Expr
    unit: str = ""


_AREA = pl.col("width").cast(pl.Int64) * pl.col("height")
# In smaller pictures the outer ring of pixels is a good part of the picture itself.
_LEAST_SIDE_OF_BORDER = 64
_HAS_BORDER = pl.min_horizontal("width", "height") >= _LEAST_SIDE_OF_BORDER

# Of equal ones the first is named, so what is plainest comes first.
FEATURES = (
    Feature("format", "the file format", True, pl.col("format"), "name"),
    Feature("mode", "the colour mode", True, pl.col("mode"), "name"),
    Feature("bits", "the bits a sample", True, pl.col("bits")),
    Feature("orientation", "the EXIF orientation", True, pl.col("orientation")),
    Feature("frames", "the number of frames", True, pl.col("frames")),
    Feature("alpha", "transparency", False, pl.col("alpha").cast(pl.String), "name"),
    Feature("quality", "the JPEG quantisation", True, pl.col("quality")),
    Feature("width", "the width", True, pl.col("width"), "pixels"),
    Feature("height", "the height", True, pl.col("height"), "pixels"),
    Feature("aspect", "width by height", True, pl.col("width") / pl.col("height")),
    Feature("bytes", "the file size", False, pl.col("bytes"), "bytes"),
    Feature("bytes_a_pixel", "the bytes a pixel", False, pl.col("bytes") / _AREA),
    Feature(
        "border_brightness",
        "the border's brightness",
        False,
        pl.when(_HAS_BORDER).then("border_brightness"),
    ),
    Feature(
        "border_contrast",
        "the border's contrast",
        False,
        pl.when(_HAS_BORDER).then("border_contrast"),
    ),
)


def feature_matrix(rows: pl.DataFrame) -> npt.NDArray[np.float32]:
    """Return (rows, FEATURES) float32; -1 where a value is not known.

    Names become numbers, the most frequent 0.
    """
    columns = rows.select(feature.values.alias(feature.name) for feature in FEATURES)
    matrix = np.empty((len(rows), len(FEATURES)), np.float32)
    for place, feature in enumerate(FEATURES):
        column = columns[feature.name]
        if feature.unit == "name":
            counts = column.value_counts().sort("count", feature.name, descending=[True, False])
            order = {name: number for number, name in enumerate(counts[feature.name].drop_nulls())}
            column = column.replace_strict(order, default=None, return_dtype=pl.Float32)
        matrix[:, place] = column.cast(pl.Float32).fill_null(-1).to_numpy()
    return matrix


def strongest_rule(feature: Feature, rows: pl.DataFrame, is_class: npt.NDArray[np.bool_]) -> str:
    """Return the one rule on a feature that best tells a class from the others, in words.

    Best by Youden's J (1950): the share of the class that it holds for, less that of the others.
    E.g. "when under 30 kB (88 % of them, 20 % of the others)".

    Args:
        feature: One of FEATURES.
        rows: Columns of INSPECTED_SCHEMA, n rows.
        is_class: (n,), some True and some False.
    """
    column = rows.select(feature.values.alias("value"))["value"]
    if feature.unit == "name":
        return _rule_of_names(column.fill_null("not known"), is_class)
    values = column.cast(pl.Float64).fill_null(-1).to_numpy()
    order = np.argsort(values, kind="stable")
    values, sorted_class = values[order], is_class[order]
    below = np.cumsum(sorted_class) / sorted_class.sum()
    others_below = np.cumsum(~sorted_class) / (~sorted_class).sum()
    cuts = np.flatnonzero(values[1:] > values[:-1])  # the last place below each cut
    if not len(cuts):
        return "always"
    cut = cuts[np.argmax(np.abs(below - others_below)[cuts])]
    limit = (values[cut] + values[cut + 1]) / 2
    share, others = below[cut], others_below[cut]
    if share >= others:
        return f"when under {_amount(limit, feature.unit)}{_shares(share, others)}"
    return f"when over {_amount(limit, feature.unit)}{_shares(1 - share, 1 - others)}"


def _rule_of_names(column: pl.Series, is_class: npt.NDArray[np.bool_]) -> str:
    shares = (
        pl.DataFrame({"value": column, "inside": is_class})
        .group_by("value")
        .agg(
            (pl.col("inside").sum() / int(is_class.sum())).alias("share"),
            (pl.col("inside").not_().sum() / int((~is_class).sum())).alias("others"),
        )
        .sort(pl.col("others") - pl.col("share"), "value")
    )
    value, share, others = shares.row(0)
    return f"when it is {value}{_shares(share, others)}"


def _shares(share: float, others: float) -> str:
    return f" ({100 * share:.0f} % of them, {100 * others:.0f} % of the others)"


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e6:.3g} MB" if value >= 1e6 else f"{value / 1e3:.3g} kB"
    if unit == "pixels":
        return f"{value:.0f} pixels"
    return f"{value:.3g}"
