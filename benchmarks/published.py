"""The published recipes from end to end: trained, judged, exported, and judged again elsewhere.

    python -m benchmarks.published --data FOLDER --out DIR [--recipes NAME ...] [--json FILE]

Each recipe is trained on its own set with every feature that it names, by the command line. The run
is judged on its test split, exported as .keras and as .h5, and each file, opened anew by `sightline
import`, is judged on the same images. What is done is skipped; a training that was broken off goes
on. Probabilities and figures of the three have to be equal, to 1e-5.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from benchmarks.training.sets import SETS, prepare

from sightline.records import Manifest, Predictions
from sightline.runs import open_run

RECIPES = ("skin-binary", "ham10000", "chest-xray")
FORMATS = ("keras", "h5")
EQUAL = 1e-5
Metrics = Mapping[str, float | None]
_SHOWN = ("accuracy", "balanced_accuracy", "precision", "recall", "roc_auc", "log_loss")


def main() -> None:
    """Do what is not done yet, and print the figures."""
    asked = _ask()
    rows = [row for name in asked.recipes for row in _judged(name, asked.data, asked.out)]
    for row in rows:
        print("; ".join(f"{key} {value}" for key, value in row.items()))
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    if any(not row.get("farthest", 0.0) <= EQUAL for row in rows):  # NaN is none
        sys.exit(f"a model that was opened again does not predict the same, to {EQUAL}")


def _ask() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, help="folder of the real sets")
    parser.add_argument("--out", type=Path, required=True, help="where runs and files are kept")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser.parse_args()


def _judged(name: str, data: Path, out: Path) -> Iterator[dict[str, Any]]:
    """Yield the figures of the run, and of each file that was made of it."""
    split, folder = prepare(SETS[name], data, out / name / "split"), out / name
    path = folder / "run"
    if not (path / "report.html").exists():
        begun = (path / "run.json").exists()
        how = ["--resume", path] if begun else [split.manifest, "--recipe", name, "--out", path]
        _sightline("train", *how)
    run = open_run(path)
    (own,) = [each for each in run.evaluations if (each.source, each.weights) == ("test", "best")]
    yield {
        "recipe": name,
        "who": "the run",
        "epochs": f"{len(run.history)}, best {own.epoch + 1}",
        "why it ended": run.info["reason"],
        "images": own.count,
        **_figures(own.metrics),
    }
    said = run.predictions("test", "best")
    images = _test_images(run.manifest, folder / "test.parquet")
    for kind in FORMATS:
        again = folder / f"from-{kind}"
        if not (again / "run.json").exists():
            _sightline("export", path, f"--{kind}", "--out", folder / f"model.{kind}")
            classes = list(run.model["class_names"])
            how = ["--scaling", "none", "--quality", run.recipe.data.quality, "--out", again]
            _sightline("import", folder / f"model.{kind}", *how, "--classes", *classes)
        if not (again / "evaluation.json").exists():
            _sightline("evaluate", again, "--data", images)
        (judged,) = open_run(again).evaluations
        theirs = open_run(again).predictions(judged.source, judged.weights)
        yield {
            "recipe": name,
            "who": f"its .{kind}, opened anew",
            "images": judged.count,
            **_figures(judged.metrics),
            # NumPy's maximum: Python's may pass over NaN.
            "farthest": float(
                np.max([_farthest(said, theirs), _apart(own.metrics, judged.metrics)])
            ),
        }


def _sightline(*words: object) -> None:
    command = [sys.executable, "-m", "sightline", *map(str, words)]
    print(" ".join(["sightline", *map(str, words)]), flush=True)
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


def _test_images(manifest: Manifest, path: Path) -> Path:
    """Write the manifest of the test split alone."""
    if not path.exists():
        table = manifest.table.filter(pl.col("split") == "test")
        replace(manifest, table=table).save(path)
    return path


def _figures(metrics: Metrics) -> dict[str, float | None]:
    return {
        name: None if (value := metrics.get(name)) is None else round(value, 6)
        for name in _SHOWN
        if name in metrics
    }


def _apart(mine: Metrics, theirs: Metrics) -> float:
    """Return the largest difference of a figure; infinity where only one is defined, NaN of NaN."""
    apart = [0.0]
    for name, value in mine.items():
        other = theirs[name]
        if value is None or other is None:
            apart.append(0.0 if value is other else math.inf)
        else:
            apart.append(abs(value - other))
    return float(np.max(apart))


def _farthest(mine: Predictions, theirs: Predictions) -> float:
    """Return the largest difference of a probability; the records must be the same."""
    if mine.table["record_id"].to_list() != theirs.table["record_id"].to_list():
        sys.exit("the model that was opened anew judged other images")
    return float(abs(mine.probabilities - theirs.probabilities).max())


if __name__ == "__main__":
    main()
