"""Histories of trainings whose causes are known, from simulated losses of single images.

Each image gets a score for each class, of normal noise; that of its own class is higher by the
network's skill. Times the confidence they are logits, and the loss follows; what each score changes
by from epoch to epoch is noise as well. So the noise of a curve is that of its number of images. A
cause changes skill, confidence, or what stands around.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.judging.diagnosis import TrainingFacts
from sightline.judging.diagnosis.stopping import ends_with
from sightline.recipes import Recipe, load_recipe
from sightline.records import ClassScores, Evaluation, Finding, LayerSummary, ModelSummary

Floats = npt.NDArray[np.float64]
# Of a score's own deviation: what it changes by from epoch to epoch.
_LEAST_CHURN, _MOST_CHURN = 0.15, 0.5
_NEARLY = 0.9  # of its final skill: a healthy training that ends before may well be told so


@dataclass(frozen=True)
class Course:
    """Skill and confidence over the epochs, of training and of validation.

    Skill 0 is guessing, 1 is 76 % right of two classes, 3 is 98 %. As large as the skill is the
    confidence of one that knows how sure it may be.
    """

    train: Floats
    validation: Floats
    confidence: Floats
    train_confidence: Floats | None = None


@dataclass(frozen=True)
class Case:
    """A history, what must be found of it, and what may be.

    Attributes:
        cause: Its name.
        facts: All that a rule is given.
        expected: Codes that must stand.
        allowed: Codes that are right as well, or a matter of taste.
    """

    cause: str
    facts: TrainingFacts
    expected: frozenset[str]
    allowed: frozenset[str]


@dataclass
class Draft:
    """A case in the making.

    Attributes:
        rng: Of this case alone.
        epochs: How many.
        classes: How many.
        num_train: Training images.
        num_validation: Validation images.
        expected: As in the case.
        allowed: As in the case.
        more: Further facts.
    """

    rng: np.random.Generator
    epochs: int
    classes: int
    num_train: int
    num_validation: int
    expected: set[str] = field(default_factory=set)
    allowed: set[str] = field(default_factory=set)
    more: dict[str, Any] = field(default_factory=dict)
    final: float = 3.0  # the skill that it comes to

    @property
    def every(self) -> Floats:
        return np.arange(self.epochs, dtype=np.float64)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def learning(self, *, within: float, final: float | None = None) -> Floats:
        """Return a skill that comes to `final`, most of it within a share of the epochs.

        One value more than there are epochs: at the beginning of each, and at the end.
        """
        final = self.final if final is None else final
        every = np.arange(self.epochs + 1)
        return final * (1 - np.exp(-every / (within * self.epochs / 2.5)))

    def course(self, skill: Floats, *, gap: float = 0.03) -> Course:
        """Return a course without a cause; training lags half an epoch, as its mean does."""
        ends = skill[1:]
        halfway = (skill[1:] + skill[:-1]) / 2
        return Course(halfway * (1 + gap), ends, ends, halfway)

    def gaining(self, share: float) -> float:
        """Return the skill that takes a share off the cross-entropy of guessing, up to a third."""
        return math.sqrt(2 * share * math.log(self.classes) / (1 - 1 / self.classes))

    def facts(self, course: Course) -> TrainingFacts:
        """Return the facts with the columns that the course comes to."""
        confidence = (
            course.confidence if course.train_confidence is None else course.train_confidence
        )
        loss, accuracy = self._curves(course.train, confidence, self.num_train)
        val_loss, val_accuracy = self._curves(
            course.validation, course.confidence, self.num_validation
        )
        columns = {"loss": loss, "accuracy": accuracy, "val_loss": val_loss,
                   "val_accuracy": val_accuracy}  # fmt: skip
        facts: dict[str, Any] = {
            "num_train": self.num_train, "num_validation": self.num_validation,
            "class_counts": _even(self.num_train, self.classes), "patience": 0,
            "ended": "all epochs",
        }  # fmt: skip
        return TrainingFacts(**{**facts, **self.more, "columns": columns})

    def _curves(self, skill: Floats, confidence: Floats, count: int) -> tuple[Floats, Floats]:
        """Return mean loss and accuracy of `count` images, an epoch each."""
        own = self.rng.standard_normal((count, self.classes), np.float32)
        loss, accuracy = [], []
        changing = self.between(_LEAST_CHURN, _MOST_CHURN)
        for able, sure in zip(skill, np.maximum(confidence, 0.02), strict=True):
            churn = self.rng.standard_normal(own.shape, np.float32)
            scores = (own + changing * churn) / math.hypot(1, changing)
            scores[:, 0] += able  # the first class is the true one of all
            logits = sure * scores
            highest = logits.max(axis=1)
            rest = np.exp(logits - highest[:, None]).sum(axis=1)
            loss.append(float((highest + np.log(rest) - logits[:, 0]).mean()))
            accuracy.append(float((scores.argmax(axis=1) == 0).mean()))
        return np.array(loss), np.array(accuracy)


def _even(count: int, classes: int) -> dict[str, int]:
    return {f"class {each}": count // classes for each in range(classes)}


# --- what the curves show --------------------------------------------------------------


def healthy(draft: Draft) -> TrainingFacts:
    draft.allowed |= {"patience-too-long"}
    skill = draft.learning(within=draft.between(0.15, 0.4))
    facts = draft.facts(draft.course(skill))
    if draft.rng.random() < 0.5:
        draft.allowed -= {"patience-too-long"}
        facts = _stopped(facts, int(draft.rng.integers(4, 9)))
        if skill[facts.epochs] < _NEARLY * draft.final:
            draft.allowed |= {"patience-too-short"}
    return facts


def healthy_cosine(draft: Draft) -> TrainingFacts:
    draft.allowed |= {"patience-too-long"}
    facts = draft.facts(draft.course(draft.learning(within=draft.between(0.4, 0.7))))
    rate = 0.001 * (1 + np.cos(np.pi * (draft.every + 1) / draft.epochs)) / 2
    return _with(facts, learning_rate=rate)


def small_validation(draft: Draft) -> TrainingFacts:
    draft.num_validation = int(draft.rng.integers(12, 25))
    draft.expected |= {"small-validation"}
    draft.allowed |= {"suspiciously-perfect"}
    return healthy(draft)


def erratic(draft: Draft) -> TrainingFacts:
    draft.epochs, draft.num_validation = max(draft.epochs, 12), max(draft.num_validation, 400)
    draft.expected |= {"erratic-validation"}
    course = draft.course(draft.learning(within=0.4))
    worse = np.where(draft.rng.random(draft.epochs) < 0.5, draft.between(0.2, 0.7), 0.05)
    worse[::2] = 0.02
    return draft.facts(replace(course, validation=course.validation * (1 - worse)))


def missing(draft: Draft) -> TrainingFacts:
    draft.expected |= {"missing-epochs"}
    facts = draft.facts(draft.course(draft.learning(within=0.4)))
    values = {name: facts[name].copy() for name in ("val_loss", "val_accuracy")}
    for column in values.values():
        column[1::2] = np.nan if draft.rng.random() < 0.5 else 0.0
    return _with(facts, **values)


def overfitting(draft: Draft) -> TrainingFacts:
    draft.epochs, draft.num_validation = max(draft.epochs, 12), max(draft.num_validation, 200)
    draft.num_train = int(draft.rng.integers(100, 1500))
    draft.expected |= {"overfitting"}
    draft.allowed |= {"patience-too-long", "best-not-last", "too-many-parameters"}
    began = int(draft.between(0.2, 0.45) * draft.epochs)
    return _by_heart(draft, began)


def overfitting_early(draft: Draft) -> TrainingFacts:
    draft.epochs, draft.num_validation = max(draft.epochs, 25), max(draft.num_validation, 600)
    draft.num_train = int(draft.rng.integers(100, 1500))
    draft.expected |= {"overfitting", "patience-too-long"}
    draft.allowed |= {"best-not-last", "too-many-parameters"}
    return _by_heart(draft, int(draft.between(0.1, 0.2) * draft.epochs))


def overfitting_dense(draft: Draft) -> TrainingFacts:
    return huge_layer(draft, overfitting(draft))


def _by_heart(draft: Draft, began: int) -> TrainingFacts:
    skill = draft.learning(within=0.3, final=draft.between(1.5, 2.5))
    course = draft.course(skill)
    by_heart = np.maximum(0.0, draft.every - began) * draft.between(2.0, 6.0) / draft.epochs
    held_out = np.minimum(course.validation, skill[began + 1])
    return draft.facts(
        Course(
            course.train + by_heart, held_out, course.confidence + by_heart, course.train + by_heart
        )
    )


def underfitting(draft: Draft) -> TrainingFacts:
    draft.epochs = max(draft.epochs, 10)
    draft.expected |= {"underfitting"}
    draft.allowed |= {"patience-too-long"}
    skill = draft.learning(within=0.25, final=draft.gaining(draft.between(0.1, 0.35)))
    return draft.facts(draft.course(skill, gap=0.0))


def diverged(draft: Draft) -> TrainingFacts:
    draft.epochs = max(draft.epochs, 7)
    draft.expected |= {"diverged"}
    facts = draft.facts(draft.course(draft.learning(within=0.5)))
    at = int(draft.between(0.3, 0.7) * draft.epochs)
    loss, val_loss = facts["loss"].copy(), facts["val_loss"].copy()
    if draft.rng.random() < 0.5:
        loss[at:], val_loss[at:] = np.nan, np.nan
    else:
        grown = draft.between(1.6, 4.0) ** np.arange(1, draft.epochs - at + 1)
        grown *= 3 * math.log(draft.classes) * draft.rng.uniform(0.8, 1.2, len(grown))
        loss[at:], val_loss[at:] = grown, 1.1 * grown
    return _with(facts, loss=loss, val_loss=val_loss)


def flat(draft: Draft) -> TrainingFacts:
    draft.epochs = max(draft.epochs, 8)
    draft.expected |= {"flat"}
    nothing = np.zeros(draft.epochs)
    jitter = np.abs(draft.rng.normal(0, 0.05, draft.epochs))
    return draft.facts(Course(nothing, nothing, jitter))


def labels_shuffled(draft: Draft) -> TrainingFacts:
    draft.epochs, draft.num_validation = max(draft.epochs, 8), max(draft.num_validation, 60)
    draft.num_train = int(draft.rng.integers(100, 1000))
    draft.expected |= {"flat"}
    course = draft.course(draft.learning(within=0.8))
    return draft.facts(replace(course, validation=0 * course.validation))


def not_converging(draft: Draft) -> TrainingFacts:
    draft.epochs = max(draft.epochs, 12)
    draft.expected |= {"not-converging"}
    draft.allowed |= {"rate-too-high", "underfitting", "erratic-validation", "best-not-last",
                      "patience-too-long"}  # fmt: skip
    skill = draft.learning(within=0.2, final=draft.gaining(draft.between(0.3, 0.5)))
    skill = np.maximum(0.0, skill + draft.between(0.08, 0.12) * draft.rng.normal(size=len(skill)))
    course = draft.course(skill)
    return draft.facts(replace(course, train=skill[1:], train_confidence=skill[1:]))


def rate_too_high(draft: Draft) -> TrainingFacts:
    draft.epochs = max(draft.epochs, 8)
    draft.expected |= {"rate-too-high"}
    draft.allowed |= {"not-converging", "small-validation", "patience-too-long"}
    skill = draft.learning(within=0.3, final=draft.between(1.8, 3.0))
    thrown = draft.rng.random(len(skill)) < draft.between(0.3, 0.5)
    thrown[3::4] = True
    skill = np.where(thrown, skill * draft.rng.uniform(0.1, 0.6, len(skill)), skill)
    course = draft.course(skill)
    return draft.facts(replace(course, train=skill[1:], train_confidence=skill[1:]))


def rate_far_above(draft: Draft) -> TrainingFacts:
    facts = flat(draft)
    draft.expected = {"rate-too-high"}
    rate = float(draft.rng.choice([0.03, 0.1, 0.3]))
    return replace(facts, recipe=_recipe({"train.learning_rate": rate}))


def rate_too_low(draft: Draft) -> TrainingFacts:
    draft.epochs = max(draft.epochs, 8)
    draft.num_train, draft.classes = max(draft.num_train, 500), int(draft.rng.integers(2, 6))
    draft.expected |= {"rate-too-low"}
    draft.allowed |= {"not-finished"}
    reached = draft.gaining(draft.between(0.1, 0.25))
    skill = reached * np.sqrt(np.arange(draft.epochs + 1) / draft.epochs)  # the loss falls evenly
    return draft.facts(draft.course(skill, gap=0.0))


def decayed_early(draft: Draft) -> TrainingFacts:
    draft.epochs = max(draft.epochs, 14)
    draft.expected |= {"rate-decayed-early"}
    draft.allowed |= {"underfitting", "patience-too-long", "not-finished"}
    rate = 0.001 * 0.1 ** (draft.every / draft.between(2.5, 4.0))
    steps = np.concatenate([[0.0], np.cumsum(rate) / rate.sum()])
    skill = draft.gaining(draft.between(0.3, 0.5)) * steps
    return _with(draft.facts(draft.course(skill)), learning_rate=rate)


def not_finished(draft: Draft) -> TrainingFacts:
    draft.num_validation = max(draft.num_validation, 400)
    draft.expected |= {"not-finished"}
    draft.epochs = min(draft.epochs, 25)
    reached = draft.between(2.0, 3.0)
    return draft.facts(draft.course(draft.learning(within=2.0, final=reached / 0.71)))


def patience_short(draft: Draft) -> TrainingFacts:
    draft.epochs, draft.num_validation = 60, int(draft.rng.integers(60, 300))
    draft.classes = 2
    draft.num_train = max(draft.num_train, 500)
    draft.expected |= {"patience-too-short"}
    draft.allowed |= {"not-finished", "rate-too-low"}
    skill = draft.learning(within=1.5, final=4.0)
    for attempt in range(200):  # until a wiggle ends it in the middle
        facts = _stopped(draft.facts(draft.course(skill)), 2 if attempt < 5 else 1)
        if 4 <= facts.epochs <= 30:
            return facts
    raise AssertionError("no wiggle ended it")


def validation_easier(draft: Draft) -> TrainingFacts:
    draft.num_validation = max(draft.num_validation, 400)
    draft.expected |= {"validation-better"}
    draft.allowed |= {"patience-too-long", "not-finished", "underfitting", "best-not-last"}
    course = draft.course(draft.learning(within=0.4))
    if draft.rng.random() < 0.6:
        draft.more["recipe"] = _recipe({"model.dropout": [0.3, 0.3, 0.5]})
    return draft.facts(
        replace(
            course,
            train=course.train * draft.between(0.55, 0.85),
            train_confidence=course.train * 0.7,
        )
    )


def leak(draft: Draft) -> TrainingFacts:
    draft.expected |= {"validation-better"}
    draft.allowed |= {"patience-too-long", "suspiciously-perfect"}
    draft.more["findings"] = (Finding("copies-across-splits", "error", "planted"),)
    return draft.facts(draft.course(draft.learning(within=0.4), gap=0.0))


def perfect(draft: Draft) -> TrainingFacts:
    draft.num_validation = max(draft.num_validation, 100)
    draft.expected |= {"suspiciously-perfect"}
    draft.allowed |= {"patience-too-long", "not-finished"}
    return draft.facts(draft.course(draft.learning(within=0.2, final=draft.between(9.0, 11.0))))


def last_is_bad(draft: Draft) -> TrainingFacts:
    draft.num_validation = max(draft.num_validation, 400)
    draft.epochs = max(draft.epochs, 10)
    draft.expected |= {"best-not-last"}
    draft.allowed |= {"overfitting", "patience-too-long", "erratic-validation"}
    course = draft.course(draft.learning(within=0.3))
    skill = course.validation.copy()
    skill[-1] *= draft.between(0.2, 0.7)
    return draft.facts(replace(course, validation=skill))


def majority_alone(draft: Draft) -> TrainingFacts:
    draft.expected |= {"accuracy-mirrors-imbalance"}
    draft.allowed |= {"flat", "class-never-predicted", "underfitting", "patience-too-long",
                      "not-finished", "rate-too-low"}  # fmt: skip
    share = draft.between(0.7, 0.96)
    of_train = _lopsided(draft.num_train, share)
    held_out = _lopsided(max(draft.num_validation, 100), share)
    draft.num_validation = sum(held_out.values())
    entropy = -sum(p * math.log(p) for p in (share, 1 - share))
    level = entropy * (1 - 0.05 * (1 - np.exp(-draft.every / 4)))
    wobble = 1 + 0.003 * draft.rng.normal(size=(2, draft.epochs))
    accuracy = np.full(draft.epochs, held_out["common"] / draft.num_validation)
    columns = {"loss": level * wobble[0], "val_loss": level * wobble[1],
               "accuracy": accuracy, "val_accuracy": accuracy}  # fmt: skip
    return TrainingFacts(
        columns=columns, num_train=sum(of_train.values()), num_validation=draft.num_validation,
        class_counts=of_train, validation_counts=held_out, patience=0, ended="all epochs",
    )  # fmt: skip


# --- what stands around them -----------------------------------------------------------


def never_predicted(draft: Draft, facts: TrainingFacts) -> TrainingFacts:
    draft.expected |= {"class-never-predicted"}
    rare = int(draft.rng.integers(10, 40))
    confusion = np.array([[180, 20, 0], [15, 185, 0], [rare // 2, rare - rare // 2, 0]])
    return replace(facts, evaluations=(_judged("validation", confusion),))


def other_population(draft: Draft, facts: TrainingFacts) -> TrainingFacts:
    draft.expected |= {"external-below"}
    good, below = draft.between(0.85, 0.97), draft.between(0.15, 0.4)
    return replace(facts, evaluations=_two(draft, good, good - below))


def same_population(draft: Draft, facts: TrainingFacts) -> TrainingFacts:
    good = draft.between(0.75, 0.95)
    return replace(facts, evaluations=_two(draft, good, good))


def harmful_weights(draft: Draft, facts: TrainingFacts) -> TrainingFacts:
    draft.expected |= {"class-weights-harm"}
    rare = int(draft.rng.integers(15, 40))
    called = int(draft.between(0.15, 0.4) * 400)
    hit = int(rare * draft.between(0.2, 0.4))
    confusion = np.array([[400 - called, called], [rare - hit, hit]])
    recipe = _recipe({"balance.class_weights": "balanced"})
    return replace(facts, recipe=recipe, evaluations=(_judged("validation", confusion),))


def useful_weights(draft: Draft, facts: TrainingFacts) -> TrainingFacts:
    confusion = np.array([[360, 40], [6, 34]])
    recipe = _recipe({"balance.class_weights": "balanced"})
    return replace(facts, recipe=recipe, evaluations=(_judged("validation", confusion),))


def slow_loader(draft: Draft, facts: TrainingFacts) -> TrainingFacts:
    draft.expected |= {"loader-bound"}
    return _timed(draft, facts, draft.between(0.4, 0.9))


def fast_loader(draft: Draft, facts: TrainingFacts) -> TrainingFacts:
    return _timed(draft, facts, draft.between(0.0, 0.28))


def huge_layer(draft: Draft, facts: TrainingFacts) -> TrainingFacts:
    if "overfitting" in draft.expected:
        draft.expected |= {"too-many-parameters"}
    parameters = facts.num_train * int(draft.rng.integers(300, 3000))
    layers = (
        LayerSummary("conv", "Conv2D", (8, 8, 16), 500),
        LayerSummary("large", "Dense", (512,), parameters),
    )
    return replace(facts, summary=ModelSummary(layers, parameters + 500, parameters + 500))


CURVES: Mapping[str, Callable[[Draft], TrainingFacts]] = {
    each.__name__: each
    for each in (
        healthy, healthy_cosine, small_validation, erratic, missing, overfitting,
        overfitting_early, overfitting_dense, underfitting, diverged, flat, labels_shuffled,
        not_converging, rate_too_high, rate_far_above,
        rate_too_low, decayed_early, not_finished, patience_short, validation_easier, leak,
        perfect, last_is_bad, majority_alone,
    )
}  # fmt: skip
AROUND: Mapping[str, Callable[[Draft, TrainingFacts], TrainingFacts]] = {
    each.__name__: each
    for each in (
        never_predicted, other_population, same_population, harmful_weights, useful_weights,
        slow_loader, fast_loader, huge_layer,
    )
}  # fmt: skip
# Those that judge the model go with a training that learnt something.
_WITHOUT_JUDGEMENT = {
    "flat", "labels_shuffled", "diverged", "rate_far_above", "majority_alone", "rate_too_low",
    "rate_too_high", "missing",
}  # fmt: skip
_SIZES = (60, 100, 150, 300, 600, 1200, 2500, 5000)  # validation images


def simulate(seed: int) -> Case:
    """Return the case of a seed; the same seed, the same case.

    The causes take turns; every third curve is a healthy one, and half have a second cause, or
    something harmless, around them.
    """
    rng = np.random.default_rng([seed, 20])
    names = list(CURVES)
    curve = names[seed % 2] if seed % 3 == 0 else names[2 + (seed - seed // 3) % (len(names) - 2)]
    draft = Draft(
        rng,
        epochs=int(rng.integers(5, 61)),
        classes=int(rng.choice([2, 3, 5, 10])),
        num_train=int(10 ** rng.uniform(2.3, 3.3)),
        num_validation=int(rng.choice(_SIZES)),
        final=float(rng.uniform(2.2, 3.6)),
    )
    facts = CURVES[curve](draft)
    around = ""
    if rng.random() < 0.6:
        around = list(AROUND)[int(rng.integers(len(AROUND)))]
        judges = around not in ("slow_loader", "fast_loader", "huge_layer")
        if judges and (curve in _WITHOUT_JUDGEMENT or facts.recipe is not None):
            around = "slow_loader"
        if around == "huge_layer" and (curve in _WITHOUT_JUDGEMENT or facts.summary):
            around = "fast_loader"
        facts = AROUND[around](draft, facts)
    # Few images wiggle, and are too few, whatever else there is; and now and then all are right.
    if draft.num_validation < 385:
        draft.allowed |= {"small-validation"}
    if facts["val_accuracy"].max() > 0.995:
        draft.allowed |= {"suspiciously-perfect"}
    cause = f"{curve} + {around}" if around else curve
    return Case(cause, facts, frozenset(draft.expected), frozenset(draft.allowed - draft.expected))


def _stopped(facts: TrainingFacts, patience: int) -> TrainingFacts:
    """Return the facts as early stopping would have left them."""
    done = ends_with(facts["val_loss"], patience)
    columns = {name: values[:done] for name, values in facts.columns.items()}
    waited = done - 1 - int(columns["val_loss"].argmin())
    ended: Any = "stopped early" if waited >= patience else "all epochs"
    return replace(facts, columns=columns, patience=patience, ended=ended)


def _with(facts: TrainingFacts, **columns: Floats) -> TrainingFacts:
    return replace(facts, columns={**facts.columns, **columns})


def _timed(draft: Draft, facts: TrainingFacts, share: float) -> TrainingFacts:
    seconds = draft.between(3, 60) * draft.rng.uniform(0.9, 1.1, facts.epochs)
    return _with(facts, seconds_waiting=share * seconds, seconds_computing=(1 - share) * seconds)


def _lopsided(count: int, share: float) -> dict[str, int]:
    common = round(count * share)
    return {"common": common, "rare": count - common}


def _two(draft: Draft, inside: float, outside: float) -> tuple[Evaluation, Evaluation]:
    """Return evaluations of validation and of other images, of these recalls."""
    judged = []
    for source, recall in (("validation", inside), ("elsewhere", outside)):
        count = int(draft.rng.integers(80, 400))
        right = draft.rng.binomial(count, recall, size=2)
        confusion = np.array([[right[0], count - right[0]], [count - right[1], right[1]]])
        judged.append(_judged(source, confusion))
    return judged[0], judged[1]


def _judged(source: str, confusion: npt.NDArray[np.int64]) -> Evaluation:
    names = [f"class {each}" for each in range(len(confusion))]
    classes = tuple(
        ClassScores(name, int(row.sum()), {}) for name, row in zip(names, confusion, strict=True)
    )
    return Evaluation(
        source=source, count=int(confusion.sum()), unreadable=0, weights="best", epoch=0,
        model_fingerprint="", predictions_hash="", metrics={}, classes=classes,
        confusion=confusion,
    )  # fmt: skip


def _recipe(changes: Mapping[str, Any]) -> Recipe:
    return load_recipe("basic", changes)
