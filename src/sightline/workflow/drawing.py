"""The pictures of an explanation, each a file that no other picture overwrites."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline import runs
from sightline.data import images, pictures
from sightline.errors import DataError, RunError
from sightline.judging import reports
from sightline.records import METHOD_NAMES, Attention, Explanation, Manifest
from sightline.runs import Run
from sightline.workflow.looking import Looking

_SMALL = 640  # px of the longer side up to which a picture is a PNG
_LEAST = 320  # px below which each pixel is drawn as a square of several
_QUALITY = 92  # of a JPEG
_LONGEST = 60  # characters of a record id in the name of a file


@dataclass(frozen=True, slots=True)
class Drawing:
    """Draws into a folder what a network looks at.

    Attributes:
        looking: The network and what is asked.
        manifest: Where the images are.
        folder: Where the pictures go.
        chosen: Record ids of the images that are drawn.
        written: Files so far, by what they show; grows.
    """

    looking: Looking
    manifest: Manifest
    folder: Path
    chosen: frozenset[str]
    written: dict[str, Path] = field(default_factory=dict)

    def path(self, shown: str, suffix: str) -> Path:
        """Return the file of what is shown: different for a different image, class or layer."""
        looking = self.looking
        asked = looking.asked
        words = re.sub(r"[^A-Za-z0-9]+", "-", shown).strip("-")[-_LONGEST:].strip("-")
        identity = [str(self.manifest.root), shown, asked.class_name, asked.layer, asked.weights]
        number = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        name = asked.method if shown == asked.method else f"{asked.method}-{words or 'image'}"
        return self.folder / f"{name}-{number}{suffix}"

    def draw(self, explanation: Explanation) -> None:
        """Write the overlay of one image at its own size, if it is one of the chosen."""
        if explanation.record_id not in self.chosen:
            return
        pixels = self._pixels(explanation.record_id)
        if pixels is None:
            return
        label = "" if explanation.label is None else f"  (label: {explanation.label})"
        nothing = "  No place speaks for it." if explanation.is_empty else ""
        legend = reports.Legend(
            f"{explanation.class_name}  {explanation.probability:.1%}{label}{nothing}",
            (self._method_in_words(), explanation.record_id),
            pictures.heat_colours(),
        )
        large = reports.enlarged_whole(pixels, _LEAST)
        over = pictures.overlaid(large, explanation.map)
        self._write(explanation.record_id, reports.with_legend(over, legend))

    def draw_features(self, on_batch: Callable[[int], None]) -> None:
        """Write the feature maps of the layer for each of the chosen images."""
        from sightline.learning.explanation import feature_maps

        looking = self.looking
        assert looking.place is not None, "features are of a layer"
        for rows, batch in looking.batches(self.manifest):
            maps, _ = feature_maps(looking.probe, batch, looking.place)
            height, width, channels = looking.place.shape
            for row, each in zip(rows, maps, strict=True):
                record_id = self.manifest.table["record_id"][int(row)]
                if record_id not in self.chosen:
                    continue
                some = f"strongest {len(each)} of {channels}" if len(each) < channels else "all"
                legend = reports.Legend(
                    f"What layer {looking.layer} puts out",
                    (
                        f"{some if some != 'all' else f'all {channels}'} channels of "
                        f"{height}x{width}, strongest first, each from its least to its largest",
                        record_id,
                    ),
                )
                self._write(record_id, reports.with_legend(reports.grid(each[..., None]), legend))
            on_batch(len(rows))

    def draw_filters(self) -> None:
        """Write the filters of the first convolution.

        Raises:
            DataError: There is none.
        """
        from sightline.learning.explanation import first_filters

        name, filters = first_filters(self.looking.probe)
        count, height, width, channels = filters.shape
        seen = "in colour" if channels == 3 else "in grey"
        legend = reports.Legend(
            f"{count} filters of layer {name}",
            (f"{height}x{width} weights each, {seen}; middle grey is 0, one scale for all",),
        )
        self._write("filters", reports.with_legend(reports.grid(filters), legend))

    def draw_average(self, attention: Attention) -> None:
        """Write the average maps of a split."""
        figure = reports.attention_picture(attention, pictures.heat_colours())
        path = self.path(f"{attention.split} average", ".png")
        runs.write_content(path, reports.png(figure))
        self.written["average"] = path

    def _method_in_words(self) -> str:
        layer = f", layer {self.looking.layer}" if self.looking.layer else ""
        kept = self.looking.kept
        return (
            f"{METHOD_NAMES[self.looking.asked.method]}{layer}; {kept.which} weights, "
            f"epoch {kept.epoch + 1}"
        )

    def _pixels(self, record_id: str) -> npt.NDArray[np.uint8] | None:
        """Return an image as RGB at its own size, turned as for the network; None if unreadable."""
        background = self.looking.run.recipe.data.background
        place = self.manifest.locate(record_id)
        try:
            return images.load(place, rule_set=self.looking.rule_set, background=background)
        except DataError as error:
            self.looking.unreadable[record_id] = error.reason
            return None

    def _write(self, shown: str, picture: npt.NDArray[np.uint8]) -> None:
        is_small = max(picture.shape[:2]) <= _SMALL
        path = self.path(shown, ".png" if is_small else ".jpg")
        content = images.encode_png(picture) if is_small else images.encode_jpeg(picture, _QUALITY)
        runs.write_content(path, content)
        self.written[shown] = path


def folder_of(run: Run, out: str | Path | None, given: Sequence[str | Path]) -> Path:
    """Return where the pictures go; the folder is there and can be written to.

    Raises:
        DataError: Later scans would find them among images.
        RunError: It cannot be written to.
    """
    folder = run.path / "explain" if out is None else Path(out)
    named = [Path(path).resolve() for path in given if Path(path).is_dir()]
    # Beside folders of classes, another folder would be one more class.
    names = run.model["class_names"]
    among = [each.parent if _holds_classes(each.parent, names) else each for each in named]
    among += _homes(run)
    if any(folder.resolve().is_relative_to(each.resolve()) for each in among):
        raise DataError(
            f"{folder} lies among the images, where later scans would find the pictures. Name "
            "another folder (--out)."
        )
    try:
        runs.write_content(folder / ".writable", "")
        (folder / ".writable").unlink()
    except OSError as error:
        raise RunError(
            f"cannot write into {folder}: {error.strerror}. Say where the pictures shall go "
            "(--out)."
        ) from error
    return folder


def _holds_classes(folder: Path, names: Sequence[str]) -> bool:
    return sum((folder / name).is_dir() for name in names) > 1


def _homes(run: Run) -> list[Path]:
    """Return the folders of a run's own images; several members' may lie far apart."""
    if run.state == runs.IMPORTED:
        return []
    if run.state != runs.COMPOSED:
        return [run.manifest.root]
    return [Path(each) for each in run.info["ensemble"]["roots"]]
