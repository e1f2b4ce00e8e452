"""The closed sets of names that every room shares."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

Weights = Literal["best", "last"]
