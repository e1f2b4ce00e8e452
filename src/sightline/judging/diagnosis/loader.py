"""Does the network wait for its images?"""

from __future__ import annotations

import numpy as np

from sightline.judging.diagnosis.facts import TrainingFacts
from sightline.records import Finding
from sightline.records.outcomes import Outcomes

WAITING = 1 / 3  # of the time of an epoch: an ideal loader would make it half as long again faster
A_WHILE = 0.5  # seconds an epoch, under which nobody minds

_LOADER = Outcomes("loader-bound", "warning")


def loader_bound(facts: TrainingFacts) -> Finding:
    """Return whether epochs go by waiting for images; the first, which fills caches, is apart."""
    if why := facts.lacks("seconds_waiting", "seconds_computing", epochs=2):
        return _LOADER.not_applicable(why)
    waiting = facts.filled("seconds_waiting")[1:]
    computing = facts.filled("seconds_computing")[1:]
    share = float(np.median(waiting / np.maximum(waiting + computing, 1e-9)))
    wait = float(np.median(waiting))
    evidence = {"share": share, "seconds_waiting": wait,
                "seconds_computing": float(np.median(computing))}  # fmt: skip
    if share < WAITING or wait < A_WHILE:
        return _LOADER.passed(f"{share:.0%} of an epoch is waiting for images.", evidence)
    slow = facts.recipe is not None and facts.recipe.data.quality != "fast"
    return _LOADER.found(
        f"{share:.0%} of each epoch is waiting for images: {wait:.1f} s.",
        evidence,
        "Keep decoded images (leave the cache on, and give it room: `sightline cache`), put them "
        "on a faster disk, or give the machine more processors.",
        recipe_change="data.quality=fast" if slow else "",
    )
