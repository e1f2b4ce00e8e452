"""How much of the images is held out."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.errors import RecipeError


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitShares:
    """How much is held out; the rest is train. 0 means none.

    Attributes:
        validation: Share of the images, 0 <= share < 1.
        test: Share of the images, 0 <= share < 1.
    """

    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        for name, share in (("validation", self.validation), ("test", self.test)):
            if not 0 <= share < 1:
                raise RecipeError(f"the {name} share must be 0 <= share < 1, got {share}")
        if self.validation + self.test >= 1:
            raise RecipeError(
                f"validation {self.validation} and test {self.test} leave nothing to train on; "
                "together they must be below 1"
            )
