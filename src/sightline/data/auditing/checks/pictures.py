"""Pictures that differ from the others in size, depth or colour, or that show next to nothing."""

from __future__ import annotations

import polars as pl

from sightline.data.auditing.checks.audited import AuditedSet, counts_by, ids_by
from sightline.data.auditing.checks.outcomes import (
    Outcomes,
    counted,
    joined,
    listed,
    part_of,
    percent,
)
from sightline.records import Finding

# Luma, 0..255. A JPEG of one colour stays below 1; the flattest of 14,700 real X-rays, skin
# lesions and digits has 5.6.
CONSTANT_CONTRAST = 2.0
# The 99th percentile of luma: nothing is brighter than a quarter of the range. The darkest of the
# same pictures has 115; one at 0.15 of its brightness has about 30, at 0.3 about 60.
DARK_BRIGHTEST = 64.0
# A picture counts as dark or blurred only as an outlier of its own set too: fluorescence is dark
# and X-rays are soft throughout. In robust standard deviations from the median (Iglewicz and
# Hoaglin, 1993, advise 3.5), of the logarithm, as both are ratios by nature.
OUTLYING = 3.5
# The least spread assumed of a set, as a natural logarithm: in a uniform one nothing within a
# factor of exp(3.5 * 0.2) = 2 of the median is an outlier.
LEAST_SPREAD = 0.2
# Variance of the Laplacian at 256 px by the variance of luma: what share of a picture's contrast
# is fine detail, whatever its contrast. The least of the same 14,700 has 0.005. X-rays blurred by
# a Gaussian of 2.5 px at 256 px have 0.001 to 0.003, skin lesions 0.002 to 0.01: their own
# detail varies so much that only some of the blurred ones are found.
BLURRED_DETAIL = 0.004
BLURRED_OUTLYING = 3.0
# Smaller pictures have no fine detail to lose: every pixel of a digit of 8 px is an edge.
LEAST_SIDE = 64
# A size held by this share is the rule, and the others are odd ones out to be named.
RULE = 0.5

_SHOWN = 20
_MAD = 1.4826  # median absolute deviation to standard deviation, for a normal distribution

_SIZES = Outcomes("mixed-sizes", "info")
_DEPTHS = Outcomes("mixed-depths", "warning")
_COLOURS = Outcomes("mixed-colours", "info")
_ROTATIONS = Outcomes("exif-rotations", "info")
_CONSTANT = Outcomes("constant-images", "warning")
_DARK = Outcomes("dark-images", "warning")
_BLURRED = Outcomes("blurred-images", "warning")


def mixed_sizes(audited: AuditedSet) -> Finding:
    """Return how many sizes there are, and the odd ones out where one size is the rule."""
    turned = pl.col("orientation").fill_null(1) > 4
    width, height = pl.col("width").cast(pl.String), pl.col("height").cast(pl.String)
    upright = pl.when(turned).then(height + "x" + width).otherwise(width + "x" + height)
    rows = audited.usable.drop_nulls(["width", "height"]).with_columns(size=upright)
    if not len(rows):
        return _SIZES.not_applicable("No image could be measured.")
    counts = counts_by(rows, "size")
    common, most = next(iter(counts.items()))
    if len(counts) == 1:
        return _SIZES.passed(f"{counted(most, 'image')}, all of {common} pixels.")
    ruled = most >= RULE * len(rows)
    odd = rows.filter((pl.col("size") != common) & ruled)
    sides = pl.concat([rows["width"], rows["height"]])
    title = f"{counted(len(rows), 'image')} have {len(counts):,} sizes"
    title += f", {most:,} of them {common} pixels" if ruled else ""
    return _SIZES.found(
        f"{title}; sides go from {int(sides.min()):,} to {int(sides.max()):,} pixels.",  # type: ignore[arg-type]
        {
            "num_sizes": len(counts),
            "most_frequent": dict(list(counts.items())[:_SHOWN]),
            "ids_of_odd_sizes": odd["record_id"].to_list(),
        },
        "Every image becomes data.image_size, its shape changed where it is another. See the "
        "finding `shortcut` for whether size tells the label.",
    )


