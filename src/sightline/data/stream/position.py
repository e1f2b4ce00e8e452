"""What a stream saves to go on elsewhere, and whether a saved one fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_hexdigest

from sightline.data.stream.config import StreamConfig
from sightline.data.stream.filling import Fault
from sightline.records import RecordIndex

_LOOKED_AT = 64  # record ids: all of a million would be read from the disk


def describe(
    index: RecordIndex, rows: npt.NDArray[Any], config: StreamConfig, shard: tuple[int, int]
) -> dict[str, Any]:
    """Return what decides which records are in batch n of epoch e, ready for JSON."""
    looked_at = rows[np.linspace(0, len(rows) - 1, min(_LOOKED_AT, len(rows))).astype(np.int64)]
    names = "\n".join(index.record_id(int(row)) for row in looked_at)
    return {
        "images": len(rows),
        "image_names": xxh3_64_hexdigest(names.encode()),
        "seed": config.seed,
        "shuffle": config.shuffle,
        "sampling": config.sampling,
        "batch_size": config.batch_size,
        "shard": list(shard),
    }


def to_state(
    position: tuple[int, int], stream: Mapping[str, Any], faults: Iterable[Fault]
) -> dict[str, Any]:
    """Return a position, ready for JSON."""
    lost = [[fault.row, fault.record_id, fault.reason, fault.message] for fault in faults]
    return {"epoch": position[0], "batch": position[1], "stream": dict(stream), "faults": lost}


def from_state(
    state: Any, *, num_batches: int, stream: Mapping[str, Any]
) -> tuple[tuple[int, int], dict[int, Fault]]:
    """Return the (epoch, batch) of a saved position and its faults by row.

    Raises:
        ValueError: It is no position, or not one of such a stream.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"a position is what `state` of a stream returned, got {state!r}")
    epoch, batch = (
        int(number) if isinstance(number, int | np.integer) else -1
        for number in (state.get("epoch"), state.get("batch"))
    )
    saved = state.get("stream", {})
    other = [
        f"{name} {saved[name]!r}, now {value!r}"
        for name, value in stream.items()
        if name in saved and saved[name] != value
    ]
    if other:
        raise ValueError(
            f"the position was saved by another stream: {'; '.join(other)}. Give this one the "
            "same images and settings, or begin the epoch anew."
        )
    if epoch < 0 or not 0 <= batch <= num_batches:
        shown = {name: state.get(name) for name in ("epoch", "batch")}
        raise ValueError(
            f"position {shown} is not in an epoch of {num_batches} batches. It was saved "
            "with other images or another batch size; begin that epoch anew."
        )
    faults = (Fault(*each) for each in state.get("faults", ()))
    return (epoch, batch), {fault.row: fault for fault in faults}
