"""What gives the label away without looking at the picture: metadata that predict it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.auditing.checks.audited import AuditedSet
from sightline.data.auditing.checks.features import (
    FEATURES,
    Feature,
    feature_matrix,
    strongest_rule,
)
from sightline.data.auditing.checks.outcomes import Outcomes, counted
from sightline.data.auditing.checks.predicting import Aucs, Sample, cross_validated, draw_sample
from sightline.records import Finding

# Area under the ROC curve, mean over the classes of one against the rest; 0.5 is chance. From
# 0.7 on discrimination is usually called acceptable (Hosmer and Lemeshow, 2000), which no
# metadata should reach.
TELLING = 0.70
# From here on metadata alone do as well as a good model. Also what a single class among several
# must reach to be named, as the mean hides it: by the file alone, since among many classes one
# often compresses unlike the others (of ten digits, the 1).
GIVING_AWAY = 0.90
# So many standard deviations of a fixed score must lie between chance and what is claimed. The AUC
# of a cross-validated tree strays up to 1.25 times as far, and 15 are looked at. On random labels
# something was claimed in 5 of 3,681 simulated sets of two classes of 20 to 100 images, 14 features
# each, continuous ones or ones with ties and rare values (at worst 2 of 516, with 20 a class), in
# none of 1,100 with groups of several images, and in none of 392 with 3 or 30 classes.
CLEARLY = 4.0
# With fewer, in images or in groups, next to no AUC is clearly above chance.
LEAST_OF_CLASS = 20

_SHOWN = 12

_SHORTCUT = Outcomes("shortcut", "error")


@dataclass(frozen=True, slots=True)
class _Telling:
    """One feature and how well it tells the label."""

    feature: Feature
    aucs: Aucs

    @property
    def best(self) -> int:
        """The number of the class that it tells best."""
        return int(np.argmax(np.round(self.aucs.of_class, 6)))

    @property
    def single(self) -> bool:
        """Whether it gives one class among several away."""
        auc, chance = self.aucs.of_class[self.best], self.aucs.chance[self.best]
        return self.feature.by_file and bool(auc >= GIVING_AWAY and auc > 0.5 + CLEARLY * chance)

    @property
    def general(self) -> bool:
        """Whether it tells the classes apart on the whole."""
        return is_clear(self.aucs)

    @property
    def is_error(self) -> bool:
        """Whether it gives a label away that only the way the file was made can explain."""
        strong = self.general and self.aucs.mean >= GIVING_AWAY
        return self.single or (self.feature.by_file and strong)


def is_clear(aucs: Aucs) -> bool:
    """Return whether an AUC is both large and clearly above chance."""
    return aucs.mean >= TELLING and aucs.mean > 0.5 + CLEARLY * aucs.chance_of_mean


def shortcut(audited: AuditedSet) -> Finding:
    """Return whether metadata alone predict the label, with the feature named.

    An error only for what a picture's content cannot explain, such as its format or resolution.
    How well a file compresses and what its border shows follow the picture, so these warn.
    """
    rows = audited.usable.drop_nulls(["label", "width", "height"])
    sizes = rows.group_by("label").len()
    if len(sizes) < 2:
        return _SHORTCUT.not_applicable("There are no two classes to tell apart.")
    rows = rows.join(
        sizes.filter(pl.col("len") >= LEAST_OF_CLASS), on="label", how="semi", maintain_order="left"
    )
    few = (
        f"Fewer than two classes have {LEAST_OF_CLASS} images of different groups, too few to "
        "tell a shortcut from chance."
    )
    if rows["label"].n_unique() < 2:
        return _SHORTCUT.not_applicable(few)
    sample = draw_sample(rows)
    if sample.units_of_class().min() < LEAST_OF_CLASS:
        return _SHORTCUT.not_applicable(few)
    matrix = feature_matrix(sample.rows)
    varied = _varied(matrix)
    if not varied:
        return _SHORTCUT.passed("All files are alike in all but their picture.")
    each = [
        _Telling(FEATURES[place], cross_validated(matrix[:, [place]], sample)) for place in varied
    ]
    return _told(each, cross_validated(matrix[:, varied], sample), sample, len(sizes))


def _varied(matrix: npt.NDArray[np.float32]) -> list[int]:
    """Return the places of the features that differ between files, and say no other's thing."""
    names = [feature.name for feature in FEATURES]
    varied = {name: bool(np.ptp(column) > 0) for name, column in zip(names, matrix.T, strict=True)}
    # Of pictures of one size the bytes a pixel are the file size once more.
    varied["bytes_a_pixel"] &= varied["width"] or varied["height"]
    return [place for place, name in enumerate(names) if varied[name]]


