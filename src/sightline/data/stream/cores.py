"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of the container, where there is one


def usable_cores() -> int:
    """Return how many cores this process may use: those it is bound to, less a container's limit.

    A limit of 1.5 cores counts as 2.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        allowed = cores_of(_QUOTA.read_text())
    except OSError:
        allowed = None
    return max(1, min(cores or 1, allowed or cores or 1))


def cores_of(quota: str) -> int | None:
    """Return the cores that a cgroup's `cpu.max` allows, None for no limit.

    Args:
        quota: Microseconds of work and the period they are for, as "150000 100000"; or "max".
    """
    words = quota.split()
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None
    return math.ceil(int(words[0]) / int(words[1]))
