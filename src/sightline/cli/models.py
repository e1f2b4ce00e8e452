"""export, import."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import sightline
from sightline.cli import console, options
from sightline.errors import DataError, RecipeError


class Quality(StrEnum):
    """How files become pixels."""

    fast = "fast"
    best = "best"
    compat = "compat"


class Scaling(StrEnum):
    """What a model was trained on."""

    unit = "1/255"
    none = "none"
    around_zero = "-1..1"
    mean_std = "mean-std"
    per_image = "per-image"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(export))
    app.command("import", cls=options.SeveralNumbers)(console.told_plainly(import_))


def export(
    run: options.Run,
    keras: Annotated[bool, typer.Option("--keras", help="A .keras file (the default).")] = False,
    h5: Annotated[bool, typer.Option("--h5", help="An .h5 file, to predict with.")] = False,
    savedmodel: Annotated[
        bool, typer.Option("--savedmodel", help="A SavedModel folder, for TensorFlow alone.")
    ] = False,
    no_preprocessing: Annotated[
        bool,
        typer.Option(
            "--no-preprocessing", help="Leave the scaling of the pixels to whoever uses it."
        ),
    ] = False,
    weights: options.Weights = options.WeightsChoice.best,
    out: Annotated[
        Path | None, typer.Option(help="By default the run's name, in this folder.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a run's network for other programs, checked in a new process without Sightline."""
    if keras + h5 + savedmodel > 1:
        raise DataError("give one of --keras, --h5 and --savedmodel; export again for another")
    path = sightline.export(
        run,
        format="h5" if h5 else "savedmodel" if savedmodel else "keras",
        preprocessing=not no_preprocessing,
        weights=weights.value,
        out=out,
        progress=console.progress(as_json),
    )
    note = path.with_name(f"{path.name}.json")
    about = json.loads(note.read_text("utf-8"))
    if as_json:
        console.show_json({"out": str(path), "about": str(note), **about})
        return
    inputs, checked = about["input"], about["checked"]
    range_ = inputs["range"] if isinstance(inputs["range"], str) else f"range {inputs['range']}"
    console.show(
        f"Takes {inputs['colour']} of {inputs['height']}x{inputs['width']} (height x width), "
        f"{range_}; {about['output']['meaning']}."
    )
    console.show(
        f"Opened without Sightline, it differs from the run by at most "
        f"{checked['greatest_difference']:.2g} on {checked['images']} {checked['of']}."
    )
    console.show(f"Export: {path}\nWhat goes in and comes out: {note}")


def import_(
    model: Annotated[Path, typer.Argument(help="A whole model, .keras or .h5.")],
    others: Annotated[
        list[str] | None,
        typer.Argument(help="The classes that follow the first one after --classes."),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(help="In the order of the outputs: --classes CAT DOG."),
    ] = None,
    scaling: Annotated[
        Scaling | None,
        typer.Option(help="What it was trained on: 1/255, none, -1..1, mean-std or per-image."),
    ] = None,
    mean: Annotated[
        list[float] | None, typer.Option(help="For mean-std, 0..1: one value, or one a channel.")
    ] = None,
    std: Annotated[list[float] | None, typer.Option(help="For mean-std, likewise.")] = None,
    image_size: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Height and width in pixels, where its input leaves them open."),
    ] = None,
    quality: Annotated[
        Quality, typer.Option(help="How files become pixels; compat is as Keras does.")
    ] = Quality.compat,
    out: Annotated[
        Path | None, typer.Option(help="A new run folder; by default runs/imported-DATE-TIME.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Make a run of a Keras model that was trained elsewhere, checked before it is opened."""
    if others and len(classes or ()) != 1:
        raise RecipeError(
            f"it cannot be told which classes {list(others)} are: write all of them after one "
            "--classes, in the order of the outputs, and the model's file first"
        )
    run = sightline.import_model(
        model,
        classes=[*(classes or ()), *(others or ())],
        scaling=None if scaling is None else scaling.value,
        mean=mean or (),
        std=std or (),
        image_size=image_size,
        quality=quality.value,
        out=out,
        progress=console.progress(as_json),
    )
    if as_json:
        console.show_json({"run": str(run.path), **run.model})
        return
    data = run.recipe.data
    height, width = run.model["input"]["image_size"]
    console.show(
        f"{run.summary.parameters:,} parameters; images of {height}x{width} (height x width), "
        f"{data.channels} channels, scaling {data.scaling}; classes in the order of its outputs: "
        f"{', '.join(run.model['class_names'])}."
    )
    console.show(
        "Whether it has seen the images that you judge it on, only its maker knows.\n"
        f"Run: {run.path}"
    )
