"""What one full look at a file leaves behind: a row of a table that every later step reads."""

from __future__ import annotations

import polars as pl

OK, NOTED = "ok", "noted"  # and records.manifest.QUARANTINED

# Null where a file could not be read that far. Rows stand in the order of the manifest.
INSPECTED_SCHEMA = pl.Schema(
    {
        "record_id": pl.String,
        "bytes": pl.Int64,  # as read, of the image alone where it lies in an archive
        "mtime_ns": pl.Int64,  # of the file or archive when it was read
        "sha256": pl.String,  # of the bytes, 64 hexadecimal digits
        "status": pl.String,  # "ok", "noted", "quarantined"
        "reason": pl.String,  # one code when quarantined; note codes joined by ", " when noted
        "stage": pl.String,  # when quarantined: "open", "header" or "decode"
        "detail": pl.String,  # when quarantined: the message
        "format": pl.String,  # "JPEG", "PNG", ... by content
        "width": pl.Int32,  # as stored, before the EXIF orientation
        "height": pl.Int32,
        "mode": pl.String,  # Pillow's word
        "bits": pl.Int32,  # a sample
        "orientation": pl.Int32,  # EXIF 1..8
        "frames": pl.Int32,
        "alpha": pl.Boolean,  # some pixel is not opaque
        "grey": pl.Boolean,  # red, green and blue are equal (within 2 of 255) everywhere
        "quality": pl.Float32,  # JPEG: mean of the first quantisation table, 1 (best)..255
        "pixels": pl.UInt64,  # xxh3 of size and upright RGB pixels: equal pixels, equal number
        "phash": pl.UInt64,  # 64 bits of copies.fingerprints
        "thumb": pl.Binary,  # (16, 16) uint8 grey of the upright picture, row by row
        "brightness": pl.Float32,  # mean luma, 0..255
        "contrast": pl.Float32,  # standard deviation of luma, 0..127.5
        "brightest": pl.Float32,  # 99th percentile of luma
        "sharpness": pl.Float32,  # variance of the Laplacian of luma at 256 px, see inspecting
        "border_brightness": pl.Float32,  # mean luma of the outer ring, 4 % of each side
        "border_contrast": pl.Float32,  # its standard deviation
    }
)
