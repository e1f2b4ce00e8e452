"""Where text, JSON and errors go, and which exit code a command ends with."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightline.cli import interruptible
from sightline.errors import SightlineError
from sightline.progress import Progress, Shown

FINDINGS, WRONG_USE = 1, 2
_WIDE = 200  # columns of a table that goes into a file or a pipe


def progress(as_json: bool) -> Progress:
    """Return where long work reports to: beside the JSON, never into it."""
    return Shown(Console(highlight=False, emoji=False, soft_wrap=True, stderr=as_json))


def show(text: str) -> None:
    """Print plain text; brackets, colons and long paths stay as they are."""
    Console(highlight=False, emoji=False, soft_wrap=True).print(text, markup=False)


def show_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table of plain text; numbers are given as text already."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:  # as Text: a class may be called "[red]" or ":cat:"
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    width = None if sys.stdout.isatty() else _WIDE
    Console(highlight=False, width=width).print(table)


def show_json(value: object) -> None:
    """Print one JSON value, in ASCII: no name of a file can break it, in no locale."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def told_plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with errors told in one message; a defect keeps its traceback.

    With --json the message is JSON on standard output as well.
    """

    @functools.wraps(command)
    def told(**values: Any) -> None:
        as_json = bool(values["as_json"])
        try:
            interruptible()
            command(**values)
        except SightlineError as error:
            _tell(type(error).__name__, str(error), as_json)
        except KeyboardInterrupt:
            sys.stderr.write("Interrupted.\n")
            raise SystemExit(128 + signal.SIGINT) from None
        except BrokenPipeError:  # `sightline runs | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        except OSError as error:  # a full disk, a missing permission: the user's to mend
            where = f"cannot use {error.filename}: " if error.filename else ""
            advice = "Check the path, your permissions and the free space."
            _tell("OSError", f"{where}{error.strerror or error}. {advice}", as_json)

    return told


def _tell(kind: str, message: str, as_json: bool) -> NoReturn:
    if as_json:
        show_json({"error": kind, "message": message})
    sys.stderr.write(f"Error: {message}\n")
    raise SystemExit(WRONG_USE)
