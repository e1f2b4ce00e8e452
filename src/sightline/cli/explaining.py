"""explain."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import sightline
from sightline.cli import console, options
from sightline.records import METHOD_NAMES, Explanation, SanityCheck
from sightline.workflow.explaining import Explained

_MOST_SHOWN = 24  # rows of the table


class MethodChoice(StrEnum):
    """How it is found where the model looks."""

    gradcam = "gradcam"
    gradcam_plus_plus = "gradcam++"
    occlusion = "occlusion"
    integrated_gradients = "integrated-gradients"
    features = "features"
    filters = "filters"


Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Images, or folders at any depth; without any, a sample of the run's validation "
        "images is summed up."
    ),
]
Method = Annotated[
    MethodChoice,
    typer.Option(
        help="Four kinds of maps; features: what a layer puts out; filters: the first layer's."
    ),
]
ClassName = Annotated[
    str | None,
    typer.Option("--class", help="The class to explain; by default the one predicted."),
]
Layer = Annotated[
    str | None,
    typer.Option(help="Its name; by default the last layer with a height and a width."),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the pictures; by default RUN/explain.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(console.told_plainly(explain))


def explain(
    run: options.Run,
    paths: Paths = None,
    method: Method = MethodChoice.gradcam,
    class_name: ClassName = None,
    layer: Layer = None,
    weights: options.Weights = options.WeightsChoice.best,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """Draw where a model looks, check that the maps can be trusted, and sum up its validation."""
    found = sightline.explain(
        run,
        paths or (),
        out=out,
        progress=console.progress(as_json),
        method=method.value,
        class_name=class_name,
        layer=layer,
        weights=weights.value,
    )
    if as_json:
        console.show_json(found.to_dict())
    else:
        _show(found)


def _show(found: Explained) -> None:
    layer = f", layer {found.layer}" if found.layer else ""
    console.show(
        f"{METHOD_NAMES[found.method]}{layer}; {found.weights} weights, epoch {found.epoch + 1}"
    )
    shown = [each for each in found.explanations if each.record_id in found.pictures]
    if shown:
        console.show_table(
            ["image", "class explained", "probability", "label", "peak (down, across)"],
            [_row(each) for each in shown[:_MOST_SHOWN]],
        )
    if len(shown) > _MOST_SHOWN:
        console.show(f"and {len(shown) - _MOST_SHOWN:,} more")
    for record_id, reason in found.unreadable.items():
        console.show(f"cannot be read: {record_id} ({reason})")
    if found.sanity is not None:
        _show_sanity(found.sanity)
    for finding in found.findings:
        if finding.code != "maps-ignore-weights":
            mark = "Warning: " if finding.outcome == "found" else ""
            console.show(f"{mark}{finding.title}{f' {finding.advice}' if mark else ''}")
    if "average" in found.pictures:
        console.show(f"Average map: {found.pictures['average']}")
    count = len(found.pictures) - ("average" in found.pictures)
    console.show(f"{count:,} picture{'s' * (count != 1)}: {found.folder}")


def _show_sanity(check: SanityCheck) -> None:
    console.show("")
    if check.correlations:
        console.show_table(
            ["weights random from the output to", "rank correlation of the maps"],
            [
                [layer, f"{value:.2f}"]
                for layer, value in zip(check.layers, check.correlations, strict=True)
            ],
        )
    console.show(check.in_words())


def _row(each: Explanation) -> list[str]:
    height, width = each.map.shape
    row, column = each.peak()
    peak = "none" if each.is_empty else f"{(row + 0.5) / height:.0%}, {(column + 0.5) / width:.0%}"
    return [each.record_id, each.class_name, f"{each.probability:.1%}", each.label or "", peak]
