"""What do searches find in thirty minutes of one processor, beside the published recipes?

    python -m benchmarks.search_race --data FOLDER --out DIR [--minutes 30] [--page FILE]

FOLDER holds ham10000_csv and chest_xray. Everything shares one split, by lesion or patient. Ladder
and sampler begin with the same recipe, `basic` on small images, at the same time, each on one
processor of its own; the published recipes are trained to their own end. As the best of many
flatters itself, what the searches came to is trained twice more with other seeds, and on five folds
dealt anew, the same for both. The test split is judged once for each, at the end. What is done is
skipped; what was broken off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pages import markdown, rewrite
from benchmarks.stream.machine import describe
from benchmarks.training.sets import SETS, prepare

import sightline as sl

BEGIN, END = (f"<!-- {word}: written by benchmarks/search_race.py -->" for word in ("begin", "end"))
RACED = ("ham10000", "chest-xray")
SEARCHES = ("ladder", "optuna")
PUBLISHED = ("skin-binary", "ham10000", "chest-xray")
_ALL = (*SEARCHES, *PUBLISHED)
# A quarter of the images' own side, a length at which thirty minutes hold some sixty trainings.
BASE = {"ham10000": "data.image_size=[36, 48]", "chest-xray": "data.image_size=[48, 48]"}
_COMMON = ("train.epochs=10", "stop.patience=3", 'train.metrics=["balanced_accuracy", "auc"]')
_AGAIN = (1, 2)  # seeds beside the 0 of the search
_FOLDS, _DEALT = 5, 7  # of a cross-validation, and its seed
_FIGURES = ("log_loss", "balanced_accuracy", "roc_auc")


@dataclass(frozen=True, slots=True)
class Program:
    """What comes to one trained recipe.

    Attributes:
        set_name: Of SETS.
        name: Of SEARCHES or PUBLISHED.
        out: Where everything is kept.
        manifest: The images, split.
    """

    set_name: str
    name: str
    out: Path
    manifest: Path

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.out / self.set_name / self.name

    @property
    def searches(self) -> bool:
        """Whether it is a search."""
        return self.name in SEARCHES

    @property
    def tuning(self) -> dict[str, Any]:
        """What the search came to."""
        return dict(json.loads((self.folder / "search" / "tuning.json").read_text()))

    def run(self, seed: int) -> Path:
        """Return the run of a seed; that of 0 is what the search itself trained."""
        if self.searches and not seed:
            return self.folder / "search" / "trials" / self.tuning["best"]["run"]
        return self.folder / f"seed-{seed}"

    def search(self, minutes: float) -> list[str]:
        """Return the command that searches, or goes on."""
        folder = self.folder / "search"
        if (folder / "search.json").exists():
            return ["tune", "--resume", str(folder)]
        settings = [BASE[self.set_name], *_COMMON]
        return [
            "tune", str(self.manifest), "--strategy", self.name, "--minutes", f"{minutes:g}",
            "--out", str(folder), *_changes(settings),
        ]  # fmt: skip

    def folds(self) -> list[str]:
        """Return the command that cross-validates what a search came to, or goes on."""
        folder = self.folder / "cv"
        if (folder / "cv.json").exists():
            return ["cv", "--resume", str(folder)]
        return [
            "cv", str(self.manifest), "--recipe", str(self.folder / "search" / "best.toml"),
            "--folds", f"{_FOLDS}", "--out", str(folder), *_changes([f"seed={_DEALT}"]),
        ]  # fmt: skip

    def training(self, seed: int) -> list[str]:
        """Return the command that trains the recipe once more, or goes on."""
        run = self.run(seed)
        if (run / "run.json").exists():
            return ["train", "--resume", str(run), "--only-train"]
        recipe = str(self.folder / "search" / "best.toml") if self.searches else self.name
        return [
            "train", str(self.manifest), "--recipe", recipe, "--only-train", "--out", str(run),
            *_changes([f"seed={seed}", _COMMON[-1]]),
        ]  # fmt: skip


def main() -> None:
    """Search and train what is not done yet, judge, print the table, write it into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_race", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, help="folder of the real sets")
    parser.add_argument("--out", type=Path, required=True, help="where searches are kept")
    parser.add_argument("--sets", nargs="+", choices=RACED, default=list(RACED))
    parser.add_argument("--programs", nargs="+", choices=_ALL, default=list(_ALL))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--page", type=Path, help="docs/results.md, to write the table into")
    asked = parser.parse_args()
    programs = []
    for name in asked.sets:
        split = prepare(SETS[name], asked.data, asked.out / name / "split")
        made = {each: Program(name, each, asked.out, split.manifest) for each in asked.programs}
        _search([each for each in made.values() if each.searches], asked.minutes)
        programs += made.values()
    _train(programs)
    rows = [_row(program) for program in programs]
    searches = [program for program in programs if program.searches]
    lines = [*markdown(_HEAD, rows), "", *map(_changed, searches), *map(_costs, searches)]
    print(json.dumps(describe(), indent=1), *lines, sep="\n")
    if asked.page:
        rewrite(asked.page, BEGIN, END, lines)


