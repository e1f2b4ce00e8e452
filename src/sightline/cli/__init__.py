"""The command line: parse, call a verb, print.

options   the options that several commands share
console   where text, JSON and errors go; exit codes
data      scan, split
training  train, demo
judging   predict, evaluate, report
about     runs, recipes, doctor
cache     cache
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit: 0 ok, 1 findings, 2 wrong use or data, 130/143 interrupted."""
    if sys.platform not in ("linux", "darwin"):
        print(
            f"Sightline runs on Linux and macOS, not on {sys.platform!r}. "
            "On Windows, use it inside WSL.",
            file=sys.stderr,
        )
        raise SystemExit(2)
    from sightline.cli.app import app

    app()
