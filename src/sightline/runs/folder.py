"""The run folder: opened and listed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from sightline.errors import RunError, SightlineError
from sightline.recipes import Recipe, load_recipe
from sightline.records import (
    SPLITS,
    DataFacts,
    Evaluation,
    Finding,
    History,
    Manifest,
    ModelSummary,
    Predictions,
    Weights,
)
from sightline.runs.best import BEST, read_best
from sightline.runs.checkpoints import load_checkpoint
from sightline.runs.epochs import read_history
from sightline.runs.files import SEAL, Tensors, file_sha256, read_json, tensors_sha256
from sightline.runs.places import NETWORK, is_held
from sightline.runs.sums import is_as_written, refuse_changed, seals

FORMAT_VERSION = 1
IMPORTED = "imported"  # the state of a run whose model was trained elsewhere
COMPOSED = "composed"  # of one that other runs were put together into
_IN_RUN_JSON: dict[str, type] = {"state": str, "started": str, "data": dict, "network": dict}
_IN_MODEL_JSON: dict[str, type] = {"class_names": list, "best_epoch": int}
_ANEW = "To make it anew, remove it and evaluate again."
VALIDATED = "model/"  # in a checkpoint: the weights that the epoch was validated with
TRAINED = "raw/"  # beside them, where they are a moving average: the trained ones themselves


@dataclass(frozen=True, slots=True)
class KeptWeights:
    """Weights as they are on the disk.

    Attributes:
        which: "best", "last" or "average".
        arrays: By name.
        epoch: 0-based epoch they are from.
        fingerprint: Which weights, network and preprocessing these are.
        told: What whoever uses them is to be told: files that were damaged, so that others were
            read in their place. A sentence each.
    """

    which: Weights
    arrays: dict[str, npt.NDArray[np.generic]]
    epoch: int
    fingerprint: str
    told: tuple[str, ...] = ()


def fingerprint(run: Path, arrays: Tensors, *, recipe: str = "") -> str:
    """Return the sha256 of weights, network and preprocessing.

    The recipe says the latter two, but for a network that is kept as a file.

    Args:
        run: The run folder.
        arrays: The weights.
        recipe: The sha256 of its recipe, where that was another one.
    """
    said = recipe or file_sha256(run / "recipe.toml")
    if (run / NETWORK).exists():
        said += f" {file_sha256(run / NETWORK)}"
    return hashlib.sha256(f"{said} {tensors_sha256(arrays)}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Run:
    """An opened run folder; reading it changes nothing, so a read-only copy works as well.

    Attributes:
        path: The folder.
        info: `run.json`: state, recipe name, seed, packages, device, timings ...
        recipe: As used, complete.
    """

    path: Path
    info: Mapping[str, Any]
    recipe: Recipe

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.name

    @property
    def state(self) -> str:
        """One of "training", "finished", "interrupted", "failed", "imported", "composed".

        A training whose process is gone (killed, or the machine was switched off) is interrupted.
        """
        state = str(self.info["state"])
        return "interrupted" if state == "training" and not is_held(self.path) else state

    @property
    def manifest(self) -> Manifest:
        """The images it was trained on, with their splits; none of a model from elsewhere.

        Raises:
            DataError: It is missing, or not a manifest.
            RunError: It is not as it was written.
        """
        if self.info["state"] == IMPORTED:
            return Manifest.make(self.path.absolute(), {"record_id": []})
        refuse_changed(self.path, self.info, "manifest.parquet")
        return Manifest.load(self.path / "manifest.parquet")

    @property
    def network(self) -> bytes | None:
        """`network.keras`, of a run whose recipe does not describe its network; None elsewhere.

        Raises:
            RunError: It cannot be read, or is not as it was written.
        """
        path = self.path / NETWORK
        refuse_changed(self.path, self.info, NETWORK)
        if not path.exists():
            return None
        try:
            return path.read_bytes()
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from error

    @property
    def facts(self) -> DataFacts:
        """What a look at the images said before training.

        Raises:
            RunError: `run.json` is damaged.
        """
        try:
            return DataFacts(**self.info["data"])
        except TypeError as error:
            raise RunError(f"{self.path / 'run.json'} is damaged: data: {error}") from error

    @property
    def summary(self) -> ModelSummary:
        """The network, layer by layer.

        Raises:
            RunError: `run.json` is damaged.
        """
        try:
            return ModelSummary.from_dict(self.info["network"])
        except (LookupError, TypeError) as error:
            raise RunError(f"{self.path / 'run.json'} is damaged: network: {error}") from error

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the audit before training found; () of a run that had none.

        Raises:
            RunError: `audit.json` is damaged.
        """
        path = self.path / "audit.json"
        if not path.exists():
            return ()
        if not is_as_written(self.path, self.info, path.name):
            raise RunError(f"{path} is damaged: it is not as it was written. Remove it.")
        try:
            return tuple(Finding.from_dict(plain) for plain in read_json(path)["findings"])
        except (LookupError, TypeError) as error:
            raise RunError(f"{path} is damaged: {error}. Remove it.") from error

    @property
    def plan(self) -> list[str]:
        """What was going to be done and why, a sentence each; only people read it."""
        path = self.path / "plan.txt"
        said = path.read_text("utf-8", errors="replace").splitlines()
        if is_as_written(self.path, self.info, path.name):
            return said
        return [*said, f"({path} is not as it was written: it is damaged, or was changed.)"]

    @property
    def history(self) -> History:
        """One row an epoch.

        Raises:
            RunError: It is damaged, or lacks an epoch that `model.json` knows.
        """
        card = self.model if (self.path / "model.json").exists() else {}
        path = self.path / "history.jsonl"
        if self.info["state"] in (IMPORTED, COMPOSED):
            return History.from_rows([])
        rows = read_history(path)
        for which in ("best", "last"):
            epoch = card.get(f"{which}_epoch")
            if epoch is not None and epoch >= len(rows):
                raise RunError(
                    f"{path} is damaged: it has {len(rows)} epochs, and the {which} weights are of "
                    f"epoch {epoch + 1}. Copy the run folder again from where it came from."
                )
        return History.from_rows(
            rows, monitor=self.recipe.train.best, best_epoch=card.get("best_epoch")
        )

    @property
    def model(self) -> Mapping[str, Any]:
        """`model.json`: classes, input, threshold, temperature, best epoch, fingerprint.

        Raises:
            RunError: No epoch was finished, so there is no model; or the file is damaged.
        """
        path = self.path / "model.json"
        if not path.exists():
            raise self._no_model()
        card = read_json(path)
        _check_keys(path, card, _IN_MODEL_JSON | seals(self.info))
        return card

    def _no_model(self) -> RunError:
        return RunError(
            f"{self.path} holds no model: the run is {self.state!r} and no epoch was finished. "
            "Train it again."
        )

    @property
    def evaluations(self) -> list[Evaluation]:
        """Everything that was evaluated so far, one entry a data set and weights; oldest first.

        Raises:
            RunError: The file is damaged, or was changed by hand.
        """
        path = self.path / "evaluation.json"
        if not path.exists():
            return []
        try:
            plain = read_json(path)
            if others := plain.keys() - {"evaluations", SEAL}:
                raise RunError(f"{path} is damaged: {others.pop()!r} does not belong there")
            return [Evaluation.from_dict(one) for one in plain["evaluations"]]
        except RunError as error:
            raise RunError(f"{str(error).rstrip('.')}. {_ANEW}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise RunError(f"{path} is damaged: {error}. {_ANEW}") from error

    def predictions_path(self, source: str, weights: Weights) -> Path:
        """Return where the predictions of a split or of an external set are kept."""
        slug = source
        if source not in SPLITS:  # a path: keep it readable, and different for different paths
            words = re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-")[-60:]
            slug = f"{words}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
        return self.path / "predictions" / f"{slug}-{weights}.parquet"

    def predictions(self, source: str, weights: Weights) -> Predictions:
        """Return the predictions that an evaluation was made from.

        Raises:
            DataError: There are none, or the file is damaged.
        """
        return Predictions.load(self.predictions_path(source, weights))

    def weights(self, which: Weights) -> dict[str, npt.NDArray[np.generic]]:
        """Return the named arrays of `kept`.

        Raises:
            RunError: They are missing or damaged.
            ValueError: There are no weights of that name.
        """
        return self.kept(which).arrays

    def kept(self, which: Weights) -> KeptWeights:
        """Return weights with the epoch and identity they really have.

        Args:
            which: "best": of the best epoch, as it was validated. "last": as training left them.
                "average": their moving average, where the recipe keeps one; with it, the best
                ones are an average as well.

        Raises:
            RunError: They are missing or damaged, or there is no average.
            ValueError: There are no weights of that name.
        """
        if which not in get_args(Weights):
            raise ValueError(f"weights must be one of {get_args(Weights)}, got {which!r}")
        if which == "best":
            if not (self.path / BEST).exists() and not (self.path / "model.json").exists():
                raise self._no_model()
            arrays, epoch, said = read_best(self.path)
            told = tuple(line for line in (said,) if line)
        else:
            arrays, epoch, told = self._last(averaged=which == "average")
        return KeptWeights(which, arrays, epoch, fingerprint(self.path, arrays), told)

    def is_of(self, judged: Evaluation) -> bool:
        """Say whether an evaluation is of weights that the run has now.

        Weights that are missing or damaged are not those.
        """
        try:
            kept = self.kept(judged.weights)
        except RunError:
            return False
        return judged.model_fingerprint in self.fingerprints(kept)

    def fingerprints(self, kept: KeptWeights) -> frozenset[str]:
        """Return all fingerprints of these weights: one a recipe that the run has had."""
        recipes = self.info.get("files", {}).get("recipe.toml", [])
        earlier = (fingerprint(self.path, kept.arrays, recipe=each) for each in recipes)
        return frozenset((kept.fingerprint, *earlier))

    def _last(
        self, *, averaged: bool
    ) -> tuple[dict[str, npt.NDArray[np.generic]], int, tuple[str, ...]]:
        """Return the weights of the newest intact checkpoint, their epoch, what is to be said."""
        checkpoint, damaged = load_checkpoint(self.path)
        if checkpoint is None:
            if damaged:
                told = "\n".join(f"  {line}" for line in damaged)
                raise RunError(
                    f"no checkpoint of {self.path} can be used:\n{told}\nCopy the run folder "
                    "again from where it came from, or use the best weights (--weights best)."
                )
            raise RunError(f"{self.path} has no checkpoint, so there are no last weights")
        arrays = _beginning_with(VALIDATED, checkpoint.tensors)
        trained = _beginning_with(TRAINED, checkpoint.tensors)
        if averaged and not trained:
            raise RunError(
                f"{self.path} keeps no average of its weights: train.weight_average of its recipe "
                "is 0. Use its best or last weights, or train with --set train.weight_average=0.99."
            )
        if not averaged:
            arrays |= trained
        epoch = int(checkpoint.meta["epoch"])
        instead = f"{checkpoint.path.name} is used in its place: weights of epoch {epoch + 1}."
        return arrays, epoch, tuple(f"{line}. {instead}" for line in damaged)


def _beginning_with(prefix: str, tensors: Tensors) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays whose names begin so, under the rest of their names."""
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }


def open_run(run: Run | str | Path) -> Run:
    """Return the run in a folder, or as it was opened; nothing is deserialised, nothing written.

    Raises:
        RunError: There is no run there, it is damaged, or was written by a newer Sightline.
    """
    if isinstance(run, Run):
        return run
    folder = Path(run)
    if not (folder / "run.json").is_file():
        raise RunError(
            f"there is no run at {folder}: it has no run.json. `sightline runs` lists yours."
        )
    info = read_json(folder / "run.json")
    version = info.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise RunError(
            f"{folder} has run format {version}; this Sightline knows "
            f"{FORMAT_VERSION}. Update Sightline to open it."
        )
    _check_keys(folder / "run.json", info, _IN_RUN_JSON | seals(info))
    recipe = folder / "recipe.toml"
    if recipe.exists():  # else the recipe's own error names it
        refuse_changed(folder, info, recipe.name)
    return Run(folder, info, load_recipe(recipe))


def _check_keys(path: Path, found: Mapping[str, Any], needed: Mapping[str, type]) -> None:
    """Refuse a JSON file of a run that lacks what every one of them says."""
    bad = [key for key, kind in needed.items() if not isinstance(found.get(key), kind)]
    if bad:
        raise RunError(
            f"{path} is damaged: it does not say {', '.join(bad)}. Copy the run folder again from "
            "where it came from."
        )


def list_runs(parent: Path) -> tuple[list[Run], list[str]]:
    """Return the runs in a folder, by name, and what is wrong with those that cannot be opened.

    Other folders are passed over.
    """
    opened, complaints = [], []
    for path in sorted(parent.glob("*/run.json")):
        try:
            opened.append(open_run(path.parent))
        except SightlineError as error:
            complaints.append(str(error))
    return opened, complaints
