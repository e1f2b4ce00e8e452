"""`DisjointSets` and `groups_of`: confirmed pairs to groups, through confirmed pairs only."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

UNBOUND_SHARE, UNBOUND_MINIMUM = 0.01, 20


class DisjointSets:
    """Union-find over 0..count-1; the smallest member stands for its set, whatever the order."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, member: int) -> int:
        """Return the smallest member of the same set."""
        parents = self._parents
        while parents[member] != member:
            parents[member] = parents[parents[member]]
            member = parents[member]
        return member

    def join(self, first: int, second: int) -> bool:
        """Make two sets one; return False where they already are."""
        first, second = self.find(first), self.find(second)
        if first == second:
            return False
        self._parents[max(first, second)] = min(first, second)
        return True

    def roots(self) -> npt.NDArray[np.int64]:
        """Return (count,) the smallest member of each one's set."""
        parents = np.array(self._parents, np.int64)
        while True:
            further = parents[parents]
            if np.array_equal(further, parents):
                return parents
            parents = further

    def groups(self) -> list[list[int]]:
        """Return the sets of two members or more, each sorted, by their smallest members."""
        members: dict[int, list[int]] = defaultdict(list)
        roots = self.roots()
        sizes = np.bincount(roots, minlength=len(roots))
        for member in np.flatnonzero(sizes[roots] > 1):
            members[int(roots[member])].append(int(member))
        return list(members.values())


def largest_binding(num_images: int) -> int:
    """Return how many distinct pictures a near cluster may have and still bind.

    Beyond it, a chain of likenesses is more probable than that many copies of one picture. Equal
    bytes and equal pixels count once: there is no doubt about them.
    """
    return max(UNBOUND_MINIMUM, int(UNBOUND_SHARE * num_images))
