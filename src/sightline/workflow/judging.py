"""How good a trained model is, on its own splits or on images it has never seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from sightline import runs
from sightline.data import splits
from sightline.data.sources import SourceOptions
from sightline.data.sources.walk import absolute
from sightline.errors import DataError
from sightline.judging import evaluation
from sightline.progress import Progress, Shown, Step
from sightline.records import (
    SPLITS,
    Decision,
    Evaluation,
    Manifest,
    Predictions,
    Split,
    Weights,
)
from sightline.runs import Run
from sightline.workflow import deciding, gate, predicting, reviewing
from sightline.workflow.data import manifest_of
from sightline.workflow.deciding import Wish


def evaluate(
    run: Run | str | Path,
    *,
    split: Split = "test",
    data: str | Path | Manifest | None = None,
    weights: Weights = "best",
    allow_leak: bool = False,
    leak_effect: bool = False,
    threshold: str | None = None,
    costs: str | Path | None = None,
    coverage: float = 0.9,
    slice_by: str | Sequence[str] = (),
    metadata: str | Path | None = None,
    neighbours: bool = False,
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> Evaluation:
    """Return how good the model is on a split of its own manifest, or on an external set.

    The predictions go to `predictions/` of the run, beside a table of the images worth a look, and
    the figures into `evaluation.json`, in place of earlier ones of the same source and weights.
    Each look at a test split is counted. Every figure has a 95 % interval.

    Whatever is chosen is chosen on the validation split: a threshold, the temperature that
    calibrates probabilities, the sets of classes. They are kept with the model, and used by
    `predict` from then on.

    Args:
        run: A run or its folder.
        split: Which of the run's own splits, when no external set is given.
        data: An external set: what `scan` takes, or a manifest; all of its images are judged,
            whatever their splits, and one class is enough.
        weights: "best", "last" or "average".
        allow_leak: Judge although images of the split have a copy, or an image of their group,
            among those that were learned from; the figures say so.
        leak_effect: Allow it as well, and also give the metrics with and without those images.
        threshold: How a class is chosen from now on: "f1", "youden", "sensitivity=0.95",
            "specificity=0.9", a probability as "0.3", "costs", or "argmax" to take the most
            probable class again. With more than two classes it is about one of them:
            "f1:melanoma". None: as it was chosen before.
        costs: A table of what each mistake costs: a .csv file with the classes in its header and
            first column (row: true class), or .toml; the class of least expected cost is chosen.
        coverage: How often a set of classes is to hold the true one, over 0 and under 1.
        slice_by: Columns of `metadata` (age, sex, site ...) or of the images themselves (width,
            height, mode, bytes) whose values are judged apart.
        metadata: A .csv, .tsv or .parquet table with a row an image, which names it by path or file
            name; by default the external set's own `labels`.
        neighbours: Also find the training images that are most like each mistake, by what the
            network's last layer sees; predicts the training split as well.
        progress: Where the bar goes; by default to the terminal or notebook.
        **source: As `scan`, for an external set.

    Raises:
        DataError: The split is empty or leaks, the images are gone, a label is not one of the
            model's classes, a column or the costs cannot be used, there is no validation image to
            choose on, no threshold does what is asked, or there is nothing leaked to measure the
            effect of.
        RecipeError: The threshold's rule is none, is about a class that there is not, or needs
            costs.
        RunError: The run has no model, is damaged, in use, or cannot be written to.
        ValueError: There is no split, or no weights, of that name, or `coverage` is out of range.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be over 0 and under 1, got {coverage}")
    opened, shown = runs.open_run(run), _Once(progress or Shown())
    case = _Case.of(opened, split, data, source, allow_leak=allow_leak or leak_effect)
    if leak_effect:
        _refuse_nothing_leaked(case.leaked, opened, case.name)
    wish = Wish(threshold, None if costs is None else Path(costs))
    deciding.refuse_impossible(opened, wish)
    columns = reviewing.columns_of(case.manifest, slice_by, metadata, source.get("labels"))
    with runs.locked(opened.path):
        kept = opened.kept(weights)
        predictions = case.predicted(weights, shown, embedded=neighbours)
        chooser: Predictions | None = predictions
        if case.split != "validation":
            chooser = deciding.validation_of(opened, kept, shown)
        decision = deciding.decide(opened, kept, chooser, wish, shown)
        predictions = dataclasses.replace(predictions, decision=decision)
        result = case.figures(predictions, leak_effect=leak_effect)
        helped = chooser if case.decided_nothing else None
        result = dataclasses.replace(
            result,
            looks=_looks(opened, case.manifest, predictions),
            **deciding.told_by(helped, predictions, result, coverage),
            slices=reviewing.slices_of(predictions, columns, shown),
        )
        _keep(opened, predictions, result, shown)
        beside: dict[Split, Predictions | None] = {"validation": chooser}
        if predictions.embeddings is not None and case.split != "train":
            beside["train"] = reviewing.embed_training(opened, kept, shown)
        reviewing.write_review(opened, predictions, result)
        for own, found in beside.items():
            if found is not None and own != case.split:
                _keep_in_step(opened, own, found, decision, shown)
    return result


