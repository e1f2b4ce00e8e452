"""Are all classes learnt, or does a frequent one stand for all?"""

from __future__ import annotations

import math

import numpy as np

from sightline.judging.diagnosis import changes
from sightline.judging.diagnosis.facts import TrainingFacts
from sightline.judging.diagnosis.noise import HOPELESS
from sightline.records import Evaluation, Finding, half_width
from sightline.records.outcomes import Outcomes, counted, joined

# Of five images of a class that is recognised half of the time, none is called it 1 time in 32.
FEWEST_OF_A_CLASS = 5
SURE_OF_A_CLASS = 10
LOPSIDED = (
    0.6  # share of the most frequent class; below, an accuracy like it is a poor one, not a trap
)
# Cohen's kappa: what is called "slight" agreement ends at 0.2 (Landis and Koch 1977).
SLIGHT = 0.2

_NEVER = Outcomes("class-never-predicted", "error")
_MIRRORS = Outcomes("accuracy-mirrors-imbalance", "warning")
_WEIGHTS = Outcomes("class-weights-harm", "warning")


def class_never_predicted(facts: TrainingFacts) -> Finding:
    """Return which classes no image is ever called."""
    judged = to_act_on(facts)
    if judged is None:
        return _NEVER.not_applicable("Nothing was evaluated, so there is no confusion matrix.")
    counts, called = judged.confusion.sum(axis=1), judged.confusion.sum(axis=0)
    names = judged.class_names
    missing = {
        names[each]: int(counts[each])
        for each in np.flatnonzero((called == 0) & (counts >= FEWEST_OF_A_CLASS))
    }
    evidence = {"of": judged.source, "images": missing}
    if not missing:
        return _NEVER.passed(f"Every class with enough images is predicted ({judged.source}).")
    said = joined([f"{name!r} ({counted(count, 'image')})" for name, count in missing.items()])
    trained = {name: facts.class_counts[name] for name in missing if name in facts.class_counts}
    few = f" It was trained on {joined([f'{n:,}' for n in trained.values()])}." if trained else ""
    return _NEVER.found(
        f"No image of {judged.source} is ever called {said}.{few}",
        {**evidence, "training_images": trained},
        "Let rare classes count more, collect more of them, or join them with a class that is "
        "like them; judge by balanced accuracy.",
        severity="error" if max(missing.values()) >= SURE_OF_A_CLASS else "warning",
        recipe_change=changes.classes(facts),
    )


def accuracy_mirrors_imbalance(facts: TrainingFacts) -> Finding:
    """Return whether the accuracy is no more than the share of the most frequent class."""
    found = _accuracy(facts)
    if found is None:
        return _MIRRORS.not_applicable(
            "There is no evaluation, and no val_accuracy with the sizes of the classes."
        )
    accuracy, share, count, kappa = found
    evidence = {"accuracy": accuracy, "majority": share, "images": count, "kappa": kappa}
    if half_width(count) > HOPELESS:
        return _MIRRORS.not_applicable(
            f"On {counted(count, 'image')} the two cannot be told apart."
        )
    said = f"accuracy {accuracy:.1%} beside {share:.1%} of always naming the most frequent class"
    if share < LOPSIDED:
        return _MIRRORS.passed("No class is so frequent that accuracy would mislead.", evidence)
    doubt = 2 * math.sqrt(share * (1 - share) / count)
    told_apart = kappa is not None and kappa > SLIGHT
    if accuracy > share + doubt or accuracy < share - doubt or told_apart:
        return _MIRRORS.passed(f"The classes are told apart: {said}.", evidence)
    return _MIRRORS.found(
        f"The accuracy only mirrors how unequal the classes are: {said}.",
        evidence,
        "Judge by balanced accuracy, and let rare classes count more.",
        recipe_change=changes.classes(facts) or "train.best=val_balanced_accuracy",
    )


def class_weights_harm(facts: TrainingFacts) -> Finding:
    """Return whether letting rare classes count more costs accuracy and gives nothing for it."""
    if facts.recipe is None:
        return _WEIGHTS.not_applicable("The recipe is not known.")
    if not facts.is_balanced:
        return _WEIGHTS.not_applicable("Classes count by their natural shares.")
    judged = to_act_on(facts)
    if judged is None:
        return _WEIGHTS.not_applicable("Nothing was evaluated.")
    count, confusion = judged.count, judged.confusion
    share = float(confusion.sum(axis=1).max() / max(1, confusion.sum()))
    accuracy, kappa = float(confusion.trace() / max(1, confusion.sum())), cohens_kappa(judged)
    doubt = 2 * math.sqrt(share * (1 - share) / max(1, count))
    counts = [n for n in facts.class_counts.values() if n]
    ratio = max(counts) / min(counts) if counts else None
    evidence = {"accuracy": accuracy, "majority": share, "kappa": kappa, "ratio": ratio,
                "of": judged.source}  # fmt: skip
    if accuracy >= share - doubt or kappa > SLIGHT:
        return _WEIGHTS.passed("They cost no more than they give.", evidence)
    heavy = f" The rarest counts {ratio:.0f} times the most frequent." if ratio else ""
    return _WEIGHTS.found(
        f"Letting rare classes count more makes it worse: accuracy {accuracy:.1%} on "
        f"{judged.source}, {share:.1%} without a model, and the classes are hardly told apart "
        f"(kappa {kappa:.2f}).{heavy}",
        evidence,
        "Take it back and judge by balanced accuracy or ROC AUC; a threshold chosen on validation "
        "does what weights were meant to do, without disturbing the training.",
        recipe_change=changes.no_balance(facts),
    )


def to_act_on(facts: TrainingFacts) -> Evaluation | None:
    """Return the evaluation of validation, else of other images; of the best weights first.

    Not of the test split while there is another: what changes a recipe must not have seen it.
    """

    def place(judged: Evaluation) -> tuple[int, bool]:
        order = {"validation": 0, "test": 2, "train": 3}
        return order.get(judged.source, 1), judged.weights != "best"

    return min(facts.evaluations, key=place, default=None)


def cohens_kappa(judged: Evaluation) -> float:
    """Return the agreement beyond that of chance, -1..1; 0 where chance agrees fully.

    After Cohen 1960, "A coefficient of agreement for nominal scales".
    """
    total = judged.confusion.sum()
    rows, columns = judged.confusion.sum(axis=1), judged.confusion.sum(axis=0)
    expected = float((rows * columns).sum() / total**2) if total else 1.0
    if expected >= 1:
        return 0.0
    return (float(judged.confusion.trace() / total) - expected) / (1 - expected)


def _accuracy(facts: TrainingFacts) -> tuple[float, float, int, float | None] | None:
    """Return accuracy, share of the most frequent class, images, and kappa where it is known."""
    judged = to_act_on(facts)
    if judged is not None and judged.count:
        confusion = judged.confusion
        share = float(confusion.sum(axis=1).max() / confusion.sum())
        accuracy = float(confusion.trace() / confusion.sum())
        return accuracy, share, judged.count, cohens_kappa(judged)
    if facts.lacks("val_accuracy") or facts.majority is None or not facts.num_validation:
        return None
    # The best epoch of all: what never got above the share does not tell them apart.
    best = float(np.sort(facts.filled("val_accuracy"))[-max(1, facts.epochs // 4) :].mean())
    return best, facts.majority, facts.num_validation, None
