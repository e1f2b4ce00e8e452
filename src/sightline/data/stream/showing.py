"""What each random change does at its extremes, and what training draws: pictures for people.

All of it comes out of the stream's own engine, matrices and kernels: there is no second code that
could show something else than what is trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sightline.data.stream import augment
from sightline.data.stream.augment import Changes, no_changes
from sightline.data.stream.config import StreamConfig
from sightline.data.stream.engine import Engine, finish
from sightline.data.stream.erasing import LEAST_ERASED, MOST_ERASED, Erasures, erased_boxes
from sightline.data.stream.keys import PAINT, hashes
from sightline.data.stream.mixing import Mixer, Mixing, cut_boxes
from sightline.data.stream.sampling import make_order
from sightline.errors import DataError
from sightline.recipes import AugmentSection
from sightline.records import RecordIndex, Split

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
Variant = tuple[str, dict[str, float]]

_AS_IT_IS: Variant = ("as it is", {})
_LOOKED_AT = 20  # files for each picture that is shown, until they can be read


@dataclass(frozen=True, slots=True)
class Extremes:
    """One random change at its extremes.

    Attributes:
        name: Of the recipe's value in [augment].
        variants: What was done, in words, and (N, H, W, C) uint8: every picture after it.
    """

    name: str
    variants: tuple[tuple[str, Pixels], ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What training makes of the pictures in one epoch.

    Attributes:
        images: (N, H, W, C) uint8.
        shares: (N,) float32, how much of the target is the record's own.
        partners: (N,) int64, the manifest rows of the rest.
    """

    images: Pixels
    shares: npt.NDArray[np.float32]
    partners: Rows


