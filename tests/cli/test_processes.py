"""`sightline` as a process of its own: terminals of ASCII, Ctrl-C at once, links to nowhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

MakePhotos = Callable[..., Path]

SIGHTLINE = [sys.executable, "-m", "sightline"]
# Python as in a terminal without any setting; what a test sets comes on top.
PLAIN = {
    name: value
    for name, value in os.environ.items()
    if name not in ("PYTHONIOENCODING", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "LC_ALL")
}


@pytest.fixture
def photos(make_photos: MakePhotos, tmp_path: Path) -> Path:
    """Two classes that are too small to measure: the finding says "±"."""
    return make_photos(tmp_path / "photos", {"dark": 6, "light": 6})


def process(here: Path, *words: object, **settings: str) -> subprocess.CompletedProcess[bytes]:
    kept = {"SIGHTLINE_CACHE": str(here / "kept"), "SIGHTLINE_STATE": str(here / "state")}
    return subprocess.run(
        [*SIGHTLINE, *map(str, words)],
        capture_output=True,
        check=False,
        cwd=here,
        env=PLAIN | kept | settings,
    )


# --- what a terminal cannot show -------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["ascii", "C"],
)
def test_what_ascii_lacks_is_escaped(
    settings: Mapping[str, str], photos: Path, tmp_path: Path
) -> None:
    done = process(tmp_path, "audit", photos, "--out", "out", **settings)
    assert done.returncode in (0, 1)
    assert b"Traceback" not in done.stderr
    text = done.stdout.decode("ascii")
    assert r"(\xb1 " in text
    assert text.endswith("Manifest: out/manifest.parquet\n")


def test_utf8_is_written_as_it_is(photos: Path, tmp_path: Path) -> None:
    done = process(tmp_path, "audit", photos, "--out", "out", PYTHONIOENCODING="utf-8")
    assert "(± " in done.stdout.decode()


# --- Ctrl-C ----------------------------------------------------------------------------

# Importing the application takes as long as we like: it says that it began, and waits.
SLOW_IMPORT = """
import sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "sightline.cli.app":
            print("importing", flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Slow())
sys.argv = ["sightline", "--version"]
from sightline.cli import main
main()
"""


def interrupted_while_importing(before: str = "") -> tuple[int, str]:
    """Return exit code and standard error of a process that got Ctrl-C."""
    with subprocess.Popen(
        [sys.executable, "-c", before + SLOW_IMPORT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "importing\n"
        running.send_signal(signal.SIGINT)
        try:
            _, text = running.communicate(timeout=1 if before else 30)
        except subprocess.TimeoutExpired:
            running.terminate()
            _, text = running.communicate(timeout=30)
        return running.returncode, text


def test_ctrl_c_while_modules_are_imported_ends_in_one_word() -> None:
    assert interrupted_while_importing() == (130, "Interrupted.\n")


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert interrupted_while_importing(ignoring) == (-signal.SIGTERM, "")


def test_a_command_can_clean_up_after_ctrl_c() -> None:
    code = (
        "import os, signal, sys\n"
        "import sightline\n"
        "from sightline.cli import main\n"
        "def doctor(*_, **__):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally:\n"
        "        print('cleaned up')\n"
        "sightline.doctor = doctor\n"
        "sys.argv = ['sightline', 'doctor']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "cleaned up\n", "Interrupted.\n")


# --- a folder that is a link to nowhere ------------------------------------------------


@pytest.mark.parametrize("command", ["audit", "train"])
@pytest.mark.parametrize("out", ["link", "link/below"])
def test_a_dangling_link_is_called_one(
    command: str, out: str, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    done = process(tmp_path, command, photos, "--out", out)
    assert done.returncode == 2
    (message,) = done.stderr.decode().splitlines()
    assert message.startswith("Error: ")
    assert "/link is a link to a place that does not exist. Give another folder" in message
    assert not (tmp_path / "nowhere").exists()
