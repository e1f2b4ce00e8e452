"""What a report says when images, predictions or honest figures are missing."""

from __future__ import annotations

import ast
import html
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import sightline as sl
from sightline.data.sources import scan_shards
from sightline.runs import write_sealed

MakePhotos = Callable[..., Path]
PutManifest = Callable[[sl.Run, sl.Manifest], sl.Run]

QUIET = sl.Silent()


def words(run: sl.Run) -> str:
    """Return the words of a run's report, written anew, without its style."""
    page = sl.report(run).read_text("utf-8").partition("</style>")[2]
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())


def headline(run: sl.Run) -> str:
    """Return the sentence that stands below the name of a run, with plain spaces."""
    found = re.search('<p class="headline">(.*?)</p>', sl.report(run).read_text("utf-8"))
    assert found is not None
    return html.unescape(found[1]).replace("\N{NO-BREAK SPACE}", " ")


def mistakes_below(run: sl.Run, heading: str) -> str:
    """Return what the section of the worst mistakes says below one heading and its weights."""
    below = words(run).partition("Worst mistakes")[2].partition(f"{heading} best weights (epoch ")
    return below[2].partition(")")[2]


def card(run: sl.Run) -> str:
    """Return the model card of a run, written anew."""
    return (sl.report(run).parent / "model_card.md").read_text("utf-8")


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


