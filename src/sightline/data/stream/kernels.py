"""Pixels of one image into its place in a batch: one affine pass, then scaling."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
_BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
}


def write_plain(image: Image, out: npt.NDArray[np.float32] | Image, scale: float) -> None:
    """Write `image` * `scale` into `out`; both (H, W, C)."""
    if out.dtype == np.uint8:
        out[:] = image
    else:
        np.multiply(image, np.float32(scale), out=out)


def write_warped(
    image: Image,
    out: npt.NDArray[np.float32] | Image,
    scale: float,
    *,
    matrix: npt.NDArray[np.float64],
    fill: str,
    fill_value: float,
) -> None:
    """Write `image`, moved by `matrix` and scaled, into `out`.

    Bilinear, in float32 when `out` is float32, else in uint8, rounded. Within 0.002 of 255 of
    SciPy's affine_transform for "nearest" and "reflect"; at the border, "constant" blends into
    its value and "wrap" repeats the whole image, where SciPy cuts off and drops a pixel.

    Args:
        image: (H, W, C) uint8.
        out: (H, W, C) float32 or uint8, C-contiguous.
        scale: Applied to float32 output alone.
        matrix: (2, 3), input (x, y) from output (x, y, 1).
        fill: A key of the four fill modes.
        fill_value: 0..255, for "constant".
    """
    height, width = image.shape[:2]
    factor = scale if out.dtype == np.float32 else 1.0
    source = np.multiply(image, np.float32(scale)) if out.dtype == np.float32 else image
    warped = cv2.warpAffine(
        source,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=_BORDERS[fill],
        borderValue=(fill_value * factor,) * 4,
    )
    out[:] = warped.reshape(out.shape)  # OpenCV drops a single channel's axis
