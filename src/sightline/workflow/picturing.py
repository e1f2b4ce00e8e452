"""The images of a report that are worth a look: mistakes, doubtful labels, close calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from sightline.data import pictures
from sightline.data.sources import ScanOptions
from sightline.data.sources.shards import read_shards
from sightline.errors import DataError, SightlineError
from sightline.judging import evaluation, reports
from sightline.progress import Progress, Silent
from sightline.records import (
    SPLITS,
    Evaluation,
    LabelNoise,
    Manifest,
    Mistake,
    Picture,
    Predictions,
    ReliabilityBin,
    Weights,
    rounded,
    tempered,
)
from sightline.records.index import archive_of
from sightline.runs import Run
from sightline.workflow import describing, explaining, reviewing
from sightline.workflow.looking import Asked, Looking

_WORST, _DOUBTFUL, _UNCERTAIN = 12, 8, 8
_CELLS, _OF_A_CELL = 4, 4  # frequent confusions, and examples of each
_WITH_SIMILAR = 6  # mistakes beside which similar training images are shown
_OVERLAY, _LARGE = 160, 1200  # pixels of the longer side


class Overlays:
    """Shows where the network looked, as far as that can be had; why not is told once.

    Attributes:
        run: Whose network.
        progress: Where it is told what is left out.
    """

    def __init__(self, run: Run, progress: Progress) -> None:
        """Load nothing yet."""
        self.run, self.progress, self._failed = run, progress, False
        self._networks: dict[Weights, Looking] = {}  # built once for every evaluation

    def of(
        self, judged: Evaluation, images: Manifest, shown: Sequence[Mistake]
    ) -> Mapping[str, Picture]:
        """Return the pictures, by record id: why each was called what it was called.

        Args:
            judged: What they were judged in.
            images: Where they are.
            shown: Those that are wanted.
        """
        if self._failed or not shown or not self.run.is_of(judged):
            return {}
        ids = list(dict.fromkeys(each.record_id for each in shown))
        try:
            if judged.weights not in self._networks:
                asked = Asked(weights=judged.weights)
                self._networks[judged.weights] = Looking.of(self.run, asked, Silent())
            return explaining.overlays(
                self.run,
                images,
                ids,
                classes={each.record_id: each.predicted for each in shown},
                weights=judged.weights,
                max_side=_OVERLAY,
                looking=self._networks[judged.weights],
            )
        except SightlineError as error:  # the page is worth having without them
            self._failed = True
            self.progress.say(f"Where the network looked is left out of the report: {error}")
            return {}


def drawn(path: str | None, caption: str) -> Picture | None:
    """Return a picture that was written; None where it is gone."""
    if path is None or not Path(path).exists():
        return None
    try:
        return pictures.thumbnail(Path(path), caption, max_side=_LARGE)
    except DataError:
        return None


def closer(run: Run, judged: Evaluation) -> reports.Closer:
    """Return curves and reliability of an evaluation; empty where its predictions are gone."""
    try:
        predictions = _predictions(run, judged).scored()
    except DataError:
        return reports.Closer()
    after: tuple[ReliabilityBin, ...] = ()
    if judged.calibration is not None and judged.calibration.temperature != 1:
        shares = tempered(predictions.probabilities, judged.calibration.temperature)
        calibrated = replace(predictions, probabilities=shares.astype(np.float32))
        after = evaluation.reliability(calibrated)
    return reports.Closer(
        curves=_curves(predictions), before=evaluation.reliability(predictions), after=after
    )


def mistakes(run: Run, judged: Evaluation, overlays: Overlays) -> reports.Mistakes:
    """Return the images of an evaluation worth a look, as far as they are still there.

    Args:
        run: Whose.
        judged: One of its evaluations.
        overlays: Of where the network looked.
    """
    counted = without_pictures(run, judged, "")
    try:
        predictions = _predictions(run, judged)
    except DataError as error:
        return replace(counted, note=f"they cannot be shown: {error}")
    worst = evaluation.most_confident_errors(predictions, _WORST)
    noise = evaluation.doubtful_labels(predictions)
    above = {each.record_id for each in worst}
    candidates = () if judged.source == "train" else noise.candidates
    doubtful = [each for each in candidates if each.record_id not in above][:_DOUBTFUL]
    wrong = above | {each.record_id for each in doubtful}
    uncertain = [
        each
        for each in evaluation.least_certain(predictions, _UNCERTAIN + len(wrong))
        if each.record_id not in wrong
    ][:_UNCERTAIN]
    cells = _cells(predictions, judged)
    of_cells = [each for _, _, shown in cells for each in shown]
    if {each.record_id for each in of_cells} <= above:
        cells, of_cells = [], []  # they would be shown twice
    every = [*worst, *doubtful, *uncertain, *of_cells]
    try:
        images = _images(run, judged, {each.record_id for each in every})
    except DataError as error:
        return replace(counted, note=f"they cannot be shown: {error}")
    similar = _similar(run, predictions, worst[:_WITH_SIMILAR])
    album = _Album(images, overlays.of(judged, images, every), similar)
    shown, note = album.examples(worst)
    return replace(
        counted,
        examples=shown,
        note=note,
        uncertain=album.examples(uncertain)[0],
        doubtful=album.examples(doubtful)[0],
        doubts=_doubts(noise, judged),
        cells=[
            (true, predicted, examples)
            for true, predicted, shown in cells
            if (examples := album.examples(shown)[0])
        ],
    )


def without_pictures(run: Run, judged: Evaluation, why: str) -> reports.Mistakes:
    """Return the mistakes of an evaluation counted, and the file that lists them.

    Args:
        run: Whose.
        judged: One of its evaluations.
        why: There are no pictures, as the end of a sentence.
    """
    listed = reviewing.review_path(run, judged.source, judged.weights)
    return reports.Mistakes(
        source=judged.source,
        count=judged.count - int(judged.confusion.trace()),
        examples=[],
        note=why,
        listed=str(listed.relative_to(run.path)) if listed.exists() else "",
        weights=reports.weights_of(judged),
    )


class _Album:
    """Turns mistakes into examples with pictures.

    Attributes:
        images: Where they are.
        looked: Where the network looked, by record id.
        similar: Training images like them, by record id.
    """

    def __init__(
        self,
        images: Manifest,
        looked: Mapping[str, Picture],
        similar: Mapping[str, Sequence[Picture]],
    ) -> None:
        """Keep what the pictures are made from."""
        self.images, self.looked, self.similar = images, looked, similar

    def examples(self, shown: Sequence[Mistake]) -> tuple[list[reports.Example], str]:
        """Return those that have a picture, and why others have none."""
        found, faults = [], []
        for each in shown:
            try:
                picture = _thumbnail(self.images, each.record_id, _caption(each))
            except DataError as error:
                faults.append((each.record_id, error.reason))
                continue
            overlay = self.looked.get(each.record_id)
            similar = self.similar.get(each.record_id, ())
            found.append(reports.Example(picture, overlay, similar))
        return found, _missing_pictures(faults, len(shown))


def _cells(
    predictions: Predictions, judged: Evaluation
) -> list[tuple[str, str, Sequence[Mistake]]]:
    """Return (true, predicted, mistakes) of the most frequent confusions."""
    names, wrong = judged.class_names, judged.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CELLS]
    pairs = [divmod(int(cell), len(names)) for cell in order]
    return [
        (names[row], names[column],
         evaluation.per_cell(predictions, names[row], names[column], _OF_A_CELL))
        for row, column in pairs
        if wrong[row, column]
    ]  # fmt: skip


def _images(run: Run, judged: Evaluation, record_ids: set[str]) -> Manifest:
    """Return where judged images are: in the run's own manifest, or below an external set's folder.

    Raises:
        DataError: The folder is not known, or an archive in it cannot be read.
    """
    own = run.manifest
    known = record_ids <= set(own.table["record_id"])  # another set may share the folder
    if known and (judged.source in SPLITS or judged.root == str(own.root)):
        return own
    if not judged.root:
        raise DataError(
            "an older Sightline judged them, and kept no word of where they are. Judge again: "
            f"{describing.judge_again(run, judged)}"
        )
    table = pl.DataFrame({"record_id": sorted(record_ids)})
    archives = {archive_of(name) for name in record_ids} - record_ids
    found = sorted(name for name in archives if (Path(judged.root) / name).is_file())
    followed = ScanOptions(follow_links=True)  # whoever judged them may have
    inside, _ = read_shards(judged.root, found, followed, labelled=False)
    return Manifest.make(Path(judged.root), table.join(inside, on="record_id", how="left"))


def _thumbnail(images: Manifest, record_id: str, caption: str) -> Picture:
    """Return one image.

    Raises:
        DataError: It is not there, or cannot be read.
    """
    place = images.locate(record_id)  # a file may have been touched since
    return pictures.thumbnail(place if place.begin >= 0 else Path(place.path), caption)


def _predictions(run: Run, judged: Evaluation) -> Predictions:
    """Return what an evaluation was made from.

    Raises:
        DataError: It is gone, is damaged, or is of other weights or images by now.
    """
    predictions = run.predictions(judged.source, judged.weights)
    if predictions.content_hash() != judged.predictions_hash:
        raise DataError(
            f"the predictions of {judged.source} were made anew since it was judged. Judge again: "
            f"{describing.judge_again(run, judged)}"
        )
    return predictions


def _curves(predictions: Predictions) -> list[reports.ClassCurves]:
    """Return the curves of the second of two classes, or of each of several that has records."""
    labels, names = predictions.label_indices(), predictions.class_names
    chosen = range(1 if len(names) == 2 else 0, len(names))
    found = []
    for index in chosen:
        share = float((labels == index).mean())
        if 0 < share < 1:
            rates = evaluation.roc_curve(predictions, index)[:2]
            precision, recall, _ = evaluation.precision_recall_curve(predictions, index)
            found.append(reports.ClassCurves(names[index], rates, (recall, precision), share))
    return found


def _caption(each: Mistake) -> str:
    given, for_label = (
        rounded(share, 1, percent=True) for share in (each.probability, each.label_probability)
    )
    if each.label == each.predicted:
        return f"{each.label}, rightly\n{given} for it\n{each.record_id}"
    return (
        f"{each.label} taken for {each.predicted}\n"
        f"{given} for {each.predicted}, {for_label} for {each.label}\n{each.record_id}"
    )


def _doubts(noise: LabelNoise, judged: Evaluation) -> str:
    """Return how many labels are doubted, in a sentence; "" where none is, or none can be."""
    if judged.source == "train" or not noise.candidates:
        return ""
    seen = " (which chose the weights, so doubts are too few)" * (judged.source == "validation")
    few = f" Of {', '.join(noise.too_few)} there are too few to say." if noise.too_few else ""
    own = judged.source in SPLITS
    where = f" of the {judged.source} split" if own else ""
    return (
        f"The network has reason to doubt the labels of {len(noise.candidates):,} of "
        f"{noise.count:,} images{where}{seen}; some of them stand above, the next ones here. "
        "That is a reason to look and no verdict: it doubts hard images too, and many of them "
        f"where it is weak.{few}"
    )


def _similar(
    run: Run, predictions: Predictions, worst: Sequence[Mistake]
) -> dict[str, list[Picture]]:
    """Return the training images most like each mistake, where embeddings were kept."""
    found = reviewing.similar_images(run, predictions, [each.record_id for each in worst])
    training = run.manifest
    result: dict[str, list[Picture]] = {}
    for record_id, near in found.items():
        for other, label, alike in near:
            caption = f"{label}\n{alike:.2f} alike\n{other}"
            try:
                picture = _thumbnail(training, other, caption)
            except DataError:
                continue
            result.setdefault(record_id, []).append(picture)
    return result


def _missing_pictures(faults: Sequence[tuple[str, str]], count: int) -> str:
    """Return why some of `count` pictures are not shown; `faults` are (record id, reason)."""
    if not faults:
        return ""
    if len(faults) == count and {reason for _, reason in faults} == {"MISSING"}:
        return "their images are no longer at their place"
    record_id, reason = faults[0]
    return f"{len(faults)} of the {count} surest cannot be shown, first {record_id}: {reason}"
