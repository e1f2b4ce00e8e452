"""What a recipe's random changes do, drawn on the user's own images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl

from sightline import runs
from sightline.data import facts as data_facts
from sightline.data import pictures
from sightline.data.sources import SourceOptions
from sightline.data.stream import StreamConfig, augment
from sightline.data.stream.mixing import symmetric_beta
from sightline.data.stream.showing import Drawn, Showing
from sightline.errors import DataError, RecipeError, RunError
from sightline.judging import reports
from sightline.recipes import Recipe, change_recipe, load_recipe, resolve_shape
from sightline.records import Manifest, Split
from sightline.records.manifest import QUARANTINED
from sightline.runs import Run
from sightline.workflow.data import manifest_of

_NAME = "preview.html"
_EPOCHS = 4  # real draws of each image
_MOST = 24  # images
_SIDE = 224  # px of a picture on the page, the longer side


@dataclass(frozen=True, slots=True)
class Preview:
    """What was drawn.

    Attributes:
        path: The page.
        recipe: Its name.
        changes: The values of [augment] that are on, in the order of the page.
        record_ids: The images that are shown.
    """

    path: Path
    recipe: str
    changes: Mapping[str, float | bool]
    record_ids: tuple[str, ...]


def preview(
    data: str | Path | Manifest | Run,
    *,
    recipe: str | Path | None = None,
    changes: Mapping[str, Any] | Sequence[str] = (),
    count: int = 6,
    out: str | Path = _NAME,
    **source: Unpack[SourceOptions],
) -> Path:
    """Write a page of what a recipe's random changes do to your images; return its path.

    They are training images, where the images are divided. Each change that is on is drawn at its
    extremes, and all of them together as training draws them, by training's own code. No framework
    is loaded. The same images, recipe and count give the same page.

    Args:
        data: What `scan` takes, a manifest, or a run.
        recipe: A name or a .toml file; by default the run's own, else "auto".
        changes: {"augment.rotation": 30} or ["augment.rotation=30"].
        count: Images to draw on, 1..24; classes take turns.
        out: The page, or a folder for `preview.html`. An earlier preview is replaced.
        **source: As `scan`.

    Raises:
        DataError: The images cannot be used as given, or none of those tried can be read.
        RecipeError: A value is wrong, or the count is out of its range.
        RunError: There is no run, or `out` holds something else.
    """
    return draw(data, recipe=recipe, changes=changes, count=count, out=out, **source).path


def draw(
    data: str | Path | Manifest | Run | None,
    *,
    recipe: str | Path | None = None,
    changes: Mapping[str, Any] | Sequence[str] = (),
    count: int = 6,
    out: str | Path = _NAME,
    **source: Unpack[SourceOptions],
) -> Preview:
    """Write the page of a preview and return what is on it; as `preview`.

    Raises:
        DataError, RecipeError, RunError: As `preview`.
    """
    if not 1 <= count <= _MOST:
        raise RecipeError(f"count must be 1..{_MOST} images, got {count}")
    path = _page_path(Path(out))
    run = _run_of(data)
    if run is not None:
        _refuse_beside_run(run, source)
        manifest, asked = run.manifest, recipe or run.path / "recipe.toml"
    else:
        assert not isinstance(data, Run), "a run was taken care of"
        manifest, asked = manifest_of(data, source, learnable=False), recipe or "auto"
    chosen = _resolved(load_recipe(asked, changes), manifest)
    split: Split | None = "train" if len(manifest.of_split("train")) else None
    with _showing(manifest, chosen, split, count) as showing:
        contents = _contents(showing, manifest, chosen, split)
    runs.write_content(path, reports.render_preview(contents))
    return Preview(
        path,
        chosen.name,
        {row.name: row.value for row in contents.rows},
        tuple(strip.record_id for strip in contents.drawn),
    )


def _page_path(out: Path) -> Path:
    """Return where the page goes.

    Raises:
        RunError: Something else is there.
        DataError: It is to be another kind of file.
    """
    path = out / _NAME if out.is_dir() or not out.suffix else out
    if path.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"a preview is a page, so {path} must end in .html, or be a folder")
    if path.is_dir():
        raise RunError(f"{path} is a folder. Name a file in it.")
    if path.exists():
        with path.open("rb") as file:
            head = file.read(4096)
        if reports.PREVIEW_TITLE.encode() not in head:
            raise RunError(
                f"{path} is no preview, so it was not replaced. Give another name with --out."
            )
    return path


def _run_of(data: object) -> Run | None:
    if isinstance(data, Run):
        return data
    if isinstance(data, (str, Path)) and (Path(data) / "run.json").is_file():
        return runs.open_run(data)
    return None


def _refuse_beside_run(run: Run, source: SourceOptions) -> None:
    given = [name for name, value in source.items() if value]
    if given:
        raise DataError(
            f"the run {run.path} has its own images, so {', '.join(given)} would change nothing. "
            "Leave them out, or give the images instead of the run."
        )


def _resolved(recipe: Recipe, manifest: Manifest) -> Recipe:
    """Return the recipe with the size its images go in at, and without their scaling.

    Pictures are drawn in 0..255, so what "mean-std" would have to measure does not matter.
    """
    plain = {"data.scaling": "1/255", "data.mean": [], "data.std": []}
    recipe = change_recipe(recipe, plain)
    if recipe.unresolved():
        recipe, _ = resolve_shape(recipe, data_facts.measure(manifest))
    return recipe


def _showing(manifest: Manifest, recipe: Recipe, split: Split | None, count: int) -> Showing:
    """Return the pictures to draw on.

    Raises:
        DataError: There are none, or none can be read.
    """
    usable = pl.col("status").ne_missing(QUARANTINED)
    wanted = usable & (pl.col("split") == split) if split else usable
    rows = manifest.table.select(row=pl.int_range(pl.len()), wanted=wanted).filter("wanted")["row"]
    if not len(rows):
        raise DataError(f"the manifest of {manifest.root} has no usable image to draw on")
    config = StreamConfig.of(recipe, training=True)
    labelled = not manifest.table["label"].null_count()
    if not labelled:  # then no sampling by class is possible, nor a training
        config = dataclasses.replace(config, sampling="all")
    return Showing(
        manifest.index(),
        split=split,
        config=config,
        count=min(count, len(rows)),
        usable=rows.to_numpy().astype(np.int64),
    )


def _contents(
    showing: Showing, manifest: Manifest, recipe: Recipe, split: Split | None
) -> reports.PreviewContents:
    index, section = showing.index, recipe.augment
    rows = [
        reports.PreviewRow(
            extremes.name,
            getattr(section, extremes.name),
            _note(recipe, extremes.name),
            list(_strips(showing, extremes.variants)),
        )
        for extremes in showing.extremes()
    ]
    drawn = [showing.drawn(epoch) for epoch in range(_EPOCHS if rows else 1)]
    versions = [
        (_drawn_in_words(showing, epoch, made), made.images) for epoch, made in enumerate(drawn)
    ]
    size = recipe.data.image_size
    assert size != "auto", "the recipe was resolved"
    return reports.PreviewContents(
        name=recipe.name,
        headline=_headline(recipe, len(rows), len(showing.rows), split),
        facts=[
            ("Folder", str(manifest.root)),
            ("Images", f"{len(index.rows_of(split)):,}, {split or 'not divided yet'}"),
            ("Recipe", recipe.name),
            ("Size", f"{size[0]}x{size[1]} pixels (height x width), as the network gets them"),
            ("Seed", str(recipe.seed)),
            ("Beyond the edge", _fill(recipe)),
        ],
        rows=rows,
        drawn=list(_strips(showing, versions)),
    )


def _strips(showing: Showing, versions: Sequence[tuple[Any, Any]]) -> Iterator[reports.Strip]:
    """Yield one strip an image; a version's words are one text, or one a image."""
    index = showing.index
    for place, row in enumerate(showing.rows.tolist()):
        label = int(index.labels[row])
        shown = [
            pictures.encoded(
                images[place], words if isinstance(words, str) else words[place], max_side=_SIDE
            )
            for words, images in versions
        ]
        name = index.class_names[label] if label >= 0 else None
        yield reports.Strip(name, index.record_id(row), shown)


