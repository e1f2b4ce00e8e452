"""A search by the sampler: its declared space, and where its study is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import runs
from sightline.errors import RecipeError
from sightline.recipes import Recipe
from sightline.records.trials import Trial
from sightline.search import (
    Climbed,
    Sampler,
    StudyOf,
    default_space,
    load_space,
    refuse_unusable,
)
from sightline.workflow.trials import Trials

if TYPE_CHECKING:
    from sightline.learning.planning import Plan

STRATEGIES = ("ladder", "optuna")
_SPACE = "space.toml"


@dataclass(frozen=True, slots=True)
class Sampling:
    """What the sampler alone is told.

    Attributes:
        space: A TOML file that declares what may be drawn; None for the usual space.
        storage: URL of the database that the study is kept in; "" for a file in the folder.
        study: Its name there; "" for that of the folder.
    """

    space: Path | None = None
    storage: str = ""
    study: str = ""

    def check(self, strategy: str, recipe: Recipe, *, limited: bool) -> None:
        """Refuse what would come to nothing, before anything is trained.

        Args:
            strategy: How the search goes on.
            recipe: That it begins with.
            limited: In minutes or trainings.

        Raises:
            RecipeError: There is no such strategy; it is not the one that samples, and something
                was given that only that one takes; the space is not one of this recipe; or nothing
                would end it.
            RunError: The storage cannot be used.
            SetupError: Optuna is not installed.
        """
        if strategy not in STRATEGIES:
            raise RecipeError(
                f"there is no strategy {strategy!r}. There are {' and '.join(STRATEGIES)}."
            )
        given = [name for name in self.__slots__ if getattr(self, name)]
        if strategy != "optuna":
            if given:
                raise RecipeError(
                    f"{' and '.join(given)} is for the sampler: add --strategy optuna, or leave it "
                    "out"
                )
            return
        if not limited:
            raise RecipeError(
                "nothing would end a search with strategy optuna, which always has something to "
                "draw: give --minutes or --trials"
            )
        if self.space is not None:
            load_space(self.space, recipe)
        refuse_unusable(self.storage)

    def begin(self, folder: Path, recipe: Recipe) -> None:
        """Write the space into the folder of a search, where it stays as it was."""
        if not (folder / _SPACE).exists():
            declared = self.space.read_text("utf-8") if self.space else None
            text = declared if declared is not None else default_space(recipe).to_toml()
            runs.write_content(folder / _SPACE, text)

    def told(self) -> dict[str, str]:
        """Return what a search that goes on must know, beside the space in its folder."""
        return {"storage": self.storage, "study": self.study}

    @classmethod
    def again(cls, about: Mapping[str, Any]) -> Sampling:
        """Return what `told` told."""
        return cls(storage=about.get("storage", ""), study=about.get("study", ""))

    def search(self, plan: Plan, objective: str, trials: Trials, first: Trial) -> Climbed:
        """Return the best recipe that was drawn.

        Args:
            plan: Of the recipe that it begins with.
            objective: What it is about.
            trials: Has the trainings done.
            first: The one of the recipe itself.

        Raises:
            RunError: The storage cannot be used, or has another study of this name.
        """
        folder = trials.folder
        of = StudyOf(
            recipe=plan.recipe, space=load_space(folder / _SPACE, plan.recipe),
            objective=objective, images=plan.manifest.fingerprint(), folder=folder,
            storage=self.storage, name=self.study,
        )  # fmt: skip
        found = Sampler(of, trials, first, keep=trials.keep, sampled=trials.release).search()
        return Climbed(found.changes, (), (), found.optimism, found.ended)
