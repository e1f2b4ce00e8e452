"""Who is sooner where the published recipe ends? Whole trainings, seeds 0, 1, 2, and their table.

    python -m benchmarks.train_race --data FOLDER --out DIR [--json FILE] [--only-tables]

FOLDER holds skin_binary, ham10000_csv and chest_xray. Each training is a step with a folder of its
own, DIR/SET/seed-N/PROGRAM: what is done is skipped, one of ours that was broken off goes on, and a
plain one begins again. The programs:

plain           the plain Keras program of the published recipe
recipe          the same recipe by `sightline train`, float32
recipe-auto     the same with precision auto
auto            `sightline train` with the default recipe
auto-half       the same, with --minutes so that it ends in half the time that "recipe" took from
                its start to its best epoch; races "recipe" and "auto" of the same seed first

All share one split by patient or lesion; its test part is looked at by nobody. Seconds are those of
epochs, training and validation; what precedes the first (audit, plan) is in the whole, and in
what auto-half is given and takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stream.machine import describe
from benchmarks.training import standings
from benchmarks.training.epochs import PLAIN
from benchmarks.training.sets import SETS, Split, prepare
from benchmarks.training.turns import Place

from sightline.recipes import load_recipe
from sightline.runs import read_history

PROGRAMS = ("plain", "recipe", "recipe-auto", "auto", "auto-half")
RACED = ("skin-binary", "ham10000", "chest-xray")
_HERE = Path(__file__).resolve().parent
_METRICS = 'train.metrics=["accuracy", "balanced_accuracy", "auc"]'


@dataclass(frozen=True, slots=True)
class Step:
    """One training.

    Attributes:
        set_name: Of SETS.
        seed: Of weights, order and augmentation; the split has one of its own.
        program: Of PROGRAMS.
        out: Where all trainings are kept.
        epochs: Instead of the recipe's own; 0 keeps those.
    """

    set_name: str
    seed: int
    program: str
    out: Path
    epochs: int = 0

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.out / self.set_name / f"seed-{self.seed}" / self.program

    @property
    def done(self) -> Path:
        """The file that says that it is finished, and what it took."""
        return self.folder / "step.json"

    @property
    def run(self) -> Path:
        """The folder of the training itself."""
        return self.folder / "run"

    def history(self) -> list[dict[str, Any]]:
        """Return its epochs: val_loss, val_accuracy, val_auc, seconds, ..."""
        if self.program != "plain":
            return read_history(self.run / "history.jsonl")
        return [json.loads(line) for line in (self.run / "epochs.jsonl").read_text().splitlines()]


def main() -> None:
    """Train what is not trained yet, print the tables, write JSON."""
    asked = _ask()
    for name in asked.sets:
        images = (256, 32) if asked.quick else None
        split = prepare(SETS[name], asked.data, asked.out / name / "split", images=images)
        for step in _steps(asked, name):
            if not asked.only_tables and not step.done.exists():
                _train(step, split)
    done = [step for name in asked.sets for step in _steps(asked, name) if step.done.exists()]
    report = standings.report([figures(step) for step in done])
    report = {"machine": describe(), "quick": asked.quick, **report}
    print(*standings.lines(report), sep="\n")
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


def _ask() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_race", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, help="folder of the real sets")
    parser.add_argument("--out", type=Path, required=True, help="where trainings are kept")
    parser.add_argument("--sets", nargs="+", choices=RACED, default=list(RACED))
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=0, help="instead of the recipes' own")
    parser.add_argument("--quick", action="store_true", help="2 epochs of 256 images, seed 0")
    parser.add_argument("--only-tables", action="store_true", help="of what is done so far")
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    if asked.quick:
        asked.epochs, asked.seeds = 2, [0]
    return asked


def _steps(asked: argparse.Namespace, name: str) -> list[Step]:
    """Return the trainings of a set; the programs follow one another, seed by seed."""
    return [
        Step(name, seed, program, asked.out, asked.epochs)
        for seed in asked.seeds
        for program in asked.programs
    ]


def _train(step: Step, split: Split) -> None:
    """Run one training to its end, and note what it took."""
    print(f"{step.set_name}, seed {step.seed}, {step.program} ...", flush=True)
    command, resumed = _plain(step, split) if step.program == "plain" else _ours(step, split)
    step.folder.mkdir(parents=True, exist_ok=True)
    # Decoded images are kept with each training: none profits from an earlier one's.
    environment = Place(step.folder).environment()
    load, began = os.getloadavg()[0], time.perf_counter()
    with (step.folder / "output.txt").open("a") as output:
        code = subprocess.run(command, env=environment, stdout=output, stderr=output).returncode
    if code:
        raise SystemExit(f"{step.set_name} {step.program} ended with {code}: {output.name}")
    shutil.rmtree(step.folder / "cache", ignore_errors=True)
    took = {"wall": time.perf_counter() - began, "load": load, "resumed": resumed}
    step.done.write_text(json.dumps(took) + "\n")


def _plain(step: Step, split: Split) -> tuple[list[str], bool]:
    shutil.rmtree(step.folder, ignore_errors=True)
    program = str(_HERE / PLAIN[SETS[step.set_name].recipe])
    command = [sys.executable, program, str(split.table), "--out", str(step.run)]
    command += ["--seed", str(step.seed)]
    return command + (["--epochs", str(step.epochs)] if step.epochs else []), False


def _ours(step: Step, split: Split) -> tuple[list[str], bool]:
    train = [sys.executable, "-m", "sightline", "train"]
    if (step.run / "run.json").exists():
        return [*train, "--resume", str(step.run), "--only-train"], True
    shutil.rmtree(step.folder, ignore_errors=True)
    recipe = "auto" if step.program.startswith("auto") else SETS[step.set_name].recipe
    changes = [f"seed={step.seed}", _METRICS]
    if step.program == "recipe-auto":
        changes.append("precision=auto")
    if step.epochs:
        changes.append(f"train.epochs={step.epochs}")
    settings = [part for change in changes for part in ("--set", change)]
    how = ["--recipe", recipe, "--out", str(step.run), "--only-train", *settings]
    if step.program == "auto-half":
        how += ["--minutes", f"{_half_of_the_recipe(step) / 60:.3f}"]
    return [*train, str(split.manifest), *how], False


def _half_of_the_recipe(step: Step) -> float:
    """Return the seconds of epochs that end in half the time of the recipe to its best."""
    needed = [dataclasses.replace(step, program=name) for name in ("recipe", "auto")]
    for each in needed:
        if not each.done.exists():
            raise SystemExit(f"auto-half needs {each.folder} first; race {each.program} as well.")
    recipe, auto = map(figures, needed)
    until = standings.until_best(recipe)
    if until is None or auto["resumed"]:
        folders = " or ".join(str(each.folder) for each in needed)
        raise SystemExit(f"{folders} was broken off, so nobody knows what it took: remove it.")
    return until / 2 - standings.beside_epochs(auto)


def finished(out: Path, set_name: str, program: str) -> list[Step]:
    """Return the trainings of a program that are done, in the order of their seeds."""
    folders = (done.parent.parent for done in out.glob(f"{set_name}/seed-*/{program}/step.json"))
    seeds = sorted(int(folder.name.removeprefix("seed-")) for folder in folders)
    return [Step(set_name, seed, program, out) for seed in seeds]


def figures(step: Step) -> dict[str, Any]:
    """Return what a finished training took, and its history."""
    told: dict[str, Any] = json.loads(step.done.read_text())
    published = load_recipe(SETS[step.set_name].recipe)
    own = load_recipe("auto") if step.program.startswith("auto") else published
    return {
        "set": step.set_name,
        "seed": step.seed,
        "program": step.program,
        "kept": own.train.best,
        **told,
        "history": step.history(),
    }


if __name__ == "__main__":
    main()
