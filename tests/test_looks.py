"""How often a test split was looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.records import Manifest
from sightline.runs import count_looks, note_look


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGHTLINE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def manifest_of(*test: str, root: str = "/photos", train: str = "t") -> Manifest:
    """A manifest whose test split holds these contents."""
    return Manifest.make(
        Path(root),
        {
            "record_id": [f"{name}.png" for name in (*test, train)],
            "sha256": [*test, train],
            "label": ["x"] * (len(test) + 1),
            "split": [*["test"] * len(test), "train"],
        },
    )


def test_every_look_is_counted_whichever_run_took_it() -> None:
    manifest = manifest_of("a", "b")
    assert [note_look(manifest, Path(run)) for run in ("one", "two", "one")] == [1, 2, 3]
    assert count_looks(manifest) == 3


def test_the_same_test_images_in_another_folder_are_the_same_split() -> None:
    note_look(manifest_of("a", "b"), Path("run"))
    assert count_looks(manifest_of("b", "a", root="/elsewhere", train="another")) == 1


def test_other_test_images_have_a_count_of_their_own() -> None:
    note_look(manifest_of("a", "b"), Path("run"))
    assert count_looks(manifest_of("a", "c")) == 0


def test_without_a_place_to_remember_a_look_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SIGHTLINE_STATE", str(tmp_path / "file"))
    assert note_look(manifest_of("a"), Path("run")) is None
    assert count_looks(manifest_of("a")) == 0


@pytest.mark.parametrize("damage", [b'{"time": "2026', b"\x00\xff\n" * 9])
def test_damage_neither_counts_nor_swallows_the_next_look(own_state: Path, damage: bytes) -> None:
    manifest = manifest_of("a", "b")
    note_look(manifest, Path("one"))
    (ledger,) = (own_state / "looks").iterdir()
    with ledger.open("ab") as file:
        file.write(damage)
    assert note_look(manifest, Path("two")) == 2
    assert count_looks(manifest) == 2


def test_the_state_is_kept_where_the_system_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIGHTLINE_STATE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    note_look(manifest_of("a"), Path("run"))
    assert len(list((tmp_path / "xdg/sightline/looks").iterdir())) == 1
