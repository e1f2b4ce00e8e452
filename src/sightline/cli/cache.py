"""cache."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli import console, options
from sightline.workflow.cache import clear_cache, report_cache

if TYPE_CHECKING:
    from sightline.data.stream.cache import CacheSummary, Cleared


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(console.told_plainly(cache))


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all of them but those in use.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List the decoded images that are kept between runs, or remove them."""
    if clear:
        _clear(as_json)
        return
    report = report_cache()
    if as_json:
        console.show_json(
            {
                "folder": str(report.folder),
                "bytes": report.num_bytes,
                "max_bytes": report.max_bytes,
                "caches": [_row(each) for each in report.caches],
            }
        )
        return
    if not report.caches:
        console.show(f"No decoded images are kept in {report.folder}.")
        return
    columns = ["images", "size", "rows filled", "on disk", "last used", ""]
    console.show_table(columns, [_cells(each) for each in report.caches])
    taken, allowed = _size(report.num_bytes), _size(report.max_bytes)
    console.show(f"\n{taken} of at most {allowed} in {report.folder}")
    console.show("Empty it: sightline cache --clear")


def _clear(as_json: bool) -> None:
    """Remove what can be removed, and tell what could not.

    Raises:
        OSError: One of them could not be removed.
    """
    cleared = clear_cache()
    freed = sum(each.num_bytes for each in cleared.removed)
    # An error of the system speaks for itself, through the way that every command's errors take.
    if not as_json:
        _tell(cleared, freed)
    elif not cleared.failed:
        paths = {"removed": cleared.removed, "in_use": cleared.in_use}
        named = {name: [str(each.path) for each in caches] for name, caches in paths.items()}
        console.show_json({**named, "bytes": freed})
    for _, error in cleared.failed:
        raise error


def _tell(cleared: Cleared, freed: int) -> None:
    console.show(f"Removed {_count(cleared.removed)}: {_size(freed)}.")
    for each in cleared.in_use:
        console.show(f"Kept, a process is using it: {each.images_root or each.path}")


def _count(caches: Sequence[CacheSummary]) -> str:
    return f"{len(caches)} cache" if len(caches) == 1 else f"{len(caches)} caches"


def _row(cache: CacheSummary) -> dict[str, Any]:
    return {
        "path": str(cache.path),
        "images": cache.images_root,
        "shape": cache.shape,
        "quality": cache.quality,
        "rows": cache.num_rows,
        "filled": cache.num_filled,
        "bytes": cache.num_bytes,
        "last_used": datetime.fromtimestamp(cache.last_used).astimezone().isoformat(
            timespec="seconds"
        ),
        "in_use": cache.in_use,
    }  # fmt: skip


def _cells(cache: CacheSummary) -> list[str]:
    return [
        cache.images_root or str(cache.path),
        "-" if cache.shape is None else "x".join(map(str, cache.shape)),
        f"{_number(cache.num_filled)} / {_number(cache.num_rows)}",
        _size(cache.num_bytes),
        f"{datetime.fromtimestamp(cache.last_used):%Y-%m-%d %H:%M}",
        "in use" if cache.in_use else "",
    ]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _size(num_bytes: int) -> str:
    """Return bytes in words; decimal units, as disks are sold."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if num_bytes >= size:
            return f"{num_bytes / size:,.1f} {unit}"
    return f"{num_bytes / 1000:,.1f} kB"
