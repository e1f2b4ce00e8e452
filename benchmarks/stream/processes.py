"""CPU seconds and memory of a process and all below it, read from /proc (Linux)."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Return `pid` and every process below it."""
    found = [pid]
    for parent in found:  # grows while it is walked
        for listing in PROC.glob(f"{parent}/task/*/children"):
            try:
                found += [int(child) for child in listing.read_text().split()]
            except OSError:  # the thread has just ended
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """Return user + system seconds of the tree since it began, ended children included.

    Living processes are read to the nanosecond; children that ended and were waited for to the
    10 ms of the system's clock tick.
    """
    return sum(_own_seconds(part) + _waited_seconds(part) for part in tree(pid))


def _own_seconds(pid: int) -> float:
    try:
        # clock_getcpuclockid(3): the CPU clock of another process is this number.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _waited_seconds(pid: int) -> float:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / _TICK  # cutime, cstime


def memory(pid: int, own_files: Path) -> tuple[float, float]:
    """Return (MB of the tree's memory, MB of mapped files under `own_files`).

    The first is the proportional set size (PSS) that the tree would have if it ran alone: memory
    shared within it counts once, and pages of libraries in full, though other contenders map
    the same. The second are pages of caches and packed files, which the system takes back at need.
    """
    shared: defaultdict[str, int] = defaultdict(int)  # of each file, the most that one process maps
    private = 0
    for part in tree(pid):
        own, files = _mappings(part)
        private += own
        for name, size in files.items():
            shared[name] = max(shared[name], size)
    packed = sum(size for name, size in shared.items() if name.startswith(str(own_files)))
    return (private + sum(shared.values()) - packed) / 1e3, packed / 1e3


def _mappings(pid: int) -> tuple[int, dict[str, int]]:
    """Return (KB of anonymous and shared memory by PSS, KB resident of each mapped file)."""
    private, files, name = 0, defaultdict[str, int](int), ""
    try:
        lines = (PROC / str(pid) / "smaps").read_text(errors="replace").splitlines()
    except OSError:  # ended meanwhile
        return 0, {}
    resident = proportional = 0
    for line in lines:
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):
            name = rest.split(maxsplit=4)[4] if rest.count(" ") > 3 and "/" in rest else ""
        elif key == "Rss:":
            resident = int(rest.split()[0])
        elif key == "Pss:":
            proportional = int(rest.split()[0])
        elif key == "Anonymous:":
            anonymous = int(rest.split()[0])
            if name.startswith("/") and not name.startswith(("/dev/", "/memfd:", "/SYSV")):
                files[name] += resident - anonymous
                proportional = round(proportional * anonymous / resident) if resident else 0
            private += proportional
    return private, files
