"""Is the learning rate right, and does the training get anywhere?"""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np

from sightline.judging.diagnosis import changes
from sightline.judging.diagnosis.facts import Floats, TrainingFacts
from sightline.judging.diagnosis.noise import HOPELESS, WIDE
from sightline.judging.diagnosis.shapes import falls, smooth, trend, wiggle
from sightline.records import Finding, half_width
from sightline.records.outcomes import Outcomes

# A loss so many times its lowest, at the end and above that of guessing, has left for good.
EXPLODED = 3.0
# Of the cross-entropy of guessing: less than 3 % better than not looking is nothing learnt.
NOTHING_LEARNT = 0.97
SURELY_FLAT = 8  # epochs; real trainings on few images stood at guessing for seven

# The rates that each optimizer is usually begun with: Keras' defaults, and for lion a fifth of
# Adam's (Chen et al. 2023). Ten times more seldom trains; fifty times less hardly moves.
USUAL_RATES = MappingProxyType(
    {"adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3, "sgd": 1e-2, "lion": 2e-4}
)
FAR_ABOVE, FAR_BELOW = 10.0, 1 / 50

JUMP = 0.10  # of the training loss, upwards from one epoch to the next
JUMPING = 0.20  # of the epochs; a training that settles has none, a saw-tooth has half
HARMLESS = 0.02  # of the cross-entropy of guessing: how a loss jumps that is nearly 0
LARGE_JUMP, FAR = 0.5, 0.05  # of the loss, and of that of guessing: once is enough
STEADY = 0.01  # of its mean, an epoch: a loss that falls so is converging, however it wiggles
UNSETTLED = 0.04  # of its level, the wiggle of a training loss that no longer falls
SLOW = 0.35  # of the first loss: as much as a crawling training gains in all
EVEN_PACE = 0.5  # the second half falls at least half as fast as the first
LEVELLED_OFF = 0.005  # of its mean, an epoch
WAS_FALLING = 0.02
COME_DOWN = 0.1  # of its peak: a rate that hardly changes the weights any more
MUCH_LEFT = 0.35  # of the epochs; the end of a cosine, where it is so low by design, is less
NOT_YET_LOW = 0.15  # of the cross-entropy of guessing

_DIVERGED = Outcomes("diverged", "error")
_FLAT = Outcomes("flat", "error")
_HIGH = Outcomes("rate-too-high", "warning")
_UNSETTLED = Outcomes("not-converging", "warning")
_LOW = Outcomes("rate-too-low", "warning")
_EARLY = Outcomes("rate-decayed-early", "warning")


def diverged(facts: TrainingFacts) -> Finding:
    """Return whether the loss became no number, or left for good."""
    advice = "Lower the learning rate, or clip the gradient (train.clip_norm=1)."
    change = changes.rate(facts, 0.1)
    if facts.ended == "no number":
        at = facts.epochs
        return _DIVERGED.found(
            f"The loss became NaN or infinite in epoch {at + 1}.",
            {"epoch": at}, advice, recipe_change=change, epoch=max(0, at - 1),
        )  # fmt: skip
    loss = facts.columns.get("loss", np.zeros(0))
    bad = np.flatnonzero(~np.isfinite(loss))
    if len(bad) and bad[-1] == len(loss) - 1:
        at = int(np.flatnonzero(np.isfinite(loss))[-1]) + 1 if np.isfinite(loss).any() else 0
        return _DIVERGED.found(
            f"The loss is NaN or infinite from epoch {at + 1} on.",
            {"epoch": at}, advice, recipe_change=change, epoch=at,
        )  # fmt: skip
    if why := facts.lacks("loss", epochs=3):
        return _DIVERGED.not_applicable(why)
    loss = facts.filled("loss")
    low, end = int(loss.argmin()), float(np.median(loss[-2:]))
    evidence = {"lowest": float(loss[low]), "last": end, "epoch": low}
    if end > EXPLODED * loss[low] and end > max(_guessing(facts), float(loss[0])):
        return _DIVERGED.found(
            f"The loss exploded after epoch {low + 1}: from {loss[low]:.3g} to {end:.3g}.",
            evidence, advice, recipe_change=change, epoch=low,
        )  # fmt: skip
    return _DIVERGED.passed(f"The loss stays a number, and ends at {end:.3g}.", evidence)


def flat(facts: TrainingFacts) -> Finding:
    """Return whether nothing that holds for other images is learnt, from the first epoch on."""
    if why := facts.lacks("loss", epochs=3):
        return _FLAT.not_applicable(why)
    best, guessing = float(smooth(facts.filled("loss")).min()), _guessing(facts)
    evidence = {"lowest_loss": best, "guessing": guessing}
    held_out = guessing
    if not facts.lacks("val_loss") and not facts.is_balanced:  # weights disturb that one alone
        held_out = float(smooth(facts.filled("val_loss")).min())
    if min(best, held_out) > NOTHING_LEARNT * guessing and not _crawls(facts):
        return _FLAT.found(
            f"Nothing was learnt: the lowest loss is {best:.3g}, and guessing has {guessing:.3g}.",
            evidence,
            "Look at what goes in (`sightline preview`): are the pictures blank, do the labels "
            "belong to them? Then at the network: dead units (a rate that is too high, no "
            "normalisation), or an output that cannot change.",
            severity="error" if facts.epochs >= SURELY_FLAT else "warning",
            recipe_change=_other_rate(facts) or changes.normalisation(facts),
            epoch=0,
        )
    enough = half_width(facts.num_validation or 0) <= WIDE
    if told := _never_beat_guessing(facts):
        return _FLAT.found(
            f"Nothing that holds for other images was learnt: {told}.",
            evidence,
            "Look at the labels of both splits: they may be dealt at random, or mean other things. "
            "If they are right, the pictures may not show what tells the classes apart.",
            severity="error" if facts.epochs >= SURELY_FLAT and enough else "warning",
            epoch=0,
        )
    return _FLAT.passed(f"The loss came down to {best:.3g}.", evidence)


def rate_too_high(facts: TrainingFacts) -> Finding:
    """Return whether the training loss itself jumps, or nothing is learnt at a very high rate."""
    if why := facts.lacks("loss", epochs=4):
        return _HIGH.not_applicable(why)
    loss = facts.filled("loss")
    before = np.maximum(loss[1:-1], 1e-12)
    rises = np.diff(loss)[1:] / before
    noise = facts.sampling_noise("train")
    doubt = np.maximum(JUMP, 2 * noise[1:-1] / before if noise is not None else 0.0)
    jumps = np.flatnonzero((rises > doubt) & (np.diff(loss)[1:] > HARMLESS * _guessing(facts)))
    share = len(jumps) / len(rises)
    above = facts.recipe is not None and _times_usual(facts) > FAR_ABOVE
    evidence = {"jumps": [int(at) + 2 for at in jumps], "share": share,
                "times_usual": _times_usual(facts)}  # fmt: skip
    largest = float(rises[jumps].max()) if len(jumps) else 0.0
    wild = len(jumps) >= 2 and share >= JUMPING and largest > 2 * JUMP
    thrown = largest > LARGE_JUMP and float(np.diff(loss)[1:].max()) > FAR * _guessing(facts)
    if wild or thrown:
        title = (
            f"The training loss itself jumps up in {len(jumps)} of {len(rises)} epochs, by up to "
            f"{largest:.0%}: the learning rate is too high."
        )
    elif above and flat(facts).outcome == "found":
        title = (
            f"Nothing was learnt at a learning rate {_times_usual(facts):.0f} times the usual one."
        )
    else:
        return _HIGH.passed("The training loss does not jump.", evidence)
    return _HIGH.found(
        title,
        evidence,
        "Lower the learning rate; `sightline lr-find` shows which one falls fastest.",
        recipe_change=changes.rate(facts, 0.1 if not above else 1 / _times_usual(facts)),
        epoch=int(jumps[0]) + 2 if len(jumps) else 0,
    )


def not_converging(facts: TrainingFacts) -> Finding:
    """Return whether the training loss neither falls any more nor settles."""
    if why := facts.lacks("loss", epochs=8):
        return _UNSETTLED.not_applicable(why)
    tail = facts.filled("loss")[facts.epochs // 2 :]
    level, moved = float(tail.mean()), wiggle(tail)
    noise = facts.sampling_noise("train")
    # The bound once more is too high: the images are the same in each epoch.
    doubt = float(np.median(noise[facts.epochs // 2 :])) / 2 if noise is not None else 0.0
    slope, _ = trend(tail)
    evidence = {"level": level, "wiggle": moved, "slope": slope, "sampling_noise": doubt}
    falling = falls(tail, least=STEADY)
    low = level < NOT_YET_LOW * _guessing(facts)
    if falling or low or moved < max(UNSETTLED * level, doubt):
        return _UNSETTLED.passed("The training loss falls, or has settled.", evidence)
    return _UNSETTLED.found(
        f"The training does not converge: in the last {len(tail)} epochs the loss moves by "
        f"{moved:.2g} around {level:.2g}, and no longer falls.",
        evidence,
        "Let the learning rate come down (exponential or cosine decay), and put normalisation "
        "layers into the network.",
        recipe_change=_exponential(facts) or changes.normalisation(facts)
        or changes.rate(facts, 1 / 3),
        epoch=facts.epochs // 2,
    )  # fmt: skip


def rate_too_low(facts: TrainingFacts) -> Finding:
    """Return whether the loss falls all the time, evenly, and gets nowhere."""
    if why := facts.lacks("loss", epochs=5):
        return _LOW.not_applicable(why)
    times = _times_usual(facts)
    loss = facts.filled("loss")
    gained = float(1 - loss[-1] / loss[0])
    evidence = {"first": float(loss[0]), "last": float(loss[-1]), "gained": gained,
                "times_usual": times}  # fmt: skip
    far_below = facts.recipe is not None and times < FAR_BELOW
    if not _crawls(facts) or (facts.recipe is not None and times > FAR_BELOW * 5):
        return _LOW.passed(f"The loss comes down by {gained:.0%} in all.", evidence)
    factor = 1 / times if far_below else 10.0
    return _LOW.found(
        f"The loss crawls: evenly from {loss[0]:.3g} to {loss[-1]:.3g} in {facts.epochs} epochs. "
        "The learning rate is too low.",
        evidence,
        "Raise the learning rate; `sightline lr-find` shows which one falls fastest.",
        recipe_change=changes.rate(facts, factor),
        epoch=0,
    )


def rate_decayed_early(facts: TrainingFacts) -> Finding:
    """Return whether the rate came down while the loss was falling, which then stood still."""
    if why := facts.lacks("loss", "learning_rate", epochs=6):
        return _EARLY.not_applicable(why)
    rate, loss = facts.filled("learning_rate"), facts.filled("loss")
    peak = int(rate.argmax())
    down = np.flatnonzero(rate[peak:] <= COME_DOWN * rate[peak])
    if not len(down):
        return _EARLY.passed("The learning rate stays above a tenth of its peak.")
    at = peak + int(down[0])
    before, after = loss[max(0, at - 4) : at], loss[at:]
    evidence = {"epoch": at, "loss_then": float(loss[at]), "loss_last": float(loss[-1])}
    left = len(after) / len(loss)
    before_pace = _pace(before)
    after_pace = _pace(after)
    evidence |= {"fell_before": before_pace, "fell_after": after_pace, "epochs_left": left}
    if (
        left < MUCH_LEFT
        or before_pace < WAS_FALLING
        or after_pace > max(LEVELLED_OFF, before_pace / 4)
        or loss[-1] < NOT_YET_LOW * _guessing(facts)
    ):
        return _EARLY.passed(
            f"The learning rate came down in epoch {at + 1}, when it was time.", evidence
        )
    return _EARLY.found(
        f"The learning rate came down to a tenth in epoch {at + 1}, while the loss fell by "
        f"{before_pace:.0%} an epoch; since then it stands at {loss[-1]:.3g}.",
        evidence,
        "Let the rate stay up for longer, or use a schedule that is laid out over all epochs.",
        recipe_change=changes.slower_decay(facts),
        epoch=at,
    )


def _pace(values: Floats) -> float:
    """Return by which share a curve falls an epoch, from its ends."""
    if len(values) < 2:
        return 0.0
    return float(1 - (values[-1] / values[0]) ** (1 / (len(values) - 1)))


def _crawls(facts: TrainingFacts) -> bool:
    """Say whether the training loss falls evenly in nearly every epoch, by little in all."""
    if facts.lacks("loss", epochs=5):
        return False
    loss = facts.filled("loss")
    half = len(loss) // 2
    first, second = loss[0] - loss[half], loss[half] - loss[-1]
    _, t = trend(loss)
    return bool(
        t < -4
        and 0 < loss[0] - loss[-1] < SLOW * loss[0]
        and second > EVEN_PACE * first
        and np.mean(np.diff(loss) < 0) > 0.6
    )


def _guessing(facts: TrainingFacts) -> float:
    """Return the cross-entropy of guessing; where the classes are not known, the first loss."""
    if facts.is_balanced and len(facts.shares) > 1:  # then all classes count the same
        return math.log(len(facts.shares))
    if facts.chance is not None:
        return facts.chance
    return float(facts.filled("loss")[0])


def _never_beat_guessing(facts: TrainingFacts) -> str:
    """Return how validation compares with guessing; "" where it was better, or is not known."""
    if facts.lacks("val_loss", epochs=3) or facts.chance is None or not facts.num_validation:
        return ""
    best = float(facts.filled("val_loss").min())
    hopeless = half_width(facts.num_validation) > HOPELESS  # then chance alone can be as bad
    if facts.is_balanced or hopeless or best < NOTHING_LEARNT * facts.chance:
        return ""
    said = f"the lowest val_loss is {best:.3g}, and guessing has {facts.chance:.3g}"
    if facts.lacks("val_accuracy") or facts.majority is None:
        return said
    share = facts.majority
    doubt = 3 * math.sqrt(share * (1 - share) / facts.num_validation)
    accuracy = float(facts.filled("val_accuracy").max())
    return said if accuracy < share + doubt else ""


def _times_usual(facts: TrainingFacts) -> float:
    """Return the learning rate over the usual one of its optimizer; 1 where it is not known."""
    if facts.recipe is None:
        return 1.0
    train = facts.recipe.train
    return train.learning_rate / USUAL_RATES[train.optimizer]


def _other_rate(facts: TrainingFacts) -> str:
    times = _times_usual(facts)
    return changes.rate(facts, 1 / times) if times > FAR_ABOVE or times < FAR_BELOW else ""


def _exponential(facts: TrainingFacts) -> str:
    return "schedule.kind=exponential" if changes.decay(facts) else ""
