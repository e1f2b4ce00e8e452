"""Optuna's side of the sampler: where a study is kept, who owns which trial of it, how it draws.

Nothing but this file and `importance` imports Optuna, and not before a study is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sightline import runs
from sightline.errors import RunError, SetupError, SightlineError, require
from sightline.recipes import Recipe, flat
from sightline.records.trials import Trial
from sightline.search.space import Choices, Simple, Space

if TYPE_CHECKING:
    import optuna
    from sqlalchemy import Connection

FILE = "study.db"
_ABOUT = "sightline"  # the study's attribute that says what it is of
# Attributes of one trial.
KEY, TOLD, OWNER, REASON, TAKEN = "key", "trial", "owner", "reason", "taken"
_BUSY = 60.0  # s, for which a process waits for another one to write
_PAUSE = 0.02  # s
_MADE = "already exists"  # what SQLite says of a table
_TRIES, _LONGER = 5, 0.5  # times, and s between them
_REDUCTION = 3  # Hyperband keeps one of so many
_OF_A_MACHINE = ("backend", "devices", "checkpoint.", "train.log_to", "name")  # may differ


@dataclass(frozen=True, slots=True)
class StudyOf:
    """What a study is of: another one of these is another study.

    Attributes:
        recipe: That it begins with; resolved.
        space: What is drawn.
        objective: "val_loss" or a metric of validation.
        images: Fingerprint of the manifest.
        folder: Where the runs of this machine lie.
        storage: URL of a database; "" for a file in the folder.
        name: Of the study in there.
    """

    recipe: Recipe
    space: Space
    objective: str
    images: str
    folder: Path
    storage: str = ""
    name: str = ""

    @property
    def higher_is_better(self) -> bool:
        """Of the objective."""
        return self.objective != "val_loss"

    @property
    def owner(self) -> str:
        """Whose the trials are that are begun here; "" where nobody else writes there."""
        return f"{socket.gethostname()}:{self.folder.resolve()}" if self.storage else ""

    def told(self) -> dict[str, Any]:
        """Return it as plain values, but for what another machine may have otherwise."""
        values = flat(self.recipe)
        same = {key: each for key, each in values.items() if not key.startswith(_OF_A_MACHINE)}
        plain = {
            "objective": self.objective, "images": self.images,
            "space": self.space.plain(), "recipe": same,
        }  # fmt: skip
        return dict(json.loads(json.dumps(plain)))

    def open(self) -> optuna.Study:
        """Return the study, begun where there is none.

        Raises:
            RunError: The storage cannot be used, or has a study of this name that is of something
                else.
            SetupError: Optuna is not installed, or the driver of the database.
        """
        require("optuna")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with alone(self.folder), faults(self.storage):
            storage = self._database()
            # A folder may be moved; its own file has one study, whatever that was called there.
            known = [] if self.storage else optuna.get_all_study_names(storage)
            study = optuna.create_study(
                storage=storage,
                study_name=self.name or next(iter(known), self.folder.resolve().name),
                direction="maximize" if self.higher_is_better else "minimize",
                # Hyperband is asked beside the study: of a study that had it, TPE would know those
                # trials alone that are in the same bracket.
                pruner=optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
            self._refuse_other(study)
        return study

    def pruner(self) -> optuna.pruners.BasePruner:
        """Return Hyperband over epochs: brackets that look first after a ninth, a third, all."""
        import optuna

        epochs = self.space.most("train.epochs", int(self.recipe.train.epochs))
        return optuna.pruners.HyperbandPruner(
            min_resource=max(epochs // _REDUCTION**2, 1), max_resource=epochs,
            reduction_factor=_REDUCTION,
        )  # fmt: skip

    def _database(self) -> optuna.storages.RDBStorage:
        from sqlalchemy import event

        if self.storage:
            return connected(self.storage)
        storage = _connected(f"sqlite:///{(self.folder / FILE).resolve()}", FILE)
        event.listen(storage.engine, "connect", _ahead)
        return storage

    def drawing(self, count: int) -> optuna.samplers.BaseSampler:
        """Return what draws the next trial: the same after the same number of trials.

        It knows nothing but the study, so that a search goes on as if it had not been cut off,
        and no two trials of several processes begin with the same throw.

        Args:
            count: Trials that were begun before.
        """
        import optuna

        throw = f"{self.recipe.seed} {count} {self.owner}".encode()
        seed = int.from_bytes(hashlib.sha256(throw).digest()[:4], "big")
        with warnings.catch_warnings():
            # Trials in groups of the same parameters: without it a draw that some trials do not
            # have, such as a momentum, is drawn on its own.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True
            )

    def _refuse_other(self, study: optuna.Study) -> None:
        before, ours = study.user_attrs.get(_ABOUT), self.told()
        if before is None and not study.get_trials(deepcopy=False):
            study.set_user_attr(_ABOUT, ours)
            return
        where = f"the study {study.study_name!r} in {shown(self.storage) or self.folder / FILE}"
        if before is None:
            raise RunError(f"{where} was not begun by `sightline tune`. Give another --study.")
        if before != ours:
            raise RunError(
                f"{where} is of another {_difference(before, ours)}. Trials of the two cannot be "
                "compared: give another --study, or the same as there."
            )


def connected(url: str) -> optuna.storages.RDBStorage:
    """Return a database that studies are kept in; its tables are made where there are none.

    Args:
        url: Of SQLAlchemy; `$NAME` in it is an environment variable.

    Raises:
        RunError: There is no such variable, or it is no URL of a database.
    """
    return _connected(_with_variables(url), shown(url))


def _connected(url: str, called: str) -> optuna.storages.RDBStorage:
    import optuna
    from sqlalchemy import event
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    sqlite = url.startswith(("sqlite:", "sqlite+"))
    options: dict[str, Any] = {"connect_args": {"timeout": _BUSY}} if sqlite else {}
    for left in reversed(range(_TRIES)):
        try:
            storage = optuna.storages.RDBStorage(
                url.replace("{", "{{").replace("}", "}}"),  # it fills in a template
                engine_kwargs=options or {"pool_pre_ping": True},
            )
            break
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            unreachable = isinstance(error, OperationalError) and _MADE not in str(error)
            if not left or unreachable:
                raise  # else another machine makes the tables just now
            time.sleep(_LONGER)
        except (ValueError, LookupError, RuntimeError) as error:
            # A port that is no number, braces, the tables of another Optuna. What it says is not
            # told: it may hold a part of the password.
            raise RunError(
                f"the storage {called} cannot be used ({type(error).__name__}). A URL is "
                "postgresql+psycopg://NAME:$PASSWORD@HOST:5432/DATABASE or sqlite:////FOLDER/FILE; "
                "or the database was made by another version of Optuna."
            ) from error
    if not sqlite:
        return storage
    # Two processes that both read and then write would each wait for the other, and SQLite ends
    # one with "database is locked" at once. So whoever begins takes its turn first.
    event.listen(storage.engine, "connect", _no_begin_of_its_own)
    event.listen(storage.engine, "begin", _begin_at_once)
    storage.engine.dispose()
    return storage


def _with_variables(url: str) -> str:
    """Return a URL with the values of `$NAME`; before the @ of the host, quoted as it must be."""
    host = url.rfind("@")

    def value(found: re.Match[str]) -> str:
        name = found["braced"] or found["plain"]
        if name not in os.environ:
            raise RunError(
                f"the storage {shown(url)} names ${name}, and there is no such environment "
                f"variable. Set it: export {name}=..."
            )
        return quote(os.environ[name], safe="") if found.start() < host else os.environ[name]

    return re.sub(r"\$(?:\{(?P<braced>\w+)\}|(?P<plain>[A-Za-z_]\w*))", value, url)


def _no_begin_of_its_own(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _ahead(connection: Any, _: object) -> None:
    """Write ahead: a commit need not wait for the disk, and a kill or power cut breaks nothing.

    Not for files that several machines share, which cannot share the log.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_at_once(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def refuse_unusable(storage: str) -> None:
    """Refuse to begin a search that could not keep its study.

    Args:
        storage: URL of a database; "" for a file in the folder of the search.

    Raises:
        RunError: There is no such database, or it does not answer.
        SetupError: Optuna is not installed, or the driver of the database.
    """
    require("optuna")
    if storage:
        with faults(storage):
            connected(storage).engine.dispose()


@contextmanager
def faults(storage: str) -> Iterator[None]:
    """Tell what goes wrong with a storage in one line.

    Raises:
        RunError: It cannot be used.
        SetupError: Its driver is not installed.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    where = f"the storage {shown(storage)}" if storage else f"{FILE} of the search"
    try:
        yield
    except SightlineError:  # of a training, say
        raise
    except ImportError as error:
        raise SetupError(
            f"{where} needs a driver that is not installed: {error.__cause__ or error}. For "
            "PostgreSQL: pip install 'psycopg[binary]', with postgresql+psycopg:// in the URL."
        ) from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
        raise RunError(f"{where} cannot be used: {str(cause).splitlines()[0]}") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process of this folder at a time go on here."""
    while True:
        with runs.claimed(folder / "study.lock") as ours:
            if ours:
                yield
                return
        time.sleep(_PAUSE)


def wait_for(claim: Path) -> None:
    """Return once no process holds a claim."""
    while True:
        with runs.claimed(claim) as ours:
            if ours:
                return
        time.sleep(_PAUSE)


def suggest(trial: optuna.Trial, name: str, declared: Simple, _: object = None) -> Any:
    """Return what Optuna draws; it takes lists as their JSON text."""
    if isinstance(declared, Choices):
        plain: list[Any] = [_encoded(value) for value in declared.values]
        return declared.values[plain.index(trial.suggest_categorical(name, plain))]
    if declared.whole:
        step = int(declared.step or 1)
        return trial.suggest_int(
            name, int(declared.low), int(declared.high), step=step, log=declared.log
        )
    return trial.suggest_float(
        name, declared.low, declared.high, step=declared.step, log=declared.log
    )


def encoded(drawn: Mapping[str, tuple[Simple, Any]]) -> dict[str, Any]:
    """Return what `suggest` is to draw, as Optuna has it."""
    return {
        name: _encoded(value) if isinstance(declared, Choices) else value
        for name, (declared, value) in drawn.items()
    }


def _encoded(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (str, int, float)) else json.dumps(value)


def told_trials(study: optuna.Study) -> list[Trial]:
    """Return what came of the trials of a study, of all machines."""
    attributes = [trial.user_attrs for trial in study.get_trials(deepcopy=False)]
    return [Trial.from_dict(each[TOLD]) for each in attributes if TOLD in each]


def shown(storage: str) -> str:
    """Return the URL of a storage without its password, whatever characters that has."""
    hidden = re.sub(r"(://[^:@/]*):.*@", r"\1:***@", storage)
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", hidden)


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the first thing that differs, with its values."""
    for name in ("objective", "recipe", "space"):
        there, here = before.get(name), now.get(name)
        if there == here:
            continue
        if isinstance(there, dict) and isinstance(here, dict):
            key = next(key for key in {**there, **here} if there.get(key) != here.get(key))
            return f"{name}: {key} is {there.get(key)!r} there and {here.get(key)!r} here"
        return f"{name}: {there!r} there and {here!r} here"
    return "set of images, or of splits"
