from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as peer

from sightline.errors import DataError, RecipeError
from sightline.judging.evaluation import (
    apply_points,
    choose_decision,
    class_points,
    costs_from_csv,
    costs_from_table,
    operating_points,
    parse_rule,
)
from sightline.records import ChosenDecision, OperatingPoint, Predictions

TWO = ("healthy", "ill")
THREE = ("melanoma", "naevus", "wart")


def two_classes(labels, probabilities, **more) -> Predictions:
    second = np.asarray(probabilities, np.float32)
    return Predictions.make(
        class_names=TWO,
        record_ids=[f"{row:04d}" for row in range(len(second))],
        labels=[TWO[int(label)] for label in labels],
        probabilities=np.stack([1 - second, second], axis=1),
        **more,
    )


def drawn(count: int = 200, *, seed: int = 0, digits: int | None = None) -> Predictions:
    """Return predictions of two classes; few digits make many equal probabilities."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.4
    probability = 1 / (1 + np.exp(-rng.normal(np.where(labels, 0.8, -0.8), 1.2)))
    return two_classes(labels, probability if digits is None else probability.round(digits))


def brute_force(predictions: Predictions) -> list[tuple[float, int, int, int, int]]:
    """Return the threshold and the four counts of every way to part the records."""
    positive = predictions.label_indices() == 1
    probability = predictions.probabilities[:, 1]
    rows = []
    for edge in [*np.unique(probability), np.float32(2)]:
        called = probability >= edge
        rows.append((float(edge), (called & positive).sum(), (called & ~positive).sum(),
                     (~called & positive).sum(), (~called & ~positive).sum()))  # fmt: skip
    return rows


BEST = {
    "f1": lambda hits, false, missed, rest: 2 * hits / (2 * hits + false + missed),
    "youden": lambda hits, false, missed, rest: hits * (rest + false) - false * (hits + missed),
    "sensitivity=0.9": lambda hits, false, missed, rest: (
        rest if hits / (hits + missed) >= 0.9 else -1
    ),
    "specificity=0.9": lambda hits, false, missed, rest: (
        hits if rest / (rest + false) >= 0.9 else -1
    ),
}


@pytest.mark.parametrize("digits", [None, 1])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", list(BEST))
def test_no_threshold_does_better_than_the_one_chosen(rule, seed, digits):
    predictions = drawn(seed=seed, digits=digits)
    decision = choose_decision(parse_rule(rule, TWO), predictions).decision
    guessed = decision.choose(predictions.probabilities)
    (rest, false), (missed, hits) = peer.confusion_matrix(predictions.label_indices(), guessed)
    best = max(BEST[rule](*counts) for _, *counts in brute_force(predictions))
    assert BEST[rule](hits, false, missed, rest) == best


def test_the_best_f1_is_that_of_scikit_learns_curve():
    predictions = drawn()
    precision, recall, _ = peer.precision_recall_curve(
        predictions.label_indices(), predictions.probabilities[:, 1]
    )
    best = (2 * precision * recall / (precision + recall)).max()
    found = choose_decision(parse_rule("f1", TWO), predictions).reached
    assert found.f1.value == pytest.approx(best)


def test_the_best_youden_is_that_of_scikit_learns_curve():
    predictions = drawn()
    false, true, _ = peer.roc_curve(predictions.label_indices(), predictions.probabilities[:, 1])
    found = choose_decision(parse_rule("youden", TWO), predictions).reached
    index = found.sensitivity.value + found.specificity.value - 1
    assert index == pytest.approx((true - false).max())


def test_the_decision_does_what_the_point_promises():
    predictions = drawn()
    found = choose_decision(parse_rule("sensitivity=0.95", TWO), predictions)
    guessed = found.decision.choose(predictions.probabilities)
    recall = peer.recall_score(predictions.label_indices(), guessed)
    assert found.reached.sensitivity.value == recall >= 0.95


def test_a_threshold_lies_midway_between_two_probabilities():
    found = choose_decision(parse_rule("f1", TWO), two_classes([0, 0, 1, 1], [0.1, 0.25, 0.75, 1]))
    assert found.decision.threshold == 0.5


def test_neighbouring_float32_numbers_are_parted():
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    predictions = two_classes([0, 0, 1, 1], [low, low, high, high])
    decision = choose_decision(parse_rule("youden", TWO), predictions).decision
    assert decision.choose(predictions.probabilities).tolist() == [0, 0, 1, 1]


def test_of_equals_the_lowest_threshold_is_taken():
    predictions = two_classes([1, 0, 1, 0], [0.8, 0.6, 0.4, 0.2])  # Youden is 1/2 twice
    found = choose_decision(parse_rule("youden", TWO), predictions)
    assert found.decision.threshold == pytest.approx(0.3)


def test_with_three_classes_the_named_one_is_against_the_rest(make_predictions):
    predictions = make_predictions(THREE)
    found = choose_decision(parse_rule("specificity=0.9:wart", THREE), predictions)
    guessed = found.decision.choose(predictions.probabilities) == 2
    rest = predictions.label_indices() != 2
    assert found.decision.class_index == 2
    assert found.reached.specificity.value == (~guessed[rest]).mean() >= 0.9


def test_the_decision_says_what_it_was_chosen_on():
    predictions = two_classes([0, 1] * 40, [0.2, 0.8] * 40, model_fingerprint="f00", epoch=6)
    decision = choose_decision(parse_rule("f1", TWO), predictions).decision
    assert (decision.rule, decision.chosen_on, decision.model_fingerprint) == (
        "f1", "80 records of validation, best weights, epoch 7", "f00",
    )  # fmt: skip


def test_few_records_of_the_class_are_warned_of():
    predictions = two_classes([0] * 50 + [1] * 12, np.linspace(0, 0.9, 62))
    found = choose_decision(parse_rule("sensitivity=0.9", TWO), predictions)
    assert found.warnings == (
        "12 records of 'ill' are too few to choose by 'sensitivity=0.9': 30 are needed",
    )
    assert found.reached.sensitivity.note == "too few to say: 12 images, 30 are needed"


def test_many_records_are_not_warned_of():
    assert choose_decision(parse_rule("f1", TWO), drawn()).warnings == ()


def test_a_sensitivity_had_only_by_calling_everything_so_is_warned_of():
    predictions = two_classes([0] * 40 + [1] * 40, [0.9] * 40 + [0.1] * 40)
    (warning,) = choose_decision(parse_rule("sensitivity=0.5", TWO), predictions).warnings
    assert warning == "'sensitivity=0.5': reached only by calling every record so"


def test_a_specificity_had_only_by_calling_nothing_so_is_warned_of():
    predictions = two_classes([0] * 40 + [1] * 40, [0.9] * 40 + [0.1] * 40)
    (warning,) = choose_decision(parse_rule("specificity=0.5", TWO), predictions).warnings
    assert warning == "'specificity=0.5': reached only by calling no record of the class so"


def test_a_specificity_that_cannot_be_had_is_refused():
    predictions = two_classes([0] * 40 + [1] * 40, [1.0] * 80)
    with pytest.raises(DataError, match=r"'specificity=0.9' cannot be had on 80 records.*of 1$"):
        choose_decision(parse_rule("specificity=0.9", TWO), predictions)


def test_validation_without_the_class_is_refused():
    with pytest.raises(
        DataError, match=r"'f1' cannot be had on 40 records.*no record of the class"
    ):
        choose_decision(parse_rule("f1", TWO), two_classes([0] * 40, [0.5] * 40))


def test_a_fixed_threshold_needs_no_validation():
    decision = choose_decision(parse_rule("0.3", TWO)).decision
    assert (decision.kind, decision.threshold, decision.chosen_on) == ("threshold", 0.3, "")


def test_argmax_goes_back_to_the_most_probable_class():
    assert choose_decision(parse_rule("argmax", TWO)).decision.kind == "most probable"


def test_a_rule_that_chooses_needs_records_to_choose_on():
    with pytest.raises(ValueError, match="'f1' needs validation records"):
        choose_decision(parse_rule("f1", TWO))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recall=0.9", "'recall=0.9' is not a rule for a threshold. Give one of \"f1\""),
        ("f1=0.9", "'f1=0.9' is not a rule"),
        ("sensitivity", "'sensitivity' is not a rule"),
        ("sensitivity=nan", "'sensitivity=nan' is not a rule"),
        ("-0.1", "'-0.1' is not a rule"),
        ("", "'' is not a rule"),
        ("1.2", "a threshold is a probability of 0 to 1, got '1.2'"),
        ("sensitivity=95", "sensitivity must be over 0 and at most 1, got '95'"),
        ("specificity=0", "specificity must be over 0 and at most 1, got '0'"),
        ("f1:sick", r"'f1:sick' is about 'sick', which is not one of the classes \['healthy'"),
        ("costs:ill", "\"costs\" is about every class, got 'costs:ill'"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        parse_rule(text, TWO)


def test_with_three_classes_one_must_be_named():
    with pytest.raises(RecipeError, match=r"'f1' names no class.*as \"f1:melanoma\""):
        parse_rule("f1", THREE)


# --- costs -----------------------------------------------------------------------------


TABLE = "true,ill,healthy\nill,0,20\nhealthy,1,0\n"


def test_costs_move_the_decision_towards_the_cheap_mistake():
    costs = costs_from_csv(TABLE, TWO, where="costs.csv")
    found = choose_decision(parse_rule("costs", TWO), drawn(), costs=costs)
    assert found.mean_cost < found.mean_cost_of_most_probable
    assert found.decision.costs == ((0.0, 1.0), (20.0, 0.0))


def test_costs_are_weighed_by_calibrated_probabilities():
    sharp = drawn(500)
    logits = 4 * np.log(sharp.probabilities[:, 1] / sharp.probabilities[:, 0])
    labels = sharp.label_indices()
    sharp = two_classes(labels, 1 / (1 + np.exp(-logits)))
    costs = costs_from_csv(TABLE, TWO, where="costs.csv")
    found = choose_decision(parse_rule("costs", TWO), sharp, costs=costs)
    assert found.decision.temperature > 2


def test_a_class_that_costs_never_choose_is_warned_of():
    costs = ((0.0, 1.0), (0.0, 1.0))
    found = choose_decision(parse_rule("costs", TWO), drawn(), costs=costs)
    assert (
        "no record of 200 records of validation, best weights, epoch 1 is called 'ill'"
        in (found.warnings[0])
    )


def test_costs_of_other_classes_are_refused():
    with pytest.raises(RecipeError, match='"costs" needs costs of 2 classes, got none'):
        choose_decision(parse_rule("costs", TWO), drawn())


def test_a_table_of_tables_gives_the_same_costs_in_any_order():
    table = {"ill": {"healthy": 20, "ill": 0}, "healthy": {"ill": 1.0, "healthy": 0}}
    assert costs_from_table(table, TWO, where="costs.toml") == costs_from_csv(
        TABLE, TWO, where="costs.csv"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "costs.csv holds no costs: it is empty"),
        ("t,ill\nill,0\n", "the header of costs.csv does not name 'healthy'"),
        ("t,ill,sick\n", "the header of costs.csv names 'sick', which is not one of the classes"),
        ("t,ill,ill,healthy\n", "the header of costs.csv names 'ill' 2 times"),
        ("t,ill,healthy\nill,0,1\n", "the first column of costs.csv does not name 'healthy'"),
        ("t,ill,healthy\nill,0\nhealthy,1,0\n", "costs.csv, line 2: got 2 cells, the header has 3"),
        (TABLE.replace("20", "x"), "costs.csv, row 'ill', column 'healthy': got 'x', a number"),
        (TABLE.replace("20", "-1"), "column 'healthy': got '-1', a cost must be 0 or more"),
        (TABLE.replace("20", "inf"), "column 'healthy': got 'inf', a cost must be 0 or more"),
        (TABLE.replace("20", "nan"), "column 'healthy': got 'nan', a cost must be 0 or more"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_place(text, message):
    with pytest.raises(DataError, match=message):
        costs_from_csv(text, TWO, where="costs.csv")


def test_a_row_that_is_no_table_is_refused():
    with pytest.raises(
        DataError, match=r"costs.toml, row 'ill': got 3, a table of costs is needed"
    ):
        costs_from_table({"healthy": {"healthy": 0, "ill": 1}, "ill": 3}, TWO, where="costs.toml")


# --- operating points ------------------------------------------------------------------


def test_the_points_are_those_of_their_rules():
    points = operating_points(drawn(), 1)
    chosen = [choose_decision(parse_rule(point.rule, TWO), drawn()) for point in points]
    assert [point.threshold for point in points] == [each.decision.threshold for each in chosen]


def test_a_point_agrees_with_scikit_learn():
    predictions = drawn()
    labels = predictions.label_indices()
    for point in operating_points(predictions, 1):
        guessed = predictions.probabilities[:, 1] >= np.float32(point.threshold)
        assert (point.sensitivity.value, point.precision.value, point.f1.value) == pytest.approx(
            (
                peer.recall_score(labels, guessed),
                peer.precision_score(labels, guessed),
                peer.f1_score(labels, guessed),
            )
        )


def test_points_keep_their_threshold_on_other_records():
    points = operating_points(drawn(seed=1), 1)
    applied = apply_points(points, drawn(seed=2))
    assert [point.threshold for point in applied] == [point.threshold for point in points]
    guessed = drawn(seed=2).probabilities[:, 1] >= np.float32(points[1].threshold)
    assert applied[1].sensitivity.value == peer.recall_score(drawn(seed=2).label_indices(), guessed)


def test_every_figure_lies_in_its_interval():
    for point in operating_points(drawn(800), 1):
        for figure in (point.sensitivity, point.specificity, point.precision, point.f1):
            assert figure.low <= figure.value <= figure.high


def test_a_point_that_cannot_be_had_has_no_figures():
    points = operating_points(two_classes([0] * 40 + [1] * 40, [1.0] * 80), 1)
    assert (points[-1].threshold, points[-1].sensitivity) == (None, None)
    assert points[-1].note == "too many records of other classes have a probability of 1"


def test_a_point_survives_json():
    for point in operating_points(two_classes([0] * 40 + [1] * 40, [1.0] * 80), 1):
        assert OperatingPoint.from_dict(point.to_dict()) == point


def test_a_chosen_decision_survives_json():
    found = choose_decision(parse_rule("f1", TWO), drawn(20))
    assert ChosenDecision.from_dict(found.to_dict()) == found


def test_points_of_an_unknown_class_are_refused():
    with pytest.raises(ValueError, match=r"class_index must be in 0\.\.1, got 2"):
        operating_points(drawn(), 2)


ABC = ("a", "b", "c")


def test_each_class_has_the_threshold_of_its_rule(make_predictions):
    validation = make_predictions(ABC, seed=1)
    points = class_points(validation, rule="youden")
    assert [(point.class_name, point.rule) for point in points] == [(k, "youden") for k in ABC]
    for point in points:
        rule = parse_rule(f"youden:{point.class_name}", ABC)
        assert point.threshold == choose_decision(rule, validation).decision.threshold


def test_points_of_several_classes_are_judged_each_against_the_rest(make_predictions):
    judged = make_predictions(ABC, seed=2)
    labels = judged.label_indices()
    for index, point in enumerate(
        apply_points(class_points(make_predictions(ABC, seed=1)), judged)
    ):
        called = judged.probabilities[:, index] >= np.float32(point.threshold)
        assert point.sensitivity.value == pytest.approx(peer.recall_score(labels == index, called))
        assert point.precision.value == pytest.approx(peer.precision_score(labels == index, called))
        assert point.specificity.low < point.specificity.value < point.specificity.high


def test_of_many_classes_the_most_frequent_have_a_threshold(make_predictions):
    labels = ["c"] * 50 + ["a"] * 40 + ["b"] * 10
    points = class_points(make_predictions((*ABC, "never"), labels=labels), most=2)
    assert [point.class_name for point in points] == ["a", "c"]
    every = class_points(make_predictions((*ABC, "never"), labels=labels))
    assert [point.class_name for point in every] == list(ABC)


def test_points_of_a_class_that_the_model_lacks_are_refused(make_predictions):
    points = class_points(make_predictions(ABC))
    with pytest.raises(ValueError, match=r"points of classes of the model are needed, got \['c'\]"):
        apply_points(points, make_predictions(("a", "b")))
