"""Several runs as one, kept only where that helps beyond noise."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, get_args

import numpy as np
import numpy.typing as npt

from sightline import runs
from sightline.data.sources import SourceOptions
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError, RecipeError
from sightline.judging import evaluation
from sightline.judging.evaluation.resampling import units_of
from sightline.learning.models import backend
from sightline.progress import Progress, Shown
from sightline.recipes import OWN, Recipe, change_recipe, dump_recipe
from sightline.records import Manifest, Predictions
from sightline.records.ensembles import Ensemble, Member, helps, in_words
from sightline.runs import Journal, KeptWeights, Run
from sightline.search import ensembles
from sightline.workflow import predicting, soups
from sightline.workflow.data import manifest_of
from sightline.workflow.members import images_of, members_of, unknown_of

if TYPE_CHECKING:
    import keras

    from sightline.learning.models.composing import Part

Method = Literal["best", "mean", "weighted", "greedy", "soup"]
_METHODS: tuple[str, ...] = get_args(Method)
_UNFITTED = ("mean", "soup")
_LEAST = 20  # images, to fit and judge on


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
    is never looked at. Where no image can judge, as of folds, "mean" and "soup" are kept unjudged,
    and that is said. Deterministic.

    Args:
        members: Two or more finished or imported runs of the same classes, or folders of
            cross-validation, each of which stands for its folds' runs.
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
        DataError: There are fewer than two runs, their classes differ, or no image can judge.
        RecipeError: There is no such method, no member was augmented by flips, or the networks of
            a soup differ.
        RunError: A run has no model, did not finish or is damaged; or `out` holds something.
        SetupError: No Keras backend is installed.
    """
    if method not in _METHODS:
        raise RecipeError(f"method must be one of {', '.join(_METHODS)}, got {method!r}")
    given = [members] if isinstance(members, (str, Path, Run)) else members
    opened, shown = members_of(given), progress or Shown()
    folder = Path(out) if out is not None else runs.new_run_path("ensemble")
    runs.check_new(folder)
    external = data is not None or any(source.values())
    images = images_of(opened, manifest_of(data, source, learnable=False) if external else None)
    judges = len(images.of_split("validation"))
    _refuse_no_judges(judges, method, external=external)
    work = _Work.of(opened, images, method, shown, flips=flips)
    if judges:
        work.judge(shown)
    if work.difference is not None and not helps(work.difference):
        return work.outcome("")
    found = work.outcome(str(folder))
    with runs.writing(folder):
        _write(folder, work, found)
    return found


def _refuse_no_judges(judges: int, method: str, *, external: bool) -> None:
    if judges >= _LEAST or (not judges and method in _UNFITTED and not external):
        return
    where = "of --data are left" if external else "were validated by every run and learned by none"
    raise DataError(
        f"{judges} images {where}, and an ensemble is fitted and judged on {_LEAST} or more. Give "
        "labelled images that no run has (--data)"
        + ("." if external or judges else ", or put them together unjudged: --method mean.")
    )


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
        method: How; "best" until it is judged.
        weights: (M,) shares.
    """

    opened: list[Run]
    kept: list[KeptWeights]
    parts: list[Part]
    inside: list[keras.Model]
    images: Manifest
    recipe: Recipe
    method: str
    weights: npt.NDArray[np.float64]
    alone: list[float]
    best: str = ""
    difference: Any = None
    count: int = 0
    groups: int = 0

    @classmethod
    def of(
        cls, opened: list[Run], images: Manifest, method: str, progress: Progress, *, flips: bool
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
            composing.average_weights([soup, *parts[1:]])
            soups.mend_statistics(whole, opened[0].recipe, images, progress)
            inside, recipe = [whole], opened[0].recipe
        else:
            inside = [
                composing.member(part, number, recipes, count) for number, part in enumerate(parts)
            ]
            recipe = composing.common_input(recipes)
        equal = np.full(len(opened), 1 / len(opened))
        return cls(opened, kept, parts, inside, images, recipe, method, equal, [])

    def judge(self, progress: Progress) -> None:
        """Fit it on the validation images, and tell how much better it is than the best member."""
        first = self.kept[0]
        singles = [
            _said(part.model, run.recipe, self.images, kept, run, progress)
            for part, run, kept in zip(self.parts, self.opened, self.kept, strict=True)
        ]
        composed = [
            _said(model, self.recipe, self.images, first, self.opened[0], progress)
            for model in self.inside
        ]
        readable = np.logical_and.reduce(
            [each.table["reason"].is_null().to_numpy() for each in (*singles, *composed)]
        )
        if readable.sum() < _LEAST:
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

    def outcome(self, folder: str) -> Ensemble:
        """Return what came of it."""
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
        return dataclasses.replace(bare, told=(*in_words(bare), *unknown_of(self.opened)))

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
        changes |= {"model": {"network": OWN}}
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


def _write(folder: Path, work: _Work, found: Ensemble) -> None:
    """Make the run folder beside its place, and put it there in one step."""
    from sightline.learning.models import forward
    from sightline.learning.models import kept as networks

    model, recipe = work.finished()
    names = list(work.opened[0].model["class_names"])
    network = work.opened[0].network
    if found.method != "soup":
        network = networks.content(model, recipe, len(names))
        model = networks.rebuild(recipe, len(names), network)
    arrays = forward.get_weights(model)
    counts = work.images.counts()
    facts = dataclasses.replace(
        work.opened[0].facts,
        count=int(counts["total"].sum()) if len(counts) else 0,
        class_counts={name: 0 for name in names}
        | dict(counts.select("label", "total").iter_rows()),
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        path = runs.create_run(Path(beside) / "run")
        texts = {"recipe.toml": dump_recipe(recipe), "plan.txt": "\n".join(found.told) + "\n"}
        kept = {} if network is None else {runs.NETWORK: network}
        for file, content in (texts | kept).items():
            runs.write_content(path / file, content)
        runs.save_manifest(work.images, path / "manifest.parquet")
        runs.write_best(path, arrays, epoch=0)
        card = runs.model_card(recipe, names, runs.fingerprint(path, arrays))
        runs.write_sealed(path / "model.json", card | {"best_epoch": 0, "last_epoch": 0})
        summary = dataclasses.asdict(forward.summarise(model))
        about = runs.run_card(recipe, backend.describe(backend.choose()), facts, summary)
        about["manifest_fingerprint"] = work.images.fingerprint()
        about["ensemble"] = found.to_dict()
        Journal(path, about).end(runs.COMPOSED, found.told[0])
        path.rename(folder)  # in one step: no half run is ever there
