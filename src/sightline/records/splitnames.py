"""The closed sets of names that every room shares."""

from __future__ import annotations

from typing import Literal

# "external" is kept aside and reported apart: never trained on, chosen by, or divided anew.
Split = Literal["train", "validation", "test", "external"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "external")

# The best epoch's as validated, the last as trained, and the last's moving average.
Weights = Literal["best", "last", "average"]
