"""What becomes of a resumed training when one saved item is as if nothing had been saved of it.

An item that is left out has the value that it has before the first step, or one that says nothing
(0, "", []) where it is not there before. That has to be noticed: the training ends otherwise, or is
refused in a sentence. A crash is not, and is told apart.

Run as a program: python leaving_out.py SPEC.json, with stub trainings as in `stub_training`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stub_training as stub

import sightline as sl
from sightline import runs
from sightline.learning import planning
from sightline.learning.training import freezing, randomness, variables
from sightline.learning.training.standing import Standing
from sightline.recipes import change_recipe
from sightline.runs.checkpoints import Checkpoint

END = "end"  # after the last epoch, before it was noted as finished
STOPS = (4, 10, 14, END)  # steps after which a training is killed; an epoch has four
STEPS = 4


@dataclass(frozen=True)
class Kind:
    """A training in which items decide something.

    Attributes:
        changes: Of the recipe.
        later: Of the recipe, when it goes on.
        stops: Where it is killed.
        enough_after: Steps after which a callback asks for the end of the training.
    """

    changes: Mapping[str, Any]
    later: Mapping[str, Any] = field(default_factory=dict)
    stops: tuple[int | str, ...] = STOPS
    enough_after: int | None = None


LONG: dict[str, Any] = {
    **stub.CHANGES,
    "train.epochs": 6,
    "train.learning_rate": 0.05,
    "schedule.kind": "plateau",
    "schedule.patience": 2,
    "stop.patience": 4,
    "train.metrics": ["accuracy", "auc"],
}
FROZEN: dict[str, Any] = {
    "model.network": "applications/Stub",
    "model.weights": "stub.weights.h5",  # not read: the stub starts from its seed
    "model.frozen_epochs": 2,
    "data.scaling": "none",
}
GROWING: dict[str, Any] = {
    "model.network": "residual",
    "data.grow": [0.5, 1.0],
    "schedule.kind": "cosine",
}
KINDS = {
    "average": Kind(LONG),
    "plain": Kind({**LONG, "train.weight_average": 0.0, "data.scaling": "mean-std"}),
    "frozen, then not": Kind(LONG | FROZEN),
    "growing, then longer": Kind(
        LONG | GROWING, {"train.epochs": 8, "stop.monitor": "val_accuracy"}
    ),
    "asked to stop": Kind(LONG, stops=(10,), enough_after=9),
}
NO_MATTER = {
    "meta/step": "nothing reads it: the folder's name says it, too",
    "meta/epoch": "only says of which epoch the weights are, for `--weights last`",
    "meta/card/fingerprint": "made anew from the recipe and the best weights",
    # An item of a recipe that cannot change in the middle of a training: it is always the same.
    "meta/standing/best/column": "the recipe's train.best",
    "meta/standing/rate/plateau/column": "always val_loss",
}
# Stands behind meta/identity, which refuses any other images or recipe before. A position without
# it is one, too; what it refuses itself, the tests of the stream show.
GUARDS = "meta/stream/stream/"
# Seconds that all saved times are raised by, so that they show in times that are never the same.
AGES = {
    **{"seconds": 1000, "spent": 3000, "first": 5000, "longest": 7000},
    **{"waiting": 11000, "computing": 13000},
}
AGE = 500  # s: what times are rounded down to

Item = tuple[str, ...]


def items(saved: Checkpoint) -> Iterator[Item]:
    """Yield the way to each thing that a checkpoint holds, and to the whole card."""
    for name in saved.tensors:
        yield ("tensors", name)
    if saved.meta["card"]:
        yield ("meta", "card")
    yield from _leaves(saved.meta, ("meta",))


def _leaves(value: Any, way: Item) -> Iterator[Item]:
    if isinstance(value, dict):
        for key in value:
            yield from _leaves(value[key], (*way, key))
    else:
        yield way


def left_out(saved: Checkpoint, item: Item, initial: Any) -> tuple[dict[str, Any], Any]:
    """Return tensors and meta in which an item is as at the start, or says nothing."""
    tensors, meta = dict(saved.tensors), _copied(saved.meta)
    if item[0] == "tensors":
        tensors[item[1]] = initial["tensors"][item[1]]
        return tensors, meta
    place, before = meta, initial["meta"]
    for key in item[1:-1]:
        place, before = place[key], before.get(key, {})
    value = place[item[-1]]
    place[item[-1]] = before[item[-1]] if item[-1] in before else type(value)()
    return tensors, meta


def at_the_start(run: Path, saved: Checkpoint, later: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint would have held before the first step."""
    plan = planning.plan_again(sl.open_run(run))
    recipe, model = change_recipe(plan.recipe, later), plan.compiled()
    is_frozen = freezing.is_frozen(model, recipe)
    if is_frozen and not saved.meta["frozen"]:
        freezing.thaw(model, recipe, 2)  # the same variables, with their first values
    stub.seed()
    return {
        "tensors": variables.read(model),
        "meta": {
            "standing": _copied(Standing.of(recipe, STEPS, 2).to_dict()),
            "stream": {"epoch": 0, "batch": 0, "faults": []},
            "callbacks": [{"class": "Bystander", "state": []}],
            "randomness": randomness.state(),
            "frozen": is_frozen,
            "card": {},
        },
    }


