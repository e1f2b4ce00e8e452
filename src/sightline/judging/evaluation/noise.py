"""Labels that the model, which never saw them, has reason to doubt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.resampling import ENOUGH_RECORDS
from sightline.records import LabelNoise, Mistake, Predictions


def doubtful_labels(predictions: Predictions) -> LabelNoise:
    """Return the records whose label may be wrong, by confident learning.

    After Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset
    Labels, 2021. A record is confidently of a class where its probability of it is at least the
    mean that records labelled so are given; of several such classes, of the most probable. A
    candidate is confidently of a class other than its label, and gives its label less than some
    other class. The most doubtful are those whose label's probability is farthest below that of
    the likeliest other class, ties by record id. Deterministic.

    The probabilities must be out of sample: of records that neither the weights nor the choice of
    them saw. A model that learned a wrong label by heart does not doubt it. A candidate is a
    reason to look, not a verdict: hard and rare images are doubted too. A class of fewer than 30
    records has an unsure threshold, and is named in `too_few`; one of none can not be the true
    class of any candidate.

    Args:
        predictions: Records without a label or a readable image are left out. The decision they
            carry plays no part.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
    """
    scored = predictions.scored()
    labels, names = scored.label_indices(), scored.class_names
    probabilities = scored.probabilities.astype(np.float64)
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    counts = np.bincount(labels, minlength=len(names))
    sums = np.bincount(labels, own, len(names))
    usual = np.divide(sums, counts, out=np.full(len(names), np.inf), where=counts > 0)
    reached = np.where(probabilities >= usual - 1e-9, probabilities, -1.0)  # the mean of equals
    likely, confident = reached.argmax(axis=1), reached.max(axis=1) >= 0
    others = probabilities.copy()
    others[rows, labels] = -1.0
    margin = own - others.max(axis=1) if len(names) > 1 else np.ones(len(rows))
    doubted = np.flatnonzero(confident & (likely != labels) & (margin < 0))
    ids = scored.table["record_id"].to_numpy()
    order = doubted[np.lexsort((ids[doubted], margin[doubted]))]
    candidates = [
        Mistake(
            record_id=ids[row],
            label=names[labels[row]],
            predicted=names[likely[row]],
            probability=float(probabilities[row, likely[row]]),
            label_probability=float(own[row]),
            margin=float(margin[row]),
        )
        for row in order.tolist()
    ]
    wrong = _wrong(labels[confident], likely[confident], counts)
    few = [name for name, many in zip(names, counts, strict=True) if many < ENOUGH_RECORDS]
    return LabelNoise(
        names, len(scored), tuple(candidates), tuple(map(tuple, wrong.tolist())), tuple(few)
    )


def _wrong(
    labels: npt.NDArray[np.int64], likely: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return (K, K) how many records of each label are estimated to be of each other class.

    The confident records of a label say in which proportions all records of it divide.
    """
    joint = np.zeros((len(counts), len(counts)))
    np.add.at(joint, (labels, likely), 1.0)
    total = joint.sum(axis=1, keepdims=True)
    shares = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
    np.fill_diagonal(shares, 0.0)
    return np.asarray(shares * counts[:, np.newaxis])
