"""What the model card says, and that no name becomes more than text in it."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import hostile_names as known
import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from sightline.judging.reports import CardContents, render_card
from sightline.judging.reports.layout import printable
from sightline.records import Decision, Evaluation, Interval

NAMES = ("cat", "dog", "owl")
PLAIN = [f"plain name {number}" for number in range(len(known.NAMES))]


def card_of(evaluations: Sequence[Evaluation] = (), **changes: Any) -> str:
    made: dict[str, Any] = {
        "name": "my-run",
        "headline": "3 classes, 89 images.",
        "class_names": NAMES,
        "inputs": ["Input: one image."],
        "outputs": ["Output: a probability for each class."],
        "data": [("Folder", "/photos")],
        "procedure": ["Images go in at 80x112."],
        "facts": [("Seed", "0")],
        "evaluations": evaluations,
        "limits": ["It knows nothing else."],
        "provenance": [("Manifest", "223f")],
        "usage": ["sightline predict runs/my-run IMAGES"],
    }
    return render_card(CardContents(**made | changes))


def everywhere(names: Sequence[str]) -> str:
    """Return a card in which every name stands in every place that a name can have."""
    every, pairs = " ".join(names), [(name, name) for name in names]
    threshold = Decision("threshold", 0, 0.3, rule=every, chosen_on=every)
    judged = known.evaluation_of(names, source=every, decision=threshold)
    return card_of(
        [judged, *(known.evaluation_of(names[:2], source=name) for name in names)],
        name=every,
        headline=every,
        class_names=names,
        inputs=names,
        outputs=names,
        data=pairs,
        procedure=names,
        facts=pairs,
        limits=names,
        provenance=pairs,
        usage=[every],
    )


def parsed(card: str) -> list[Token]:
    """Return the tokens of the Markdown behind the front matter, those of lines among them."""
    body = card.partition("\n---\n")[2]
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    return [inner for token in tokens for inner in (token, *(token.children or ()))]


def front(card: str) -> Any:
    return yaml.safe_load(card.partition("\n---\n")[0].removeprefix("---\n"))


def figures(card: str, row: str) -> list[str]:
    """Return the cells of the first row of a table that begins so."""
    found = re.search(rf"^\| {re.escape(row)} \|(.*)\|$", card, re.MULTILINE)
    assert found is not None, row
    return [cell.strip() for cell in found[1].split("|")]


@pytest.fixture(scope="module")
def hostile() -> str:
    return everywhere(known.NAMES)


@pytest.fixture(scope="module")
def plain() -> str:
    return everywhere(PLAIN)


def test_no_name_makes_markup(hostile, plain):
    found, expected = (Counter(token.type for token in parsed(card)) for card in (hostile, plain))
    for kind in ("text", "text_special"):  # a character held back is a piece of its own
        del found[kind], expected[kind]
    assert found == expected


def test_a_card_of_names_alone_has_neither_html_nor_links(hostile):
    kinds = {token.type for token in parsed(hostile)}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "s_open", "code_inline"}


def test_no_address_becomes_a_link_by_itself(hostile):
    body = re.sub(r"```.*?```", "", hostile.partition("\n---\n")[2], flags=re.DOTALL)
    assert re.findall(r"https?://|www\.|[^\\]@", body, re.IGNORECASE) == []


def test_no_name_ends_the_block_of_a_command(hostile):
    (fence,) = (token for token in parsed(hostile) if token.type == "fence")
    assert fence.content.count("alert(1)") == 1
    assert "C:\\new\\table.png" in fence.content


@pytest.mark.parametrize("place", range(len(known.NAMES)))
def test_a_hostile_name_is_shown_as_it_is(hostile, place):
    name = " ".join(printable(known.NAMES[place]).split())
    told = [
        "".join(inner.content for inner in token.children or ())
        for token in parsed(hostile)
        if token.type == "inline"
    ]
    assert told.count(name or "(blank)") >= 3
    assert sum((name or "(blank)") in line for line in told) >= 4


def test_every_row_of_a_table_has_the_cells_of_its_head(hostile):
    tokens = parsed(hostile)
    cells: list[list[int]] = []
    for token in tokens:
        if token.type == "table_open":
            cells.append([])
        elif token.type == "tr_open":
            cells[-1].append(0)
        elif token.type in ("td_open", "th_open"):
            cells[-1][-1] += 1
    assert len(cells) == 3 + 2 * (1 + len(known.NAMES))
    assert all(len(set(table)) == 1 for table in cells)
    source = [line for line in hostile.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in source} == {3, 4, 7}


@pytest.mark.parametrize("name", [*known.NAMES, known.ALL])
def test_the_strings_in_front_come_back(name):
    card = card_of([known.evaluation_of(NAMES, source=name)], name=name)
    seen = " ".join(printable(name).split())
    (result,) = front(card)["model-index"]
    assert result["name"] == seen
    if name.count("/") <= 2:  # of a path only the end
        assert result["results"][0]["dataset"]["name"] == seen


def test_the_front_is_what_hugging_face_reads():
    told = front(card_of([known.evaluation_of(NAMES)]))
    assert told["library_name"] == "keras"
    assert told["tags"] == ["image-classification", "sightline"]
    (result,) = told["model-index"][0]["results"]
    assert result["task"] == {"type": "image-classification"}
    assert result["dataset"] == {"name": "Test split", "type": "image-folder"}


@pytest.mark.parametrize("value", [0.613, 0.0, 1.0, 1e-9])
def test_figures_in_front_are_numbers(value):
    told = front(card_of([known.evaluation_of(NAMES, metrics={"accuracy": value})]))
    (metric,) = told["model-index"][0]["results"][0]["metrics"]
    assert metric["type"] == "accuracy"
    assert isinstance(metric["value"], float)
    assert metric["value"] == pytest.approx(value, abs=1e-6)


def test_figures_that_are_not_defined_are_left_out_in_front():
    told = front(card_of([known.evaluation_of(NAMES, metrics={"accuracy": 0.5, "roc_auc": None})]))
    metrics = told["model-index"][0]["results"][0]["metrics"]
    assert [metric["type"] for metric in metrics] == ["accuracy"]


def test_the_sections_are_those_of_a_model_card():
    tokens = parsed(card_of([known.evaluation_of(NAMES)]))
    headings = [
        after.content
        for token, after in itertools.pairwise(tokens)
        if token.type == "heading_open" and token.tag in ("h1", "h2")
    ]
    assert headings == [
        "Model card for my-run", "Model details", "Uses", "Bias, risks and limitations",
        "How to get started with the model", "Training details", "Evaluation",
        "Technical specifications",
    ]  # fmt: skip


def test_figures_have_their_interval_and_what_guessing_has():
    card = card_of([known.evaluation_of(NAMES)])
    assert figures(card, "Accuracy") == ["0.6000 (0.5600 to 0.6300)", "0.1100"]
    assert figures(card, "dog")[:3] == ["40", "–", "0.500 (0.460 to 0.530)"]


def test_figures_of_too_few_images_say_so():
    judged = known.evaluation_of(
        NAMES, intervals={"accuracy": Interval(0.6, None, None, known.TOO_FEW)}
    )
    card = card_of([judged])
    assert figures(card, "Accuracy")[0] == "0.6000 (too few to say)"
    assert figures(card, "owl")[2] == "0.500 (too few to say)"


def test_a_card_of_an_older_evaluation_has_figures_without_intervals():
    plain = {"name": "cat", "count": 25, "precision": 0.7, "recall": None, "f1": 0.79}
    older = Evaluation.from_dict(
        {
            "source": "test", "count": 25, "unreadable": 0, "weights": "best", "epoch": 3,
            "model_fingerprint": "", "predictions_hash": "", "metrics": {"accuracy": 0.8},
            "classes": [plain], "confusion": [[25]],
        }
    )  # fmt: skip
    card = card_of([older])
    assert figures(card, "Accuracy") == ["0.8000", "–"]