def mixed_depths(audited: AuditedSet) -> Finding:
    """Return which images are of another bit depth; a warning with 8 and 16 bits in one class."""
    rows = audited.usable.drop_nulls("bits")
    if not len(rows):
        return _DEPTHS.not_applicable("No image could be measured.")
    depths = counts_by(rows, "bits")
    if len(depths) == 1:
        return _DEPTHS.passed(f"All images have {next(iter(depths))} bits a sample.")
    deep = rows.with_columns(deep=pl.col("bits") > 8)
    kinds = deep.group_by("label").agg(pl.col("deep").n_unique())
    mixed = kinds.filter(pl.col("deep") > 1)["label"].sort().to_list()
    words = [f"{count:,} with {bits}" for bits, count in depths.items()]
    title = f"Images differ in bits a sample: {joined(words)}"
    if mixed:
        names = joined([repr(name) if name is not None else "the images" for name in mixed[:3]])
        title += f"; 8 and 16 bits are mixed in {names}"
        if len(mixed) > 3:
            title += f" and {counted(len(mixed) - 3, 'more class', 'more classes')}"
    return _DEPTHS.found(
        f"{title}.",
        {
            "counts": depths,
            "counts_by_class": _counts_by_class(rows, "bits"),
            "classes_with_both": [name for name in mixed if name is not None],
            "ids_by_bits": dict(list(ids_by(rows, "bits").items())[1:]),
        },
        "16 bits are read as 8 by their upper half, so a picture that uses few of them comes "
        "out dark. Export all images the same way where that is so.",
        severity="warning" if mixed else "info",
    )


def mixed_colours(audited: AuditedSet) -> Finding:
    """Return which images are stored or coloured unlike most."""
    rows = audited.usable.drop_nulls("mode").with_columns(
        shown=pl.when("grey").then(pl.lit("grey")).otherwise(pl.lit("coloured"))
    )
    if not len(rows):
        return _COLOURS.not_applicable("No image could be looked at.")
    modes, shown = counts_by(rows, "mode"), counts_by(rows, "shown")
    if len(modes) == 1 and len(shown) == 1:
        return _COLOURS.passed(
            f"All images are {next(iter(shown))}, stored as {next(iter(modes))}."
        )
    parts = [
        f"{listed(counts)}"
        for counts in (shown, {f"stored as {mode}": count for mode, count in modes.items()})
        if len(counts) > 1
    ]
    return _COLOURS.found(
        f"Images differ in colour: {'; '.join(parts)}.",
        {
            "counts_by_mode": modes,
            "counts_by_colour": shown,
            "modes_by_class": _counts_by_class(rows, "mode"),
            "ids_by_mode": dict(list(ids_by(rows, "mode").items())[1:]),
            "ids_by_colour": dict(list(ids_by(rows, "shown").items())[1:]),
        },
        "All become data.channels = 3 or 1. Look at the few that differ: they may be from "
        "elsewhere. See the finding `shortcut` for whether colour mode tells the label.",
    )


def exif_rotations(audited: AuditedSet) -> Finding:
    """Return which images are stored turned or mirrored, and say so in their EXIF."""
    rows = audited.usable.filter(pl.col("orientation").fill_null(1) != 1)
    if not len(rows):
        return _ROTATIONS.passed("No image is stored turned.")
    return _ROTATIONS.found(
        f"{part_of(len(rows), len(audited.usable), 'image')} stored turned or mirrored "
        f"({percent(len(rows), len(audited.usable))}).",
        {"ids_by_orientation": ids_by(rows, "orientation")},
        "Sightline turns them upright everywhere. Other programs may not, so compare figures "
        "with care.",
    )


def constant_images(audited: AuditedSet) -> Finding:
    """Return which images are of one colour."""
    rows = audited.usable.filter(pl.col("contrast") < CONSTANT_CONTRAST)
    if not len(rows):
        return _CONSTANT.passed("No image is of one colour.")
    return _CONSTANT.found(
        f"{part_of(len(rows), len(audited.usable), 'image')} of nearly one colour "
        f"(contrast under {CONSTANT_CONTRAST:g} of 127.5).",
        {"ids": rows["record_id"].to_list(), "counts_by_class": counts_by(rows, "label")},
        "They hold nothing to learn from. Look at them, and take them out of the folder.",
    )


