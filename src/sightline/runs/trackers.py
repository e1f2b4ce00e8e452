"""Copies of the history for MLflow and Weights & Biases, which nothing waits for.

Each works in a thread of its own: its package takes seconds to import, and a server can hang. No
training ends or slows down because of it: whatever goes wrong there becomes one line, and there
are no more copies then. Unless the user's own variables say otherwise (MLFLOW_TRACKING_URI,
WANDB_MODE), everything stays in the run folder and nothing is sent anywhere.

    runs/NAME/mlflow/  mlflow.db (mlflow ui --backend-store-uri sqlite:///...)  tracked.json
    runs/NAME/wandb/   offline-run-*/ (wandb sync ...)  tracked.json
"""

from __future__ import annotations

import importlib.util
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sightline.errors import SetupError, how_to_install
from sightline.runs.epochs import read_history
from sightline.runs.files import read_json, write_json

_TO_BEGIN, _TO_END = 45.0, 3.0  # seconds that a thread has, at least, since its start; at the end
_KNOWN = "tracked.json"
_AT_ONCE = 100  # parameters or metrics that MLflow takes in one call

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What a tracker is told of a training, once.

    Attributes:
        run: The run folder.
        recipe: Every value by its dotted name.
        identity: Digests of recipe, manifest and network: what the training is one of.
    """

    run: Path
    recipe: Mapping[str, Any]
    identity: Mapping[str, str]


class _Sink(Protocol):
    """What the thread talks to."""

    next_epoch: int

    def add(self, row: Row) -> None: ...

    def close(self, state: str) -> None: ...


def refuse_missing(names: Sequence[str]) -> None:
    """Refuse trackers whose package is not installed.

    Raises:
        SetupError: One is not; the message is the command that installs it.
    """
    for name in names:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # a mere folder of that name is no package
            raise SetupError(
                f"train.log_to has {name!r}, whose package is not installed. Install it with: "
                f"{how_to_install(name)}; or leave it out of train.log_to."
            )


class Tracker:
    """One copy of the history, as `Events` is one.

    It begins with the first epoch that is added. In a run that was resumed, the same MLflow or
    W&B run goes on: epochs that it has are not added again, those that it lacks are.

    Attributes:
        name: "mlflow" or "wandb".
        trouble: Why there are no more copies; "" while there are.

    Args:
        name: Which.
        about: The training.
    """

    def __init__(self, name: str, about: About) -> None:
        self.name, self.trouble = name, ""
        self._about = about
        self._rows: queue.SimpleQueue[Row | str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._began = 0.0

    def add(self, row: Row) -> None:
        """Add one epoch; returns at once."""
        if self._thread is None:
            # As a daemon: a process never waits for it to end.
            self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self._began = time.monotonic()
            self._rows.put(dict(row))
            self._thread.start()
        elif not self.trouble:
            self._rows.put(dict(row))

    def close(self, state: str = "finished") -> None:
        """End it; waits for what is still to be written, a few seconds and no more.

        Args:
            state: How the training ended: "finished", "interrupted" or "failed".
        """
        if self._thread is None or self.trouble:
            return
        self._rows.put(state)
        # A hurried user waits less; a training of seconds waits until it was opened.
        left = self._began + _TO_BEGIN - time.monotonic() if state == "finished" else 0.0
        self._thread.join(max(_TO_END, left))
        if self._thread.is_alive():
            self.trouble = self.trouble or "it did not end in time"

    def _work(self) -> None:
        try:
            row = self._rows.get()
            assert not isinstance(row, str), "the thread begins with a row"
            sink = _SINKS[self.name](self._about)
            before = read_history(self._about.run / "history.jsonl")
            for each in (*before[: row["epoch"]], row):
                if each["epoch"] >= sink.next_epoch:
                    sink.add(each)
            while not isinstance(row := self._rows.get(), str):
                if row["epoch"] >= sink.next_epoch:
                    sink.add(row)
            sink.close(row)
        except Exception as error:  # noqa: BLE001  # theirs may raise anything; it ends here
            self.trouble = " ".join(f"{type(error).__name__}: {error}".split())[:300]


def numbers(row: Row) -> dict[str, float]:
    """Return the figures of an epoch's line, without the epoch itself."""
    return {
        name: float(value)
        for name, value in row.items()
        if name != "epoch" and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


class _MLflow:
    """A run in an MLflow store: SQLite in the run folder, or where MLFLOW_TRACKING_URI says."""

    def __init__(self, about: About) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        import mlflow

        # That it makes its tables is no news, and what goes wrong is told once, at the end.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)
        folder = (about.run / "mlflow").absolute()
        folder.mkdir(parents=True, exist_ok=True)
        place = os.environ.get("MLFLOW_TRACKING_URI")
        store = place or _store_in(folder)
        self._client = mlflow.MlflowClient(tracking_uri=store)
        self._metric = mlflow.entities.Metric
        known = _known(folder)
        self.next_epoch = 0
        if known.get("store") == store:
            self._id = known["id"]
            self._client.update_run(self._id, status="RUNNING")
            # The store itself knows best what it was given before a crash.
            history = self._client.get_metric_history(self._id, "loss")
            self.next_epoch = 1 + max((each.step for each in history), default=-1)
            return
        experiment = self._experiment("" if place else (folder / "artifacts").as_uri())
        tags = {f"sightline.{name}": value for name, value in about.identity.items()}
        run = self._client.create_run(experiment, tags=tags, run_name=about.run.name)
        self._id = run.info.run_id
        params = [mlflow.entities.Param(k, str(v)) for k, v in about.recipe.items()]
        for begin in range(0, len(params), _AT_ONCE):
            self._client.log_batch(self._id, params=params[begin : begin + _AT_ONCE])
        write_json(folder / _KNOWN, {"id": self._id, "store": store})

    def _experiment(self, artifacts: str) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "sightline")
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=artifacts or None))

    def add(self, row: Row) -> None:
        now, step = int(time.time() * 1000), row["epoch"]
        metrics = [self._metric(name, value, now, step) for name, value in numbers(row).items()]
        for begin in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self._id, metrics=metrics[begin : begin + _AT_ONCE])
        self.next_epoch = step + 1

    def close(self, state: str) -> None:
        ends = {"finished": "FINISHED", "interrupted": "KILLED"}
        self._client.set_terminated(self._id, ends.get(state, "FAILED"))


