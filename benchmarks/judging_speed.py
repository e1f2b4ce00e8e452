"""How long does an evaluation take with 1,000 resamples, and how long would scikit-learn?

scikit-learn is timed on a few of the same resamples, with `sample_weight`, for the metrics that it
has (recalls, precisions and F1 in one call each, ROC AUC and average precision a class, Matthews'
correlation, kappa, Brier, log loss), and its time is multiplied up to as many.

    python -m benchmarks.judging_speed [--count 100000] [--classes 10] [--rounds 1000]
                                       [--repeats 3] [--peer 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.stream.machine import describe
from sklearn import metrics as peer

from sightline.judging.evaluation import evaluate
from sightline.judging.evaluation.resampling import resampling
from sightline.records import Predictions

GB = 1e9


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", type=int, default=3, help="resamples that scikit-learn is given")
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    predictions = made(asked.count, asked.classes)
    seconds = []
    for _ in range(asked.repeats):
        began = time.perf_counter()
        evaluate(predictions, source="test", rounds=asked.rounds)
        seconds.append(time.perf_counter() - began)
    ours, theirs = statistics.median(seconds), scikit_learn(predictions, asked.peer) * asked.rounds
    report: dict[str, Any] = {
        "machine": describe() | {"scikit-learn": version("scikit-learn")},
        "predictions": asked.count,
        "classes": asked.classes,
        "rounds": asked.rounds,
        "seconds": seconds,
        "median_s": ours,
        "scikit_learn_s": theirs,
        "ratio": theirs / ours,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB,
    }
    print(json.dumps(report, indent=2))
    print(f"\n{asked.count:,} predictions, {asked.classes} classes, {asked.rounds:,} resamples: "
          f"{ours:.1f} s; scikit-learn {theirs:,.0f} s, {theirs / ours:.0f} times as long "
          f"(from {asked.peer} resamples)")  # fmt: skip
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=2) + "\n")


def made(count: int, classes: int) -> Predictions:
    """Return predictions that are right more often than chance."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), labels] += 2
    odds = np.exp(logits)
    names = [f"class {index}" for index in range(classes)]
    return Predictions.make(
        class_names=names,
        record_ids=[f"{row:06d}.png" for row in range(count)],
        labels=[names[label] for label in labels],
        probabilities=(odds / odds.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def scikit_learn(predictions: Predictions, rounds: int) -> float:
    """Return the seconds that scikit-learn takes for one resample."""
    labels, answers = predictions.label_indices(), predictions.predicted_indices()
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    weights = resampling(labels).weights(0, rounds)
    began = time.perf_counter()
    for weight in weights:
        given = {"sample_weight": weight}
        peer.accuracy_score(labels, answers, **given)
        peer.precision_recall_fscore_support(labels, answers, zero_division=0, **given)
        peer.matthews_corrcoef(labels, answers, **given)
        peer.cohen_kappa_score(labels, answers, **given)
        peer.brier_score_loss(labels, probabilities, **given)
        peer.log_loss(labels, probabilities, **given)
        for index in range(probabilities.shape[1]):
            own, probability = labels == index, probabilities[:, index]
            peer.roc_auc_score(own, probability, **given)
            peer.average_precision_score(own, probability, **given)
    return (time.perf_counter() - began) / rounds


if __name__ == "__main__":
    main()
