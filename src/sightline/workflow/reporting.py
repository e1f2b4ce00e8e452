"""The page and the pictures of a run, from what its folder holds."""

from __future__ import annotations

import dataclasses
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from sightline import runs
from sightline.data import pictures
from sightline.data.stream import StreamConfig, augment
from sightline.errors import DataError
from sightline.judging import diagnosis, reports
from sightline.progress import Progress, Shown
from sightline.records import (
    METHOD_NAMES,
    SPLITS,
    Diagnosis,
    Evaluation,
    Finding,
    Manifest,
    Picture,
)
from sightline.runs import Run
from sightline.workflow import describing, diagnosing, explaining, picturing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRAINING_PICTURES = 24


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
    opened, shown = runs.open_run(run), progress or Shown()
    contents = _contents(opened, shown)
    path = opened.path / "report.html"
    with runs.locked(opened.path):
        runs.write_content(path, reports.render(contents))
        card = reports.render_card(_card(opened, contents))
        runs.write_content(opened.path / "model_card.md", card)
        if len(opened.history):
            plot_history(opened, out=opened.path / "history.png")
    return path


def plot_history(run: Run | str | Path, *, out: str | Path | None = None) -> Figure:
    """Return the matplotlib figure of loss and metrics over the epochs, the best one marked.

    Args:
        run: A run or its folder.
        out: Save it as this PNG as well.

    Raises:
        DataError: `out` does not end in .png.
        RunError: There is no run, or its history is damaged.
    """
    opened = runs.open_run(run)
    figure = reports.history_figure(opened.history)
    if out is not None:
        if Path(out).suffix.lower() != ".png":
            raise DataError(f"the figure {out} must end in .png")
        content = reports.png(figure)
        runs.write_content(Path(out), content)
    return figure


def _contents(run: Run, progress: Progress) -> reports.ReportContents:
    manifest = run.manifest
    evaluations = sorted(map(partial(_with_all_looks, manifest), run.evaluations), key=_doubt)
    augmented, augmented_note = _training_pictures(run)
    overlays = picturing.Overlays(run, progress)
    return reports.ReportContents(
        name=run.name,
        headline=describing.headline(run, evaluations),
        facts=describing.facts(run),
        plan=run.plan,
        manifest_counts=manifest.counts(),
        group_counts=_group_counts(manifest),
        ignored=manifest.ignored,
        data_facts=describing.data_facts(run),
        history=run.history,
        evaluations=evaluations,
        summary=run.summary,
        augmented=augmented,
        augmented_note=augmented_note,
        randomly_changed=augment.varies(run.recipe.augment),
        mistakes=[picturing.mistakes(run, judged, overlays) for judged in evaluations],
        closer=[picturing.closer(run, judged) for judged in evaluations],
        findings=run.findings,
        reproduce=_commands(run),
        diagnosis=_diagnosis(run),
        looks=_looks(run),
        provenance=describing.provenance(run, evaluations),
        limits=describing.limits(run, evaluations),
    )


def _commands(run: Run) -> tuple[str, ...]:
    """Return what makes the run again; () of a model from elsewhere."""
    if run.state == runs.IMPORTED:
        return ()
    return (
        f"sightline train {shlex.quote(f'{run.path}/manifest.parquet')} "
        f"--recipe {shlex.quote(f'{run.path}/recipe.toml')}",
        f"sightline evaluate {shlex.quote(str(run.path))}",
    )


def _card(run: Run, contents: reports.ReportContents) -> reports.CardContents:
    """Return what the model card says: the report's words for whoever has the weights alone."""
    data, name = run.recipe.data, shlex.quote(str(run.path))
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
        data=contents.data_facts,
        procedure=contents.plan,
        facts=contents.facts,
        evaluations=contents.evaluations,
        limits=contents.limits,
        provenance=contents.provenance,
        usage=[
            f"sightline predict {name} IMAGES --out predictions.csv",
            f'import sightline as sl\n\nsl.predict("{run.name}", "images")',
        ],
    )


def _diagnosis(run: Run) -> Diagnosis | None:
    """Return what the curves say; None where there are none, or only those of elsewhere."""
    if run.state == runs.IMPORTED or not len(run.history):
        return None
    return diagnosis.diagnose(diagnosing.facts_of_run(run), source=str(run.path))


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


def _doubt(judged: Evaluation) -> tuple[int, bool]:
    """Return the place of an evaluation: what decided nothing first, what was learned last."""
    if judged.source == "validation":
        place = 2
    elif judged.caution:
        place = 3
    else:
        place = 0 if judged.source == "test" else 1
    return place, judged.weights == "last"


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