class Showing:
    """Pictures of some records of a split, changed as asked; closes its threads on leaving.

    The first readable records are shown, classes in turn, in an order that the seed decides.

    Args:
        index: The images.
        split: Which part; None takes every row that `usable` names.
        config: How training streams them; the pictures are uint8 and channels last all the same.
        count: Pictures, at most.
        usable: Rows to choose from.

    Raises:
        DataError: None of the files tried can be read.
    """

    def __init__(
        self,
        index: RecordIndex,
        *,
        split: Split | None,
        config: StreamConfig,
        count: int,
        usable: Rows,
    ) -> None:
        self.index = index
        self._config = dataclasses.replace(
            config, dtype="uint8", layout="channels-last", batch_size=count
        )
        self._section = config.augment or AugmentSection()
        self._engine = Engine(index, self._config)
        self._engine.open()
        members = index.rows_of(split)
        order = make_order(
            members, seed=config.seed, shuffle=True, sampling=config.sampling,
            labels=index.labels, weights=index.weights,
        )  # fmt: skip
        self._mixer = Mixer.of(self._config, order, members)
        self.rows = np.zeros(0, np.int64)
        try:
            self.rows = self._readable(_in_turn(index, usable, config.seed), count)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the threads."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def extremes(self) -> list[Extremes]:
        """Return every change of the section that is on, at its extremes."""
        found = []
        for name, variants in _variants(self._section):
            if name in ("mixup", "cutmix") and len(self.rows) < 2 and self._mixer is None:
                continue
            made = [(words, self._variant(how)) for words, how in variants]
            found.append(Extremes(name, tuple(made)))
        return found

    def drawn(self, epoch: int) -> Drawn:
        """Return the pictures as training sees them in an epoch that has each of them once."""
        section, config = self._section, self._config
        changes = augment.draw(
            section, size=config.image_size, seed=config.seed, epoch=epoch, keys=self.rows
        )
        mixing = self._mixer.draw(epoch, rows=self.rows, keys=self.rows) if self._mixer else None
        images = self._made(changes, mixing)
        if mixing is None:
            return Drawn(images, np.ones(len(self.rows), np.float32), self.rows)
        return Drawn(images, mixing.shares, mixing.rows)

    def _variant(self, how: dict[str, float]) -> Pixels:
        return self._made(self._changes(**how), self._mixing(**how))

    def _made(self, changes: Changes, mixing: Mixing | None = None) -> Pixels:
        weights = np.ones(len(self.rows), np.float32)
        making = self._engine.start(self.rows, weights, changes, mixing=mixing)
        finish(making)
        images: Pixels = making.images.copy()  # type: ignore[assignment] # the config asks for uint8
        return images

    def _changes(self, **how: float) -> Changes:
        """Return one change of every picture; angles in radians, shifts in shares of the side."""
        count, (height, width) = len(self.rows), self._config.image_size
        plain = no_changes(count)
        moves: dict[str, Any] = {
            "theta": 0.0, "shift_y": 0.0, "shift_x": 0.0, "shear": 0.0,
            "zoom_y": 1.0, "zoom_x": 1.0, "flip_x": False, "flip_y": False,
        }  # fmt: skip
        asked = moves | {name: value for name, value in how.items() if name in moves}
        asked["shift_y"], asked["shift_x"] = asked["shift_y"] * height, asked["shift_x"] * width
        placing = plain.matrices
        if moves.keys() & how.keys():
            each = {name: np.full(count, value) for name, value in asked.items()}
            placing = augment.matrices(size=(height, width), **each)
        erasures = None
        if "erased" in how:
            middle = np.full(count, 0.5)
            boxes = erased_boxes(
                (height, width), np.full(count, how["erased"]),
                shape=np.full(count, how["shape"]), y=middle, x=middle,
            )  # fmt: skip
            paint = hashes(PAINT, seed=self._config.seed, epoch=0, rows=self.rows)
            erasures = Erasures(boxes, paint)
        return Changes(
            placing,
            plain.brightness * np.float32(how.get("brightness", 1)),
            plain.shifts + np.float32(how.get("shift", 0)),
            erasures,
        )

    def _mixing(self, **how: float) -> Mixing | None:
        """Return every picture mixed with the next one."""
        if not {"mixed", "cut"} & how.keys():
            return None
        count, size = len(self.rows), self._config.image_size
        partners = np.roll(self.rows, -1)
        if count == 1 and self._mixer is not None:
            partners = self._mixer.draw(0, rows=self.rows, keys=self.rows).rows
        shares = np.full(count, how.get("mixed", how.get("cut", 0.0)))
        keeps, boxes = shares, np.tile(np.array([0, 0, *size], np.int32), (count, 1))
        if "cut" in how:
            middle = np.full(count, 0.5)
            boxes, shares = cut_boxes(size, shares, y=middle, x=middle)
            keeps = np.zeros(count)
        return Mixing(
            partners,
            no_changes(count),
            shares.astype(np.float32),
            boxes,
            keeps.astype(np.float32),
        )

    def _readable(self, candidates: Rows, count: int) -> Rows:
        """Return the first `count` rows whose files can be read."""
        found: list[int] = []
        first = ""
        for begin in range(0, min(len(candidates), count * _LOOKED_AT), count):
            rows = candidates[begin : begin + count]
            weights = np.ones(len(rows), np.float32)
            making = self._engine.start(rows, weights, no_changes(len(rows)))
            finish(making)
            found += rows[making.weights > 0].tolist()
            if making.faults and not first:
                first = making.faults[0][1].message
            if len(found) >= count:
                break
        if not found:
            raise DataError(
                f"no training image of {self.index.root} can be shown. The first: {first}"
            )
        return np.asarray(found[:count], np.int64)


def _in_turn(index: RecordIndex, rows: Rows, seed: int) -> Rows:
    """Return the rows in random order, the classes taking turns."""
    shuffled = rows[np.argsort(hashes(PAINT, seed=seed, epoch=0, rows=rows), kind="stable")]
    labels = index.labels[shuffled]
    by_class = np.argsort(labels, kind="stable")
    _, begins = np.unique(labels[by_class], return_index=True)
    turn = np.empty(len(rows), np.int64)
    ends = np.append(begins[1:], len(rows))
    turn[by_class] = np.arange(len(rows)) - np.repeat(begins, ends - begins)
    return shuffled[np.lexsort((labels, turn))]


