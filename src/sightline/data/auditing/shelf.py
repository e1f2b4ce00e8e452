"""A folder of tables that are whole or not there, each with what it depends on."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import xxhash

from sightline import runs

_writing = threading.Lock()  # files beside their final name are named by process, not by thread


class Shelf:
    """Tables by name: a JSON file says which parquet files belong to it, with their checksums.

    The parquet files are named by their content, so that one JSON file, replaced in one step,
    never points at half of something. Parts of an earlier one are removed afterwards; who reads
    meanwhile, or finds anything damaged, gets nothing.

    Args:
        folder: It is made when something is put, readable by this user alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(
        self,
        name: str,
        settings: object,
        parts: Mapping[str, bytes],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the parts under a name, in the place of others; nothing where it cannot be written.

        Args:
            name: Of the table.
            settings: What has to be the same when it is asked for; as JSON.
            parts: Content of the parquet files, by name.
            about: What else belongs to it; as JSON.
        """
        digests = {part: xxhash.xxh3_128_hexdigest(blob) for part, blob in parts.items()}
        content = {"settings": settings, "about": dict(about or {}), "parts": digests}
        with suppress(OSError), _writing:
            for folder in (self._folder.parent, self._folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = {self._part(name, part, digests[part]): parts[part] for part in parts}
            for file, blob in files.items():
                _write(file, blob)
            runs.write_json(self._folder / f"{name}.json", content | {"check": _check(content)})
            for old in self._folder.glob(f"{name}-*.parquet"):
                if old not in files:
                    old.unlink(missing_ok=True)

    def get(self, name: str, settings: object) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """Return what was put under a name with these settings, `about` and parts; else None."""
        try:
            content = json.loads((self._folder / f"{name}.json").read_bytes())
            check = content.pop("check")
            if check != _check(content) or content["settings"] != _plain(settings):
                return None
            parts = {}
            for part, digest in content["parts"].items():
                parts[part] = self._part(name, part, digest).read_bytes()
                if xxhash.xxh3_128_hexdigest(parts[part]) != digest:
                    return None
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            return None  # not there, not whole, or not what is written here
        return content["about"], parts

    def _part(self, name: str, part: str, digest: str) -> Path:
        return self._folder / f"{name}-{part}-{digest[:16]}.parquet"


def _write(file: Path, content: bytes) -> None:
    runs.write_content(file, content)


def _check(content: Mapping[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True))


def _plain(value: object) -> object:
    """Return a value as it comes back from JSON."""
    return json.loads(json.dumps(value))