def _search(programs: Sequence[Program], minutes: float) -> None:
    """Have the searches run at the same time, a processor each."""
    cores = sorted(os.sched_getaffinity(0))
    begun = []
    for program, core in zip(programs, cores, strict=False):
        if (program.folder / "search" / "tune.html").exists():
            continue
        whole = not (program.folder / "search").exists()
        process = _begun(program, "search", program.search(minutes))
        os.sched_setaffinity(process.pid, {core})
        begun.append((program, process, whole))
    started = time.perf_counter()
    while begun:  # each is noted when it ends, whichever is first
        time.sleep(1)
        for program, process, whole in [each for each in begun if each[1].poll() is not None]:
            begun.remove((program, process, whole))
            _ended(program, process)
            if whole:  # else a part of its time is not known
                took = {"wall": time.perf_counter() - started}
                (program.folder / "took.json").write_text(json.dumps(took) + "\n")


def _train(programs: Sequence[Program]) -> None:
    for program in programs:
        for seed in _AGAIN if program.searches else (0,):
            path = program.run(seed) / "run.json"
            if not path.exists() or json.loads(path.read_text())["state"] != "finished":
                _ended(program, _begun(program, f"seed-{seed}", program.training(seed)))
        if program.searches and not (program.folder / "cv" / "cv.html").exists():
            _ended(program, _begun(program, "cv", program.folds()))


def _begun(program: Program, what: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    program.folder.mkdir(parents=True, exist_ok=True)
    print(f"{program.set_name}, {program.name}, {what} ...", flush=True)
    # A cache of its own for each: none profits from what another one decoded.
    environment = {**os.environ, "SIGHTLINE_CACHE": str(program.folder / "cache")}
    with (program.folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "sightline", *command],
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip


def _ended(program: Program, process: subprocess.Popen[bytes]) -> None:
    if code := process.wait():
        raise SystemExit(
            f"{program.set_name} {program.name} ended with {code}: {program.folder}/output.txt"
        )


def _changes(settings: Sequence[str]) -> list[str]:
    return [part for each in settings for part in ("--set", each)]


_HEAD = (
    "set", "program", "trainings", "minutes", "val_loss", "val_loss, three seeds",
    f"log loss, {_FOLDS} folds dealt anew", "test log loss", "test balanced accuracy",
    "test ROC AUC",
)  # fmt: skip


def _row(program: Program) -> list[str]:
    losses = [_val_loss(program.run(seed)) for seed in (0, *(_AGAIN if program.searches else ()))]
    judged = _judged(program)
    if program.searches:
        trainings = len(program.tuning["trials"])
        seconds = program.tuning["seconds"]
    else:
        trainings = 1
        seconds = float(sl.open_run(program.run(0)).history["seconds"].sum())
    mean = sum(losses) / len(losses)
    spread = f"{mean:.4f} ({min(losses):.4f} to {max(losses):.4f})" if program.searches else ""
    return [
        program.set_name, program.name, f"{trainings}", f"{seconds / 60:.1f}", f"{losses[0]:.4f}",
        spread, _over_folds(program),
        *map(_with_interval, map(judged.__getitem__, _FIGURES)),
    ]  # fmt: skip


def _over_folds(program: Program) -> str:
    if not program.searches:
        return ""
    found = json.loads((program.folder / "cv" / "crossvalidation.json").read_text())
    values = found["metrics"]["log_loss"]["values"]
    return f"{sum(values) / len(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def _with_interval(figure: Sequence[float | None]) -> str:
    value, low, high = figure
    return f"{value:.3f} " + ("(too few to say)" if low is None else f"({low:.3f} to {high:.3f})")


def _val_loss(run: Path) -> float:
    """Return the validation loss of the epoch that the run keeps."""
    history = sl.open_run(run).history
    assert history.best_epoch is not None
    return float(history["val_loss"][history.best_epoch])


def _judged(program: Program) -> dict[str, list[float | None]]:
    """Return (value, low, high) of figures of the test split; looked at once, and kept."""
    path = program.folder / "test.json"
    if not path.exists():
        found = sl.evaluate(program.run(0), split="test", progress=sl.Silent())
        spans = {name: found.intervals[name] for name in _FIGURES}
        kept = {name: (found.metrics[name], span.low, span.high) for name, span in spans.items()}
        path.write_text(json.dumps(kept) + "\n")
    return dict(json.loads(path.read_text()))


def _costs(program: Program) -> str:
    """Return what a search took beside its trainings."""
    path = program.folder / "took.json"
    if not path.exists():
        return f"* {program.set_name}, {program.name}: cut off, so not all of its time is known."
    wall, training = json.loads(path.read_text())["wall"], program.tuning["seconds"]
    return (
        f"* {program.set_name}, {program.name}: {wall / 60:.1f} minutes in all, "
        f"{wall / training - 1:.1%} of its trainings' time beside them."
    )


def _changed(program: Program) -> str:
    changes = program.tuning["changes"]
    said = ", ".join(f"`{key}={value}`" for key, value in changes.items()) or "nothing"
    return f"* {program.set_name}, {program.name} changed: {said}. {program.tuning['optimism']}"


if __name__ == "__main__":
    main()