def aged(saved: Checkpoint) -> Checkpoint:
    """Return a checkpoint of a training that has taken hours."""
    meta = _copied(saved.meta)
    for place in _timed(meta["standing"]):
        place |= {name: place[name] + more for name, more in AGES.items() if name in place}
    return Checkpoint(saved.path, saved.tensors, meta)


def _timed(standing: dict[str, Any]) -> list[dict[str, Any]]:
    return [standing, standing["clock"], standing["tally"]]


def ages(run: Path) -> Any:
    """Return the times of a training, so rough that only `AGES` show in them."""
    saved, _ = runs.load_checkpoint(run)
    assert saved is not None
    names = ("seconds", "seconds_waiting", "seconds_computing")
    places = _timed(saved.meta["standing"])
    return [
        *({name: place[name] // AGE for name in AGES if name in place} for place in places),
        *([row[name] // AGE for name in names] for row in runs.read_history(run / "history.jsonl")),
    ]


def said(run: Path) -> list[str]:
    """Return what was said of values that changed when a training went on."""
    lines = (run / "run.log").read_text("utf-8").splitlines()
    return [line.partition("  ")[2] for line in lines if "from here on" in line]


def undated(outcome: Any) -> Any:
    """Return what two trainings have in common whose networks were saved at two moments."""
    found = _copied(outcome)
    if found["meta"]["identity"].pop("network", None):
        del found["meta"]["card"]["fingerprint"]
        del found["model"]["fingerprint"], found["model"]["sha256"]
    return found


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def ruin(images: Path) -> tuple[Path, bytes]:
    """Return a training image that is to become unreadable before anybody reads it."""
    path = sorted((images / "train" / "cat").iterdir())[0]
    return path, path.read_bytes()


def rewrite(path: Path, content: bytes) -> None:
    about = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


class Trial:
    """One kind: a whole training, and those that were killed after some of its steps."""

    def __init__(self, images: Path, where: Path, name: str) -> None:
        self.images, self.where, self.kind = images, where / name, KINDS[name]
        self.broken, self.content = ruin(images)
        stops = [stop for stop in self.kind.stops if isinstance(stop, int)]
        for place in ("whole", *map(str, stops)):
            (self.where / place / "cache").mkdir(parents=True)
        self._run("whole", None)
        self.whole = self._outcome("whole")
        for stop in stops:
            self._run(str(stop), stop)
        shutil.copytree(self.where / "whole", self.where / END)
        about = self.where / END / "run" / "run.json"
        runs.write_sealed(about, json.loads(about.read_text("utf-8")) | {"state": "training"})
        self.told = {stop: self.goes_on(stop, None) for stop in self.kind.stops}

    def _run(self, place: str, stop: int | None) -> None:
        def work() -> None:
            stub.DIE_AFTER, stub.ENOUGH_AFTER = stop, self.kind.enough_after
            stub.BEFORE_TRAINING = lambda: rewrite(self.broken, bytes(len(self.content)))
            stub.AFTER_AN_EPOCH = lambda: rewrite(self.broken, self.content)
            stub.begin(self.images, self.where / place / "run", self.kind.changes)

        root = self.where / place
        code, told = stub.in_child(stub.followed(root, root / "steps", work))
        rewrite(self.broken, self.content)
        assert code == (stub.KILLED if stop else 0), told

    def _outcome(self, place: str) -> Any:
        path = self.where / place / "outcome.json"
        run = self.where / place / "run"
        code, told = stub.in_child(lambda: stub.dump(path, stub.outcome(run)))
        assert code == 0, told
        return json.loads(path.read_text("utf-8"))

    def saved(self, stop: int | str) -> Checkpoint:
        found, _ = runs.load_checkpoint(self.where / str(stop) / "run")
        assert found is not None
        return aged(found)

    def goes_on(self, stop: int | str, item: Item | None) -> tuple[int, Any]:
        """Return how a training that goes on without an item ends: exit code, and what it came to.

        It came to what was said where the code is not 0, and to None where nothing would be left
        out: the item has its first value.

        Args:
            stop: Where it was killed.
            item: What is left out; None for nothing.
        """
        root = self.where / "trial"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.where / str(stop), root)
        run, path = root / "run", root / "trial.json"

        def work() -> None:
            saved = self.saved(stop)
            tensors, meta = dict(saved.tensors), saved.meta
            if item is not None:
                initial = at_the_start(run, saved, self.kind.later)
                tensors, meta = left_out(saved, item, initial)
                if _same(saved, tensors, meta, item):
                    stub.dump(path, None)
                    return
            shutil.rmtree(run / "checkpoints")
            runs.save_checkpoint(run, saved.meta["step"], tensors, {"epoch": 0, **meta})
            stub.go_on(self.images, run, self.kind.later)
            stub.dump(path, {"outcome": stub.outcome(run), "ages": ages(run), "said": said(run)})

        code, told = stub.in_child(stub.followed(root, root / "steps", work))
        return code, told if code else json.loads(path.read_text("utf-8"))

    def ends_well(self, stop: int | str) -> bool:
        """Say whether a training that goes on with everything ends as it should."""
        code, found = self.told[stop]
        if code or self.kind.later:
            return not code
        return bool(undated(found["outcome"]) == undated(self.whole))

    def noticed(self, stop: int | str, item: Item) -> str:
        """Return how it is noticed that an item is left out, "" where it is not."""
        code, found = self.goes_on(stop, item)
        if code == 0 and found is not None:
            return "" if found == self.told[stop][1] else "ends otherwise"
        return {0: "", 2: "refused"}.get(code, f"crashed: {found}")


def _same(saved: Checkpoint, tensors: Mapping[str, Any], meta: Any, item: Item) -> bool:
    if item[0] != "tensors":
        return bool(meta == _copied(saved.meta))
    return bool((tensors[item[1]] == saved.tensors[item[1]]).all())


def main(spec: dict[str, Any]) -> None:
    """Try each item of each kind {images, where, told} until one training notices."""
    images, where = Path(spec["images"]), Path(spec["where"])
    stub.put_stubs_in()
    stub.warm_up(images)
    trials = {name: Trial(images, where, name) for name in KINDS}
    noticed: dict[str, str] = {}
    told: dict[str, Any] = {
        "epochs": {name: len(trial.whole["history"]) for name, trial in trials.items()},
        "not as it should": [
            [name, stop, trial.told[stop]]
            for name, trial in trials.items()
            for stop in trial.kind.stops
            if not trial.ends_well(stop)
        ],
        "noticed": noticed,
        "crashed": [],
    }
    tried = [(name, stop) for name, kind in KINDS.items() for stop in kind.stops]
    # Last the end, where an item may show in what is kept alone and not in what was decided by it.
    for name, stop in sorted(tried, key=lambda each: each[1] == END):
        for item in items(trials[name].saved(stop)):
            shown = "/".join(item)
            if shown in NO_MATTER or shown.startswith(GUARDS) or noticed.get(shown):
                continue
            how = trials[name].noticed(stop, item)
            if how.startswith("crashed"):
                told["crashed"].append([shown, name, stop, how])
                how = ""
            noticed[shown] = how and f"{how}: {name}, step {stop}"
    stub.dump(Path(spec["told"]), told)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
