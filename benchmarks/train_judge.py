"""How good are the trainings of the race on images that no choice was made on? To be run once.

    python -m benchmarks.train_judge --data FOLDER --out DIR [--json FILE] [--page docs/results.md]

DIR is the folder of `benchmarks.train_race`. Each training's best weights judge the test part of
its split, and those of the chest X-rays also the test folder that lies beside; what was judged
before is taken from the run. The programs are the published recipe, `auto`, and `auto-half`: `auto`
that ends in half the time that the recipe took to its best epoch. All of them have to be done, with
the same seeds, before the first one is judged.

A program's figure is the mean of its seeds. The 95 % interval of a difference takes lesions or
patients anew with replacement (whole ones, the same for both programs), and each program's seeds
as well; with three seeds it is still somewhat narrow.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks.pages import markdown, rewrite
from benchmarks.stream.machine import describe
from benchmarks.train_race import RACED, Step, figures, finished
from benchmarks.training import standings
from benchmarks.training.sets import PATIENT
from benchmarks.training.turns import Place

from sightline.judging.evaluation import validation_scores
from sightline.records import Predictions
from sightline.runs import open_run

PROGRAMS = ("recipe", "auto-half", "auto")
# In the table, and in validation_scores.
SCORES = {"balanced accuracy": "balanced_accuracy", "ROC AUC": "auc"}
ROUNDS = 1000
_EXTERNAL = {"chest-xray": "chest_xray/test"}
_BEGIN, _END = (
    f"<!-- {word}: written by benchmarks/train_judge.py -->" for word in ("begin", "end")
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the trainings of one set said of the same images.

    Attributes:
        labels: (N,) class indices.
        groups: (N,) which lesion or patient.
        said: For each program (seeds, N, K) probabilities.
        took: For each program the seconds of its whole command, mean of the seeds, and those until
            its best epoch ended.
    """

    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    said: dict[str, npt.NDArray[np.float32]]
    took: dict[str, tuple[float, float]]


def main() -> None:
    """Judge what is not judged yet, print the table, write JSON and page."""
    asked = _ask()
    _refuse_unfinished(asked.out)
    rows = []
    for name in RACED:
        for where, source in _sources(name, asked.data):
            rows += list(_rows(name, where, _judged(asked.out, name, source)))
    for row in rows:
        print("; ".join(f"{key} {value}" for key, value in row.items()))
    if asked.json:
        report = {"machine": describe(), "rounds": ROUNDS, "rows": rows}
        asked.json.write_text(json.dumps(report, indent=1) + "\n")
    if asked.page:
        table = markdown(rows[0], [row.values() for row in rows])
        rewrite(asked.page, _BEGIN, _END, table)


def _ask() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_judge", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, help="folder of the real sets")
    parser.add_argument("--out", type=Path, required=True, help="where the race kept its trainings")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--page", type=Path, help="write the table between this page's markers")
    return parser.parse_args()


def _sources(name: str, data: Path) -> Iterator[tuple[str, str]]:
    yield "test split", "test"
    if name in _EXTERNAL:
        yield "test folder beside", str((data / _EXTERNAL[name]).absolute())


def _refuse_unfinished(out: Path) -> None:
    """Refuse to look at a test split before everything is trained that it shall judge."""
    for name in RACED:
        seeds = {
            program: [step.seed for step in finished(out, name, program)] for program in PROGRAMS
        }
        if not seeds["recipe"] or any(each != seeds["recipe"] for each in seeds.values()):
            sys.exit(f"{out / name} is not done, so nothing was judged; seeds: {seeds}")


def _judged(out: Path, name: str, source: str) -> Judged:
    """Return what the trainings say of the same images, those judged first that were not yet."""
    steps = {program: finished(out, name, program) for program in PROGRAMS}
    said = {
        program: [_predictions(step, source) for step in several]
        for program, several in steps.items()
    }
    first = said["recipe"][0]
    if any(
        one.table["record_id"].to_list() != first.table["record_id"].to_list()
        for several in said.values()
        for one in several
    ):
        sys.exit(f"the trainings of {out / name} were not judged on the same images")
    groups = first.table["group"].fill_null(first.table["record_id"])
    _, of_row = np.unique(groups.to_numpy(), return_inverse=True)
    return Judged(
        first.label_indices(),
        of_row.astype(np.int64),
        {
            program: np.stack([one.probabilities for one in several])
            for program, several in said.items()
        },
        {program: _took(several) for program, several in steps.items()},
    )


def _took(steps: list[Step]) -> tuple[float, float]:
    told = [figures(step) for step in steps]
    until = [standings.until_best(each) or np.nan for each in told]
    return float(np.mean([each["wall"] for each in told])), float(np.mean(until))


def _predictions(step: Step, source: str) -> Predictions:
    run = step.run
    if not open_run(run).predictions_path(source, "best").exists():
        print(f"{run} on {source} ...", flush=True)
        command = [sys.executable, "-m", "sightline", "evaluate", str(run)]
        if source != "test":
            command += ["--data", source, "--group-regex", PATIENT]
        # A state of its own: what the race looks at is not counted with the user's own looks.
        environment = Place(step.folder).environment()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return open_run(run).predictions(source, "best").scored()


def _rows(name: str, where: str, judged: Judged) -> Iterator[dict[str, str]]:
    """Yield each program's row: its means, and how far they are from the recipe's."""
    resampled = list(_resampled(judged))
    means: dict[str, npt.NDArray[np.float64]] = {}
    for program, probabilities in judged.said.items():
        ones = np.array([_scores(each, judged.labels) for each in probabilities])
        means[program] = ones.mean(axis=0)
        row = {"set": name, "images": f"{len(judged.labels)}, {where}", "program": program}
        row["seeds"] = str(len(ones))
        whole, until = judged.took[program]
        row |= {"seconds": f"{whole:.0f}", "to its best": f"{until:.0f}"}
        for place, score in enumerate(SCORES):
            each = ones[:, place]
            row[score] = f"{each.mean():.3f} ({each.min():.3f} to {each.max():.3f})"
        for place, score in enumerate(SCORES):
            apart = means[program][place] - means["recipe"][place]
            drawn = np.array([one[program][place] - one["recipe"][place] for one in resampled])
            low, high = np.quantile(drawn, [0.025, 0.975])
            row[f"{score}, beside recipe"] = (
                "" if program == "recipe" else f"{apart:+.3f} ({low:+.3f} to {high:+.3f})"
            )
        yield row


def _resampled(judged: Judged) -> Iterator[dict[str, npt.NDArray[np.float64]]]:
    """Yield each program's mean scores on groups and seeds drawn with replacement."""
    random = np.random.default_rng(0)
    rows_of = np.split(
        np.argsort(judged.groups, kind="stable"), np.cumsum(np.bincount(judged.groups))[:-1]
    )
    for _ in range(ROUNDS):
        drawn = random.integers(len(rows_of), size=len(rows_of))
        rows = np.concatenate([rows_of[group] for group in drawn])
        labels = judged.labels[rows]
        found = {}
        for program, probabilities in judged.said.items():
            seeds = random.integers(len(probabilities), size=len(probabilities))
            scores = [_scores(probabilities[seed][rows], labels) for seed in seeds]
            found[program] = np.mean(scores, axis=0)
        yield found


def _scores(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> list[float]:
    """Return SCORES; classes that no label has are left out of them."""
    found = validation_scores(probabilities, labels, SCORES.values())
    return [found[name] for name in SCORES.values()]


if __name__ == "__main__":
    main()
