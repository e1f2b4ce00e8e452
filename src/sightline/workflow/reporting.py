"""The page and the pictures of a run, from what its folder holds."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from sightline import runs
from sightline.data import pictures
from sightline.data.stream import StreamConfig, augment
from sightline.errors import DataError
from sightline.judging import evaluation, reports
from sightline.records import SPLITS, Evaluation, Manifest, Picture, rounded
from sightline.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRAINING_PICTURES = 24
_WORST_MISTAKES = 12


def report(run: Run | str | Path) -> Path:
    """Write `report.html` and `history.png` into the run folder and return the page's path.

    One self-contained page: nothing is loaded from anywhere. Pictures are left out where the
    images are no longer at their place. No framework is loaded.

    Raises:
        RunError: There is no run, it is damaged, in use, or cannot be written to.
    """
    opened = runs.open_run(run)
    page = reports.render(_contents(opened))
    path = opened.path / "report.html"
    with runs.locked(opened.path):
        runs.write_content(path, page)
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


def _contents(run: Run) -> reports.ReportContents:
    manifest = run.manifest
    evaluations = sorted(map(partial(_with_all_looks, manifest), run.evaluations), key=_doubt)
    augmented, augmented_note = _training_pictures(run)
    return reports.ReportContents(
        name=run.name,
        headline=_headline(run, evaluations),
        facts=_facts(run),
        plan=run.plan,
        manifest_counts=manifest.counts(),
        group_counts=_group_counts(manifest),
        ignored=manifest.ignored,
        data_facts=_data_facts(run),
        history=run.history,
        evaluations=evaluations,
        summary=run.summary,
        augmented=augmented,
        augmented_note=augmented_note,
        randomly_changed=augment.varies(run.recipe.augment),
        mistakes=[_mistakes(run, judged) for judged in evaluations],
        findings=run.findings,
        reproduce=()
        if run.state == runs.IMPORTED
        else (
            f"sightline train {shlex.quote(f'{run.path}/manifest.parquet')} "
            f"--recipe {shlex.quote(f'{run.path}/recipe.toml')}",
            f"sightline evaluate {shlex.quote(str(run.path))}",
        ),
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


def _headline(run: Run, evaluations: Sequence[Evaluation]) -> str:
    """Return one sentence: what was trained, and how good it is on the most honest set."""
    trained = f"{len(run.facts.class_counts)} classes, {run.facts.count:,} images"
    if run.state == runs.IMPORTED:
        trained = f"{len(run.facts.class_counts)} classes, trained elsewhere"
    if not evaluations:
        return f"{trained}. Nothing was evaluated yet: the run is {run.state}."
    judged = evaluations[0]
    accuracy, balanced = (
        rounded(judged.metrics[name], 1, percent=True) for name in ("accuracy", "balanced_accuracy")
    )
    own = judged.source in SPLITS
    where = "" if own else f" of “{judged.source}”"
    last = ", with the weights of the last epoch" if judged.weights == "last" else ""
    caution = f" ({judged.caution})" if judged.caution else ""
    return (
        f"{trained}. {f'{judged.source.capitalize()} accuracy' if own else 'Accuracy'} {accuracy}, "
        f"balanced accuracy {balanced} on {judged.count:,} images{where}{caution}{last}."
    )


def _facts(run: Run) -> list[tuple[str, str]]:
    info, git = run.info, run.info["git"]
    dirty = ", with changes not committed" if git and git["dirty"] else ""
    facts = [
        ("State", f"{run.state}. {info.get('reason', '')}"),
        ("Recipe", run.recipe.name),
        ("Seed", str(run.recipe.seed)),
        ("Started", info["started"][:16].replace("T", " ") + " UTC"),
        ("Training time", str(timedelta(seconds=round(info.get("seconds", 0))))),
        ("Peak memory", f"{info.get('peak_memory_mb', 0):,} MB"),
        ("Device", f"{info['device']}, {info['threads']} threads"),
        ("Precision", info["precision"]),
        ("Backend", f"{info['backend']} {info['packages'].get(info['backend'], '')}"),
        ("Keras", info["packages"].get("keras", "")),
        ("Sightline", info["packages"].get("sightline", "")),
    ]
    return [*facts, ("Started in", f"git {git['commit'][:12]}{dirty}")] if git else facts


def _data_facts(run: Run) -> list[tuple[str, str]]:
    facts, manifest = run.facts, run.manifest
    if run.state == runs.IMPORTED:
        return [("Images", "not known: the model was trained elsewhere")]
    rows = [
        ("Folder", str(manifest.root)),
        ("Images", f"{facts.count:,}, {facts.bytes / 1e6:,.1f} MB"),
        ("Formats", ", ".join(facts.formats)),
        ("Smallest", f"{facts.smallest[0]} x {facts.smallest[1]} pixels (height x width)"),
        ("Median", f"{facts.height} x {facts.width}"),
        ("Largest", f"{facts.largest[0]} x {facts.largest[1]}"),
        ("Colour", "grey" if facts.all_grey else "colour"),
        ("Largest class over smallest", f"{facts.imbalance:.1f}"),
    ]
    groups = manifest.table["group"]
    if groups.null_count() < len(groups):
        rows.append(("Groups", manifest.groups_in_words()))
    return rows


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


def _mistakes(run: Run, judged: Evaluation) -> reports.Mistakes:
    """Return the most confident mistakes, as pictures as far as the images are still there."""
    count = judged.count - int(judged.confusion.trace())
    try:
        predictions = run.predictions(judged.source, judged.weights)
        worst = evaluation.worst_mistakes(predictions, _WORST_MISTAKES)
    except DataError as error:
        return reports.Mistakes(judged.source, count, [], f"they cannot be shown: {error}")
    found, faults = [], []
    for mistake in worst:
        sure, for_label = (
            rounded(share, 1, percent=True)
            for share in (mistake.probability, mistake.label_probability)
        )
        caption = (
            f"{mistake.label} taken for {mistake.predicted}\n"
            f"{sure} sure, {for_label} for {mistake.label}\n{mistake.record_id}"
        )
        try:
            found.append(_thumbnail(run, judged, mistake.record_id, caption))
        except DataError as error:
            faults.append((mistake.record_id, error.reason))
    return reports.Mistakes(judged.source, count, found, _missing_pictures(faults, len(worst)))


def _thumbnail(run: Run, judged: Evaluation, record_id: str, caption: str) -> Picture:
    """Return one judged image; of an external set, only files of their own can be found.

    Raises:
        DataError: It is not there, or cannot be read.
    """
    if Path(judged.root) != run.manifest.root:
        return pictures.thumbnail(Path(judged.root) / record_id, caption)
    place = run.manifest.locate(record_id)
    return pictures.thumbnail(place if place.begin >= 0 else Path(place.path), caption)


def _missing_pictures(faults: Sequence[tuple[str, str]], count: int) -> str:
    """Return why some of `count` pictures are not shown; `faults` are (record id, reason)."""
    if not faults:
        return ""
    if len(faults) == count and {reason for _, reason in faults} == {"MISSING"}:
        return "their images are no longer at their place"
    record_id, reason = faults[0]
    return f"{len(faults)} of the {count} surest cannot be shown, first {record_id}: {reason}"
