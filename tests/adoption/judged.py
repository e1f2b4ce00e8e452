"""What the tests ask of an adoption, in few words."""

from __future__ import annotations

from collections.abc import Callable

from sightline.adoption import Adoption
from sightline.records import Finding

Read = Callable[..., Adoption]  # what the fixture `read` is

FEED = """\
import numpy as np
from sightline.preprocessing.image import ImageDataGenerator
from keras import layers, models, callbacks
plain = ImageDataGenerator(rescale=1 / 255)
train = plain.flow_from_directory("photos/train", batch_size=32, class_mode="binary")
val = plain.flow_from_directory("photos/val", batch_size=32, class_mode="binary", shuffle=False)
model = models.Sequential([layers.Flatten(), layers.Dense(1, activation="sigmoid")])
model.compile("adam", "binary_crossentropy", metrics=["AUC", "accuracy"])
np.random.seed(1)
"""
FEED_LINES = FEED.count("\n")


def codes(adoption: Adoption) -> list[str]:
    """Return the codes of the findings, in the order of the text."""
    return [each.code for each in adoption.findings]


def the(adoption: Adoption, code: str) -> Finding:
    """Return the one finding of a code."""
    found = [each for each in adoption.findings if each.code == code]
    assert len(found) == 1, f"{code}: {codes(adoption)}"
    return found[0]


def places(adoption: Adoption) -> list[tuple[int, str]]:
    """Return (line, code) of every finding."""
    return [(each.evidence["line"], each.code) for each in adoption.findings]


def left_of(adoption: Adoption) -> set[tuple[str, str]]:
    """Return (code, title) of what the mended copy still has."""
    return {(each.code, each.title) for each in adoption.findings if not each.evidence["mended"]}


def mended(adoption: Adoption) -> str:
    """Return the mended text."""
    assert adoption.mended is not None, codes(adoption)
    return adoption.mended.decode()