def test_images_in_an_external_archive_are_shown(run: sl.Run, swapped: Path) -> None:
    with tarfile.open(swapped.parent / "shards.tar", "w") as archive:
        for path in sorted(swapped.glob("*/*")):
            add(archive, path.name, path.read_bytes())
            add(archive, f"{path.stem}.cls", path.parent.name.encode())
    forget_figures(run)
    judged = judge(run, data=scan_shards(swapped.parent / "shards.tar"))
    wrong = judged.count - int(judged.confusion.trace())
    page = sl.report(run).read_text("utf-8")
    assert page.count('alt="Wrongly classified image') == wrong
    assert page.count('alt="Where the network looked') >= wrong


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def test_the_working_folder_is_not_taken_for_a_place_that_is_not_known(
    run: sl.Run, swapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_figures(run, root="")
    monkeypatch.chdir(swapped)
    told = mistakes_below(run, "/swapped")
    assert "kept no word of where they are. Judge again: sightline evaluate" in told
    assert 'alt="Wrongly classified' not in sl.report(run).read_text("utf-8")


def test_mistakes_of_a_split_are_found_without_a_root(doubter: sl.Run) -> None:
    judge(doubter)
    change_figures(doubter, root="")
    assert 'alt="Wrongly classified' in sl.report(doubter).read_text("utf-8")


def test_predictions_that_were_made_anew_are_not_shown_for_old_figures(
    run: sl.Run, swapped: Path
) -> None:
    judge(run, data=swapped, weights="last")
    path = run.predictions_path(str(swapped), "last")
    shutil.copy(run.predictions_path("test", "best"), path)
    again = f"Judge again: sightline evaluate {run.path} --data {swapped} --weights last"
    assert f"were made anew since it was judged. {again}" in words(run)


def test_both_confusions_of_two_classes_are_told_apart(doubter: sl.Run) -> None:
    judged = judge(doubter, threshold="youden")
    assert judged.confusion[0, 1] > 12 > judged.confusion[1, 0] > 0
    told = words(doubter).partition("Of each frequent confusion")[2]
    assert "benign taken for malignant" in told
    assert "malignant taken for benign" in told


@pytest.fixture
def much_judged(doubter: sl.Run) -> sl.Run:
    """A run with six evaluations."""
    for weights in ("best", "last", "average"):
        for split in ("test", "validation"):
            judge(doubter, split=split, weights=weights)
    return doubter


def test_only_the_first_two_of_many_evaluations_have_pictures(much_judged: sl.Run) -> None:
    page = sl.report(much_judged)
    assert page.stat().st_size < 5_000_000
    text = page.read_text("utf-8")
    below = re.split("<h3>", text.partition('id="mistakes"')[2].partition("</section>")[0])[1:]
    assert ["<img" in each for each in below] == [True, True, False, False, False, False]
    for each in below:
        assert "-review.csv</code>" in each


def test_every_section_names_its_weights(much_judged: sl.Run) -> None:
    told = words(much_judged)
    for weights in ("best", "last", "average"):
        for split in ("Test", "Validation"):
            assert re.search(rf"Quality: {split} split {weights} weights \(epoch \d\)", told)


# --- figures of a model that is another by now -----------------------------------------


def change_figures(run: sl.Run, *sources: str, **changes: object) -> None:
    """Write other values into the evaluations of these sources, or of all."""
    path = run.path / "evaluation.json"
    kept = json.loads(path.read_text("utf-8"))["evaluations"]
    for judged in kept:
        if not sources or judged["source"] in sources:
            judged |= changes
    write_sealed(path, {"evaluations": kept})


def test_figures_of_another_choice_of_the_class_are_told(doubter: sl.Run) -> None:
    judge(doubter)
    assert "Caution: these figures" not in words(doubter)
    judge(doubter, split="validation", threshold="0.3")
    other = (
        "of classes chosen otherwise (the most probable class) than the run chooses now "
        "(malignant from a probability of 0.3 on)"
    )
    told = words(doubter)
    assert told.count(f"Caution: these figures are {other}.") == 2  # on its card, in its section
    assert f"Judge again: sightline evaluate {doubter.path} --split test" in told
    assert "images (of classes chosen otherwise than now), best weights" in headline(doubter)
    front, _, body = card(doubter).partition("\n---\n")
    assert "model-index" not in front
    assert f"Caution: these figures are {other}." in body
    judge(doubter)
    assert "Caution: these figures" not in words(doubter)
    assert "model-index" in card(doubter)


def test_figures_of_different_choices_of_the_class_are_not_compared(doubter: sl.Run) -> None:
    for split in ("validation", "test"):
        judge(doubter, split=split)
    assert "external-below" not in [each.code for each in sl.diagnose(doubter).standing]
    judge(doubter, split="validation", threshold="f1")
    found = sl.diagnose(doubter, progress=QUIET)["external-below"]
    assert found.outcome == "not applicable"


def test_a_choice_that_was_made_again_leaves_the_figures_as_they_are(doubter: sl.Run) -> None:
    judge(doubter, threshold="f1")
    judge(doubter, split="validation", threshold="f1")
    judge(doubter, split="validation", weights="last")
    assert "Caution: these figures" not in words(doubter)


def test_figures_of_former_weights_stand_last_and_with_a_caution(run: sl.Run) -> None:
    change_figures(run, "test", model_fingerprint="0" * 64)
    told = words(run)
    assert re.findall(r"Quality: (\S+)", told) == ["Validation", "Test"]
    former = "Caution: these figures are of best weights that the run had before, of epoch 1."
    assert told.count(former) == 2
    assert f"Judge again: sightline evaluate {run.path} --split test" in told
    assert "Validation accuracy" in headline(run)


def test_a_card_holds_no_figure_of_former_weights(run: sl.Run) -> None:
    change_figures(run, "test", model_fingerprint="0" * 64)
    told = card(run)
    assert "### Validation split" in told
    assert "### Test split" not in told
    assert "Figures of weights that the run had before are left out here" in told


def test_a_run_with_figures_of_former_weights_alone_claims_none(run: sl.Run) -> None:
    change_figures(run, model_fingerprint="0" * 64)
    assert headline(run).endswith("images. It was not judged with the weights that it has now.")
    assert "model-index" not in card(run)
    assert "nothing is known of how good it is" in card(run)


# --- the headline ----------------------------------------------------------------------


def test_rounding_makes_no_headline_perfect(run: sl.Run) -> None:
    path = run.path / "evaluation.json"
    kept = json.loads(path.read_text("utf-8"))
    for judged in kept["evaluations"]:
        judged["metrics"] |= {"accuracy": 0.9996, "balanced_accuracy": 0.9996}
        judged |= {"intervals": {}, "baselines": {}}
    write_sealed(path, {"evaluations": kept["evaluations"]})
    assert "Test accuracy > 99.9%, balanced accuracy > 99.9% on 2 images," in headline(run)


def test_a_headline_of_an_external_set_alone_is_about_it(run: sl.Run, swapped: Path) -> None:
    named = f"…/{'/'.join(swapped.parts[-2:])}"
    assert re.search(rf"Accuracy \S+%.*, .* on 10 images of “{named}”, best", headline(run))


def test_a_headline_says_what_guessing_would_have_had(run: sl.Run, swapped: Path) -> None:
    assert headline(run).endswith("; always the most frequent class would have 60.0%.")


def test_a_headline_of_the_training_images_alone_says_what_they_are_worth(run: sl.Run) -> None:
    forget_figures(run)
    judge(run, split="train")
    told = "on 16 images (the images it was trained on: says nothing about new ones),"
    assert told in headline(run)


def test_a_headline_names_the_weights_and_their_epoch(run: sl.Run) -> None:
    (judged,) = (each for each in run.evaluations if each.source == "test")
    assert f", best weights (epoch {judged.epoch + 1})" in headline(run)


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


def test_the_model_card_names_no_folder_of_this_machine(run: sl.Run, swapped: Path) -> None:
    told = card(run)
    assert str(run.manifest.root) not in told
    assert str(swapped) not in told
    assert f"Folder {run.manifest.root} " in words(run)


def test_the_code_of_the_model_card_finds_the_run(run: sl.Run, tmp_path: Path) -> None:
    path = shutil.copytree(run.path, tmp_path / 'a "quoted" run')
    code = re.search(r"sl\.predict\((.*), \"images\"\)", card(sl.open_run(path)))
    assert code is not None
    assert ast.literal_eval(code[1]) == str(path)


def test_limits_are_those_of_every_set_that_decided_nothing(run: sl.Run, swapped: Path) -> None:
    judge(run)
    few = next(line for line in words(run).split(". ") if "Too few images were judged" in line)
    assert "dark (6), light (4)" in few  # of the test split alone it is 1 each