def dark_images(audited: AuditedSet) -> Finding:
    """Return which images are very dark, in themselves and beside the others of the set."""
    rows = _shown(audited)
    if not len(rows):
        return _DARK.not_applicable("No image could be looked at.")
    low = _low_outliers(rows["brightest"], OUTLYING)
    dark = rows.filter((pl.col("brightest") < DARK_BRIGHTEST) & low)
    if not len(dark):
        return _DARK.passed("No image is very dark beside the others.")
    return _DARK.found(
        f"{part_of(len(dark), len(audited.usable), 'image')} very dark: 99 % of each is at or "
        f"below {float(dark['brightest'].max()):.0f} of 255, where the set's median is "  # type: ignore[arg-type]
        f"{float(rows['brightest'].median()):.0f}.",  # type: ignore[arg-type]
        {"ids": _ascending(dark, "brightest"), "counts_by_class": counts_by(dark, "label")},
        "Look at them: a failed exposure or a wrong conversion from 16 bits looks like this. "
        "Export them again, or take them out of the folder.",
    )


def blurred_images(audited: AuditedSet) -> Finding:
    """Return which images lack fine detail, in themselves and beside the others of the set."""
    rows = _shown(audited).filter(pl.min_horizontal("width", "height") >= LEAST_SIDE)
    if not len(rows):
        return _BLURRED.not_applicable(
            f"Sharpness is measured from {LEAST_SIDE} pixels a side, and no image has them."
        )
    rows = rows.with_columns(detail=pl.col("sharpness") / pl.col("contrast") ** 2)
    low = _low_outliers(rows["detail"], BLURRED_OUTLYING)
    blurred = rows.filter((pl.col("detail") < BLURRED_DETAIL) & low)
    if not len(blurred):
        return _BLURRED.passed("No image is blurred beside the others.")
    typical = float(rows["detail"].median())  # type: ignore[arg-type]
    times = typical / max(float(blurred["detail"].max()), 1e-9)  # type: ignore[arg-type]
    return _BLURRED.found(
        f"{part_of(len(blurred), len(audited.usable), 'image', verb=('looks', 'look'))} blurred: "
        f"each has at most 1/{times:.0f} of the set's usual fine detail.",
        {"ids": _ascending(blurred, "detail"), "counts_by_class": counts_by(blurred, "label")},
        "Look at them, the softest first, and take out what a person could not judge either.",
    )


def _shown(audited: AuditedSet) -> pl.DataFrame:
    """Return the usable rows whose pixels were seen and are not of one colour."""
    return audited.usable.drop_nulls(["contrast", "brightest", "sharpness"]).filter(
        pl.col("contrast") >= CONSTANT_CONTRAST
    )


def _low_outliers(values: pl.Series, outlying: float) -> pl.Series:
    """Return which values lie far below the others, by median and median absolute deviation."""
    logs = values.cast(pl.Float64).clip(1e-6).log()
    middle = logs.median()
    assert isinstance(middle, float)  # there are values
    deviation = (logs - middle).abs().median()
    assert isinstance(deviation, float)
    spread = max(_MAD * deviation, LEAST_SPREAD)
    return logs < middle - outlying * spread


def _ascending(rows: pl.DataFrame, column: str) -> list[str]:
    return rows.sort(column, "record_id")["record_id"].to_list()


def _counts_by_class(rows: pl.DataFrame, column: str) -> dict[str, dict[str, int]]:
    """Return {label: {value: images}}."""
    counts = rows.drop_nulls("label").group_by("label", column).agg(pl.len().alias("images"))
    by_class: dict[str, dict[str, int]] = {}
    for label, value, images in counts.sort("label", column).iter_rows():
        by_class.setdefault(label, {})[str(value)] = images
    return by_class
