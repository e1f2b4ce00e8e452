"""Every item of a checkpoint matters: without any one of them a resumed training ends otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import write_splits

PROGRAM = Path(__file__).with_name("leaving_out.py")


@pytest.mark.slow
def test_leaving_out_any_one_saved_item_is_noticed(tmp_path: Path) -> None:
    images = write_splits(tmp_path / "images", {"cat": 18, "dog": 14}, {"cat": 8, "dog": 6})
    spec = {
        "images": str(images),
        "where": str(tmp_path / "work"),
        "told": str(tmp_path / "told.json"),
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec), "utf-8")
    words = [sys.executable, PROGRAM, tmp_path / "spec.json"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    told = json.loads((tmp_path / "told.json").read_text("utf-8"))
    assert told["not as it should"] == []  # with everything, the end is the same
    assert told["crashed"] == []
    assert [item for item, where in told["noticed"].items() if not where] == []
    assert len(told["noticed"]) > 85
