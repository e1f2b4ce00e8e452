"""Search: experiments one after the other, of which only what is confirmed is kept.

Knows no images and no framework: it asks for trainings and is given what came of them.
"""

from __future__ import annotations

from sightline.search.importance import importance_of
from sightline.search.ladder import ERROR, FOLDS, FRESH_PAIRS, Ask, Climbed, Ladder
from sightline.search.proposals import Proposal, propose, rules_of_thumb
from sightline.search.sampling import Sampled, Sampler
from sightline.search.space import Space, load_space
from sightline.search.studies import StudyOf, refuse_unusable
from sightline.search.usual_space import default_space

__all__ = [
    "ERROR",
    "FOLDS",
    "FRESH_PAIRS",
    "Ask",
    "Climbed",
    "Ladder",
    "Proposal",
    "Sampled",
    "Sampler",
    "Space",
    "StudyOf",
    "default_space",
    "importance_of",
    "load_space",
    "propose",
    "refuse_unusable",
    "rules_of_thumb",
]
