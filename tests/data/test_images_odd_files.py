"""What each of 121 odd files gets; skipped where the folder is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sightline.data.images import load, read_header
from sightline.data.images.reading import read_file
from sightline.errors import DataError

# The reason, or the format, mode, upright height x width, and the frames where there are several.
# Where this differs from Pillow's verdict: wrong checksums, corrupt scans, rows that are missing
# and float samples are refused; text chunks that are bombs are not read, so they do no harm.
OUTCOMES = {
    "._syn_appledouble.jpg": "NOT_AN_IMAGE",
    ".syn_hidden.jpg": "JPEG RGB 150x200",
    "exif_Landscape_3.jpg": "JPEG RGB 1200x1800",
    "exif_Landscape_6.jpg": "JPEG RGB 1200x1800",
    "exif_Portrait_4.jpg": "JPEG RGB 1800x1200",
    "exif_Portrait_8.jpg": "JPEG RGB 1800x1200",
    "ljt_testorig.jpg": "JPEG RGB 149x227",
    "ljt_testorig.ppm": "NOT_AN_IMAGE",
    "ljt_vgl_6434_0018a.bmp": "BMP RGB 96x119",
    "pil_apng_dispose_op_background_before_region.png": "PNG RGBA 64x128 of 2",
    "pil_apng_dispose_op_background_final.png": "PNG RGBA 64x128 of 2",
    "pil_apng_dispose_op_background_region.png": "PNG RGBA 64x128 of 3",
    "pil_apng_dispose_op_previous_final.png": "PNG RGBA 64x128 of 2",
    "pil_apng_mode_palette.png": "PNG P 64x128 of 3",
    "pil_apng_split_fdat_zero_chunk.png": "PNG RGBA 64x128 of 2",
    "pil_apng_syntax_num_frames_zero.png": "CORRUPT_SCAN",
    "pil_bmp_b_baddens1.bmp": "BMP 1 64x127",
    "pil_bmp_b_baddens2.bmp": "BMP 1 64x127",
    "pil_bmp_b_badfilesize.bmp": "BMP 1 64x127",
    "pil_bmp_b_badheadersize.bmp": "NOT_AN_IMAGE",
    "pil_bmp_b_badrle.bmp": "BMP P 64x127",
    "pil_bmp_b_pal8badindex.bmp": "BMP P 64x127",
    "pil_bmp_g_pal1wb.bmp": "BMP P 64x127",
    "pil_bmp_q_pal8offs.bmp": "BMP P 64x127",
    "pil_broken_data_stream.png": "BAD_CRC",
    "pil_crash-0c7e0e8e11ce787078f00b5b0ca409a167f070e0.tif": "TRUNCATED",
    "pil_crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif": "NOT_AN_IMAGE",
    "pil_crash-1152ec2d1a1a71395b6f2ce6721c38924d025bf3.tif": "TRUNCATED",
    "pil_crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif": "NOT_AN_IMAGE",
    "pil_crash-f46f5b2f43c370fe65706c11449f567ecc345e74.tif": "TRUNCATED",
    "pil_decompression_bomb_extents.gif": "GIF P 100x100 of 2",
    "pil_empty_gps_ifd.jpg": "JPEG RGB 10x10",
    "pil_eps_non_zero_bb.png": "PNG P 252x360",
    "pil_eps_zero_bb.png": "PNG P 352x460",
    "pil_exif.png": "PNG RGB 512x512",
    "pil_hopper.jpg": "JPEG RGB 128x128",
    "pil_hopper.ppm": "NOT_AN_IMAGE",
    "pil_hopper.webp": "WEBP RGB 128x128",
    "pil_hopper_16bit.pgm": "NOT_AN_IMAGE",
    "pil_hopper_unknown_pixel_mode.tif": "UNSUPPORTED_DEPTH",
    "pil_hopper_zero_comment_subblocks.gif": "GIF P 128x128",
    "pil_imagedraw_floodfill_not_negative.png": "PNG RGB 100x100",
    "pil_imagedraw_pieslice_zero_width.png": "PNG RGB 100x100",
    "pil_invalid-exif-without-x-resolution.jpg": "JPEG RGB 200x300",
    "pil_missing_background.gif": "GIF P 32x32 of 4",
    "pil_missing_background_first_frame.png": "PNG RGBA 32x32",
    "pil_multipage-lastframe.tif": "TIFF P 20x20",
    "pil_multipage-mmap.tiff": "TIFF P 10x10 of 3",
    "pil_multipage.tiff": "TIFF P 10x10 of 3",
    "pil_multiple_comments.gif": "GIF P 100x100 of 5",
    "pil_pil123rgba.png": "PNG RGBA 150x162",
    "pil_png_decompression_dos.png": "PNG L 1x1",
    "pil_sugarshack_bad_mpo_header.jpg": "JPEG RGB 480x640",
    "pil_test_anchor_multiline_lm_right.png": "PNG RGB 400x600",
    "pil_test_anchor_multiline_rm_center.png": "PNG RGB 400x600",
    "pil_test_anchor_multiline_rm_right.png": "PNG RGB 400x600",
    "pil_test_combine_multiline_rm_center.png": "PNG RGB 400x400",
    "pil_tiff_16bit_RGB.tiff": "TIFF RGB 40x100",
    "pil_tiff_strip_planar_16bit_RGB.tiff": "TIFF RGB 40x100",
    "pil_transparent.png": "PNG RGBA 150x200",
    "pil_truncated_app14.jpg": "CORRUPT_SCAN",
    "pil_truncated_end_chunk.png": "TRUNCATED",
    "pil_truncated_exif_dpi.jpg": "JPEG RGB 640x480",
    "pil_variation_adobe_name.png": "PNG RGB 75x100",
    "png_basi0g01.png": "PNG 1 32x32",
    "png_basn3p08.png": "PNG P 32x32",
    "png_basn4a08.png": "PNG LA 32x32",
    "png_basn4a16.png": "PNG RGBA 32x32",
    "png_ct0n0g04.png": "PNG L 32x32",
    "png_exif2c08.png": "PNG RGB 32x32",
    "png_f99n0g04.png": "PNG L 32x32",
    "png_g03n2c08.png": "PNG RGB 32x32",
    "png_oi9n2c16.png": "PNG RGB 32x32",
    "png_s39i3p04.png": "PNG P 39x39",
    "png_xc1n0g08.png": "NOT_AN_IMAGE",
    "png_xc9n2c08.png": "NOT_AN_IMAGE",
    "png_xcsn0g01.png": "BAD_CRC",
    "png_xd9n2c08.png": "NOT_AN_IMAGE",
    "png_xdtn0g01.png": "CORRUPT_SCAN",
    "png_xhdn0g08.png": "BAD_CRC",
    "png_xs1n0g01.png": "NOT_AN_IMAGE",
    "real_gif_imageNotFound.gif": "GIF P 300x300",
    "real_lfs_pointer.jpg": "NOT_AN_IMAGE",
    "syn_0x0.png": "NOT_AN_IMAGE",
    "syn_16bit.png": "PNG I;16 150x200",
    "syn_16bit.tif": "TIFF I;16 150x200",
    "syn_1x1.png": "PNG RGB 1x1",
    "syn_1x5000.png": "PNG RGB 5000x1",
    "syn_5000x2.jpg": "JPEG RGB 2x5000",
    "syn_anim.gif": "GIF P 150x200 of 3",
    "syn_anim.png": "PNG RGB 150x200 of 2",
    "syn_anim.webp": "WEBP RGB 150x200 of 2",
    "syn_bomb_12000x12000.png": "TOO_LARGE",
    "syn_cmyk.jpg": "JPEG CMYK 150x200",
    "syn_empty.jpg": "EMPTY",
    "syn_exact_dup_A.jpg": "JPEG RGB 150x200",
    "syn_flip1.jpg": "CORRUPT_SCAN",
    "syn_flip10.jpg": "CORRUPT_SCAN",
    "syn_flip100.jpg": "CORRUPT_SCAN",
    "syn_float.tif": "UNSUPPORTED_DEPTH",
    "syn_gray.jpg": "JPEG L 150x200",
    "syn_html.jpg": "NOT_AN_IMAGE",
    "syn_jpg_named.png": "JPEG RGB 150x200",
    "syn_la.png": "PNG LA 150x200",
    "syn_leading_garbage.jpg": "NOT_AN_IMAGE",
    "syn_near_dup_q60.jpg": "JPEG RGB 150x200",
    "syn_near_dup_resized.png": "PNG RGB 75x100",
    "syn_orient_3.jpg": "JPEG RGB 150x200",
    "syn_orient_4.jpg": "JPEG RGB 150x200",
    "syn_orient_6.jpg": "JPEG RGB 200x150",
    "syn_orient_7.jpg": "JPEG RGB 200x150",
    "syn_png_named.jpg": "PNG RGB 150x200",
    "syn_progressive.jpg": "JPEG RGB 150x200",
    "syn_q1.jpg": "JPEG RGB 150x200",
    "syn_trailing_garbage.jpg": "JPEG RGB 150x200",
    "syn_trunc_02.jpg": "TRUNCATED",
    "syn_trunc_50.jpg": "TRUNCATED",
    "syn_trunc_90.jpg": "TRUNCATED",
    "syn_trunc_99.jpg": "TRUNCATED",
    "syn_with space (1).jpg": "JPEG RGB 150x200",
    "syn_zeros.jpg": "NOT_AN_IMAGE",
}


@pytest.fixture(scope="module")
def folder() -> Path:
    """Return the folder of the odd files, below the one that SIGHTLINE_DATA names."""
    root = os.environ.get("SIGHTLINE_DATA")
    files = Path(root or "none") / "odd_files" / "files"
    if not files.is_dir():
        pytest.skip("no odd_files/files below the folder that SIGHTLINE_DATA names")
    return files


def outcome(path: Path) -> str:
    try:
        height, width, _ = load(path).shape
    except DataError as error:
        return error.reason
    header = read_header(read_file(path))
    frames = f" of {header.frames}" if header.frames > 1 else ""
    return f"{header.format} {header.mode} {height}x{width}{frames}"


@pytest.mark.parametrize("name", OUTCOMES)
def test_an_odd_file_gets_its_outcome(name: str, folder: Path) -> None:
    assert outcome(folder / name) == OUTCOMES[name]


def test_every_odd_file_has_an_outcome_here(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(OUTCOMES)


@pytest.mark.parametrize("number", [3, 4, 6, 7])
def test_the_orientation_of_an_odd_file_is_found(number: int, folder: Path) -> None:
    assert read_header(read_file(folder / f"syn_orient_{number}.jpg")).orientation == number
