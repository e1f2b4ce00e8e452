"""TensorBoard's copy of the history: which curve a column belongs to, and what it takes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog

from sightline.runs import Events

ROW = {
    "epoch": 3,
    "loss": 0.5,
    "val_loss": 0.25,
    "raw_val_loss": 0.125,
    "learning_rate": 0.001,
}


def written(folder: Path) -> list[Any]:
    """Return the events of every file, the oldest file first."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name.rpartition(".")[2]):
        content, place = path.read_bytes(), 0
        while place < len(content):  # length, its checksum, the event, its checksum
            length = int.from_bytes(content[place : place + 8], "little")
            found.append(Event.FromString(content[place + 12 : place + 12 + length]))
            place += 12 + length + 4
    return found


def test_training_and_validation_are_curves_of_one_picture(tmp_path: Path) -> None:
    events = Events(tmp_path)
    events.add(ROW)
    events.close()
    values = [
        (event.step, value.tag) for event in written(tmp_path) for value in event.summary.value
    ]
    assert values == [
        (3, "loss/train"),
        (3, "loss/validation"),
        (3, "loss/validation_of_the_trained_weights"),
        (3, "training/learning_rate"),
    ]


def test_going_on_takes_back_what_comes_again(tmp_path: Path) -> None:
    for start in (None, 0, 2):
        Events(tmp_path, from_epoch=start).close()
    starts = [e.step for e in written(tmp_path) if e.session_log.status == SessionLog.START]
    assert starts == [0, 2]