def _told(each: list[_Telling], together: Aucs, sample: Sample, num_classes: int) -> Finding:
    """Return what the AUC of every feature, and of all together, come to."""
    each = sorted(each, key=lambda one: (not one.is_error, -round(one.aucs.mean, 6)))
    named = [one for one in each if one.general or one.single]
    evidence = {
        "features": [_in_numbers(one, sample) for one in each],
        "auc_of_all": round(together.mean, 4),
        "clear_from": round(max(TELLING, 0.5 + CLEARLY * together.chance_of_mean), 4),
        "telling": [one.feature.name for one in named],
        "images": len(sample.rows),
        "classes": sample.class_names,
        "classes_left_out": num_classes - len(sample.class_names),
        "examples": {} if not named else _examples(named[0], sample),
    }
    best = (named or each)[0]
    if not named and not is_clear(together):
        return _SHORTCUT.passed(
            f"No metadata {_surely(each, together)}predict the label: the best is "
            f"{best.feature.words}, with an AUC of {best.aucs.mean:.2f} (0.5 is chance).",
            evidence,
        )
    others = len(named) - 1
    more = f"; {counted(others, 'other feature')} as well" if others > 0 else ""
    return _SHORTCUT.found(
        f"{_in_words(best, sample) if named else _all_in_words(best, together)}{more}.",
        evidence,
        _ADVICE_ERROR if best.is_error else _ADVICE_WARNING,
        severity="error" if best.is_error else "warning",
    )


_ADVICE_ERROR = (
    "The picture cannot explain this: the classes come from different places, and a model may "
    "learn the place. Export all images the same way, or judge on images of one source "
    "(`sightline evaluate`)."
)
_ADVICE_WARNING = (
    "Look at the examples before you trust a high accuracy: how a file compresses, or what its "
    "edge shows, may follow the picture (texture takes bytes) or tell where it was made. Images "
    "of one source (`sightline evaluate`) show which."
)


def _in_words(one: _Telling, sample: Sample) -> str:
    """Return "The file size alone predicts the label with an AUC of 0.83: ..."."""
    name, words = sample.class_names[one.best], one.feature.words
    rule = _rule(one, sample)
    words = words[0].upper() + words[1:]
    if one.general:
        said = f"{words} alone predicts the label with an AUC of {one.aucs.mean:.2f}"
    else:
        said = f"{words} alone tells {name!r} from the others with an AUC of "
        said += f"{one.aucs.of_class[one.best]:.2f}"
    return f"{said}: {name!r} {rule}"


def _surely(each: list[_Telling], together: Aucs) -> str:
    """Return "clearly " where an AUC is large, but that of few images or groups can be."""
    large = any(aucs.mean >= TELLING for aucs in (*(one.aucs for one in each), together))
    return "clearly " if large else ""


def _all_in_words(best: _Telling, together: Aucs) -> str:
    return (
        f"All metadata together predict the label with an AUC of {together.mean:.2f}, none alone; "
        f"the most by {best.feature.words} ({best.aucs.mean:.2f})"
    )


def _examples(one: _Telling, sample: Sample) -> dict[str, list[str]]:
    """Return the record ids of some images of the class that is told best, and of the others."""
    inside = pl.Series(sample.labels == one.best)
    ids, name = sample.rows["record_id"], sample.class_names[one.best]
    both = {name: ids.filter(inside), f"not {name}": ids.filter(~inside)}
    return {
        words: found.gather_every(max(1, len(found) // _SHOWN)).head(_SHOWN).to_list()
        for words, found in both.items()
    }


def _rule(one: _Telling, sample: Sample) -> str:
    return strongest_rule(one.feature, sample.rows, sample.labels == one.best)


def _in_numbers(one: _Telling, sample: Sample) -> dict[str, Any]:
    """Return one feature as plain JSON values."""
    return {
        "feature": one.feature.name,
        "auc": round(one.aucs.mean, 4),
        "content_may_explain": not one.feature.by_file,
        "class": sample.class_names[one.best],
        "auc_of_class": round(float(one.aucs.of_class[one.best]), 4),
        "rule": _rule(one, sample),
    }
