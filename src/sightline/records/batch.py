"""One step's worth of decoded, augmented, scaled images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's worth of records, in the order of the epoch.

    Attributes:
        images: (B, H, W, C), RGB or grey: float32 scaled as the stream was asked, or uint8 0..255.
        labels: (B,) int32 class indices; -1 where the record has no label.
        targets: (B,) float32 for two classes (1 = the second class), (B, K) one-hot otherwise.
        weights: (B,) float32; 0 for a record that could not be read (its image is all zeros).
        rows: (B,) int64 rows of the manifest.
    """

    images: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype not in (np.float32, np.uint8):
            raise ValueError(
                "images must be (batch, height, width, channels) float32 or uint8, got "
                f"{self.images.shape} {self.images.dtype}"
            )
        size = len(self.images)
        for name, array, dtype in (
            ("labels", self.labels, np.int32),
            ("weights", self.weights, np.float32),
            ("rows", self.rows, np.int64),
        ):
            if array.shape != (size,) or array.dtype != dtype:
                raise ValueError(
                    f"{name} must be ({size},) {np.dtype(dtype)}, got {array.shape} {array.dtype}"
                )
        if len(self.targets) != size or self.targets.ndim > 2 or self.targets.dtype != np.float32:
            raise ValueError(
                f"targets must be ({size},) or ({size}, classes) float32, got "
                f"{self.targets.shape} {self.targets.dtype}"
            )

    def __len__(self) -> int:
        return len(self.images)
