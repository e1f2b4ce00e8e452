"""What a report says when images, predictions or honest figures are missing."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import sightline as sl
from sightline.runs import write_sealed

MakePhotos = Callable[..., Path]
PutManifest = Callable[[sl.Run, sl.Manifest], sl.Run]

QUIET = sl.Silent()


def words(run: sl.Run) -> str:
    """Return the words of a run's report, written anew, without its style."""
    page = sl.report(run).read_text("utf-8").partition("</style>")[2]
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())


def headline(run: sl.Run) -> str:
    """Return the sentence that stands below the name of a run."""
    found = re.search('<p class="headline">(.*?)</p>', sl.report(run).read_text("utf-8"))
    assert found is not None
    return html.unescape(found[1])


def mistakes_below(run: sl.Run, heading: str) -> str:
    """Return what the section of the worst mistakes says below one heading."""
    return words(run).partition("Worst mistakes")[2].partition(heading)[2]


def judge(run: sl.Run, **chosen: object) -> sl.Evaluation:
    return sl.evaluate(run, progress=QUIET, **chosen)  # type: ignore[arg-type]


def forget_figures(run: sl.Run) -> None:
    (run.path / "evaluation.json").unlink()


@pytest.fixture
def at_home(run: sl.Run, put_manifest: PutManifest, tmp_path: Path) -> sl.Run:
    """A run, not yet judged, whose images are its own: a test may damage them."""
    home = Path(shutil.copytree(run.manifest.root, tmp_path / "home"))
    run = put_manifest(run, sl.Manifest.make(home, run.manifest.table))
    forget_figures(run)
    return run


@pytest.fixture
def swapped(run: sl.Run, make_photos: MakePhotos, tmp_path: Path) -> Path:
    """An external set judged already, its labels swapped: most of its images are mistakes."""
    folder = make_photos(tmp_path / "swapped", {"light": 4, "dark": 6}, seed=9)
    forget_figures(run)
    judged = judge(run, data=folder)
    assert judged.count - judged.confusion.trace() >= 3
    return folder


def num_mistakes(run: sl.Run) -> int:
    (judged,) = run.evaluations
    return judged.count - int(judged.confusion.trace())


# --- pictures --------------------------------------------------------------------------


def test_mistakes_whose_images_have_moved_are_counted(run: sl.Run, swapped: Path) -> None:
    shutil.rmtree(swapped)
    told = mistakes_below(run, "/swapped")
    assert told.startswith(
        f" {num_mistakes(run)} mistakes; their images are no longer at their place."
    )


def test_one_picture_that_cannot_be_read_hides_no_other(run: sl.Run, swapped: Path) -> None:
    (judged,) = run.evaluations
    predictions = run.predictions(judged.source, "best").to_table()
    wrong = predictions.filter(pl.col("label") != pl.col("predicted"))
    surest = wrong.sort(-pl.max_horizontal("p_dark", "p_light"), "record_id")["record_id"][0]
    (swapped / surest).write_text("not an image")
    count = num_mistakes(run)
    page = sl.report(run).read_text("utf-8")
    assert page.count('alt="Wrongly classified image') == count - 1
    assert f"1 of the {count} surest cannot be shown, first {surest}: " in words(run)


def test_mistakes_whose_predictions_are_lost_are_counted(run: sl.Run, swapped: Path) -> None:
    (judged,) = run.evaluations
    run.predictions_path(judged.source, "best").unlink()
    told = mistakes_below(run, "/swapped")
    assert told.startswith(f" {num_mistakes(run)} mistakes; they cannot be shown: ")


def test_training_pictures_that_have_moved_are_missed(at_home: sl.Run) -> None:
    shutil.rmtree(at_home.manifest.root)
    assert (
        "Training images as the network sees them They cannot be shown: the images are no "
        "longer at their place."
    ) in words(at_home)


def test_two_unreadable_training_images_hide_no_other(at_home: sl.Run) -> None:
    manifest = at_home.manifest
    for record_id in manifest.of_split("train")["record_id"][:2]:
        (manifest.root / record_id).write_text("not an image")
    page = sl.report(at_home).read_text("utf-8")
    assert page.count('alt="Training image') == 14
    assert "2 of the first 16 cannot be read." in page


def test_a_recipe_without_random_changes_claims_none(run: sl.Run) -> None:
    assert "After resizing; this recipe makes no random changes." in words(run)


# --- the headline ----------------------------------------------------------------------


def test_rounding_makes_no_headline_perfect(run: sl.Run) -> None:
    path = run.path / "evaluation.json"
    kept = json.loads(path.read_text("utf-8"))
    for judged in kept["evaluations"]:
        judged["metrics"] |= {"accuracy": 0.9996, "balanced_accuracy": 0.9996}
        judged |= {"intervals": {}, "baselines": {}}
    write_sealed(path, {"evaluations": kept["evaluations"]})
    assert "Test accuracy > 99.9%, balanced accuracy > 99.9% on 2 images." in headline(run)


def test_a_headline_of_an_external_set_alone_is_about_it(run: sl.Run, swapped: Path) -> None:
    assert re.search(rf"Accuracy \S+%.*, .* on 10 images of “{swapped}”;", headline(run))


def test_a_headline_says_what_guessing_would_have_had(run: sl.Run, swapped: Path) -> None:
    assert headline(run).endswith("; always the most frequent class would have 60.0%.")


def test_a_headline_of_the_training_images_alone_says_what_they_are_worth(run: sl.Run) -> None:
    forget_figures(run)
    judge(run, split="train")
    told = "on 16 images (the images it was trained on: says nothing about new ones);"
    assert told in headline(run)


def test_a_headline_says_how_many_images_of_an_external_set_were_trained_on(
    run: sl.Run, photos: Path
) -> None:
    forget_figures(run)
    judge(run, data=photos)
    assert "(18 of 20 of these images were trained on" in headline(run)


def test_the_most_honest_figures_come_first(run: sl.Run, swapped: Path, photos: Path) -> None:
    judge(run, data=photos)
    for split in ("train", "validation", "test"):
        judge(run, split=split)
    headings = re.findall(r"Quality: (\S+)", words(run))
    assert headings == ["Test", f"…/{'/'.join(swapped.parts[-2:])}", "Validation",
                        f"…/{'/'.join(photos.parts[-2:])}", "Train"]  # fmt: skip


# --- the model card --------------------------------------------------------------------


def test_a_model_card_is_written_beside_the_report(run: sl.Run) -> None:
    page = sl.report(run)
    card = (page.parent / "model_card.md").read_text("utf-8")
    assert f"# Model card for {run.name}" in card
    assert "**Classes, in output order:** dark, light" in card


def test_the_model_card_has_the_figures_of_the_report(run: sl.Run) -> None:
    page = sl.report(run)
    (judged,) = (each for each in run.evaluations if each.source == "test")
    value = f"{judged.metrics['accuracy']:.6f}"
    card = (page.parent / "model_card.md").read_text("utf-8")
    assert f"- type: accuracy\n      value: {value}\n" in card


def test_the_report_says_where_its_figures_end(run: sl.Run) -> None:
    assert "Limits It knows the 2 classes it was trained on and nothing else" in words(run)
