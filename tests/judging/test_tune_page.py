"""The page of a search: the tree of what was tried, and changes as a shell takes them."""

from __future__ import annotations

import re
import shlex

import pytest

from sightline.judging.reports import render_tuning
from sightline.judging.reports.tune_page import _settable, curves_figure
from sightline.recipes import parse_changes
from sightline.records.trials import Attempt, Trial, TrialSpec, Tuning, Verdict


def attempt(name: str, number: int, verdict: Verdict, *, tested: bool = True) -> Attempt:
    gains = (0.1, 0.2, 0.15) if tested else ()
    mean = 0.15 if tested else None
    changes = {"model.width": number + 4}
    return Attempt(name, changes, "x", number, (0.1,), gains, verdict, "Said.", mean)


def page(*attempts: Attempt) -> str:
    kept = {"model.dense": [64, 32]}
    return render_tuning(Tuning("s", "ladder", "val_loss", "basic", kept, (), attempts))


def test_what_was_kept_holds_what_was_tried_on_it() -> None:
    shown = page(
        attempt("wider", 0, "kept"),
        attempt("deeper", 0, "rejected"),
        attempt("flips", 1, "undecided"),
        attempt("zoom", 1, "rejected", tested=False),
    )
    tree = shown[shown.index('<ul class="tree">') : shown.index("<h3>")]
    words = " ".join(re.sub(r"<(?!/?ul|/?li)[^>]+>", "", tree).split())
    assert '<li>Kept wider +0.1500<ul class="tree"> <li>Undecided: flips</li>' in words
    assert "<li>1 change looked at in short trainings alone</li> </ul> </li>" in words
    assert words.endswith("<li>Rejected: deeper</li> </ul> </li></ul>")


def test_the_best_recipe_is_told_as_a_shell_takes_it() -> None:
    assert "--set &#39;model.dense=[64, 32]&#39;" in page(attempt("wider", 0, "kept"))


@pytest.mark.parametrize(
    "value", [(64, 32), True, "cosine", 3e-5, [], "a b.h5", ["batch", "none"], 0.5, 12]
)
def test_any_value_comes_back_as_it_was(value: object) -> None:
    _, change = shlex.split(_settable("model.x", value))
    known = list(value) if isinstance(value, tuple) else value
    assert parse_changes([change]) == {"model.x": known}


def test_curves_have_the_numbers_of_the_table_and_failures_no_link() -> None:
    trials = (
        Trial(TrialSpec(), "finished", value=0.5, curve=(0.6, 0.5), best_epoch=1, run="aa"),
        Trial(TrialSpec({"model.width": 1}), "failed", "no memory", run="bb"),
        Trial(TrialSpec({"model.width": 9}), "finished", value=0.4, curve=(0.4,), run="cc"),
    )
    figure = curves_figure([(1, trials[0]), (3, trials[2])])
    assert [axes.get_title() for axes in figure.axes] == ["1", "3"]
    shown = render_tuning(Tuning("s", "ladder", "val_loss", "basic", {}, trials))
    assert 'href="trials/cc/report.html"' in shown
    assert 'href="trials/bb' not in shown