def _drawn_in_words(showing: Showing, epoch: int, drawn: Drawn) -> list[str]:
    """Return what to say of each picture of an epoch: where it is mixed, its target."""
    index, words = showing.index, []
    for row, partner, share in zip(showing.rows, drawn.partners, drawn.shares, strict=True):
        own, other = (int(index.labels[each]) for each in (row, partner))
        said = f"epoch {epoch + 1}"
        if share < 1 and min(own, other) >= 0 and own != other:
            names = index.class_names
            said += f"\n{share:.0%} {names[own]}, {1 - share:.0%} {names[other]}"
        words.append(said)
    return words


def _headline(recipe: Recipe, on: int, count: int, split: Split | None) -> str:
    if not augment.varies(recipe.augment):
        return (
            f"Recipe {recipe.name} changes nothing at random: every value of [augment] is off. "
            "To try one: --set augment.rotation=15"
        )
    values = f"{on} random change{'s are' if on != 1 else ' is'} on"
    return (
        f"{values}, drawn at {'their' if on != 1 else 'its'} extremes on {count} "
        f"{'training ' * (split == 'train')}image{'s' if count != 1 else ''}; below, all together "
        "as training draws them. Ask of each row: would an expert still give this image its label?"
    )


def _fill(recipe: Recipe) -> str:
    section = recipe.augment
    return {
        "nearest": "the pixel at the edge is repeated",
        "constant": f"filled with {section.fill_value:g} of 255",
        "reflect": "the picture is mirrored",
        "wrap": "the picture is repeated",
    }[section.fill]


def _note(recipe: Recipe, name: str) -> str:
    """Return what numbers say of a change beyond its extremes."""
    section = recipe.augment
    if name == "erasing":
        return f"It happens to {section.erasing:.0%} of the images."
    if name not in ("mixup", "cutmix"):
        return ""
    # By the stream's own draws, at the middle of 1,000 equal steps of both uniforms.
    steps = (np.arange(1000) + 0.5) / 1000
    first, second = (grid.reshape(-1) for grid in np.meshgrid(steps, steps))
    own = symmetric_beta(np.full(len(first), float(getattr(section, name))), first, second)
    mixed = float((np.minimum(own, 1 - own) >= 0.1).mean())
    both = " It is done to half of the images, the other of the two to the rest."
    return f"In {mixed:.0%} of the draws both have a share of a tenth or more." + (
        both if section.mixup and section.cutmix else ""
    )
