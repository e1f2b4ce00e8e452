"""Memory at an epoch's end: what was freed goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import weakref
from pathlib import Path

import pytest

from sightline.learning.training.memory import ReleaseMemory


class Cycle:
    """An object that only the garbage collector can free."""

    def __init__(self) -> None:
        self.itself = self


def resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def test_cycles_are_collected_at_an_epochs_end() -> None:
    gc.disable()  # or it might be collected anyhow
    try:
        left = weakref.ref(Cycle())
        assert left() is not None
        ReleaseMemory().on_epoch_end(0)
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="only glibc gives memory back on request",
)
def test_freed_memory_goes_back_to_the_system_at_an_epochs_end() -> None:
    blocks = [bytes(4000) for _ in range(20_000)]  # 80 MB in pieces that glibc keeps for later
    kept = blocks[::100]  # so that it cannot give back the end of its heap by itself
    del blocks
    before = resident()
    ReleaseMemory().on_epoch_end(0)
    assert before - resident() > 40e6
    assert len(kept) == 200
