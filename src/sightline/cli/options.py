"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from sightline.data.sources import SourceOptions
from sightline.errors import DataError

_TABLE = "A table of labels"
_FOLDERS = "Separate folders"
_GROUPS = "Groups and links"
_OF_NUMBERS = ("--compare", "--mean", "--std")


class SeveralNumbers(TyperCommand):
    """Takes `--compare 0.1 0.01 0.001`: every number that follows belongs to the option."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Give each number its own option, and go on as usual."""
        spread: list[str] = []
        option = ""
        for word in args:
            if word in _OF_NUMBERS or not _is_number(word):
                option = word if word in _OF_NUMBERS else ""
            elif option and spread[-1] != option:
                spread.append(option)
            spread.append(word)
        return super().parse_args(ctx, spread)


class WeightsChoice(StrEnum):
    """Which weights of a run."""

    best = "best"
    last = "last"
    average = "average"


class SplitChoice(StrEnum):
    """Which split of a run."""

    train = "train"
    validation = "validation"
    test = "test"
    external = "external"


Run = Annotated[Path, typer.Argument(help="A run folder, e.g. runs/auto-20260101-120000.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Weights = Annotated[
    WeightsChoice,
    typer.Option(help="Of the best epoch, as training left them, or their moving average."),
]
Recipe = Annotated[
    str, typer.Option(help="A name (`sightline recipes` lists them) or a .toml file.")
]
MaybeRecipe = Annotated[
    str | None,
    typer.Option(help="A name (`sightline recipes` lists them) or a .toml file; auto without."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one value of the recipe, e.g. train.epochs=3."),
]
AllowLeak = Annotated[
    bool,
    typer.Option(
        "--allow-leak", help="Go on although copies or groups are on two sides; the report says so."
    ),
]
Data = Annotated[
    Path | None,
    typer.Argument(
        help="A folder of class folders, or of train/validation/test folders holding them; "
        "a saved manifest; the images' folder with --labels."
    ),
]
Train = Annotated[
    Path | None, typer.Option(help="Class folders to train on.", rich_help_panel=_FOLDERS)
]
Validation = Annotated[
    Path | None, typer.Option(help="Class folders to choose weights by.", rich_help_panel=_FOLDERS)
]
Test = Annotated[
    Path | None, typer.Option(help="Class folders to judge on.", rich_help_panel=_FOLDERS)
]
Labels = Annotated[
    Path | None,
    typer.Option(help="A .csv, .tsv or .parquet, one row an image.", rich_help_panel=_TABLE),
]
PathCol = Annotated[
    str | None,
    typer.Option(
        help="Column of file names; the extension may be missing.", rich_help_panel=_TABLE
    ),
]
LabelCol = Annotated[str | None, typer.Option(help="Column of labels.", rich_help_panel=_TABLE)]
GroupCol = Annotated[
    str | None,
    typer.Option(help="Column of what stays together: patient, lesion.", rich_help_panel=_TABLE),
]
SplitCol = Annotated[
    str | None,
    typer.Option(help="Column of train, validation or test.", rich_help_panel=_TABLE),
]
FoldCol = Annotated[
    str | None,
    typer.Option(
        help="Column of fold numbers. Without splits, train chooses weights by the lowest fold.",
        rich_help_panel=_TABLE,
    ),
]
GroupRegex = Annotated[
    str | None,
    typer.Option(
        help="Finds the group in each file's path: the first (...), or the whole match.",
        rich_help_panel=_GROUPS,
    ),
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Follow links out of the folder.",
                       rich_help_panel=_GROUPS)
]  # fmt: skip


def refuse_among_images(*given: Path | None) -> None:
    """Refuse to write into the current folder where it is, or lies in, a folder of images.

    Raises:
        DataError: It is; later scans would find there what has been written.
    """
    here = Path.cwd()
    folders = [path.resolve() for path in given if path is not None and path.is_dir()]
    if any(here.is_relative_to(folder) for folder in folders):
        raise DataError(
            f"the output would be written into {here}, among the images. Change to another folder, "
            "or say where it shall go (--out)."
        )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def source_options(values: dict[str, Any]) -> SourceOptions:
    """Return the scan's share of a command's parameters."""
    names = SourceOptions.__optional_keys__
    chosen: SourceOptions = {}  # type: ignore[typeddict-item,unused-ignore]
    chosen.update({name: values[name] for name in names if values.get(name)})  # type: ignore[typeddict-item]
    return chosen
