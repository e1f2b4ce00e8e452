"""What is looked for in a Keras program: each check yields what it found, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sightline.adoption.checks import calls, feeding, imports, judging, outputs, saving, steps
from sightline.adoption.faults import Fault
from sightline.adoption.reading import Reading

CHECKS: tuple[Callable[[Reading], Iterator[Fault]], ...] = (
    *imports.CHECKS,
    *calls.CHECKS,
    *steps.CHECKS,
    *feeding.CHECKS,
    *judging.CHECKS,
    *outputs.CHECKS,
    *saving.CHECKS,
)
