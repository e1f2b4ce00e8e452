"""The page and the pictures of a run, from what its folder holds."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sightline import runs
from sightline.data import pictures
from sightline.data.stream import StreamConfig, augment
from sightline.errors import DataError
from sightline.judging import reports
from sightline.judging.diagnosis import diagnose, facts_of_history, read_csv
from sightline.progress import Progress, Shown
from sightline.records import (
    METHOD_NAMES,
    SPLITS,
    Diagnosis,
    Evaluation,
    Finding,
    History,
    Manifest,
    Picture,
    Weights,
)
from sightline.runs import Run
from sightline.workflow import describing, diagnosing, explaining, picturing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRAINING_PICTURES = 24
_PICTURED = 2  # evaluations whose images are shown; those of all would make the page too large
_FORMER = "Figures of weights that the run had before are left out here; its report has them."
_NOT_PICTURED = f"only those of {_PICTURED} evaluations are shown, to keep this page small"
_WEIGHTS: tuple[Weights, ...] = ("best", "average", "last")  # which stand first, of equal honesty


def report(run: Run | str | Path, *, progress: Progress | None = None) -> Path:
    """Write `report.html`, `model_card.md` and `history.png` into the run folder; return the page.

    One self-contained page: nothing is loaded from anywhere. Pictures are left out where the
    images are no longer at their place; where the network looked, where no Keras backend is
    installed.

    Args:
        run: A run or its folder.
        progress: Where it is told what is left out; by default to the terminal or notebook.

    Raises:
        RunError: There is no run, it is damaged, in use, or cannot be written to.
    """
    opened = runs.open_run(run)
    path = write_page(opened, progress or Shown())
    with runs.locked(opened.path):
        if len(opened.history):
            plot_history(opened, out=opened.path / "history.png")
    return path


def write_page(run: Run, progress: Progress) -> Path:
    """Write what `report` does, without the picture of the curves, a third of its time."""
    contents = _contents(run, progress)
    path = run.path / "report.html"
    with runs.locked(run.path):
        runs.write_content(path, reports.render(contents))
        runs.write_content(run.path / "model_card.md", reports.render_card(_card(run, contents)))
    return path


def plot_history(
    run: Any, *, out: str | Path | None = None, diagnosis: Diagnosis | None = None
) -> Figure:
    """Return the matplotlib figure of loss and metrics over the epochs, the best one marked.

    Args:
        run: What `diagnose` takes: a run or its folder; or of a training by another program
            Keras' `History`, its dictionary, or a file of CSVLogger. Of those, the epoch of the
            lowest val_loss is the best.
        out: Save it as this PNG as well.
        diagnosis: Of the same training: the place of each finding in `diagnosis.standing`,
            counted from 1, is written above the epoch where it begins.

    Raises:
        DataError: `out` does not end in .png, or there is no such file, or it is no history.
        RunError: There is no run, or its history is damaged.
    """
    figure = reports.history_figure(_history(run), marks=reports.marks_of(diagnosis))
    if out is not None:
        if Path(out).suffix.lower() != ".png":
            raise DataError(f"the figure {out} must end in .png")
        content = reports.png(figure)
        runs.write_content(Path(out), content)
    return figure


def _history(run: Any) -> History:
    """Return the epochs of a run, or of a training by another program."""
    is_path = isinstance(run, (str, os.PathLike))
    if isinstance(run, Run) or (is_path and Path(run).is_dir()):
        return runs.open_run(run).history
    facts = facts_of_history(read_csv(Path(run)) if is_path else run)
    table = pl.DataFrame({"epoch": range(facts.epochs), **facts.columns})
    best = None if facts.lacks("val_loss") else int(np.nanargmin(facts["val_loss"]))
    return History(table, monitor="" if best is None else "val_loss", best_epoch=best)


def _contents(run: Run, progress: Progress) -> reports.ReportContents:
    manifest = run.manifest
    every = [_with_all_looks(manifest, each) for each in run.evaluations]
    judged = sorted(((each, describing.stale(run, each)) for each in every), key=_doubt)
    evaluations, stale = [each for each, _ in judged], [each for _, each in judged]
    augmented, augmented_note = _training_pictures(run)
    overlays, pictured = picturing.Overlays(run, progress), _pictured(evaluations)
    return reports.ReportContents(
        name=run.name,
        headline=describing.headline(run, evaluations, stale),
        facts=describing.facts(run),
        plan=run.plan,
        manifest_counts=manifest.counts(),
        group_counts=_group_counts(manifest),
        ignored=manifest.ignored,
        data_facts=[*_folder(run), *describing.data_facts(run)],
        history=run.history,
        evaluations=evaluations,
        summary=run.summary,
        augmented=augmented,
        augmented_note=augmented_note,
        randomly_changed=augment.varies(run.recipe.augment),
        mistakes=[
            picturing.mistakes(run, each, overlays)
            if place in pictured
            else picturing.without_pictures(run, each, _NOT_PICTURED)
            for place, each in enumerate(evaluations)
        ],
        closer=[picturing.closer(run, each) for each in evaluations],
        stale=stale,
        findings=run.findings,
        reproduce=_commands(run),
        diagnosis=_diagnosis(run),
        looks=_looks(run),
        provenance=describing.provenance(run, evaluations),
        limits=describing.limits(run, [each for each, old in judged if not (old and old.former)]),
        no_curves=describing.no_curves(run),
    )


def _folder(run: Run) -> list[tuple[str, str]]:
    """Return where the images are; the card, which others read, does not say."""
    return [] if run.state == runs.IMPORTED else [("Folder", str(run.manifest.root))]


def _commands(run: Run) -> tuple[str, ...]:
    """Return what makes the run again; () of a model from elsewhere."""
    if run.state == runs.IMPORTED:
        return ()
    if run.state == runs.COMPOSED:
        return (f"sightline evaluate {shlex.quote(str(run.path))}",)
    return (
        f"sightline train {shlex.quote(f'{run.path}/manifest.parquet')} "
        f"--recipe {shlex.quote(f'{run.path}/recipe.toml')}",
        f"sightline evaluate {shlex.quote(str(run.path))}",
    )


def _card(run: Run, contents: reports.ReportContents) -> reports.CardContents:
    """Return what the model card says: the report's words for whoever has the weights alone."""
    data, name = run.recipe.data, str(run.path)
    judged = list(zip(contents.evaluations, contents.stale, strict=True))
    present = [(each, stale) for each, stale in judged if not (stale and stale.former)]
    classes = (
        list(run.model["class_names"]) if (run.path / "model.json").exists()
        else list(run.facts.class_counts)
    )  # fmt: skip
    size = " x ".join(str(side) for side in data.image_size)
    colour = "grey" if data.channels == 1 else "RGB"
    return reports.CardContents(
        name=run.name,
        headline=contents.headline,
        class_names=classes,
        inputs=[f"Input: one {colour} image, brought to {size} pixels (height x width)."],
        outputs=["Output: a probability for each class; they sum to 1."],
        data=describing.data_facts(run),
        procedure=contents.plan,
        facts=contents.facts,
        evaluations=[each for each, _ in present],
        stale=[stale for _, stale in present],
        left_out=_FORMER if len(present) < len(judged) else "",
        limits=contents.limits,
        provenance=contents.provenance,
        usage=[
            f"sightline predict {shlex.quote(name)} IMAGES --out predictions.csv",
            f'import sightline as sl\n\nsl.predict({name!r}, "images")',
        ],
    )


