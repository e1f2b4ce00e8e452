"""What becomes of a resumed training when one saved item is as if nothing had been saved of it.

Run as a program: python leaving_out.py SPEC.json, with stub trainings as in `stub_training`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stub_training as stub

import sightline as sl
from sightline import runs
from sightline.learning import training
from sightline.learning.training import variables
from sightline.learning.training.standing import Standing
from sightline.runs.checkpoints import Checkpoint

LONG: dict[str, Any] = {
    **stub.CHANGES,
    "train.epochs": 6,
    "train.learning_rate": 0.05,
    "schedule.kind": "plateau",
    "schedule.patience": 2,
    "stop.patience": 4,
    "train.metrics": ["accuracy", "auc"],
}
RECIPES = {"average": LONG, "plain": {**LONG, "train.weight_average": 0.0}}
STEPS = 4  # of an epoch
STOPS = (4, 10, 14)  # steps after which a training is killed
END = "end"  # after the last epoch, before it was noted as finished
NO_MATTER = {  # what decides nothing, or is made anew
    # The recipe's own, until somebody changes that.
    *("meta/standing/planned", "meta/standing/rate/epochs", "meta/standing/rate/plateau/column"),
    *("meta/standing/best/column", "meta/standing/stop/column"),
    *("meta/format_version", "meta/step", "meta/epoch", "meta/card/fingerprint"),
    *(f"meta/standing/{name}" for name in ("seconds", "spent", "longest")),  # times
    *(f"meta/standing/tally/{name}" for name in ("waiting", "computing")),
}
GUARDS = "meta/stream/stream/"  # another stream is refused by it: see test_stream_resume

Item = tuple[str, ...]


def items(saved: Checkpoint) -> Iterator[Item]:
    """Yield the way to each thing that a checkpoint holds."""
    for name in saved.tensors:
        yield ("tensors", name)
    yield from _leaves(saved.meta, ("meta",))


def _leaves(value: Any, way: Item) -> Iterator[Item]:
    if isinstance(value, dict):
        for key in value:
            yield from _leaves(value[key], (*way, key))
    else:
        yield way


def left_out(saved: Checkpoint, item: Item, initial: Any) -> tuple[dict[str, Any], Any]:
    """Return tensors and meta in which an item is as at the start, or nothing where it was not."""
    tensors, meta = dict(saved.tensors), json.loads(json.dumps(saved.meta))
    if item[0] == "tensors":
        tensors[item[1]] = initial["tensors"][item[1]]
        return tensors, meta
    place, before = meta, initial["meta"]
    for key in item[1:-1]:
        place = place[key]
        before = before.get(key, {}) if isinstance(before, dict) else {}
    if isinstance(before, dict) and item[-1] in before:
        place[item[-1]] = before[item[-1]]
    else:
        del place[item[-1]]
    return tensors, meta


def at_the_start(changes: dict[str, Any], num_callbacks: int) -> dict[str, Any]:
    """Return what a checkpoint would have held before the first step."""
    recipe = sl.recipes.load_recipe("basic", changes)
    model = stub.stub_network(recipe, 2)
    training.compile_model(model, recipe, 2, None)
    standing = Standing.of(recipe, STEPS, 2).to_dict()
    nothing = [{"class": "Bystander", "state": []}] * num_callbacks
    return {
        "tensors": variables.read(model),
        "meta": {
            "epoch": 0,
            "standing": json.loads(json.dumps(standing)),
            "stream": {"epoch": 0, "batch": 0, "faults": []},
            "callbacks": nothing,
            "card": {},
        },
    }


def ruin(images: Path) -> tuple[Path, bytes]:
    """Make a training image unreadable, so that nobody sees it before it is read."""
    path = sorted((images / "train" / "cat").iterdir())[0]
    return path, path.read_bytes()


def rewrite(path: Path, content: bytes) -> None:
    about = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


class Trial:
    """One recipe: a whole training, and those that were killed after some of its steps."""

    def __init__(self, images: Path, where: Path, name: str) -> None:
        self.images, self.where, self.changes = images, where / name, RECIPES[name]
        self.broken, self.content = ruin(images)
        for place in ("whole", *map(str, STOPS)):
            (self.where / place / "cache").mkdir(parents=True)
        self._run("whole", None)
        self.whole = self._outcome("whole")
        for stop in STOPS:
            self._run(str(stop), stop)
        shutil.copytree(self.where / "whole", self.where / END)
        about = self.where / END / "run" / "run.json"
        runs.write_sealed(about, json.loads(about.read_text("utf-8")) | {"state": "training"})

    def _run(self, place: str, stop: int | None) -> None:
        def work() -> None:
            stub.DIE_AFTER = stop
            stub.BEFORE_TRAINING = lambda: rewrite(self.broken, bytes(len(self.content)))
            stub.AFTER_AN_EPOCH = lambda: rewrite(self.broken, self.content)
            stub.begin(self.images, self.where / place / "run", self.changes)

        root = self.where / place
        code, said = stub.in_child(stub.followed(root, root / "steps", work))
        rewrite(self.broken, self.content)
        assert code == (stub.KILLED if stop else 0), said

    def _outcome(self, place: str) -> Any:
        path = self.where / place / "outcome.json"
        run = self.where / place / "run"
        code, said = stub.in_child(lambda: stub.dump(path, stub.outcome(run)))
        assert code == 0, said
        return json.loads(path.read_text("utf-8"))

    def saved(self, stop: int | str) -> Checkpoint:
        found, _ = runs.load_checkpoint(self.where / str(stop) / "run")
        assert found is not None
        return found

    def differs(self, stop: int | str, item: Item | None) -> bool:
        """Say whether a training that goes on without an item ends otherwise, or not at all."""
        root = self.where / "trial"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.where / str(stop), root)
        run = root / "run"

        def work() -> None:
            if item is not None:
                saved = self.saved(stop)
                initial = at_the_start(self.changes, len(saved.meta["callbacks"]))
                tensors, meta = left_out(saved, item, initial)
                shutil.rmtree(run / "checkpoints")
                runs.save_checkpoint(run, saved.meta["step"], tensors, {"epoch": 0} | meta)
            stub.go_on(self.images, run)
            stub.dump(root / "outcome.json", stub.outcome(run))

        code, _ = stub.in_child(stub.followed(root, root / "steps", work))
        return code != 0 or json.loads((root / "outcome.json").read_text("utf-8")) != self.whole


def main(spec: dict[str, Any]) -> None:
    """Try each item of each recipe {images, where, told} until one training differs."""
    images, where = Path(spec["images"]), Path(spec["where"])
    stub.put_stubs_in()
    stub.warm_up(images)
    trials = {name: Trial(images, where, name) for name in RECIPES}
    told: dict[str, Any] = {
        "epochs": {name: len(trial.whole["history"]) for name, trial in trials.items()},
        "nothing left out": [
            [name, stop]
            for name, trial in trials.items()
            for stop in (*STOPS, END)
            if trial.differs(stop, None)
        ],
        "noticed": {},
    }
    for name, trial in trials.items():
        for stop in (*STOPS, END):
            for item in items(trial.saved(stop)):
                shown = "/".join(item)
                if shown in NO_MATTER or shown.startswith(GUARDS) or told["noticed"].get(shown):
                    continue
                noticed = trial.differs(stop, item)
                told["noticed"][shown] = f"{name}, step {stop}" if noticed else ""
    stub.dump(Path(spec["told"]), told)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
