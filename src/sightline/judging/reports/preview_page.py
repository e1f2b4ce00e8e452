"""The page of a preview: what the recipe's random changes do to the user's own images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment

from sightline.judging.reports import layout
from sightline.records import Picture

PREVIEW_TITLE = "Sightline preview"  # by which a page of ours is known again

_TITLES = {  # title, what happens, when it is wrong
    "rotation": (
        "Rotation",
        "Turned about the middle, by any angle between the two.",
        "",
    ),
    "width_shift": ("Shift across", "Moved by anything between the two.", ""),
    "height_shift": ("Shift up and down", "Moved by anything between the two.", ""),
    "shear": ("Shear", "Slanted by anything between the two.", ""),
    "zoom": (
        "Zoom",
        "Height and width each by a factor of their own, so shapes change as well.",
        "Where size or shape tells the classes apart, keep it small.",
    ),
    "horizontal_flip": (
        "Horizontal flip",
        "Half of the images are mirrored left to right.",
        "Right only where a mirrored image keeps its label: not for digits, letters, left and "
        "right hands, or a chest with the heart on its side.",
    ),
    "vertical_flip": (
        "Vertical flip",
        "Half of the images are turned upside down by mirroring.",
        "Right only where an image upside down keeps its label, as under a microscope.",
    ),
    "brightness": (
        "Brightness",
        "Every colour times any factor between the two.",
        "Where brightness tells the classes apart, keep it small.",
    ),
    "channel_shift": (
        "Colours",
        "Anything between the two is added to every colour, within the image's own range.",
        "Where shades tell the classes apart, keep it small.",
    ),
    "erasing": (
        "Random erasing",
        "A rectangle anywhere gets random colours; its size lies between these.",
        "Wrong where the label hangs on a small detail, which may be what is erased.",
    ),
    "mixup": (
        "Mixup",
        "Another training image is laid over it; the target is shared in the same proportion. "
        "Here the partner is the next image shown; in training it is any other.",
        "",
    ),
    "cutmix": (
        "Cutmix",
        "A rectangle of another training image is put in; the target is shared by area. "
        "Here the partner is the next image shown; in training it is any other.",
        "Wrong where the label hangs on a small detail, which may be what is covered.",
    ),
}
_LARGE_TURN = 30  # degrees
_TURNED = (
    "So large a rotation is right only where the label cannot change by it: a 6 becomes a 9, an "
    "upright organ is never seen on its side."
)


@dataclass(frozen=True, slots=True)
class Strip:
    """One training image in several versions, side by side.

    Attributes:
        label: Its class; None without one.
        record_id: Its name.
        pictures: The versions; each caption says what was done.
    """

    label: str | None
    record_id: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One random change at its extremes.

    Attributes:
        name: Of the value in [augment].
        value: Of the recipe, e.g. 20.0 or True.
        note: A sentence more that is known of it; "" for none.
        strips: One an image.
    """

    name: str
    value: float | bool
    note: str
    strips: Sequence[Strip]


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewContents:
    """Everything the page of a preview shows.

    Attributes:
        name: Of the recipe.
        headline: One or two sentences.
        facts: (name, value) of images and recipe.
        rows: One a change that is on.
        drawn: Real draws of training, one strip an image.
    """

    name: str
    headline: str
    facts: Sequence[tuple[str, str]]
    rows: Sequence[PreviewRow]
    drawn: Sequence[Strip]


def render_preview(contents: PreviewContents) -> str:
    """Return the preview as one HTML5 page that loads nothing; equal contents, equal page.

    Raises:
        ValueError: A picture is neither JPEG nor PNG.
    """
    return (
        _environment()
        .get_template("preview.html.j2")
        .render(
            name=contents.name,
            headline=contents.headline,
            contents=contents,
            rows=[_in_words(row) for row in contents.rows],
            page_title=PREVIEW_TITLE,
        )
    )


@functools.cache
def _environment() -> Environment:
    return layout.environment()


def _in_words(row: PreviewRow) -> dict[str, Any]:
    """Return what the template lays out of one change."""
    title, what, caution = _TITLES[row.name]
    if row.name == "rotation" and row.value > _LARGE_TURN:
        caution = _TURNED
    value = "true" if row.value is True else f"{row.value:g}"
    return {
        "name": row.name,
        "title": title,
        "setting": f"augment.{row.name} = {value}",
        "what": f"{what} {row.note}".strip(),
        "caution": caution,
        "strips": row.strips,
    }
