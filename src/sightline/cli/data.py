"""scan, split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import sightline
from sightline import runs
from sightline.cli import console, options
from sightline.errors import DataError
from sightline.records import SPLITS, Manifest


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(scan))
    app.command()(console.told_plainly(split))


def scan(
    data: options.Data = None,
    train: options.Train = None,
    validation: options.Validation = None,
    test: options.Test = None,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    split_col: options.SplitCol = None,
    fold_col: options.FoldCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    out: Annotated[Path | None, typer.Option(help="Save the manifest (.parquet).")] = None,
    as_json: options.Json = False,
) -> None:
    """Look at images: classes, splits and groups, from names and sizes alone."""
    manifest = sightline.scan(data, **options.source_options(locals()))
    _show(manifest, out, as_json)


def split(
    data: options.Data = None,
    validation: Annotated[float, typer.Option(help="Share for validation.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share for the test; 0 for none.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Another seed, another division.")] = 0,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    out: Annotated[Path | None, typer.Option(help="Save the manifest (.parquet).")] = None,
    as_json: options.Json = False,
) -> None:
    """Divide images anew into train, validation and test; a group is never on two sides."""
    shares = ("validation", "test")  # here they are numbers, in a scan they are folders
    source = {name: value for name, value in locals().items() if name not in shares}
    manifest = sightline.scan(data, **options.source_options(source))
    divided = sightline.split(manifest, validation=validation, test=test, seed=seed)
    _show(divided, out, as_json)


def _show(manifest: Manifest, out: Path | None, as_json: bool) -> None:
    """Print the counts, and save the manifest where that was asked for."""
    if out is not None:
        if out.suffix != ".parquet":
            raise DataError(f"a manifest is saved as .parquet, got {out}")
        if out.is_dir():
            raise DataError(f"the output {out} is a folder. Name a file in it.")
        runs.save_manifest(manifest, out)
    counts = manifest.counts()
    if as_json:
        console.show_json(
            {
                "root": str(manifest.root),
                "images": len(manifest),
                "classes": counts.rows(named=True),
                "groups": manifest.table["group"].drop_nulls().n_unique(),
                "ignored": dict(manifest.ignored),
                "saved": str(out) if out else None,
            }
        )
        return
    console.show(f"{len(manifest):,} images in {manifest.root}")
    columns = ["label", *SPLITS, "total"] if counts[list(SPLITS)].sum_horizontal().sum() else [
        "label", "total"
    ]  # fmt: skip
    console.show_table(
        columns, [[f"{v:,}" if isinstance(v, int) else v for v in row]
                  for row in counts.select(columns).rows()]
    )  # fmt: skip
    for kind, count in manifest.ignored.items():
        console.show(f"passed over: {count:,} {kind}")
    if out is not None:
        console.show(f"Saved as {out}")