class _WandB:
    """A W&B run, offline in the run folder, or as WANDB_MODE says."""

    def __init__(self, about: About) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported
        import wandb

        self._folder = about.run / "wandb"
        self._folder.mkdir(parents=True, exist_ok=True)
        known = _known(self._folder)
        self.next_epoch = int(known.get("epochs", 0))
        self._id = known.get("id") or uuid.uuid4().hex[:12]
        digests = {name: value[:12] for name, value in about.identity.items()}
        self._run = wandb.init(
            id=self._id,
            resume="allow",
            name=about.run.name,
            dir=str(about.run),
            project=os.environ.get("WANDB_PROJECT", "sightline"),
            mode=os.environ.get("WANDB_MODE", "offline"),
            config={**about.recipe, "identity": dict(about.identity)},
            tags=[f"{name}-{value}" for name, value in digests.items()],
            reinit="create_new",  # the user may have a run of their own going on
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_disable_stats=True,
                x_disable_machine_info=True,
            ),
        )
        self._note()

    def add(self, row: Row) -> None:
        self._run.log(numbers(row), step=row["epoch"])
        self.next_epoch = row["epoch"] + 1
        self._note()

    def close(self, state: str) -> None:
        self._run.finish(exit_code=0 if state == "finished" else 1)

    def _note(self) -> None:
        """Note which run it is; an epoch that is logged again after a crash is the same one."""
        write_json(self._folder / _KNOWN, {"id": self._id, "epochs": self.next_epoch})


def _store_in(folder: Path) -> str:
    """Return the address of a store in a folder; MLflow 3.17 reads a "%" in two ways."""
    if {"?", "%"} & set(str(folder)):
        raise ValueError(f"MLflow has no address for a folder with ? or % in its path: {folder}")
    return f"sqlite:///{folder / 'mlflow.db'}"


def _known(folder: Path) -> dict[str, Any]:
    """Return what an earlier process of this training left: which run it is."""
    path = folder / _KNOWN
    return read_json(path) if path.exists() else {}


_SINKS: Mapping[str, Callable[[About], _Sink]] = {"mlflow": _MLflow, "wandb": _WandB}
