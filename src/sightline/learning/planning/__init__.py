"""The plan: what was found, what will be done and why, and what it will cost."""

from __future__ import annotations

from sightline.learning.planning.costs import duration
from sightline.learning.planning.plan import Plan, make_plan, plan_again

__all__ = ["Plan", "duration", "make_plan", "plan_again"]