def _variants(section: AugmentSection) -> Sequence[tuple[str, list[Variant]]]:
    """Return what to show of each change that is on, in the recipe's order."""
    every = {**_moved(section), **_coloured(section), **_blended()}
    return [(name, variants) for name, variants in every.items() if getattr(section, name)]


def _moved(section: AugmentSection) -> dict[str, list[Variant]]:
    angle, lean = float(np.deg2rad(section.rotation)), float(np.deg2rad(section.shear))
    across, down = section.width_shift, section.height_shift
    near, far = 1 - section.zoom, 1 + section.zoom  # of the piece of the picture that is seen
    return {
        "rotation": [
            (f"{section.rotation:g}° clockwise", {"theta": -angle}),
            _AS_IT_IS,
            (f"{section.rotation:g}° counter-clockwise", {"theta": angle}),
        ],
        "width_shift": [
            (f"{across:.0%} to the left", {"shift_x": across}),
            _AS_IT_IS,
            (f"{across:.0%} to the right", {"shift_x": -across}),
        ],
        "height_shift": [
            (f"{down:.0%} up", {"shift_y": down}),
            _AS_IT_IS,
            (f"{down:.0%} down", {"shift_y": -down}),
        ],
        "shear": [
            (f"{section.shear:g}°, top to the right", {"shear": -lean}),
            _AS_IT_IS,
            (f"{section.shear:g}°, top to the left", {"shear": lean}),
        ],
        "zoom": [
            (f"closer: {1 / near:.2f} times as large", {"zoom_y": near, "zoom_x": near}),
            _AS_IT_IS,
            (f"farther: {1 / far:.2f} times as large", {"zoom_y": far, "zoom_x": far}),
            ("widest: closer across, farther down", {"zoom_y": far, "zoom_x": near}),
            ("tallest: farther across, closer down", {"zoom_y": near, "zoom_x": far}),
        ],
        "horizontal_flip": [_AS_IT_IS, ("left and right exchanged", {"flip_x": 1})],
        "vertical_flip": [_AS_IT_IS, ("upside down", {"flip_y": 1})],
    }


def _coloured(section: AugmentSection) -> dict[str, list[Variant]]:
    bright, shift = section.brightness, section.channel_shift
    return {
        "brightness": [
            (f"darker: colours times {1 - bright:g}", {"brightness": 1 - bright}),
            _AS_IT_IS,
            (f"brighter: colours times {1 + bright:g}", {"brightness": 1 + bright}),
        ],
        "channel_shift": [
            (f"{shift:g} taken off every colour", {"shift": -shift}),
            _AS_IT_IS,
            (f"{shift:g} added to every colour", {"shift": shift}),
        ],
    }


def _blended() -> dict[str, list[Variant]]:
    return {
        "erasing": [
            _AS_IT_IS,
            (f"smallest: {LEAST_ERASED:.0%} of the area", {"erased": LEAST_ERASED, "shape": 0.5}),
            (f"widest: {MOST_ERASED:.0%}", {"erased": MOST_ERASED, "shape": 0}),
            (f"tallest: {MOST_ERASED:.0%}", {"erased": MOST_ERASED, "shape": 1}),
        ],
        "mixup": [
            _AS_IT_IS,
            ("half and half with the next", {"mixed": 0.5}),
            ("a tenth itself", {"mixed": 0.1}),
        ],
        "cutmix": [
            _AS_IT_IS,
            ("half of the area from the next", {"cut": 0.5}),
            ("nine tenths from the next", {"cut": 0.1}),
        ],
    }
