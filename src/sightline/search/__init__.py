"""Search: experiments one after the other, of which only what is confirmed is kept.

Knows no images and no framework: it asks for trainings and is given what came of them.
"""

from __future__ import annotations

from sightline.search.ladder import ERROR, FOLDS, FRESH_PAIRS, Ask, Climbed, Ladder
from sightline.search.proposals import Proposal, propose, rules_of_thumb

__all__ = [
    "ERROR",
    "FOLDS",
    "FRESH_PAIRS",
    "Ask",
    "Climbed",
    "Ladder",
    "Proposal",
    "propose",
    "rules_of_thumb",
]
