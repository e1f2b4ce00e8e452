"""Sightline: from folders of labelled images to a classifier whose owner can trust it.

    import sightline as sl

    run = sl.train("photos")              # scan, split, train, evaluate, report
    run.history                           # a table, one row an epoch
    sl.predict(run, "new", out="p.csv")   # one row a file

Importing costs nothing and changes nothing: a verb loads what it needs when it is called.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sightline.data.sources import index_arrays, index_folder
    from sightline.data.stream import Stream, StreamConfig, cache_root, measure_scaling
    from sightline.errors import DataError, RecipeError, RunError, SetupError, SightlineError
    from sightline.progress import Shown, Silent
    from sightline.recipes import AugmentSection, Recipe, load_recipe
    from sightline.records import (
        Audit,
        Batch,
        CrossValidation,
        Diagnosis,
        Ensemble,
        Evaluation,
        Explanation,
        Finding,
        History,
        Manifest,
        ModelSummary,
        Predictions,
        RateCurve,
        Tuning,
    )
    from sightline.runs import Run, open_run
    from sightline.workflow import (
        audit,
        compare,
        cv,
        diagnose,
        doctor,
        ensemble,
        evaluate,
        explain,
        export,
        find_learning_rate,
        import_model,
        plot_history,
        predict,
        preview,
        report,
        scan,
        split,
        train,
        tune,
    )

_ROOMS = {
    "sightline.data.sources": ("index_arrays", "index_folder"),
    "sightline.data.stream": ("Stream", "StreamConfig", "cache_root", "measure_scaling"),
    "sightline.errors": ("DataError", "RecipeError", "RunError", "SetupError", "SightlineError"),
    "sightline.progress": ("Shown", "Silent"),
    "sightline.recipes": ("AugmentSection", "Recipe", "load_recipe"),
    "sightline.records": (
        "Audit",
        "Batch",
        "CrossValidation",
        "Diagnosis",
        "Ensemble",
        "Evaluation",
        "Explanation",
        "Finding",
        "History",
        "Manifest",
        "ModelSummary",
        "Predictions",
        "RateCurve",
        "Tuning",
    ),
    "sightline.runs": ("Run", "open_run"),
    "sightline.workflow": (
        "audit",
        "compare",
        "cv",
        "diagnose",
        "doctor",
        "ensemble",
        "evaluate",
        "explain",
        "export",
        "find_learning_rate",
        "import_model",
        "plot_history",
        "predict",
        "preview",
        "report",
        "scan",
        "split",
        "train",
        "tune",
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Audit",
    "AugmentSection",
    "Batch",
    "CrossValidation",
    "DataError",
    "Diagnosis",
    "Ensemble",
    "Evaluation",
    "Explanation",
    "Finding",
    "History",
    "Manifest",
    "ModelSummary",
    "Predictions",
    "RateCurve",
    "Recipe",
    "RecipeError",
    "Run",
    "RunError",
    "SetupError",
    "Shown",
    "SightlineError",
    "Silent",
    "Stream",
    "StreamConfig",
    "Tuning",
    "audit",
    "cache_root",
    "compare",
    "cv",
    "diagnose",
    "doctor",
    "ensemble",
    "evaluate",
    "explain",
    "export",
    "find_learning_rate",
    "import_model",
    "index_arrays",
    "index_folder",
    "load_recipe",
    "measure_scaling",
    "open_run",
    "plot_history",
    "predict",
    "preview",
    "report",
    "scan",
    "split",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'sightline' has no attribute {name!r}")
    if sys.platform not in ("linux", "darwin"):
        errors = importlib.import_module("sightline.errors")
        raise errors.SetupError(
            f"Sightline runs on Linux and macOS, not on {sys.platform!r}. "
            "On Windows, use it inside WSL."
        )
    value = getattr(importlib.import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
