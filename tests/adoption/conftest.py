"""Old scripts, written to a file and adopted."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged import Read

from sightline.adoption import Adoption, adopt


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that adopts a text as a script."""

    def read(code: str, name: str = "script.py") -> Adoption:
        path = tmp_path / name
        path.write_bytes(code.encode())
        return adopt(path)

    return read