def _diagnosis(run: Run) -> Diagnosis | None:
    """Return what the curves say; None where there are none, or only those of elsewhere."""
    if run.state == runs.IMPORTED or not len(run.history):
        return None
    return diagnose(diagnosing.facts_of_run(run), source=str(run.path))


def _looks(run: Run) -> reports.Looks | None:
    """Return what `explain` said of a whole split with the best weights that the run has now."""
    told = explaining.kept(run)
    if told is None:
        return None
    attention, sanity = told["attention"], told["sanity"]
    whole = attention["parts"][0]
    share, even = whole["border"], attention["expected"]
    sentences = [
        f"{METHOD_NAMES[told['method']]} maps of {whole['count']:,} images of the "
        f"{attention['split']} split: the average of all, and of those explained as each class.",
    ]
    if share is not None:
        between = "" if whole["low"] is None else f" ({whole['low']:.0%} to {whole['high']:.0%})"
        sentences.append(
            f"{share:.0%}{between} of the attention falls on the outer ring of the picture; spread "
            f"evenly it would be {even:.0%}."
        )
    sentences.append(sanity["words"])
    found = [Finding.from_dict(plain) for plain in told["findings"]]
    return reports.Looks(
        told=sentences,
        picture=picturing.drawn(told["pictures"].get("average"), "Average maps"),
        findings=[each for each in found if each.stands],
    )


def _with_all_looks(manifest: Manifest, judged: Evaluation) -> Evaluation:
    """Return the evaluation with the looks of other runs that came after it."""
    if judged.source != "test":
        return judged
    return dataclasses.replace(judged, looks=max(judged.looks, runs.count_looks(manifest)))


def _pictured(evaluations: Sequence[Evaluation]) -> set[int]:
    """Return the places of the evaluations whose images are shown: of each set one, then others."""
    first = {each.source: place for place, each in reversed(list(enumerate(evaluations)))}
    order = sorted(
        range(len(evaluations)),
        key=lambda place: (first[evaluations[place].source] != place, place),
    )
    return set(order[:_PICTURED])


def _doubt(found: tuple[Evaluation, reports.Stale | None]) -> tuple[bool, int, int]:
    """Return the place of an evaluation: what decided nothing first, what was learned last.

    Those of weights that the run has no more stand behind all others.
    """
    judged, stale = found
    if judged.source == "validation":
        place = 2
    elif judged.caution:
        place = 3
    else:
        place = 0 if judged.source == "test" else 1
    return stale is not None and stale.former, place, _WEIGHTS.index(judged.weights)


def _group_counts(manifest: Manifest) -> dict[str, int]:
    """Return how many groups each split has; {} where there are none."""
    grouped = manifest.table.drop_nulls("group")
    splits = [split for split in SPLITS if len(grouped) and len(manifest.of_split(split))]
    return {split: grouped.filter(pl.col("split") == split)["group"].n_unique() for split in splits}


def _training_pictures(run: Run) -> tuple[list[Picture], str]:
    """Return the training pictures that can be shown, and a sentence about the others."""
    count = min(_TRAINING_PICTURES, len(run.manifest.of_split("train")))
    if not count:
        return [], ""
    # A file that cannot be read costs its own picture, not all of them.
    config = StreamConfig.of(run.recipe, training=True).forgiving(count)
    shown = pictures.training_pictures(run.manifest, config, count=count)
    if not shown:
        return [], "They cannot be shown: the images are no longer at their place."
    missing = count - len(shown)
    return shown, f"{missing} of the first {count} cannot be read." if missing else ""
