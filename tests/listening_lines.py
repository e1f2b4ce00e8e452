"""A progress that remembers what it was told."""

from __future__ import annotations

import sightline as sl


class Lines(sl.Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)
