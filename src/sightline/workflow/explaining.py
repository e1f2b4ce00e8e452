"""Where a trained model looks: overlays of images, and a summary of a whole split."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline import runs
from sightline.data import pictures
from sightline.data.sources import scan_files
from sightline.errors import DataError, RunError
from sightline.progress import Progress, Shown, Silent
from sightline.records import (
    Attention,
    Explanation,
    Finding,
    Manifest,
    Picture,
    SanityCheck,
    Split,
    Weights,
)
from sightline.runs import Run
from sightline.workflow.drawing import Drawing, folder_of
from sightline.workflow.looking import Asked, ExplainOptions, Looking, Method

_SPLIT: Split = "validation"  # the test split is looked at by evaluate alone
_MOST = 1000  # images that are named
_SAMPLES = {"gradcam": 200, "gradcam++": 200, "features": 6}  # of a split
_SLOW_SAMPLE = 40  # of the methods that ask the network a hundred times for an image
_CHECKED = {"gradcam": 8, "gradcam++": 8}  # images of the sanity check
_SLOW_CHECKED = 3
_DRAWN = 12  # of a sample
_PURPOSE = 0xE2  # of the sample's order


@dataclass(frozen=True, slots=True)
class Explained:
    """What `explain` found and wrote.

    Attributes:
        folder: Where the pictures are.
        method: How it was found.
        layer: Whose output was looked at; "" for the whole network.
        weights: "best", "last" or "average".
        epoch: 0-based epoch those weights are from.
        fingerprint: Which weights, network and preprocessing these are.
        class_name: The class that was asked for; None where each image's own is explained.
        from_logits: Scores are the network's logits; False where its end could not be seen, then
            they are logarithms of probabilities.
        pictures: Files that were written, by what they show: a record id, "average" or "filters".
        unreadable: Why an image could not be read, by record id.
        explanations: One an image that could be read, by record id; () of features and filters.
        attention: Of a split; None where images were named.
        sanity: Whether the maps depend on the weights; None of features and filters.
        findings: What is worth telling.
    """

    folder: Path
    method: Method
    layer: str
    weights: Weights
    epoch: int
    fingerprint: str
    class_name: str | None
    from_logits: bool
    pictures: Mapping[str, Path]
    unreadable: Mapping[str, str]
    explanations: tuple[Explanation, ...] = ()
    attention: Attention | None = None
    sanity: SanityCheck | None = None
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the maps as plain JSON values."""
        return {
            "folder": str(self.folder),
            "method": self.method,
            "layer": self.layer,
            "weights": self.weights,
            "epoch": self.epoch,
            "fingerprint": self.fingerprint,
            "class_name": self.class_name,
            "from_logits": self.from_logits,
            "pictures": {name: str(path) for name, path in self.pictures.items()},
            "unreadable": dict(self.unreadable),
            "explanations": [each.to_dict() for each in self.explanations],
            "attention": self.attention.to_dict() if self.attention else None,
            "sanity": self.sanity.to_dict() if self.sanity else None,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def explain(
    run: Run | str | Path,
    paths: str | Path | Sequence[str | Path] = (),
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **asked: Unpack[ExplainOptions],
) -> Explained:
    """Draw where the model looks, check that this can be trusted, and sum up a whole split.

    Without paths, a sample of the run's validation images is explained, spread over the classes
    (200 images; 40 by the slow methods): 12 overlays, the average map, and the share of attention
    on the border. With paths, an overlay of each image. The same images, run and options give the
    same maps; on other backends they differ by rounding. Computed in float32.

    Args:
        run: A run or its folder.
        paths: Image files, .tar shards, or folders, which are read at every depth; at most 1,000
            images.
        out: Where the pictures go; by default `explain/` of the run. Earlier ones of the same
            image, method, class, layer and weights are replaced.
        progress: Where the bar goes; by default to the terminal or notebook.
        **asked: As `ExplainOptions`.

    Raises:
        DataError: A path does not exist, no image can be read, there is no such class or layer, or
            the network has no convolution and the method needs one.
        RunError: The run has no model, is damaged, or the folder cannot be written to.
        SetupError: No Keras backend is installed, or the one of KERAS_BACKEND is not.
        ValueError: There is no method, or no weights, of that name.
    """
    opened, chosen = runs.open_run(run), Asked(**asked)
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    shown = progress or Shown()
    if chosen.method == "filters":
        manifest, drawn = Manifest.make(opened.path, {"record_id": []}), 0
    elif given:
        manifest = _named(given)
        drawn = len(manifest)
    else:
        manifest, drawn = _sampled(opened, chosen.method), _DRAWN
    folder = folder_of(opened, out, given)
    looking = Looking.of(opened, chosen, shown)
    drawing = Drawing(looking, manifest, folder, _first(manifest, drawn))
    if chosen.method == "filters":
        drawing.draw_filters()
        return _told(drawing)
    if chosen.method == "features":
        with shown.step("drawing feature maps", len(manifest)) as step:
            drawing.draw_features(step.advance)
        _refuse_nothing_read(drawing)
        return _told(drawing)
    return _explained(drawing, None if given else _SPLIT, shown)


def overlays(
    run: Run,
    manifest: Manifest,
    record_ids: Sequence[str],
    *,
    classes: Mapping[str, str] | None = None,
    weights: Weights = "best",
    max_side: int = 160,
    looking: Looking | None = None,
) -> dict[str, Picture]:
    """Return small Grad-CAM overlays of these records, by record id, for a report.

    One that cannot be read has none, and none has one where the network has no convolution. The
    caption is the class that is explained.

    Args:
        run: Whose model.
        manifest: Where the records are.
        record_ids: Those of it that are wanted.
        classes: The class to explain, by record id; else the one that a record is taken for.
        weights: "best", "last" or "average".
        max_side: Of the longer side, pixels.
        looking: The network of these weights, where it was built before.

    Raises:
        RunError: The run has no model, or it is damaged.
        SetupError: No Keras backend is installed, or the one of KERAS_BACKEND is not.
        ValueError: A class is none of the model's.
    """
    names = tuple(run.model["class_names"])
    if foreign := sorted(set((classes or {}).values()) - set(names)):
        raise ValueError(f"classes must be of {names}, got {foreign}")
    some = _rows(manifest, pl.col("record_id").is_in(list(record_ids)))
    try:
        looking = looking or Looking.of(run, Asked(weights=weights), Silent())
    except DataError:  # no convolution
        return {}
    if not len(some):
        return {}
    wanted = {record_id: names.index(name) for record_id, name in (classes or {}).items()}
    found = {}
    for part in looking.looked(some, wanted=wanted):
        for each in part.explanations:
            picture = pictures.overlaid_thumbnail(
                some.locate(each.record_id),
                each.map,
                each.class_name,
                max_side=max_side,
                rule_set=looking.rule_set,
            )
            if picture is not None:
                found[each.record_id] = picture
    return found


def kept(run: Run) -> dict[str, Any] | None:
    """Return what `Explained.to_dict` kept of a whole split, of the best weights there are now.

    Of several, the newest; none that was asked about one class. None where there is none, or the
    file, or the weights, cannot be read.
    """
    try:
        best = run.kept("best")
    except RunError:
        return None
    names = run.fingerprints(best)
    files = sorted((run.path / "explain").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in reversed(files):
        try:
            told: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if _is_of(told, names, best.epoch):
                # The run may have been moved or copied since.
                beside = {
                    shown: str(path.parent / Path(file).name)
                    for shown, file in told["pictures"].items()
                }
                return told | {"pictures": beside}
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return None


def _is_of(told: Mapping[str, Any], names: Collection[str], epoch: int) -> bool:
    """Say whether a summary is of the best weights of these names, and of each image's class."""
    if told["weights"] != "best" or not told["attention"] or told.get("class_name") is not None:
        return False
    # An earlier Sightline wrote the epoch alone.
    return told["fingerprint"] in names if "fingerprint" in told else told["epoch"] == epoch


def _explained(drawing: Drawing, split: Split | None, progress: Progress) -> Explained:
    """Explain the images, check that the maps depend on the weights, and sum up a split."""
    from sightline.learning import explanation

    looking, manifest = drawing.looking, drawing.manifest
    method = looking.method
    places = np.linspace(0, len(manifest) - 1, _CHECKED.get(method, _SLOW_CHECKED)).astype(int)
    checked = set(manifest.table["record_id"][np.unique(places)])
    tried: list[tuple[npt.NDArray[np.float32], int]] = []
    found: list[Explanation] = []
    with progress.step(f"explaining by {method}", len(manifest)) as step:
        for part in looking.looked(manifest, on_batch=step.advance):
            for image, target, each in zip(
                part.images, part.targets, part.explanations, strict=True
            ):
                found.append(each)
                drawing.draw(each)
                if each.record_id in checked:
                    tried.append((image, int(target)))
    _refuse_nothing_read(drawing)
    with progress.step("checking that maps depend on the weights", None) as step:
        sanity = explanation.check_sanity(
            looking.probe,
            np.stack([image for image, _ in tried] or [part.images[0]]),
            np.asarray([target for _, target in tried] or [part.targets[0]], np.int64),
            method,
            looking.place,
            on_stage=step.advance,
        )
    findings = [explanation.sanity_finding(sanity)]
    attention = None
    if split is not None:
        attention = explanation.attention_of(found, split)
        findings.append(explanation.border_finding(attention))
        drawing.draw_average(attention)
    told = dataclasses.replace(
        _told(drawing),
        explanations=tuple(found),
        attention=attention,
        sanity=sanity,
        findings=tuple(findings),
    )
    if split is not None:
        runs.write_json(drawing.path(split, ".json"), told.to_dict())
    return told


def _told(drawing: Drawing) -> Explained:
    looking = drawing.looking
    return Explained(
        folder=drawing.folder,
        method=looking.asked.method,
        layer=looking.layer,
        weights=looking.kept.which,
        epoch=looking.kept.epoch,
        fingerprint=looking.kept.fingerprint,
        class_name=looking.asked.class_name,
        from_logits=looking.probe.from_logits,
        pictures=dict(drawing.written),
        unreadable=dict(sorted(looking.unreadable.items())),
    )


def _named(paths: Sequence[str | Path]) -> Manifest:
    """Return the manifest of the images that were named.

    Raises:
        DataError: There are none, or too many.
    """
    manifest = scan_files(paths)
    if len(manifest) > _MOST:
        raise DataError(
            f"{len(manifest):,} images were named, and a picture is drawn of each: {_MOST:,} at "
            "most. Name fewer; without images, the run's own validation split is summed up."
        )
    return manifest


def _sampled(run: Run, method: Method) -> Manifest:
    """Return a sample of the run's validation images, the same each time, classes in turn.

    Raises:
        DataError: There are none.
    """
    own = run.manifest
    usable = own.of_split(_SPLIT)
    if not len(usable):
        raise DataError(
            f"{run.path} has no {_SPLIT} images of its own to explain. Name some: "
            f"sightline explain {run.path} PATH..."
        )
    count = _SAMPLES.get(method, _SLOW_SAMPLE)
    chosen = _first(dataclasses.replace(own, table=usable), count)
    return _rows(own, pl.col("record_id").is_in(list(chosen)))


def _first(manifest: Manifest, count: int) -> frozenset[str]:
    """Return so many record ids in an order that looks random and is none, classes in turn."""
    order = np.random.default_rng(_PURPOSE).permutation(len(manifest))
    shuffled = manifest.table.select("record_id", "label")[order]
    turns = shuffled.with_columns(turn=pl.int_range(pl.len()).over("label"))
    return frozenset(turns.sort("turn", maintain_order=True)["record_id"].head(count))


def _rows(manifest: Manifest, wanted: pl.Expr) -> Manifest:
    return dataclasses.replace(manifest, table=manifest.table.filter(wanted))


def _refuse_nothing_read(drawing: Drawing) -> None:
    faults = drawing.looking.unreadable
    if len(faults) == len(drawing.manifest):
        first = min(faults)
        raise DataError(
            f"not one of {len(faults)} images of {drawing.manifest.root} could be read, first "
            f"{first}: {faults[first]}. If they were moved, put them back, or name others."
        )