def of_decision(run: Run, judged: Evaluation, predictions: Predictions) -> Evaluation:
    """Return the figures of an evaluation by another decision, from the predictions it was of.

    Parts and the effect of leaks are left out: they rest on the earlier decision.

    Args:
        run: Whose.
        judged: One of its evaluations.
        predictions: What it was made from, with the other decision.
    """
    figures = evaluation.evaluate(
        predictions, source=judged.source, class_shares=_class_shares(run)
    )
    same = ("root", "seen_in_training", "leaked", "looks", "calibration", "sets", "points")
    return dataclasses.replace(figures, **{name: getattr(judged, name) for name in same})


class _Once:
    """A `Progress` that says each line once, however many splits are predicted."""

    def __init__(self, shown: Progress) -> None:
        self._shown, self._said = shown, set[str]()

    def step(self, title: str, total: int | None) -> AbstractContextManager[Step]:
        return self._shown.step(title, total)

    def say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._shown.say(line)


@dataclass(frozen=True, slots=True)
class _Case:
    """What is judged.

    Attributes:
        run: Whose model.
        manifest: The images.
        split: Which of the run's own splits; None of an external set.
        name: What it is called.
        seen: Record ids of those that were learned from.
        leaked: Record ids of those that have a copy or a group mate among what was learned from.
    """

    run: Run
    manifest: Manifest
    split: Split | None
    name: str
    seen: frozenset[str]
    leaked: frozenset[str]

    @classmethod
    def of(
        cls,
        run: Run,
        split: Split,
        data: str | Path | Manifest | None,
        source: SourceOptions,
        *,
        allow_leak: bool,
    ) -> _Case:
        """Return the case, or refuse it.

        Raises:
            DataError: The split is empty or leaks, or a label is not one of the model's classes.
            ValueError: There is no split of that name.
        """
        external, own = data is not None or any(source.values()), run.manifest
        manifest = manifest_of(data, source, learnable=False) if external else own
        seen = gate.same_images(gate.learned(own), own, manifest)
        leaked = gate.group_mates(own, manifest) | seen
        if not external:
            _refuse_empty_split(manifest, split, run)
            leaked = gate.leaked_ids(run, manifest, split, allowed=allow_leak)
        _refuse_foreign_labels(manifest, run)
        name = _external_name(manifest, data, source) if external else split
        return cls(run, manifest, None if external else split, name, seen, leaked)

    @property
    def decided_nothing(self) -> bool:
        """Whether these images neither were learned from as a split nor chose the weights."""
        return self.split not in ("train", "validation")

    def predicted(self, weights: Weights, progress: Progress, *, embedded: bool) -> Predictions:
        """Return what the model says of the images.

        Raises:
            DataError: None of them can be read.
        """
        cache = None if self.split is None else predicting.cache_of(self.run)
        parts = predicting.predictions_of(
            self.run, self.manifest, self.split, weights, progress, embedded=embedded, cache=cache
        )
        predictions = Predictions.together(list(parts))
        _refuse_nothing_read(predictions, self.manifest)
        return predictions

    def figures(self, predictions: Predictions, *, leak_effect: bool = False) -> Evaluation:
        """Return how good the predictions are, and how many of them were learned from."""
        shares = _class_shares(self.run)
        found = evaluation.evaluate(predictions, source=self.name, class_shares=shares)
        return dataclasses.replace(found, **self._of_leaks(predictions, measured=leak_effect))

    def _of_leaks(self, predictions: Predictions, *, measured: bool) -> dict[str, Any]:
        """Return which folder was judged, how many were seen and leaked, and what that does."""
        scored = predictions.scored()
        ids = scored.table["record_id"]
        told: dict[str, Any] = {
            "root": str(self.manifest.root), "seen_in_training": len(self.seen.intersection(ids))
        }  # fmt: skip
        known = ids.is_in(self.leaked).to_numpy()
        if not measured:
            return told | {"leaked": int(known.sum())}
        units = self.manifest.table.select("record_id", unit=splits.Units.of(self.manifest).of_row)
        joined = scored.table.join(units, on="record_id", how="left", maintain_order="left")
        effect = evaluation.leak_effect(scored, known, joined["unit"].to_numpy())
        return told | {"leaked": effect.leaked, "leak_effect": effect}


def _class_shares(run: Run) -> npt.NDArray[np.float64] | None:
    """Return (K,) how the images that were learned from divide; None where that is not known."""
    labels = run.manifest.of_split("train")["label"].to_list()
    names = run.model["class_names"]
    counts = np.asarray([labels.count(name) for name in names], np.float64)
    return counts / counts.sum() if counts.sum() else None


