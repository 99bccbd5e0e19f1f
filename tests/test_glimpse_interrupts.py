"""Ctrl-C, wherever it comes: one line and 130, and nothing that goes on as if it had not come."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from glimpse_here import glimpse_here

AT_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
from glimpse.__main__ import main
main()
"""


def run(program: str, *words: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60, **more)


@pytest.mark.parametrize("name", ["typer", "base.files", "glimpse.cli", "glimpse.commands.search"])
def test_one_that_comes_while_modules_load_is_one_line(name):
    done = run(AT_IMPORT.format(name=name), "--version")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "glimpse: interrupted\n")


def test_one_that_a_finalizer_swallows_comes_again():
    done = run("""
import signal, sys, time
from glimpse import cli
from glimpse.__main__ import main
class Ends:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
def work(words):
    Ends()
    time.sleep(600)
cli.perform = work
main()
""")
    assert (done.returncode, done.stderr) == (130, "glimpse: interrupted\n")


@pytest.mark.parametrize("kind", ["GlimpseError", "RuntimeError"])
def test_one_of_which_a_library_made_an_error_is_still_an_interrupt(kind):
    done = run(f"""
import signal
from base.errors import GlimpseError
from glimpse import cli
from glimpse.__main__ import main
def work(words):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise {kind}("the model cannot be built") from None
cli.perform = work
main()
""")
    assert (done.returncode, done.stderr) == (130, "glimpse: interrupted; the model cannot be built\n")


def test_what_else_a_finalizer_raises_is_told_as_ever():
    done = run("""
from glimpse import interrupts
interrupts.heed()
class Ends:
    def __del__(self):
        raise ValueError("a defect")
Ends()
""")
    assert done.returncode == 0
    assert "ValueError: a defect" in done.stderr


def test_it_stays_ignored_where_it_is_ignored():
    done = run(
        AT_IMPORT.format(name="glimpse.cli"),
        "--version",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.returncode == 0
    assert done.stdout.startswith("glimpse ")


def test_what_pytest_hears_of_finalizers_is_left_to_it_by_a_command_in_its_process():
    before = (sys.unraisablehook, signal.getsignal(signal.SIGINT))
    assert glimpse_here("--version").returncode == 0
    assert (sys.unraisablehook, signal.getsignal(signal.SIGINT)) == before
