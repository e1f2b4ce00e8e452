"""The page and the pictures of a run, from what its folder holds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from sightline import runs
from sightline.data import pictures
from sightline.data.stream import StreamConfig
from sightline.errors import DataError
from sightline.judging import evaluation, reports
from sightline.records import SPLITS, Evaluation, Manifest, Picture
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
    opened = run if isinstance(run, Run) else runs.open_run(run)
    page = reports.render(_contents(opened))
    path = opened.path / "report.html"
    with runs.locked(opened.path):
        runs.write_atomically(path, lambda beside: beside.write_text(page, "utf-8"))
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
    opened = run if isinstance(run, Run) else runs.open_run(run)
    figure = reports.history_figure(opened.history)
    if out is not None:
        if Path(out).suffix.lower() != ".png":
            raise DataError(f"the figure {out} must end in .png")
        content = reports.png(figure)
        runs.write_atomically(Path(out), lambda beside: beside.write_bytes(content))
    return figure


def _contents(run: Run) -> reports.ReportContents:
    manifest = run.manifest
    # What was never looked at first; the split that chose the weights last.
    evaluations = sorted(run.evaluations, key=lambda judged: judged.source == "validation")
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
        augmented=_training_pictures(run),
        mistakes=[(judged.source, _mistakes(run, judged)) for judged in evaluations],
        findings=(),
        reproduce=(
            f"sightline train {shlex.quote(f'{run.path}/manifest.parquet')} "
            f"--recipe {shlex.quote(f'{run.path}/recipe.toml')}",
            f"sightline evaluate {shlex.quote(str(run.path))}",
        ),
    )


def _headline(run: Run, evaluations: Sequence[Evaluation]) -> str:
    """Return one sentence: what was trained, and how good it is on what was not trained on."""
    best_last = sorted(evaluations, key=lambda judged: judged.weights == "best")
    by_source = {judged.source: judged for judged in best_last}
    judged = by_source.get("test") or by_source.get("validation")
    trained = f"{len(run.facts.class_counts)} classes, {run.facts.count:,} images"
    if judged is None:
        return f"{trained}. Nothing was evaluated yet: the run is {run.state}."
    caution = "" if judged.source == "test" else " (the split that chose the weights: optimistic)"
    if judged.weights == "last":
        caution += ", with the weights of the last epoch"
    return (
        f"{trained}. {judged.source.capitalize()} accuracy {judged.metrics['accuracy']:.1%}, "
        f"balanced accuracy {judged.metrics['balanced_accuracy']:.1%} on {judged.count:,} "
        f"images{caution}."
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
    return [*facts, ("Code", f"git {git['commit'][:12]}{dirty}")] if git else facts


def _data_facts(run: Run) -> list[tuple[str, str]]:
    facts, manifest = run.facts, run.manifest
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


def _training_pictures(run: Run) -> list[Picture]:
    try:
        config = StreamConfig.of(run.recipe, training=True)
        return pictures.training_pictures(run.manifest, config, count=_TRAINING_PICTURES)
    except DataError:  # moved or removed since; the numbers are still worth a page
        return []


def _mistakes(run: Run, judged: Evaluation) -> list[Picture]:
    """Return the most confident mistakes as pictures, as far as the images are still there."""
    found = []
    try:
        predictions = run.predictions(judged.source, judged.weights)
        root = Path(judged.root)
        for mistake in evaluation.worst_mistakes(predictions, _WORST_MISTAKES):
            caption = (
                f"{mistake.label} taken for {mistake.predicted}\n"
                f"{mistake.probability:.1%} sure, {mistake.label_probability:.1%} for "
                f"{mistake.label}\n{mistake.record_id}"
            )
            found.append(pictures.thumbnail(root / mistake.record_id, caption))
    except DataError:
        return found
    return found