def _looks(run: Run, judged: Manifest, predictions: Predictions) -> int:
    """Count a look at the run's test split, and return which one it is, as far as is known.

    It is one wherever images of the split were judged, by whatever name; else 0. The test split of
    a fold of a cross-validation is none that was kept apart to be looked at once.
    """
    if runs.FOLD in run.info:
        return 0
    manifest = run.manifest
    tested = gate.same_images(manifest.of_split("test"), manifest, judged)
    if tested.isdisjoint(predictions.table["record_id"]):
        return 0
    before = max((judged.looks for judged in run.evaluations), default=0)
    of_members = int(run.info.get("ensemble", {}).get("looks", 0))
    return max(runs.note_look(manifest, run.path) or 0, before + 1, of_members + 1)


def _external_name(
    manifest: Manifest, data: str | Path | Manifest | None, source: SourceOptions
) -> str:
    """Return an absolute path: never the name of a split, and one name from every folder."""
    given = source.get("labels") or data
    return absolute(given) if isinstance(given, (str, Path)) else str(manifest.root)


def _refuse_empty_split(manifest: Manifest, split: Split, run: Run) -> None:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if run.state == runs.IMPORTED:
        raise DataError(
            f"the model of {run.path} was trained elsewhere, so there is no {split} split. Judge "
            "it on an external set (--data) that it was not trained on."
        )
    if not len(manifest.of_split(split)):
        own = "" if not len(manifest.of_split("validation")) else (
            "its validation split (--split validation), or on "
        )  # fmt: skip
        raise DataError(
            f"{run.path} has no {split} images. Judge it on {own}an external set (--data)."
        )


def _refuse_nothing_leaked(leaked: frozenset[str], run: Run, name: str) -> None:
    if leaked:
        return
    if name == "train":
        raise DataError(
            f"the train split of {run.path} is what it learned from, so there is nothing without a "
            "leak to compare with. Measure the effect on validation or test (--split)."
        )
    raise DataError(
        f"no image judged here has a copy or a group mate among those that {run.path} learned "
        "from, so there is no effect to measure. Leave --leak-effect out."
    )


def _refuse_nothing_read(predictions: Predictions, manifest: Manifest) -> None:
    if not predictions.table["reason"].null_count():
        first = predictions.table.row(0, named=True)
        raise DataError(
            f"not one of {len(predictions)} images of {manifest.root} could be read, first "
            f"{first['record_id']}: {first['reason']}. If they were moved, put them back, or "
            "judge the run on a set that you have (--data)."
        )


def _refuse_foreign_labels(manifest: Manifest, run: Run) -> None:
    known = run.model["class_names"]
    foreign = sorted(set(manifest.class_names) - set(known))
    if foreign:
        raise DataError(
            f"{manifest.root} has labels {foreign} that the model of {run.path} does not know; "
            f"its classes are {known}. Rename the folders or labels, or leave these images out."
        )


def _keep_in_step(
    run: Run, split: Split, predictions: Predictions, decision: Decision, progress: Progress
) -> None:
    """Judge a split anew where its figures are not of the predictions and decision of now.

    The predictions were made anew where they were of other weights or of fewer images, or damaged.
    """
    now = (predictions.content_hash(), decision)
    for old in run.evaluations:
        if (old.source, old.weights) != (split, predictions.weights):
            continue
        if (old.predictions_hash, old.decision) != now:
            case = _Case.of(run, split, None, {}, allow_leak=True)
            decided = dataclasses.replace(predictions, decision=decision)
            result = case.figures(decided, leak_effect=old.leak_effect is not None)
            same = old.predictions_hash == result.predictions_hash
            what = "how a class is chosen" if same else "the predictions that are kept of it"
            progress.say(f"The {split} split was judged anew, by {what} now.")
            _keep(run, decided, result, progress)
            reviewing.write_review(run, decided, result)


def _keep(run: Run, predictions: Predictions, result: Evaluation, progress: Progress) -> None:
    """Write predictions and figures, in place of those of the same source and weights.

    What those had and these have not is said.
    """
    path = run.predictions_path(result.source, result.weights)
    runs.write_atomically(path, predictions.save)
    entries = []
    for old in run.evaluations:
        if (old.source, old.weights) != (result.source, result.weights):
            entries.append(old.to_dict())
        elif lost := _options(old) - _options(result):
            progress.say(
                f"The figures of {result.source} that were kept are replaced, without what "
                f"{' and '.join(sorted(lost))} had added to them."
            )
    entries.append(result.to_dict())
    runs.write_sealed(run.path / "evaluation.json", {"evaluations": entries})


def _options(judged: Evaluation) -> set[str]:
    """Return the options that added to the figures of an evaluation."""
    parts = {f"--slice-by {each.column}" for each in judged.slices}
    return parts | ({"--leak-effect"} if judged.leak_effect is not None else set())
