"""The application: every command, and how it ends."""

from __future__ import annotations

from typing import Annotated

import typer

import sightline
from sightline.cli import (
    about,
    adopt,
    cache,
    crossvalidating,
    data,
    diagnosing,
    ensembling,
    explaining,
    judging,
    models,
    previewing,
    rates,
    searching,
    training,
)

app = typer.Typer(
    name="sightline",
    help="From folders of labelled images to a classifier whose owner can trust it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for room in (
    training, data, judging, diagnosing, explaining, models, previewing, rates, searching,
    crossvalidating, ensembling, cache, adopt, about,
):  # fmt: skip
    room.add_to(app)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"sightline {sightline.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    pass
