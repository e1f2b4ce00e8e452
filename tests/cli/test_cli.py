"""The command line, through typer's own runner; where the text says so, through a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

import sightline as sl
from sightline.cli import showing, training
from sightline.cli.app import app

MakePhotos = Callable[..., Path]
Settings = Mapping[str, Any]

COMMANDS: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
PARAMETERS = [
    (command, parameter)
    for command in COMMANDS.values()
    for parameter in command.params
    if parameter.name != "help"
]


def run_cli(*words: object) -> Any:
    """Run one command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def shown(*words: object) -> str:
    """Return what a command that succeeds prints."""
    done = run_cli(*words)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def shown_json(*words: object) -> Any:
    """Return what a command prints with --json."""
    return json.loads(shown(*words, "--json"))


def refused(*words: object) -> str:
    """Return the one plain message of a command that ends with exit code 2."""
    done = run_cli(*words)
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.startswith("Error: ")
    assert done.stdout == ""
    return done.stderr.removeprefix("Error: ").removesuffix("\n")


def process(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -m sightline` for real."""
    command = [sys.executable, "-m", "sightline", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def options(settings: Settings) -> list[str]:
    """Return settings as words of a command."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- help ------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_documentation() -> None:
    assert sorted(COMMANDS) == [
        "adopt", "audit", "cache", "compare", "cv", "demo", "diagnose", "doctor", "ensemble",
        "evaluate", "explain", "export", "import", "lr-find", "predict", "preview", "recipes",
        "report", "runs", "scan", "split", "train", "tune",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    help_text = COMMANDS[name].help
    assert help_text
    assert help_text.endswith(".")


@pytest.mark.parametrize(
    ("command", "parameter"), PARAMETERS, ids=[f"{c.name}-{p.name}" for c, p in PARAMETERS]
)
def test_every_option_has_help(command: Any, parameter: Any) -> None:
    assert parameter.help


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_can_be_printed(name: str) -> None:
    words = " ".join(COMMANDS[name].help.split())
    assert words in " ".join(shown(name, "--help").split())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_speaks_json(name: str) -> None:
    assert "--json" in [word for parameter in COMMANDS[name].params for word in parameter.opts]


def test_the_version_is_printed() -> None:
    assert shown("--version") == f"sightline {sl.__version__}\n"


def test_without_arguments_a_real_process_shows_help() -> None:
    done = process()
    assert "Usage:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_python_m_sightline_is_sightline() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"sightline {sl.__version__}\n")


def test_a_real_process_reports_an_error_without_a_traceback(tmp_path: Path) -> None:
    done = process("scan", tmp_path / "nowhere")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


# --- wrong use -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["magic"], "No such command 'magic'"),
        (["scan", "--magic"], "No such option: --magic"),
        (["scan", "a", "b"], "unexpected extra argument"),
        (["predict"], "Missing argument"),
        (["train", "--minutes", "many"], "Invalid value for '--minutes'"),
        (["evaluate", "x", "--weights", "both"], "'both' is not one of"),
        (["evaluate", "x", "--split", "holdout"], "'holdout' is not one of"),
    ],
)
def test_usage_errors_end_with_2(words: list[str], expected: str) -> None:
    done = run_cli(*words)
    assert done.exit_code == 2
    assert expected in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("command", ["audit", "scan", "split", "train"])
def test_a_path_that_is_missing_is_refused(command: str, tmp_path: Path) -> None:
    assert "does not exist" in refused(command, tmp_path / "nowhere")


@pytest.mark.parametrize("command", ["audit", "scan", "split", "train"])
def test_no_images_at_all_are_refused(command: str) -> None:
    assert refused(command).startswith("no images were given")


def test_an_empty_class_folder_is_refused(make_photos: MakePhotos, tmp_path: Path) -> None:
    (make_photos(tmp_path / "photos") / "none").mkdir()
    assert "/photos/none. Put images into" in refused("train", tmp_path / "photos")


def test_a_single_class_is_refused(make_photos: MakePhotos, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", {"dark": 3})
    assert "images of a single class, ['dark']" in refused("train", folder)


def test_an_unknown_recipe_is_refused(photos: Path) -> None:
    assert refused("train", photos, "--recipe", "magic").startswith("there is no recipe 'magic'")


def test_an_unknown_key_of_the_recipe_is_refused(photos: Path) -> None:
    message = refused("train", photos, "--set", "train.epoch=3")
    assert "train.epoch: is not a recipe key; did you mean train.epochs?" in message


def test_a_wrong_value_of_the_recipe_is_refused(photos: Path) -> None:
    assert "train.epochs" in refused("train", photos, "--set", "train.epochs=-1")


def test_a_change_that_is_no_change_is_refused(photos: Path) -> None:
    assert "is not of the form key=value" in refused("train", photos, "--set", "epochs")


@pytest.mark.parametrize("words", [["--data", "x"], ["--labels", "x.csv"]])
def test_a_split_beside_an_external_set_is_refused(trained: sl.Run, words: list[str]) -> None:
    message = refused("evaluate", trained.path, "--split", "test", *words)
    assert message.startswith("--split test is one of the run's own splits, and an external set")


@pytest.mark.parametrize("words", [[], ["--recipe", "basic"], ["--set", "train.epochs=3"]])
def test_minutes_are_a_limit_and_none_below_zero(words: list[str], photos: Path) -> None:
    told = refused("train", photos, "--minutes", "-1", *words)
    assert "stop.minutes: input should be" in told
    # An automatic number of epochs is planned for them as well.
    assert ("train.minutes: input should be" in told) == (not words)


def test_minutes_of_a_resumed_run_are_those_it_may_take(trained: sl.Run) -> None:
    assert "stop.minutes: input" in refused("train", "--resume", trained.path, "--minutes", "-1")


def test_a_label_column_that_is_missing_is_refused(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file,is\ndark_00,dark\n")
    message = refused(
        "train", photos, "--labels", table, "--path-col", "file", "--label-col", "label"
    )
    assert "has no column 'label'. Its columns are ['file', 'is']" in message


@pytest.mark.parametrize("words", [["evaluate"], ["report"], ["predict", "x.png"]])
def test_a_run_that_does_not_exist_is_refused(words: list[str], tmp_path: Path) -> None:
    message = refused(words[0], tmp_path / "run", *words[1:])
    assert message.startswith("there is no run at")


def test_a_run_folder_that_cannot_be_made_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = refused("train", photos, "--recipe", "basic", "--out", tmp_path / "file" / "run")
    assert message.startswith("cannot make the run folder")


def test_a_run_is_never_overwritten(photos: Path, trained: sl.Run) -> None:
    assert "already holds something" in refused("train", photos, "--out", trained.path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.csv", "a manifest is saved as .parquet, got "),
        ("folder.parquet", "is a folder. Name a file in it."),
        ("file/m.parquet", "Check the path, your permissions and the free space."),
    ],
)
def test_a_manifest_that_cannot_be_written_is_refused(
    name: str, expected: str, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "file").write_text("in the way")
    assert expected in refused("scan", photos, "--out", tmp_path / name)


def test_an_unknown_recipe_cannot_be_printed() -> None:
    assert refused("recipes", "magic").startswith("there is no recipe 'magic'")


def test_a_demo_never_overwrites_images(photos: Path, here: Path) -> None:
    assert "is not the digits" in refused("demo", "--folder", photos)


def test_with_json_the_error_is_json_as_well(tmp_path: Path) -> None:
    done = run_cli("scan", tmp_path / "nowhere", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 2
    assert told["error"] == "DataError"
    assert done.stderr == f"Error: {told['message']}\n"


# --- scan, split -----------------------------------------------------------------------


def test_scan_counts_images(photos: Path) -> None:
    assert shown("scan", photos).splitlines()[0] == f"20 images in {photos}"


def test_scan_tells_what_it_passed_over(make_photos: MakePhotos, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos")
    (folder / "dark" / "notes.txt").write_text("mine")
    assert "passed over: 1 not an image" in shown("scan", folder)


def test_scan_speaks_json(photos: Path) -> None:
    told = shown_json("scan", photos)
    assert told["images"] == 20
    assert [row["label"] for row in told["classes"]] == ["dark", "light"]


def test_scan_saves_a_manifest_that_scan_reads(photos: Path, here: Path) -> None:
    shown("scan", photos, "--out", "m.parquet")
    assert shown_json("scan", "m.parquet")["images"] == 20


def test_split_shows_every_side(photos: Path) -> None:
    (row, _) = shown_json("split", photos, "--validation", "0.3", "--test", "0.2")["classes"]
    assert row == {"label": "dark", "train": 5, "validation": 3, "test": 2, "total": 10}


def test_split_takes_a_table(photos: Path, here: Path) -> None:
    pl.DataFrame(
        {
            "file": [path.stem for path in sorted(photos.rglob("*.png"))],
            "is": [path.parent.name for path in sorted(photos.rglob("*.png"))],
            "who": [str(number // 2) for number in range(20)],
        }
    ).write_csv("labels.csv")
    told = shown_json(
        "split", photos, "--labels", "labels.csv", "--path-col", "file", "--label-col", "is",
        "--group-col", "who", "--out", "m.parquet",
    )  # fmt: skip
    assert (told["groups"], told["saved"]) == (10, "m.parquet")


# --- train -----------------------------------------------------------------------------


def test_train_makes_a_run_and_says_where(photos: Path, quick: Settings, here: Path) -> None:
    text = shown("train", photos, "--recipe", "basic", *options(quick), "--out", "mine")
    assert text.splitlines()[-1] == "Report: mine/report.html"
    assert "; the split that chose the weights: optimistic)" in text
    assert sl.open_run("mine").state == "finished"


@pytest.mark.slow
def test_train_in_a_real_process_prints_nothing_but_json_with_json(
    photos: Path, quick: Settings, here: Path
) -> None:
    words = ["--recipe", "basic", *options(quick), "--out", "mine", "--json"]
    done = process("train", photos, *words, cwd=here)
    told = json.loads(done.stdout)
    assert (done.returncode, told["state"], told["epochs"]) == (0, "finished", 2)
    assert [judged["source"] for judged in told["evaluations"]] == ["validation", "test"]


def wait_for(path: Path, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} has not come"
        time.sleep(0.05)


@pytest.fixture
def endless(photos: Path, quick: Settings, here: Path) -> Iterator[subprocess.Popen[str]]:
    """A real process in the middle of a training that would last for hours."""
    changes = options({**quick, "train.epochs": 1_000_000, "schedule.rate": 1})
    words = ["train", photos, "--recipe", "basic", *changes, "--out", "mine", "--json"]
    command = [sys.executable, "-m", "sightline", *map(str, words), "--set", "stop.patience=0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=here
    ) as running:
        try:
            wait_for(here / "mine" / "model.json")
            yield running
        finally:
            running.kill()


def test_ctrl_c_ends_a_real_process_with_130_and_a_run_that_can_be_used(
    endless: subprocess.Popen[str], here: Path
) -> None:
    endless.send_signal(signal.SIGINT)
    told = json.loads(endless.communicate(timeout=60)[0])
    assert (endless.returncode, told["state"]) == (130, "interrupted")
    assert told["epochs"] == len(sl.open_run(here / "mine").history) > 0


# --- predict, evaluate, report ---------------------------------------------------------


def test_predict_writes_one_row_a_file(trained: sl.Run, photos: Path, here: Path) -> None:
    assert shown("predict", trained.path, photos).strip() == "20 images: predictions.csv"
    assert len(pl.read_csv("predictions.csv")) == 20


@pytest.fixture
def linked(photos: Path, here: Path) -> Path:
    """A folder whose one class folder is a link that leads out of it."""
    (here / "linked").mkdir()
    (here / "linked" / "dark").symlink_to(photos / "dark")
    return here / "linked"


@pytest.mark.parametrize("words", [["predict"], ["evaluate", "--data"]])
def test_a_link_out_of_the_folder_is_refused_with_the_option_that_follows_it(
    words: list[str], trained: sl.Run, linked: Path
) -> None:
    assert "--follow-links" in refused(words[0], trained.path, *words[1:], linked)


def test_predict_follows_links_when_asked(trained: sl.Run, linked: Path) -> None:
    told = shown_json("predict", trained.path, linked, "--follow-links")
    assert told["rows"] == 10


def test_evaluate_follows_links_when_asked(run: sl.Run, linked: Path) -> None:
    told = shown_json("evaluate", run.path, "--data", linked, "--follow-links")
    assert told["count"] == 10


def test_predict_counts_what_it_could_not_read(trained: sl.Run, here: Path) -> None:
    (here / "a.png").write_text("not an image")
    told = shown_json("predict", trained.path, "a.png", "--out", "p.parquet")
    assert told == {"out": "p.parquet", "rows": 1, "unreadable": 1}


def test_evaluate_shows_metrics_classes_and_confusion(run: sl.Run) -> None:
    text = shown("evaluate", run.path)
    assert text.startswith("test: 2 images; best weights, epoch 1")
    assert "confusion matrix (row: true class, column: predicted)" in text


def test_evaluate_speaks_json(run: sl.Run) -> None:
    told = shown_json("evaluate", run.path, "--split", "validation", "--weights", "last")
    assert (told["source"], told["weights"], told["count"]) == ("validation", "last", 2)


def test_evaluate_takes_an_external_set(run: sl.Run, photos: Path) -> None:
    assert shown_json("evaluate", run.path, "--data", photos)["count"] == 20


def test_evaluate_says_that_validation_figures_are_optimistic(run: sl.Run) -> None:
    text = shown("evaluate", run.path, "--split", "validation")
    assert "Caution: the split that chose the weights: optimistic." in text


def test_evaluate_says_how_many_images_were_trained_on(run: sl.Run, photos: Path) -> None:
    text = shown("evaluate", run.path, "--data", photos)
    assert "Caution: 18 of 20 of these images were trained on" in text


def test_evaluate_of_the_test_split_carries_no_caution(run: sl.Run) -> None:
    assert "Caution" not in shown("evaluate", run.path)


def almost_perfect(run: sl.Run) -> sl.Evaluation:
    """Return the figures of the test split as they would be of 100,000 images, 4 of them wrong."""
    judged = run.evaluations[-1]
    return replace(judged, metrics={name: 0.99996 for name in judged.metrics})


def test_rounding_makes_no_figure_of_evaluate_perfect(
    run: sl.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    showing.show(almost_perfect(run))
    assert "accuracy           > 0.9999" in capsys.readouterr().out


def test_rounding_makes_no_figure_of_train_perfect(
    run: sl.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [almost_perfect(run).to_dict()]
    (run.path / "evaluation.json").write_text(json.dumps({"evaluations": entries}))
    training.show_end(run, as_json=False)
    told = "accuracy > 0.9999 (too few to say), balanced accuracy > 0.9999 (too few to say) on"
    assert told in capsys.readouterr().out


def test_report_says_where_it_is(run: sl.Run) -> None:
    assert shown("report", run.path) == f"Report: {run.path}/report.html\n"


def test_report_speaks_json(run: sl.Run) -> None:
    assert shown_json("report", run.path) == {"report": f"{run.path}/report.html"}


# --- runs, recipes, doctor -------------------------------------------------------------


def test_runs_of_an_empty_folder_are_none(here: Path) -> None:
    assert shown("runs") == "There are no runs in runs.\n"


def test_runs_are_listed_with_their_figures(trained: sl.Run) -> None:
    header, row = shown("runs", trained.path.parent).splitlines()
    assert header.split()[:5] == ["run", "state", "recipe", "parameters", "images"]
    parameters = f"{trained.summary.parameters:,}"
    assert row.split()[:6] == [str(trained.path), "finished", "basic", parameters, "20", "2"]


def test_runs_speak_json(run: sl.Run) -> None:
    told = shown_json("runs", run.path.parent)
    assert [row["state"] for row in told["runs"]] == ["finished"]
    assert told["damaged"] == []


def test_a_run_file_that_only_says_the_state_is_named(run: sl.Run) -> None:
    (run.path / "run.json").write_text('{"state": "finished"}')
    assert "run.json is damaged: it does not say started, data" in shown("runs", run.path.parent)


def test_a_damaged_manifest_is_refused(photos: Path, here: Path) -> None:
    shown("scan", photos, "--out", "m.parquet")
    pl.read_parquet("m.parquet").write_parquet("m.parquet", metadata={"sightline": "{}"})
    assert refused("scan", "m.parquet").startswith("m.parquet is not a Sightline manifest: it lac")


@pytest.mark.parametrize("content", ["{}\n{}\n", "{", "{}"])
@pytest.mark.parametrize("name", ["run.json", "history.jsonl", "evaluation.json"])
def test_a_damaged_run_is_named_and_hides_no_other(
    name: str, content: str, run: sl.Run, trained: sl.Run, tmp_path: Path
) -> None:
    (tmp_path / "whole").symlink_to(trained.path)
    (run.path / name).write_text(content)
    told = shown_json("runs", tmp_path)
    assert [row["run"] for row in told["runs"]] == [str(tmp_path / "whole")]
    assert [name in complaint for complaint in told["damaged"]] == [True]


def test_recipes_are_listed(here: Path) -> None:
    assert list(shown_json("recipes")) == [
        "auto", "basic", "chest-xray", "ham10000", "skin-binary", "transfer",
    ]  # fmt: skip


def test_a_printed_recipe_can_be_used(here: Path) -> None:
    Path("mine.toml").write_text(shown("recipes", "ham10000"))
    assert sl.load_recipe("mine.toml") == sl.load_recipe("ham10000")


def test_a_recipe_speaks_json() -> None:
    assert shown_json("recipes", "basic")["model"]["network"] == "basic"


def test_doctor_speaks_json(here: Path) -> None:
    codes = [found["code"] for found in shown_json("doctor")]
    assert codes[:3] == ["python", "packages", "backend"]


def test_doctor_ends_with_1_where_something_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run_cli("doctor", "--folder", tmp_path / "file")
    assert done.exit_code == 1
    assert "Change to a folder that you may write to" in done.stdout


# --- names to the letter ---------------------------------------------------------------


@pytest.fixture
def odd(make_photos: MakePhotos, here: Path) -> Path:
    """A folder and classes whose names mean something to rich."""
    return make_photos(here / "[bold]x :cat:", {":dog:": 10, "[red]a": 10, "é[b]": 10})


def test_names_are_printed_to_the_letter(odd: Path) -> None:
    text = shown("scan", odd)
    assert [name in text for name in (str(odd), ":dog:", "[red]a", "é[b]")] == [True] * 4


def test_json_holds_any_name_in_ascii(odd: Path) -> None:
    text = shown("scan", odd, "--json")
    assert text.isascii()
    assert [row["label"] for row in json.loads(text)["classes"]] == [":dog:", "[red]a", "é[b]"]


def test_errors_name_a_path_to_the_letter(here: Path) -> None:
    assert f"{here}/[nope]" in refused("scan", "[nope]")


def test_classes_are_printed_to_the_letter_by_every_command(odd: Path, quick: Settings) -> None:
    text = shown("train", odd, "--recipe", "basic", *options(quick), "--out", "[b]run")
    assert "Report: [b]run/report.html" in text
    lines = shown("evaluate", "[b]run").splitlines()
    header = lines[lines.index("confusion matrix (row: true class, column: predicted)") + 1]
    assert header.split() == [":dog:", "[red]a", "é[b]"]


def test_a_folder_with_brackets_takes_and_gives_tables(
    trained: sl.Run, odd: Path, photos: Path
) -> None:
    out = odd.parent / "[b]*" / "p.parquet"
    for _ in range(2):
        assert shown("predict", trained.path, photos, "--out", out)
    assert len(pl.read_parquet(out, glob=False)) == 20


def test_a_table_of_labels_may_lie_in_a_folder_with_brackets(odd: Path) -> None:
    table = odd / "[1].csv"
    table.write_text("file,is\n:dog:_00,dog\n[red]a_00,red\n")
    told = shown_json("scan", table, "--path-col", "file", "--label-col", "is")
    assert told["images"] == 2


# --- the demo --------------------------------------------------------------------------


@pytest.mark.slow
def test_the_demo_learns_to_read_digits(here: Path) -> None:
    told = shown_json("demo")
    assert told["evaluations"][-1]["metrics"]["accuracy"] >= 0.97
    assert os.path.commonpath([told["run"], "runs"]) == "runs"
