"""Progress: bars on a terminal, lines elsewhere, and a log that keeps the lines."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from sightline.progress import Shown, Silent
from sightline.runs import Logged


def shown(*, terminal: bool = False) -> tuple[Shown, io.StringIO]:
    """Return a progress and the text that it writes."""
    text = io.StringIO()
    return Shown(Console(file=text, force_terminal=terminal, width=80, soft_wrap=True)), text


def test_lines_are_shown_where_there_is_no_terminal() -> None:
    progress, text = shown()
    progress.say("epoch 1/2")
    assert text.getvalue() == "epoch 1/2\n"


def test_no_bar_is_drawn_where_there_is_no_terminal() -> None:
    progress, text = shown()
    with progress.step("epoch 1/2", 3) as step:
        for _ in range(3):
            step.advance(note="loss 0.5")
    assert text.getvalue() == ""


def test_a_bar_is_drawn_on_a_terminal() -> None:
    progress, text = shown(terminal=True)
    with progress.step("epoch 1/2", 3) as step:
        step.advance(2, note="loss 0.5")
    assert "epoch 1/2" in text.getvalue()
    assert "2/3" in text.getvalue()


def test_a_bar_shows_what_its_title_says_to_the_letter() -> None:
    progress, text = shown(terminal=True)
    with progress.step("predicting [red]x", 1) as step:
        step.advance(note="[bold]")
    assert "predicting [red]x" in text.getvalue()
    assert "[bold]" in text.getvalue()


def test_a_bar_of_unknown_length_can_be_drawn() -> None:
    progress, text = shown(terminal=True)
    with progress.step("reading", None) as step:
        step.advance()
    assert "reading" in text.getvalue()


@pytest.mark.parametrize("line", ["[bold]x[/bold]", "a:cat:b", "http://x.y/[z]", "x" * 300])
def test_a_line_is_shown_to_the_letter(line: str) -> None:
    progress, text = shown()
    progress.say(line)
    assert text.getvalue() == f"{line}\n"


def test_silent_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Silent()
    with progress.step("epoch 1/2", 3) as step:
        step.advance(note="loss 0.5")
    progress.say("epoch 1/2")
    assert capsys.readouterr() == ("", "")


def test_lines_go_to_standard_output_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Shown().say("epoch 1/2")
    assert capsys.readouterr() == ("epoch 1/2\n", "")


def test_a_logged_line_is_shown(tmp_path: Path) -> None:
    progress, text = shown()
    Logged(progress, tmp_path / "run.log").say("epoch 1/2")
    assert text.getvalue() == "epoch 1/2\n"


def test_a_logged_line_is_kept_with_its_time(tmp_path: Path) -> None:
    Logged(Silent(), tmp_path / "run.log").say("épocas [1]")
    log = (tmp_path / "run.log").read_text("utf-8")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  épocas \[1\]\n", log)


def test_later_lines_are_appended_to_the_log(tmp_path: Path) -> None:
    for line in ("first", "second"):
        Logged(Silent(), tmp_path / "run.log").say(line)
    lines = (tmp_path / "run.log").read_text("utf-8").splitlines()
    assert [line.split("  ")[1] for line in lines] == ["first", "second"]


def test_bars_are_not_logged(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    with Logged(Silent(), log).step("epoch 1/2", 1) as step:
        step.advance()
    assert not log.exists()
