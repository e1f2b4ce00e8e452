"""The command line: parse, call a verb, print.

options   the options that several commands share
console   where text, JSON and errors go; exit codes
data      scan, split
training  train, demo
previewing preview
models    export, import
rates     lr-find
searching tune
crossvalidating cv
diagnosing diagnose
explaining explain
judging   predict, evaluate, compare, report
showing   figures as text
about     runs, recipes, doctor
cache     cache
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from typing import TextIO


def main() -> None:
    """Run the command line and exit: 0 ok, 1 findings, 2 wrong use or data, 130/143 interrupted."""
    if sys.platform not in ("linux", "darwin"):
        print(
            f"Sightline runs on Linux and macOS, not on {sys.platform!r}. "
            "On Windows, use it inside WSL.",
            file=sys.stderr,
        )
        raise SystemExit(2)
    for stream in (sys.stdout, sys.stderr):
        _let_it_take_any_text(stream)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's & ignores it
        signal.signal(signal.SIGINT, _leave_at_once)
    from sightline.cli.app import app

    app()


def interruptible() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, once there is something to clean up."""
    if signal.getsignal(signal.SIGINT) is _leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _let_it_take_any_text(stream: TextIO) -> None:
    """Write what a stream's encoding lacks, such as "±" in ASCII, as an escape; never fail."""
    if isinstance(stream, io.TextIOWrapper):
        is_utf8 = codecs.lookup(stream.encoding).name == "utf-8"
        if stream.errors == "strict" or not is_utf8:
            stream.reconfigure(errors="backslashreplace")


def _leave_at_once(*_: object) -> None:
    """End while modules are loaded, where KeyboardInterrupt would come out of anywhere."""
    os.write(2, b"Interrupted.\n")
    os._exit(128 + signal.SIGINT)
