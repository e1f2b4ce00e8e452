"""Several runs as one, kept only where that helps beyond noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline import runs
from sightline.data.sources import SourceOptions
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError, RecipeError
from sightline.judging import evaluation
from sightline.judging.evaluation.resampling import ENOUGH_GROUPS, ENOUGH_RECORDS, units_of
from sightline.progress import Progress, Shown
from sightline.recipes import Recipe, change_recipe
from sightline.records import Interval, Manifest, Predictions
from sightline.records.ensembles import Ensemble, Member, helps, in_words
from sightline.runs import KeptWeights, Run
from sightline.search import ensembles
from sightline.workflow import predicting, soups
from sightline.workflow.composites import Composite, network_of
from sightline.workflow.data import manifest_of
from sightline.workflow.members import Images, images_of, members_of, unknown_of

if TYPE_CHECKING:
    import keras

    from sightline.learning.models.composing import Part

Method = Literal["best", "mean", "weighted", "greedy", "soup"]
_METHODS: tuple[str, ...] = get_args(Method)


def ensemble(
    members: Sequence[Run | str | Path],
    *,
    method: Method = "best",
    flips: bool = False,
    data: str | Path | Manifest | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> Ensemble:
    """Return several runs put together, kept as a run of its own where that helps beyond noise.

    It is fitted and judged on the images that every member validated and none learned from, or on
    `data`; each image by what was fitted on others, the choice of the best member included. It is
    kept where the 95 % interval of the paired difference in log loss leaves out 0. The test split
    is never looked at. Where too few images can judge, as of folds, "mean" without flips is kept
    unjudged, and that is said: its log loss is never above that of the members' average.
    Deterministic.

    Args:
        members: Two or more finished or imported runs of the same classes, or folders of
            cross-validation, each of which stands for its folds' runs. With flips, one is enough.
        method: Of the probabilities "mean", "weighted" (least log loss), "greedy" (forward
            selection) or the "best" of these; "soup" is the mean of the weights of equal networks.
        flips: Also average over mirrored images, along the axes that each member's own
            augmentation has.
        data: A labelled set of other images: what `scan` takes, or a manifest. What a member
            learned from, or keeps for its test, is left out.
        out: A folder that does not exist yet; by default runs/ensemble-DATE-TIME.
        progress: Where the bar goes; by default to the terminal or notebook.
        **source: As `scan`, for `data`.

    Raises:
        DataError: There are too few runs, their classes differ, or too few images can judge.
        RecipeError: There is no such method, no member was augmented by flips, the networks of a
            soup differ, or those of several members have layers of the user's own modules.
        RunError: A run has no model, did not finish or is damaged, folds are missing, or `out`
            holds something.
        SetupError: No Keras backend is installed.
    """
    if method not in _METHODS:
        raise RecipeError(f"method must be one of {', '.join(_METHODS)}, got {method!r}")
    given = [members] if isinstance(members, (str, Path, Run)) else members
    opened, shown = members_of(given, least=1 if flips else 2), progress or Shown()
    folder = Path(out) if out is not None else runs.new_run_path("ensemble")
    runs.check_new(folder)
    external = data is not None or any(source.values())
    images = images_of(opened, manifest_of(data, source, learnable=False) if external else None)
    short = _shortage(images.judges, external=external)
    if short and (external or flips or method != "mean"):
        raise DataError(
            f"{short} to judge. Give {'more ' * external}labelled images that no run has (--data)"
            + (
                "."
                if external
                else "; or put them together unjudged: --method mean, without --tta."
            )
        )
    work = _Work.of(opened, images, method, shown, flips=flips)
    if not short:
        work.judge(shown, external=external)
        if not helps(work.known_difference()):
            return work.outcome("")
    found = work.outcome(str(folder), unjudged=short)
    model, recipe = work.finished()
    with runs.writing(folder):
        Composite(model, recipe, opened, images.whole, found).write(folder)
    return found


def _shortage(judges: Manifest, *, external: bool) -> str:
    """Return why some images are too few to judge; "" where they suffice."""
    groups = judges.table["group"]
    count, units = len(judges), groups.drop_nulls().n_unique() + groups.null_count()
    where = "of --data are left" if external else "were validated by every run and learned by none"
    if count < ENOUGH_RECORDS:
        return f"{count} images {where}, and {ENOUGH_RECORDS} are needed"
    if units < ENOUGH_GROUPS:
        return f"{count:,} images of {units} groups {where}, and {ENOUGH_GROUPS} groups are needed"
    return ""


@dataclass(slots=True)
class _Work:
    """Members on their way into an ensemble.

    Attributes:
        opened: Their runs.
        kept: Their weights.
        parts: Their networks.
        inside: What answers within the ensemble: a network each, or the one of a soup.
        images: Of all of them.
        recipe: Of the ensemble, yet without its section.
        network: What that recipe calls the network.
        method: How; "best" until it is judged.
        weights: (M,) shares.
        alone: (M,) log losses of the members by themselves; [] until they are judged.
        best: The folder of the best of them.
        difference: In log loss, to the best member.
        count: How many images judged.
        groups: How many groups were resampled.
        told: What is to be known of the images that judged.
    """

    opened: list[Run]
    kept: list[KeptWeights]
    parts: list[Part]
    inside: list[keras.Model]
    images: Images
    recipe: Recipe
    network: str
    method: str
    weights: npt.NDArray[np.float64]
    alone: list[float] = field(default_factory=list)
    best: str = ""
    difference: Interval | None = None
    count: int = 0
    groups: int = 0
    told: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, opened: list[Run], images: Images, method: str, progress: Progress, *, flips: bool
    ) -> _Work:
        kept = [run.kept("best") for run in opened]
        for line in (line for each in kept for line in each.told):
            progress.say(line)
        models = [
            predicting.rebuild(run, each, progress) for run, each in zip(opened, kept, strict=True)
        ]
        from sightline.learning.models import composing

        chosen = [_flips_of(run.recipe) if flips else () for run in opened]
        if flips and not any(chosen):
            raise RecipeError(
                "no run was trained with augment.horizontal_flip or augment.vertical_flip, so "
                "mirrored images are nothing that they know: leave --tta out"
            )
        parts = [
            composing.Part(model, run.recipe, some)
            for model, run, some in zip(models, opened, chosen, strict=True)
        ]
        recipes, count = [run.recipe for run in opened], len(opened[0].model["class_names"])
        if method == "soup":
            soups.refuse_unlike(opened, parts, flips=flips)
            whole = predicting.rebuild(opened[0], kept[0], progress)
            soup = composing.Part(whole, opened[0].recipe)
            differing = composing.unlike_statistics(parts)
            composing.average_weights([soup, *parts[1:]])
            soups.mend_statistics(soup, differing, images.whole, progress)
            inside, recipe, network = [whole], opened[0].recipe, opened[0].recipe.model.network
        else:
            network = network_of(opened)
            inside = [
                composing.member(part, number, recipes, count) for number, part in enumerate(parts)
            ]
            recipe = composing.common_input(recipes)
        equal = np.full(len(opened), 1 / len(opened))
        way = "mean" if len(opened) == 1 and method == "best" else method
        return cls(opened, kept, parts, inside, images, recipe, network, way, equal)

    def judge(self, progress: Progress, *, external: bool) -> None:
        """Fit it on the images that judge, and tell how much better it is than the best member.

        Raises:
            DataError: Too few of them can be read.
        """
        first, judges = self.kept[0], self.images.judges
        singles = [
            _said(part.model, run.recipe, judges, kept, run, progress)
            for part, run, kept in zip(self.parts, self.opened, self.kept, strict=True)
        ]
        composed = singles
        if not self._says_the_same_inside():
            composed = [
                _said(model, self.recipe, judges, first, self.opened[0], progress)
                for model in self.inside
            ]
        readable = np.logical_and.reduce(
            [each.table["reason"].is_null().to_numpy() for each in (*singles, *composed)]
        )
        left = dataclasses.replace(judges, table=judges.table.filter(pl.Series(readable)))
        if _shortage(left, external=external):
            raise DataError(
                f"{readable.sum()} of {len(readable):,} images that were to judge can be read; "
                "if they were moved, put them back, or give others (--data)"
            )
        base = singles[0].chosen(readable)
        labels, units = base.label_indices(), units_of(base)
        alone = np.stack([each.chosen(readable).probabilities for each in singles], dtype=float)
        inside = np.stack([each.chosen(readable).probabilities for each in composed], dtype=float)
        way = "mean" if self.method == "soup" else self.method
        crossed = ensembles.cross_fit(inside, alone, labels, units, way)
        one, two = (
            dataclasses.replace(base, probabilities=each.astype(np.float32))
            for each in (crossed.single, crossed.ensemble)
        )
        found = evaluation.compare(one, two)
        if self.method != "soup":
            self.method, self.weights = crossed.method, crossed.weights
        self.alone = [ensembles.log_loss(each, labels) for each in alone]
        self.best = str(self.opened[crossed.best].path)
        self.difference = found.differences["log_loss"]
        self.count, self.groups = found.count, found.groups
        self.told = self.images.told
        if not external:
            self.told += (
                "The best epochs of the runs were chosen on these images: the log losses there are "
                "optimistic, those of the members as that of the ensemble.",
            )

    def known_difference(self) -> Interval:
        """Return the difference of what was judged."""
        assert self.difference is not None, "judged"
        return self.difference

    def _says_the_same_inside(self) -> bool:
        """Say whether the networks inside say what the members say by themselves."""
        from sightline.learning.models import composing

        alike = composing.all_alike([run.recipe for run in self.opened])
        return self.method != "soup" and alike and not any(part.flips for part in self.parts)

    def outcome(self, folder: str, *, unjudged: str = "") -> Ensemble:
        """Return what came of it.

        Args:
            folder: Of the run; "" where none is kept.
            unjudged: Why it was not judged, if it was not.
        """
        losses: list[float | None] = [*self.alone] or [None] * len(self.opened)
        members = tuple(
            Member(str(run.path), kept.fingerprint, float(weight), loss)
            for run, kept, weight, loss in zip(
                self.opened, self.kept, self.weights, losses, strict=True
            )
        )
        flips = tuple(dict.fromkeys(axis for part in self.parts for axis in part.flips))
        bare = Ensemble(
            folder, self.method, flips, members, self.best, self.difference, self.count,
            self.groups, (),
        )  # fmt: skip
        told = (*in_words(bare, unjudged), *self.told, *unknown_of(self.opened))
        return dataclasses.replace(bare, told=told)

    def finished(self) -> tuple[keras.Model, Recipe]:
        """Return the whole network, and the recipe that names its members."""
        from sightline.learning.models import composing

        found = self.outcome("")
        section = {
            "method": self.method,
            "flips": list(found.flips),
            "members": [
                {"run": Path(each.run).name, "fingerprint": each.fingerprint, "weight": each.weight}
                for each in found.members
                if each.weight > 0
            ],
        }
        changes: dict[str, Any] = {"name": "ensemble", "ensemble": section, "train.log_to": []}
        if self.method == "soup":
            return self.inside[0], change_recipe(self.recipe, changes)
        changes |= {"model": {"network": self.network}}
        return composing.composed(self.inside, self.weights), change_recipe(self.recipe, changes)


def _flips_of(recipe: Recipe) -> tuple[str, ...]:
    augment = recipe.augment
    axes = {"horizontal": augment.horizontal_flip, "vertical": augment.vertical_flip}
    return tuple(name for name, allowed in axes.items() if allowed)


def _said(
    model: keras.Model,
    recipe: Recipe,
    images: Manifest,
    kept: KeptWeights,
    run: Run,
    progress: Progress,
) -> Predictions:
    """Return what a network says of the images that judge."""
    from sightline.learning import prediction

    config = StreamConfig.of(recipe, training=False).forgiving(len(images))
    names = tuple(run.model["class_names"])
    with (
        Stream(images, split="validation", config=config) as stream,
        progress.step(f"predicting with {run.name}", stream.num_records) as step,
    ):
        parts = prediction.predict(
            model, images, stream, class_names=names, kept=kept, on_batch=step.advance
        )
        return Predictions.together(list(parts))
