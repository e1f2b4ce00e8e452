"""Figures as text: one evaluation, and several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.cli import console
from sightline.records import (
    Calibration,
    Evaluation,
    Interval,
    LeakEffect,
    OperatingPoint,
    PredictionSets,
    RunsCompared,
    Slice,
    edges_of,
    rounded,
)

_OF_A_CLASS = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision")
_OF_A_POINT = ("sensitivity", "specificity", "precision", "f1")
_MOST_CLASSES = 30  # of a confusion matrix that fits into a wide terminal
_MOST_CONFUSIONS = 20
_MOST_NOTES = 3  # reasons for a missing interval that are told in full


def show(judged: Evaluation) -> None:
    """Print the figures of one evaluation."""
    unread = f", {judged.unreadable} unreadable ones left out" if judged.unreadable else ""
    console.show(
        f"{judged.source}: {judged.count:,} images{unread}; "
        f"{judged.weights} weights, epoch {judged.epoch + 1}"
    )
    if judged.caution:
        console.show(f"Caution: {judged.caution}.")
    if judged.looks:
        console.show(f"Looks at this test split so far, by any run of yours: {judged.looks:,}.")
    if judged.decision.kind != "most probable":
        console.show(judged.decision.sentence(judged.class_names))
    _show_metrics(judged)
    _show_classes(judged)
    _show_confusion(judged)
    if judged.calibration is not None:
        _show_calibration(judged.calibration)
    if judged.sets is not None:
        _show_sets(judged.sets)
    if judged.points:
        _show_points(judged.points)
    if judged.slices:
        _show_slices(judged.slices)
    if judged.leak_effect is not None:
        _show_leak_effect(judged.leak_effect)


def show_comparison(compared: RunsCompared) -> None:
    """Print how several runs differ."""
    first = compared.evaluations[0]
    console.show(f"{first.source} images, {first.weights} weights; each figure of all its images")
    metrics = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss")
    console.show_table(
        ["run", "images", "epoch", *metrics],
        [
            [name, f"{each.count:,}", str(each.epoch + 1), *_with_intervals(each, metrics)]
            for name, each in zip(compared.names, compared.evaluations, strict=True)
        ],
    )
    for pair in compared.comparisons:
        console.show(f"\n{pair.words()}.")
        console.show(
            f"On {pair.count:,} images that both judged. Right in one alone: "
            f"{pair.first_alone_right:,} {pair.names[0]}, {pair.second_alone_right:,} "
            f"{pair.names[1]}; exact McNemar p {pair.mcnemar:.3g}"
            + (
                f", which takes images as independent: the intervals resample {pair.groups:,} "
                "whole groups."
                if pair.groups
                else "."
            )
        )
        console.show_table(
            ["metric", f"{pair.names[1]} less {pair.names[0]}"],
            [[name, _difference(each)] for name, each in pair.differences.items()],
        )
    if compared.recipe_differences:
        console.show("\nThe recipes differ in")
        rows = [[key, *map(str, row)] for key, row in compared.recipe_differences.items()]
        console.show_table(["", *compared.names], rows)
    else:
        console.show("\nThe recipes are the same.")


def _show_metrics(judged: Evaluation) -> None:
    """Print every figure with its interval, beside those of answering without looking."""
    baselines = list(judged.baselines)
    console.show_table(
        ["metric", "value", "95 % interval", *(f"{name} baseline" for name in baselines)],
        [
            [
                name,
                _number(value),
                edges_of(judged.intervals[name]) if name in judged.intervals else "",
                *(_number(judged.baselines[each].get(name)) for each in baselines),
            ]
            for name, value in judged.metrics.items()
        ],
    )
    if judged.groups:
        console.show(f"Intervals resample {judged.groups:,} whole groups.")
    notes = list(dict.fromkeys(each.note for each in judged.intervals.values() if each.note))
    for note in notes[:_MOST_NOTES]:
        console.show(f"No interval: {note}.")
    console.show("")


def _show_classes(judged: Evaluation) -> None:
    console.show_table(
        ["class", "images", *_OF_A_CLASS],
        [
            [
                scores.name,
                f"{scores.count:,}",
                *(
                    _with_interval(scores.metrics.get(name), scores.intervals.get(name))
                    for name in _OF_A_CLASS
                ),
            ]
            for scores in judged.classes
        ],
    )


def _show_confusion(judged: Evaluation) -> None:
    """Print the confusion matrix; of many classes what is confused most often."""
    if len(judged.classes) <= _MOST_CLASSES:
        console.show("\nconfusion matrix (row: true class, column: predicted)")
        console.show_table(
            ["", *judged.class_names],
            [
                [name, *(f"{count:,}" for count in row)]
                for name, row in zip(judged.class_names, judged.confusion.tolist(), strict=True)
            ],
        )
        return
    found = judged.confusions(_MOST_CONFUSIONS)
    console.show(f"\nmost frequent confusions of {len(judged.classes):,} classes")
    console.show_table(
        ["true class", "predicted", "images", "of"],
        [[true, called, f"{count:,}", f"{own:,}"] for true, called, count, own in found],
    )


def _show_calibration(found: Calibration) -> None:
    """Print what the temperature does to the probabilities."""
    console.show(f"\ncalibration: temperature {found.temperature:.3f}, fitted on {found.fitted_on}")
    if found.note:
        console.show(f"{found.note}.")
    console.show_table(
        ["", "as predicted", "calibrated"],
        [
            [name, _interval(before), _interval(found.after.get(name))]
            for name, before in found.before.items()
        ],
    )


def _show_sets(found: PredictionSets) -> None:
    """Print how sets of classes did."""
    rule = found.rule
    console.show(
        f"\nsets of classes that are to hold the true one in {rule.coverage:.1%} "
        f"(fitted on {rule.chosen_on}): they do in {_interval(found.reached, 3)}, with "
        f"{rounded(found.mean_size.value, 2)} classes on average, {found.empty:,} of "
        f"{found.count:,} empty"
    )
    if rule.note:
        console.show(f"{rule.note}.")


def _show_points(points: Sequence[OperatingPoint]) -> None:
    several = len({point.class_name for point in points}) > 1
    about = "each class against the rest" if several else points[0].class_name
    console.show(f"\nthresholds for {about}, chosen on validation")
    console.show_table(
        [*["class"] * several, "rule", "threshold", *_OF_A_POINT],
        [
            [
                *[point.class_name] * several,
                point.rule,
                "none" if point.threshold is None else f"{point.threshold:.4g}",
                *(_interval(getattr(point, name), 3) for name in _OF_A_POINT),
            ]
            for point in points
        ],
    )


def _show_slices(found: Sequence[Slice]) -> None:
    """Print the figures of parts of the records, and which differ from the rest."""
    console.show("\nparts of the images (difference: accuracy less that of the rest, by class)")
    metrics = list(dict.fromkeys(name for each in found for name in each.metrics))
    console.show_table(
        ["part", "images", *metrics, "difference", "p, corrected", ""],
        [
            [
                f"{each.column}: {each.value}",
                f"{each.count:,}",
                *(_interval(each.metrics.get(name), 3) for name in metrics),
                _difference(each.difference),
                "-" if each.corrected is None else f"{each.corrected:.2g}",
                "differs" if each.differs else "",
            ]
            for each in found
        ],
    )


def _show_leak_effect(effect: LeakEffect) -> None:
    """Print the metrics with and without leaked images, each with its 95 % interval."""
    console.show(
        f"\n{effect.leaked:,} of {effect.count:,} images have a copy or a group mate among those "
        "learned from (value, 95 % interval)"
    )
    console.show_table(
        ["metric", "with them", "without them"],
        [
            [name, _interval(interval), _interval(effect.clean.get(name), none="no image is left")]
            for name, interval in effect.whole.items()
        ],
    )


def _with_intervals(judged: Evaluation, metrics: Sequence[str]) -> list[str]:
    return [
        _with_interval(judged.metrics.get(name), judged.intervals.get(name)) for name in metrics
    ]


def _with_interval(value: float | None, interval: Interval | None) -> str:
    return _number(value, 3) if interval is None else _interval(interval, 3)


def _interval(interval: Interval | None, decimals: int = 4, *, none: str = "not defined") -> str:
    if interval is None:
        return none
    return f"{rounded(interval.value, decimals)}  ({edges_of(interval, decimals)})"


def _difference(interval: Interval | None) -> str:
    """Return a figure less another one, with its interval: every number has its sign."""
    if interval is None:
        return "not defined"
    if interval.low is None or interval.high is None:
        return f"{interval.value:+.3f}  (too few to say)"
    return f"{interval.value:+.3f}  ({interval.low:+.3f} to {interval.high:+.3f})"


def _number(value: float | None, decimals: int = 4) -> str:
    return "not defined" if value is None else rounded(value, decimals)
