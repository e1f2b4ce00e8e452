"""The process of one contender: builds it, then works as it is told, line by line.

Requests come as JSON lines on standard input, answers go out on what was standard output; what
libraries print goes to standard error. An error ends the process: its last words are the reason
that the driver reports.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any, TextIO


def main() -> None:
    """Build the contender of the command line and serve it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.loads(sys.argv[1])
    module, _, name = order["entry"].partition(":")
    began = time.perf_counter()
    built = getattr(importlib.import_module(f"benchmarks.training.{module}"), name)
    turn, about = built(order)
    _tell(answers, {**about, "build_seconds": time.perf_counter() - began})
    for line in sys.stdin:
        _tell(answers, turn(json.loads(line)["seconds"]))
    os._exit(0)  # no library's farewell: nothing is measured any more


def _tell(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
