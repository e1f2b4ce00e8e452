"""Names that try to become something else than text, and an evaluation to put them into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.records import (
    Calibration,
    ClassScores,
    Evaluation,
    Interval,
    OperatingPoint,
    PredictionSets,
    SetRule,
    Slice,
)

NAMES = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<img src=x onerror=alert(3)>",
    '"><img src=x onerror=alert(4)>',
    "'><svg onload=alert(5)>",
    "<svg><script>alert(6)</script></svg>",
    "<math><mtext></mtext><mglyph><style><img src=x></style></mglyph></math>",
    "<svg><foreignObject><body onload=alert(7)></foreignObject></svg>",
    "</svg><h1>out of the drawing</h1>",
    "</style><h1>out of the style</h1>",
    "</title><h1>out of the title</h1>",
    "</td></tr></table><h1>out of the table</h1>",
    "</bdi></figcaption></figure></li></ul><hr>",
    '" onmouseover="alert(8)',
    "' onfocus='alert(9)' autofocus='",
    '" style="position:fixed;inset:0',
    "x; background:url(//evil.example/x)",
    "} body { display:none } /*",
    "*/ @import '//evil.example/x.css'; /*",
    "javascript:alert(10)",
    "<a href=javascript:alert(11)>here</a>",
    "<a href='data:text/html,<script>alert(12)</script>'>here</a>",
    "<iframe srcdoc='<p>in</p>'></iframe>",
    "<object data=x></object><embed src=x>",
    "<base href='//evil.example/'>",
    "<meta http-equiv=refresh content='0;url=//evil.example/'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<form action=//evil.example/><input name=x></form>",
    "<!-- a comment -->",
    "--> <!-- <p>",
    "<![CDATA[ <b>bold</b> ]]>",
    "<?php echo 1 ?>",
    "<!doctype html>",
    "&lt;b&gt; &amp; &quot; &#60;i&#62; &#x3c;u&#x3e; &copy;",
    "{{ 191 * 7 }}",
    "{% raw %}{{ contents }}{% endraw %}",
    "{# gone #}",
    "${7*7} #{7*7} <%= 7*7 %>",
    "$\\frac{a$ and $x^2$",
    "_hidden from legends_",
    "`code` and `half of it",
    "| a | b |\n|---|---|\n| c | d |",
    "# heading\n\n- item\n1. first\n> quoted\n---",
    "===",
    "[link](http://evil.example) ![picture](http://evil.example/x.png)",
    "<http://evil.example> www.evil.example mail@evil.example https://evil.example",
    "**bold** __bold__ ~~gone~~ \\* <b>bold</b>",
    "```\nfence\n```",
    "txt.exe\u202egnp.html",
    "\u2066turned\u2069 \u200fright to left\u200e",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "nul \x00 bell \x07 escape \x1b[31m delete \x7f c1 \x9b",
    "half a surrogate \ud83d and \udfff",
    "noncharacters \ufffe \uffff",
    "line\u2028and\u2029paragraph\r\nand\ttab",
    "   ",
    "\U0001f9ec\U0001f469\u200d\U0001f52c \U0001f3f3\ufe0f\u200d\U0001f308",
    "e\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308" * 4,
    "x" * 300,
    "../../../etc/passwd\\..\\..",
    "C:\\new\\table.png",
)  # fmt: skip
ALL = " ".join(NAMES)

METRICS = (
    "accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1", "roc_auc",
    "average_precision", "log_loss", "brier", "calibration_error",
)  # fmt: skip
OF_CLASS = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision", "accuracy")
TOO_FEW = "too few to say: 9 images, 30 are needed"


def sure(value: float) -> Interval:
    return Interval(value, value - 0.04, value + 0.03)


def evaluation_of(names: Sequence[str], **changes: Any) -> Evaluation:
    """Return the figures of a test split in which every class has 40 images, the last one 9."""
    size = len(names)
    confusion = np.eye(size, dtype=np.int64) * 40
    confusion[-1, -1] = 9
    confusion[0, 0], confusion[0, size - 1] = 33, confusion[0, size - 1] + 7
    classes = tuple(
        ClassScores(
            name,
            int(row.sum()),
            {metric: 0.5 for metric in OF_CLASS} | {"precision": 0.25 if row[0] else None},
            {metric: sure(0.5) for metric in OF_CLASS[1:]}
            if row.sum() >= 30
            else {metric: Interval(0.5, None, None, TOO_FEW) for metric in OF_CLASS[1:]},
        )
        for name, row in zip(names, confusion, strict=True)
    )
    whole = {metric: 0.6 + place / 100 for place, metric in enumerate(METRICS)}
    made: dict[str, Any] = {
        "source": "test",
        "count": int(confusion.sum()),
        "unreadable": 0,
        "weights": "best",
        "epoch": 4,
        "model_fingerprint": "",
        "predictions_hash": "",
        "metrics": whole,
        "classes": classes,
        "confusion": confusion,
        "looks": 2,
        "intervals": {name: sure(value) for name, value in whole.items()},
        "baselines": {
            "majority": dict.fromkeys(METRICS, 0.11),
            "prior": dict.fromkeys(METRICS, 0.22),
        },
    }
    return Evaluation(**made | changes)


def points_of(class_name: str) -> tuple[OperatingPoint, ...]:
    figures = [sure(value) for value in (0.91, 0.71, 0.51, 0.61)]
    return (
        OperatingPoint("sensitivity=0.9", class_name, 0.1234, *figures),
        OperatingPoint("specificity=0.99", class_name, None, note="no threshold reaches it"),
    )


def calibration_of(fitted_on: str = "90 records of validation", note: str = "") -> Calibration:
    before, after = {"log_loss": sure(0.77)}, {"log_loss": sure(0.66)}
    return Calibration(1.534, fitted_on, 40, before, after, note)


def sets_of(names: Sequence[str], note: str = "") -> PredictionSets:
    rule = SetRule(0.9, (0.2,) * len(names), count=90, note=note)
    sizes = (3, 30, 7, *(0 for _ in names[2:]))
    return PredictionSets(rule, 40, sure(0.925), {}, sure(1.25), sizes)


def slices_of(pairs: Sequence[tuple[str, str]]) -> tuple[Slice, ...]:
    """Return a slice of each (column, value); the first one differs from the rest."""
    return tuple(
        Slice(
            column, value, 50, 0, {"accuracy": sure(0.4)}, Interval(-0.123, -0.2, -0.05),
            0.001 if not place else 0.5, 0.0002 if not place else 1.0, not place,
        )
        for place, (column, value) in enumerate(pairs)
    )  # fmt: skip
