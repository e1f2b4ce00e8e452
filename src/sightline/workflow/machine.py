"""What this machine can do, checked and said in words."""

from __future__ import annotations

import os
import platform
import shutil
import uuid
from pathlib import Path

from sightline.data.stream import usable_cores
from sightline.errors import SetupError
from sightline.learning.models import backend
from sightline.records import Finding
from sightline.runs import provenance, write_content

_LITTLE_DISK = 5e9  # bytes: a run takes far less, the decoded cache of a large set may not


def doctor(folder: str | Path = ".") -> list[Finding]:
    """Return the checks of this machine: versions, backend, device, precision, threads, disk.

    A failed check has the outcome "found", with severity and advice; the others "passed".
    Loads the backend that training would use.

    Args:
        folder: Where runs would be written.
    """
    about = provenance()
    versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return [
        _passed("python", f"Python {about['python']} on {about['system']}"),
        _passed("packages", versions),
        *_backend(),
        _passed("threads", f"{usable_cores()} usable of {os.cpu_count()} processor threads"),
        *_disk(Path(folder)),
    ]


def _passed(code: str, title: str) -> Finding:
    return Finding(code, "info", title, outcome="passed")


def _backend() -> list[Finding]:
    try:
        name = backend.choose()
    except SetupError as error:
        return [Finding("backend", "error", str(error))]
    machine = backend.describe(name)
    kind = "GPU" if machine["accelerators"] else "processor"
    several = f" ({machine['accelerators']} of them)" if machine["accelerators"] > 1 else ""
    precision = (
        "float32 and mixed_bfloat16 (native); where a recipe's precision is auto, a probe "
        "before a long training decides"
        if machine["bfloat16"]
        else "float32; this processor has no native bfloat16"
    )
    return [
        _passed("backend", f"Keras {machine['versions']['keras']} on {name}"),
        _passed("device", f"{kind} {machine['device']}{several}"),
        _passed("precision", precision),
    ]


def _disk(folder: Path) -> list[Finding]:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    title = f"{free / 1e9:,.1f} GB free at {place}"
    space = _passed("disk", title)
    if free < _LITTLE_DISK:
        space = Finding("disk", "warning", title, advice="Make room, or write runs elsewhere.")
    probe = place / f".sightline-{platform.node()}-{uuid.uuid4().hex}.txt"
    try:
        write_content(probe, "probe")
        probe.unlink()
    except OSError as error:
        return [
            space,
            Finding(
                "writing",
                "error",
                f"cannot write at {place}: {error.strerror}",
                advice="Change to a folder that you may write to, or give --out.",
            ),
        ]
    return [space, _passed("writing", f"files can be written, flushed and renamed at {place}")]
