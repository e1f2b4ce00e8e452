"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.records.comparison import Comparison
from sightline.records.evaluation import Evaluation


@dataclass(frozen=True, slots=True)
class RunsCompared:
    """Every later run against the first, on the records that both judged.

    Attributes:
        names: What the runs are called, in order.
        evaluations: Of each.
        comparisons: Of each later run with the first.
        recipe_differences: Dotted name of a value of the recipe to its value in each run, of the
            values that are not the same in all.
    """

    names: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...]
    recipe_differences: Mapping[str, tuple[Any, ...]]

    def words(self) -> str:
        """Return what each comparison shows, a line each."""
        return "\n".join(each.words() for each in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "names": list(self.names),
            "evaluations": [each.to_dict() for each in self.evaluations],
            "comparisons": [each.to_dict() | {"words": each.words()} for each in self.comparisons],
            "recipe_differences": {k: list(v) for k, v in self.recipe_differences.items()},
        }
